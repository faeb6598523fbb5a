// The part of the conformance suite about tags that are confirmed without reading their versions:
// the extension tag_stamp/1, and what all stores promise while the core remembers tags.
// backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStampOfTagsDiffersOnceAVersionIsGone) {
  auto* const stamps = store().extension<TagStampExtension>();
  ASSERT_EQ(stamps != nullptr, quirks().has_tag_stamps);
  if (stamps == nullptr) return;
  Backend& backend = store().backend();
  const std::string version = tag_key("posts");
  const auto stamp = [&] {
    backend.get(version, [](std::string_view) {});
    return stamps->tag_stamp();
  };
  const auto differs_after = [&](const char* what, const std::function<void()>& change) {
    SCOPED_TRACE(what);
    ASSERT_TRUE(store().set("k", "value", {.tags = {"posts"}}));
    const std::uint64_t before = stamp();
    change();
    EXPECT_NE(stamp(), before);
  };
  differs_after("erase_tag", [&] { store().erase_tag("posts"); });
  differs_after("erase", [&] { EXPECT_TRUE(backend.erase(version)); });
  differs_after("erase_many", [&] { EXPECT_EQ(backend.erase_many({{version}}), 1U); });
  differs_after("clear", [&] { backend.clear(); });
  differs_after("another version",
                [&] { EXPECT_TRUE(backend.put(version, "12345678", Ttl(1h), PutMode::always)); });
  differs_after("a longer value", [&] {
    EXPECT_TRUE(backend.put(version, std::string(2000, 'v'), Ttl(1h), PutMode::if_present));
  });
  backend.erase(version);
  differs_after("no value",
                [&] { EXPECT_TRUE(backend.put(version, "", Ttl(1h), PutMode::always)); });
  backend.erase(version);
  differs_after("erase_tag in another session",
                [&] { on_threads(1, [&](int) { store().erase_tag("posts"); }); });
  if (quirks().shared_between_processes) {
    differs_after("erase_tag in another process", [&] {
      in_processes(1, [&](int) {
        store().erase_tag("posts");
        return true;
      });
    });
  }
  if (auto* const pop = store().extension<PopExtension>()) {
    differs_after("pop", [&] { EXPECT_TRUE(pop->pop(version, [](std::string_view) {})); });
  }
  if (auto* const erase = store().extension<ErasePrefixExtension>()) {
    differs_after("erase_prefix", [&] { EXPECT_GE(erase->erase_prefix(version), 1U); });
  }
  if (auto* const erase = store().extension<ErasePatternExtension>()) {
    differs_after("erase_pattern", [&] { EXPECT_GE(erase->erase_pattern("*posts"), 1U); });
  }
  if (auto* const compare = store().extension<CompareExtension>()) {
    const auto bytes = [&] {
      std::string found;
      backend.get(version, [&](std::string_view stored) { found = stored; });
      return found;
    };
    differs_after("put_if_equal", [&] {
      EXPECT_TRUE(compare->put_if_equal(version, bytes(), "12345678", std::nullopt));
    });
    differs_after("erase_if_equal",
                  [&] { EXPECT_TRUE(compare->erase_if_equal(version, bytes())); });
  }
}

TEST_P(BackendConformance, AStampOfTagsDiffersOnceTheStoreSaysThatAVersionHasEnded) {
  auto* const stamps = store().extension<TagStampExtension>();
  if (stamps == nullptr || quirks().own_clock) return;
  Backend& backend = store().backend();
  const std::string version = tag_key("posts");
  const auto ends = [&] {
    backend.erase(version);
    EXPECT_TRUE(backend.put(version, "12345678", Ttl(1min), PutMode::always));
    EXPECT_TRUE(backend.get(version, [](std::string_view) {}));
    const std::uint64_t before = stamps->tag_stamp();
    EXPECT_TRUE(backend.get(version, [](std::string_view) {})) << "the core reads it now";
    pass(2min);
    return before;
  };
  std::uint64_t before = ends();
  EXPECT_FALSE(backend.get(version, [](std::string_view) {}));
  EXPECT_NE(stamps->tag_stamp(), before);
  before = ends();
  EXPECT_FALSE(backend.erase(version));
  backend.get("other", [](std::string_view) {});
  EXPECT_NE(stamps->tag_stamp(), before) << "an erasure that found nothing to erase";
  before = ends();
  EXPECT_TRUE(backend.put(version, "87654321", Ttl(1min), PutMode::if_absent));
  EXPECT_NE(stamps->tag_stamp(), before);
}

TEST_P(BackendConformance, AStampOfTagsStaysTheSameWhileEntriesAreRead) {
  auto* const stamps = store().extension<TagStampExtension>();
  if (stamps == nullptr) return;
  store().set("k", "value", {.tags = {"posts"}});
  const auto stamp = [&] {
    EXPECT_EQ(store().get("k"), "value");
    return stamps->tag_stamp();
  };
  int same = 0;  // a store may do something else in between
  for (int i = 0; i < 10; ++i) same += stamp() == stamp() ? 1 : 0;
  EXPECT_GT(same, 0) << "else it saves nothing";
}

// The cache has read the versions a moment ago, and may remember that they were current.
TEST_P(BackendConformance, ATagThatWasJustConfirmedIsErasedAtOnce) {
  const Tags tags{"posts", "user:7"};
  const auto compute = [&] {
    return store().get_or_set("k", [] { return std::string("computed"); }, {.tags = tags});
  };
  const auto is_erased_by = [&](const char* what, const std::function<void()>& erase) {
    SCOPED_TRACE(what);
    ASSERT_TRUE(store().set("k", "value", {.tags = tags}));
    ASSERT_TRUE(store().set("other", "value", {.tags = tags}));
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(store().get("k"), "value");
      EXPECT_EQ(store().get_many({"k", "other"})[1], "value");
      EXPECT_EQ(compute(), "value");
    }
    erase();
    EXPECT_FALSE(store().get("k"));
    EXPECT_FALSE(store().get_many({"k", "other"})[1]);
    EXPECT_EQ(compute(), "computed");
    EXPECT_EQ(store().get("k"), "computed");
  };
  is_erased_by("this session", [&] { store().erase_tag("user:7"); });
  is_erased_by("another session", [&] { on_threads(1, [&](int) { store().erase_tag("posts"); }); });
  is_erased_by("the loss of a version", [&] { loses_version("posts"); });
  if (quirks().shared_between_processes) {
    is_erased_by("another process", [&] {
      in_processes(1, [&](int) {
        store().erase_tag("posts");
        return true;
      });
    });
  }
}

TEST_P(BackendConformance, ARecorderCollectsTagsThatWereJustConfirmed) {
  store().set("k", "value", {.tags = {"posts", "user:7"}});
  for (int i = 0; i < 3; ++i) {
    const TagRecorder recorder;
    EXPECT_EQ(store().get("k"), "value");
    EXPECT_EQ(recorder.names(), (std::vector<std::string>{"posts", "user:7"}));
    const TagRecorder inner;
    EXPECT_EQ(store().get_many({"k"})[0], "value");
    EXPECT_EQ(inner.names(), (std::vector<std::string>{"posts", "user:7"}));
  }
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
