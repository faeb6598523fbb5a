// The part of the conformance suite about listing and erasing by pattern: Cache::scan(),
// Cache::erase_pattern(), and the extensions scan/1 and erase_pattern/1 below them. Included by
// backend_conformance.h.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/glob.h"
#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// The keys that a scan lists, each as often as it does.
inline std::multiset<std::string> scanned(Cache& cache, std::string_view pattern,
                                          ScanOptions options = {}) {
  std::multiset<std::string> keys;
  for (const EntryInfo& entry : cache.scan(pattern, options)) keys.insert(entry.key);
  return keys;
}

inline std::string message_of_scan(Cache& cache, std::string_view pattern) {
  try {
    static_cast<void>(cache.scan(pattern));
  } catch (const CacheError& error) {
    return error.what();
  }
  return "no error";
}

using Names = std::multiset<std::string>;

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

using namespace std::chrono_literals;

TEST_P(BackendConformance, AStoreThatCannotListItsKeysSaysWhichStoresCan) {
  ASSERT_EQ(store().extension<ScanExtension>() != nullptr, quirks().has_scan);
  if (quirks().has_scan || GetParam().variant == KeyVariant::key_function) return;
  EXPECT_THROW(static_cast<void>(store().scan("*")), BackendError);
  EXPECT_THROW(store().erase_pattern("*"), BackendError);
  const std::string message = message_of_scan(store(), "*");
  EXPECT_NE(message.find("store: scan: "), std::string::npos) << message;
  EXPECT_NE(message.find("redis, sqlite"), std::string::npos) << message;
}

TEST_P(BackendConformance, ACollectionHasKeysOfItsOwn) {
  if (GetParam().variant == KeyVariant::key_function) {
    EXPECT_THROW(store().collection("users"), ConfigError);
    return;
  }
  Cache& users = store().collection("users");
  Cache& inner = users.collection("users");
  EXPECT_EQ(&store().collection("users"), &users);
  for (Cache* const cache : {&store(), &users, &inner}) {
    EXPECT_FALSE(cache->contains("k"));
    EXPECT_TRUE(cache->set("k", cache->final_key("k"), {.tags = {"t"}}));
    EXPECT_TRUE(cache->add("n", 1));
  }
  for (Cache* const cache : {&store(), &users, &inner}) {
    EXPECT_EQ(cache->get("k"), cache->final_key("k"));
    if (!quirks().has_scan) continue;
    EXPECT_EQ(scanned(*cache, "*"), (Names{"k", "n"}));
    EXPECT_EQ(cache->count("k"), 1U);
  }
  users.erase_tag("t");
  EXPECT_FALSE(users.contains("k"));
  EXPECT_TRUE(store().contains("k"));
  EXPECT_TRUE(inner.contains("k"));
  on_threads(
      1, [&](int) { EXPECT_EQ(store().collection("users").collection("users").get<int>("n"), 1); });
  if (quirks().has_scan || quirks().has_erase_prefix) {
    users.clear();
    EXPECT_FALSE(users.contains("n"));
    EXPECT_FALSE(inner.contains("n"));
    EXPECT_TRUE(store().contains("n"));
    users.set("k", 1);
  } else {
    EXPECT_THROW(users.clear(), BackendError);
  }
  store().clear();
  EXPECT_FALSE(users.contains("k"));
  EXPECT_FALSE(store().contains("n"));
}

TEST_P(BackendConformance, ScanNeedsAKeyFunctionThatKeepsPrefixAndVersion) {
  if (GetParam().variant != KeyVariant::key_function) return;
  EXPECT_THROW(static_cast<void>(store().scan("*")), ConfigError);
  EXPECT_THROW(store().erase_pattern("*"), ConfigError);
  const std::string message = message_of_scan(store(), "*");
  EXPECT_NE(message.find("\"conformance\""), std::string::npos) << message;
}

