// This part of the conformance suite tests the extensions that a store offers.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, TtlReportsTheRemainingLifetime) {
  auto* const ttl = store().extension<TtlExtension>();
  ASSERT_EQ(ttl != nullptr, quirks().has_ttl);
  if (ttl == nullptr) return;
  store().set("minute", "m", 1min);
  store().set("never", "n", never);
  std::optional<Ttl> left;
  std::string value;
  const auto take = [&](std::string_view bytes, Ttl remaining) {
    value = bytes;
    left = remaining;
  };
  EXPECT_FALSE(ttl->get(store().final_key("absent"), take));
  EXPECT_FALSE(left);
  ASSERT_TRUE(ttl->get(store().final_key("never"), take));
  EXPECT_EQ(value, "n");
  EXPECT_TRUE(left->is_forever());
  const std::chrono::milliseconds passed = quirks().own_clock ? 50ms : 20'000ms;
  pass(passed);
  ASSERT_TRUE(ttl->get(store().final_key("minute"), take));
  EXPECT_EQ(value, "m");
  ASSERT_FALSE(left->is_forever());
  const auto most = 1min + quirks().lateness + quirks().granularity;
  const auto least = quirks().own_clock ? 1s : 40s;  // in real time the machine may be slow
  EXPECT_GE(left->value(), least);
  EXPECT_LE(left->value(), most - passed) << "the remaining lifetime, not the one that was set";
  const std::array<std::string, 3> keys{store().final_key("minute"), store().final_key("absent"),
                                        store().final_key("never")};
  const std::array<std::string_view, 3> views{keys[0], keys[1], keys[2]};
  std::map<std::size_t, std::string> values;
  ttl->get_many(views, [&](std::size_t i, std::string_view bytes, Ttl remaining) {
    values[i] = bytes;
    EXPECT_EQ(remaining.is_forever(), i == 2);
    if (!remaining.is_forever()) {
      EXPECT_LE(remaining.value(), most - passed);
    }
  });
  EXPECT_EQ(values, (std::map<std::size_t, std::string>{{0, "m"}, {2, "n"}}));
}

TEST_P(BackendConformance, CompareChangesOnlyWhatIsExpected) {
  auto* const compare = store().extension<CompareExtension>();
  ASSERT_EQ(compare != nullptr, quirks().has_compare);
  if (compare == nullptr) return;
  const std::string key = store().final_key("k");
  EXPECT_FALSE(compare->put_if_equal(key, "", "v", Ttl(1min)));
  EXPECT_FALSE(compare->erase_if_equal(key, ""));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old", never);
  for (const std::string_view expected : {"other", "ol", "olds", "OLD", ""}) {
    EXPECT_FALSE(compare->put_if_equal(key, expected, "new", std::nullopt)) << expected;
    EXPECT_FALSE(compare->erase_if_equal(key, expected)) << expected;
  }
  EXPECT_EQ(store().get("k"), "old");
  store().set("k", "old", short_life());
  EXPECT_TRUE(compare->put_if_equal(key, "old", "new", std::nullopt));
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_FALSE(compare->erase_if_equal(key, "old"));
  EXPECT_TRUE(store().contains("k"));
  outlive();
  EXPECT_FALSE(store().contains("k")) << "without a ttl the lifetime does not change";
  EXPECT_FALSE(compare->put_if_equal(key, "new", "newer", Ttl(1min)));
  store().set("k", "old", short_life());
  EXPECT_TRUE(compare->put_if_equal(key, "old", "new", Ttl(10min)));
  outlive();
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_TRUE(compare->put_if_equal(key, "new", std::string_view("a\0b", 3), Ttl::forever()));
  EXPECT_FALSE(compare->put_if_equal(key, std::string_view("a\0c", 3), "", Ttl::forever()));
  EXPECT_TRUE(compare->put_if_equal(key, std::string_view("a\0b", 3), "", Ttl::forever()));
  EXPECT_TRUE(compare->erase_if_equal(key, ""));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, ErasePrefixRemovesExactlyThoseKeys) {
  auto* const erase = store().extension<ErasePrefixExtension>();
  ASSERT_EQ(erase != nullptr, quirks().has_erase_prefix);
  if (erase == nullptr) return;
  Backend& session = store().backend();
  const std::vector<std::string> keys{"p*:1", "p*:2", std::string("p*:\xFF\xFF"), "p*", "px:1",
                                      "P*:1", "q"};
  for (const std::string& key : keys) session.put(key, "v", Ttl::forever(), PutMode::always);
  EXPECT_EQ(erase->erase_prefix("p*:"), 3U);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(session.contains(keys[i], [](std::string_view) {}), i >= 3) << keys[i];
  }
  EXPECT_EQ(erase->erase_prefix("nothing"), 0U);
  for (const char* const key : {"a_%:1", "ab%:1", "a_b:1", "a_%:2"}) {
    session.put(key, "v", Ttl::forever(), PutMode::always);
  }
  EXPECT_EQ(erase->erase_prefix("a_%:"), 2U);
  for (const char* const key : {"ab%:1", "a_b:1"}) {
    EXPECT_TRUE(session.contains(key, [](std::string_view) {})) << key;
  }
}

TEST_P(BackendConformance, AnUnknownExtensionIsNull) {
  EXPECT_EQ(store().backend().extension("polycache.no-such-thing/1"), nullptr);
  EXPECT_EQ(store().backend().extension(""), nullptr);
}

// Add the extension to extension_list.h, or name it without "polycache.".
TEST_P(BackendConformance, OffersNoExtensionThatTheListLacks) {
  EXPECT_EQ(unlisted_extensions(), std::set<std::string>());
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
