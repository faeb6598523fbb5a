// This part of the conformance suite tests which keys a store takes and keeps apart.

#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "polycache/author/text.h"
#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, KeysOf250BytesPassEverywhereWithoutAWarning) {
  const std::size_t overhead = store().final_key("").size();
  const std::string key(max_portable_key_bytes - overhead, 'k');
  EXPECT_TRUE(store().set(key, "v"));
  EXPECT_EQ(store().get(key), "v");
  EXPECT_TRUE(store().erase(key));
  const std::string utf8 = "\xE6\xB8\x85\xC2\xA0";
  EXPECT_TRUE(store().set(utf8, "v"));
  EXPECT_EQ(store().get(utf8), "v");
  EXPECT_TRUE(warnings_.empty());
}

TEST_P(BackendConformance, KeysThatMemcachedWouldRefuse) {
  const std::size_t overhead = store().final_key("").size();
  const std::string long_key(max_portable_key_bytes + 1 - overhead, 'k');
  const std::string both = std::string(300, 'k') + " ";
  const std::vector<std::string> bad{"with space", "tab\t", std::string("zero\0", 5), "\x7F",
                                     "line\r\nfeed"};
  if (quirks().strict_keys) {
    for (const std::string& key : bad) EXPECT_THROW(store().set(key, 1), InvalidKey);
    EXPECT_THROW(store().get(long_key), InvalidKey);
    EXPECT_THROW(store().get_many({"fine", "not fine"}), InvalidKey);
    EXPECT_THROW(store().set_many({{"fine", 1}, {"not fine", 1}}), InvalidKey);
    EXPECT_FALSE(store().contains("fine"));
    EXPECT_THROW(store().incr(both), InvalidKey);
    return;
  }
  for (const std::string& key : bad) {
    EXPECT_TRUE(store().set(key, key));
    EXPECT_EQ(store().get(key), key);
    EXPECT_TRUE(store().erase(key));
  }
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 3 * bad.size());
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 0U);
  EXPECT_TRUE(store().set(long_key, 1));
  EXPECT_EQ(store().get<int>(long_key), 1);
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 2U);
  warnings_.clear();
  store().get_or_set(both, [] { return 1; });
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 1U);
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 1U);
}

TEST_P(BackendConformance, KeysAreBytesAndNothingIsSpecial) {
  std::vector<std::string> keys{
      "a",        "A",         "a:b",  "a%",   "a_",  "a*",      "a?",  "[a]",  "a'",  "a\"",
      "a\\",      "--a",       "1",    "01",   "1.0", "{a}b{c}", "1e3", "1000", "0x1", "\xC3\xA4",
      "\xC3\x84", "a\xCC\x88", "\xFF", "\xFE", "aa",  "../a",    "a/b", "/",    ".",   ".."};
  if (!quirks().strict_keys) {
    for (const char* const key : {"a ", " a", "a\n", "\ta", " ", "a\r\n"}) keys.emplace_back(key);
    for (const std::size_t length : {1U, 2U, 3U, 4U}) keys.emplace_back("\0\0a\0", length);
    for (const std::size_t length : {2U, 3U, 4U}) keys.emplace_back("a\0b\0", length);
    keys.emplace_back("a\0c", 3);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) store().set(keys[i], i);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(store().get<std::size_t>(keys[i]), i) << quote(keys[i]);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_TRUE(store().erase(keys[i])) << quote(keys[i]) << ": another key removed it";
  }
}

TEST_P(BackendConformance, LongKeysThatDifferInOneByteAreDifferent) {
  const std::size_t overhead = store().final_key("").size();
  std::vector<std::size_t> lengths{max_portable_key_bytes};
  if (!quirks().strict_keys) lengths.insert(lengths.end(), {300, 1000});
  for (const std::size_t length : lengths) {
    const std::string plain(length - overhead, 'k');
    std::vector<std::string> keys{plain, plain.substr(1)};
    for (std::size_t at = 0; at < plain.size(); at = at < 16 ? at + 1 : at + at / 16) {
      keys.push_back(plain);
      keys.back()[at] = 'x';
    }
    keys.push_back(plain);
    keys.back().back() = 'y';
    for (std::size_t i = 0; i < keys.size(); ++i) store().set(keys[i], i);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(store().get<std::size_t>(keys[i]), i)
          << "of " << length << " bytes; another key took its place";
    }
  }
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