TEST_P(BackendConformance, APatternThatIsNoGlobIsAValueErrorThatNamesTheAlias) {
  for (const char* const pattern : {"user:[a", "user:[", "[a-\\", "a\\", "[]", "[^]", "[z-a]"}) {
    EXPECT_THROW(static_cast<void>(store().scan(pattern)), ValueError) << pattern;
    EXPECT_THROW(store().erase_pattern(pattern), ValueError) << pattern;
  }
  const std::string message = message_of_scan(store(), "user:[a");
  EXPECT_NE(message.find("store: scan: the pattern \"user:[a\""), std::string::npos) << message;
  if (!can_scan()) return;
  auto* const scan = store().extension<ScanExtension>();
  const auto ignore = [](const ScanExtension::Listed&) {};
  EXPECT_THROW(scan->scan("[a", "", 10, ignore), ValueError);
  EXPECT_THROW(scan->scan("*", "no cursor", 10, ignore), ValueError);
}

TEST_P(BackendConformance, ScanListsTheKeysThatMatch) {
  if (!can_scan()) return;
  for (const char* const key : {"user:1", "user:2", "user:10", "user:1:cart", "User:1", "users",
                                "user:", "a", "b", "c", "-", "\xC3\xA4:1", "x\xFFy"}) {
    store().set(key, 1);
  }
  EXPECT_EQ(scanned(store(), "user:?"), (Names{"user:1", "user:2"}));
  EXPECT_EQ(scanned(store(), "user:*"),
            (Names{"user:", "user:1", "user:10", "user:1:cart", "user:2"}));
  EXPECT_EQ(scanned(store(), "*:1"), (Names{"user:1", "User:1", "\xC3\xA4:1"}));
  EXPECT_EQ(scanned(store(), "*user*:*cart*"), Names{"user:1:cart"});
  EXPECT_EQ(scanned(store(), "*1*c*a*r*t*"), Names{"user:1:cart"});
  EXPECT_EQ(scanned(store(), "[uU]ser:1"), (Names{"user:1", "User:1"}));
  EXPECT_EQ(scanned(store(), "[a-b]"), (Names{"a", "b"}));
  EXPECT_EQ(scanned(store(), "[^a-b]"), (Names{"c", "-"}));
  EXPECT_EQ(scanned(store(), "[b-]"), (Names{"-", "b"}));
  EXPECT_EQ(scanned(store(), "x[\xF0-\xFF]y"), Names{"x\xFFy"});
  EXPECT_EQ(scanned(store(), "x[!-\xFF]y"), Names{"x\xFFy"});
  EXPECT_EQ(scanned(store(), "\xC3\xA4*"), Names{"\xC3\xA4:1"});
  EXPECT_EQ(scanned(store(), "??:1"), Names{"\xC3\xA4:1"}) << "'?' is one byte";
  EXPECT_EQ(scanned(store(), "users"), Names{"users"});
  EXPECT_EQ(scanned(store(), "none*"), Names{});
  EXPECT_EQ(scanned(store(), ""), Names{}) << "the empty pattern matches the empty key alone";
  EXPECT_EQ(scanned(store(), "*").size(), 13U);
}

TEST_P(BackendConformance, AnEscapedKeyIsAPatternOfItselfAlone) {
  if (!can_scan()) return;
  std::vector<std::string> keys{"a*", "a?", "[a]",    "[", "]",  "a\\",     "\\*",
                                "*",  "??", "[^a-b]", "-", "^",  "{a}b{c}", "\xFF",
                                "aa", "a",  "a:b",    "'", "\"", "%",       "_"};
  if (!quirks().strict_keys) {
    for (const char* const key : {"a b", "", " ", "a\n", "a\r\nb"}) keys.emplace_back(key);
    keys.emplace_back("a\0b", 3);
  }
  for (const std::string& key : keys) store().set(key, key);
  for (const std::string& key : keys) {
    EXPECT_EQ(scanned(store(), Glob::escape(key)), Names{key}) << quote(key);
  }
  EXPECT_EQ(scanned(store(), "*"), Names(keys.begin(), keys.end()));
}

TEST_P(BackendConformance, ScanReportsFinalKeySizeAndLifetime) {
  if (!can_scan()) return;
  const std::string large(10'000, 'v');
  store().set("minute", "12345", 1min);
  store().set("never", large, never);
  store().set("negative", "v", 1min);
  std::map<std::string, EntryInfo> entries;
  for (const EntryInfo& entry : store().scan("[mn]*")) entries[entry.key] = entry;
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries["minute"].final_key, store().final_key("minute"));
  EXPECT_GE(entries["minute"].size, 5U);
  EXPECT_LE(entries["minute"].size, 300U);  // with the overhead of a server that reports it
  EXPECT_GE(entries["never"].size, large.size());
  EXPECT_LE(entries["never"].size, large.size() + 300U);
  EXPECT_EQ(entries["never"].left, std::nullopt);
  ASSERT_TRUE(entries["minute"].left);
  EXPECT_LE(*entries["minute"].left, 1min + quirks().lateness + quirks().granularity + 1s);
  EXPECT_GE(*entries["minute"].left, 1s);
}

TEST_P(BackendConformance, ScanListsNoExpiredEntry) {
  if (!can_scan()) return;
  store().set("short", 1, short_life());
  store().set("long", 1, 10min);
  outlive();
  EXPECT_EQ(scanned(store(), "*"), Names{"long"});
  EXPECT_EQ(store().erase_pattern("*"), 1U);
}

TEST_P(BackendConformance, ScanWithTagsListsLiveEntriesAndTheirTags) {
  if (!can_scan()) return;
  store().set("plain", 1);
  store().set("one", "v", {.tags = {"posts"}});
  store().set("two", "v", {.tags = {"user:7", "posts"}});
  store().set("erased", "v", {.tags = {"gone", "user:7"}});
  store().erase_tag("gone");
  store().backend().put(store().final_key("damaged"), "\xC1pc\x01 damaged", Ttl::forever(),
                        PutMode::always);
  using Tagged = std::map<std::string, std::vector<std::string>>;
  const auto tagged = [&](std::string_view pattern) {
    Tagged found;
    for (const EntryInfo& entry : store().scan(pattern, {.tags = true})) {
      EXPECT_EQ(entry.final_key, store().final_key(entry.key));
      found[entry.key] = entry.tags;
    }
    return found;
  };
  EXPECT_EQ(tagged("*"), (Tagged{{"plain", {}}, {"one", {"posts"}}, {"two", {"posts", "user:7"}}}));
  EXPECT_EQ(tagged("t*"), (Tagged{{"two", {"posts", "user:7"}}}));
  EXPECT_EQ(tagged("none*"), Tagged{});
  for (const EntryInfo& entry : store().scan("two")) EXPECT_TRUE(entry.tags.empty());
  store().erase_tag("posts");
  EXPECT_EQ(tagged("*"), (Tagged{{"plain", {}}}));
  std::map<std::string, int> items;
  for (int i = 0; i < 1200; ++i) items["many:" + std::to_string(i)] = i;
  ASSERT_TRUE(store().set_many(items, {.tags = {"many"}}).empty());
  EXPECT_EQ(tagged("many:*").size(), items.size());
}

TEST_P(BackendConformance, ScanFindsEveryOneOfThousandsInPages) {
  if (!can_scan()) return;
  std::map<std::string, int> items;
  for (int i = 0; i < 3000; ++i) items["many:" + std::to_string(i)] = i;
  ASSERT_TRUE(store().set_many(items).empty());
  store().set("another", 1);
  std::set<std::string> found;
  for (const EntryInfo& entry : store().scan("many:*")) found.insert(entry.key);
  std::set<std::string> keys;
  for (const auto& [key, value] : items) keys.insert(key);
  EXPECT_EQ(found, keys);

  // A cursor needs no state of the session that returned it.
  const auto other = registry().open("store");
  const std::string head = store().final_key("");
  const std::string pattern = Glob::escape(head) + "many:*9";
  std::set<std::string> nines;
  std::string cursor;
  int pages = 0;
  do {
    auto* const scan = (++pages % 2 == 0 ? *other : store()).extension<ScanExtension>();
    cursor = scan->scan(pattern, cursor, 100, [&](const ScanExtension::Listed& entry) {
      nines.emplace(entry.key.substr(head.size()));
    });
  } while (!cursor.empty() && pages < 10'000);
  EXPECT_EQ(nines.size(), 300U);
  EXPECT_EQ(cursor, "") << "the scan does not end";
}

TEST_P(BackendConformance, TheLoopOfAScanMayEraseAndWrite) {
  if (!can_scan()) return;
  std::map<std::string, int> items;
  for (int i = 0; i < 3000; ++i) items["old:" + std::to_string(i)] = i;
  ASSERT_TRUE(store().set_many(items).empty());
  int n = 0;
  std::set<std::string> seen;
  for (const EntryInfo& entry : store().scan("old:*")) {
    if (!seen.insert(entry.key).second) continue;
    EXPECT_TRUE(store().erase(entry.key)) << entry.key;
    if (n++ % 2 == 0) store().set("new:" + std::to_string(n), n);
    if (n > 3000) break;
  }
  EXPECT_EQ(n, 3000);
  EXPECT_EQ(scanned(store(), "old:*"), Names{});
  std::set<std::string> written;
  for (const EntryInfo& entry : store().scan("new:*")) written.insert(entry.key);
  EXPECT_EQ(written.size(), 1500U);
}

TEST_P(BackendConformance, ScanAndErasePatternKeepToTheirPrefixAndVersion) {
  if (!can_scan()) return;
  Config config = config_;
  config.caches["other"] = config.caches["store"];
  config.caches["other"].key_prefix = "other*prefix[a]";
  registry().reconfigure(config);
  Cache& mine = registry()["store"];
  Cache& other = registry()["other"];
  for (const char* const key : {"a", "b"}) {
    mine.set(key, 1);
    mine.set(key, 1, {.version = 5});
    other.set(key, 1);
  }
  // What the library keeps for itself begins with the prefix and ":~".
  const std::string own = config.caches["store"].key_prefix + ":~tag:a";
  const std::vector<std::string> foreign{own, "a", "foreign", "other1prefixa:1:c"};
  for (const std::string& key : foreign) {
    mine.backend().put(key, "v", Ttl::forever(), PutMode::always);
  }
  EXPECT_EQ(scanned(mine, "*"), (Names{"a", "b"}));
  EXPECT_EQ(scanned(mine, "*", {.version = 5}), (Names{"a", "b"}));
  EXPECT_EQ(scanned(mine, "*", {.version = 7}), Names{});
  EXPECT_EQ(scanned(other, "*"), (Names{"a", "b"}));
  EXPECT_EQ(mine.erase_pattern("*", {.version = 5}), 2U);
  EXPECT_EQ(mine.erase_pattern("a*"), 1U);
  EXPECT_EQ(scanned(mine, "*"), Names{"b"});
  EXPECT_EQ(other.erase_pattern("*"), 2U);
  EXPECT_EQ(mine.erase_pattern("*"), 1U);
  for (const std::string& key : foreign) {
    EXPECT_TRUE(mine.backend().contains(key, [](std::string_view) {})) << key;
  }
}

TEST_P(BackendConformance, ErasePatternRemovesExactlyWhatMatches) {
  if (!can_scan()) return;
  std::map<std::string, int> items;
  for (int i = 0; i < 2500; ++i) {
    items["user:" + std::to_string(i) + ":cart"] = i;
    items["user:" + std::to_string(i) + ":name"] = i;
  }
  ASSERT_TRUE(store().set_many(items).empty());
  EXPECT_EQ(store().erase_pattern("user:*:cart"), 2500U);
  EXPECT_EQ(store().erase_pattern("user:*:cart"), 0U);
  EXPECT_EQ(store().erase_pattern("user:[0-9]:na?e"), 10U);
  EXPECT_FALSE(store().contains("user:7:name"));
  EXPECT_FALSE(store().contains("user:2499:cart"));
  std::vector<std::string> keys;
  for (int i = 10; i < 2500; ++i) keys.push_back("user:" + std::to_string(i) + ":name");
  EXPECT_EQ(store().get_many_map<int>(keys).size(), keys.size());
  EXPECT_EQ(store().erase_pattern("user:10:name"), 1U) << "a text without wildcards is a pattern";
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, ScanListsNothingAndChecksThePattern) {
  if (!can_scan()) return;
  store().set("k", "v");
  EXPECT_EQ(scanned(store(), "*"), Names{});
  EXPECT_EQ(store().erase_pattern("*"), 0U);
  EXPECT_THROW(static_cast<void>(store().scan("[a")), ValueError);
  EXPECT_THROW(store().erase_pattern("[a"), ValueError);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
