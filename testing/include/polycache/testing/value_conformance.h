// This part of the conformance suite tests values, add, erase, contains and pop.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

// --- Values ---

TEST_P(BackendConformance, AnAbsentKeyIsAMissOfEveryOperation) {
  EXPECT_FALSE(store().get("absent"));
  EXPECT_FALSE(store().contains("absent"));
  EXPECT_FALSE(store().touch("absent", 1min));
  EXPECT_FALSE(store().erase("absent"));
  EXPECT_FALSE(store().pop("absent"));
  EXPECT_FALSE(store().visit("absent", [](std::string_view) { FAIL(); }));
  EXPECT_EQ(store().get("absent").value_or("fallback"), "fallback");
  EXPECT_THROW(store().incr_version("absent"), KeyNotFound);
  if (!quirks().has_counters) return;
  EXPECT_THROW(store().incr("absent"), KeyNotFound);
  EXPECT_THROW(store().decr("absent"), KeyNotFound);
}

TEST_P(BackendConformance, WhatIsSetIsRead) {
  EXPECT_TRUE(store().set("k", "value"));
  EXPECT_EQ(store().get("k"), "value");
  EXPECT_TRUE(store().contains("k"));
  EXPECT_TRUE(store().set("k", "other"));
  EXPECT_EQ(store().get("k"), "other");
  std::string seen;
  EXPECT_TRUE(store().visit("k", [&](std::string_view bytes) { seen = bytes; }));
  EXPECT_EQ(seen, "other");
}

TEST_P(BackendConformance, ValuesAreAnyBytes) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes += static_cast<char>(byte);
  const std::vector<std::string> values{
      "",        std::string(1, '\0'),     std::string("a\0b\0", 4), "\r\n", "END\r\n",
      all_bytes, std::string(100'000, 'x')};
  for (const std::string& value : values) {
    EXPECT_TRUE(store().set("k", value));
    EXPECT_TRUE(same_bytes(store().get("k"), value));
    EXPECT_TRUE(store().contains("k"));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(store().add("k" + std::to_string(i), values[i]));
    EXPECT_TRUE(same_bytes(store().pop("k" + std::to_string(i)), values[i]));
  }
}

TEST_P(BackendConformance, AValueOfAMebibyteIsKept) {
  std::string value(std::size_t{1} << 20U, '\0');
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 31 + i / 251);
  ASSERT_TRUE(store().set("big", value));
  EXPECT_TRUE(same_bytes(store().get("big"), value));
  ASSERT_TRUE(
      store().set_many(std::map<std::string, std::string>{{"big", "s"}, {"b2", value}}).empty());
  const auto both = store().get_many({"big", "b2"});
  EXPECT_TRUE(same_bytes(both[0], "s"));
  EXPECT_TRUE(same_bytes(both[1], value));
}

TEST_P(BackendConformance, TheStoreKeepsCopies) {
  std::string key = store().final_key("k");
  std::string other = store().final_key("other");
  std::string value = "of the first";
  std::string more = "of the second";
  store().backend().put(key, value, Ttl(1min), PutMode::always);
  const std::array<Item, 1> items{Item{other, more, Ttl(1min)}};
  store().backend().put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  for (std::string* const text : {&key, &other, &value, &more}) text->assign(text->size(), '#');
  EXPECT_EQ(store().get("k"), "of the first");
  EXPECT_EQ(store().get("other"), "of the second");
}

TEST_P(BackendConformance, ARefusedValueIsNotStoredAndTheOlderOneIsGone) {
  if (quirks().refuses_value_of == 0) return;
  const std::string large(quirks().refuses_value_of, 'x');
  store().set("k", "old");
  EXPECT_FALSE(store().set("k", large));
  EXPECT_TRUE(same_bytes(store().get_or_set("k", "none"), "none"))
      << "an older value was still there";
  EXPECT_EQ(warnings_of(Warning::Kind::value_refused), 1U);
  EXPECT_FALSE(store().add("new", large));
  EXPECT_FALSE(store().contains("new"));
  EXPECT_FALSE(store().add("k", large));
  EXPECT_TRUE(same_bytes(store().get("k"), "none")) << "add() replaces nothing";
  const std::string key = store().final_key("k");
  EXPECT_FALSE(store().backend().put(key, large, Ttl(1min), PutMode::if_present));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old");
  EXPECT_EQ(store().set_many({{"k", large}, {"other", 1}}), std::vector<std::string>{"k"});
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(store().get<int>("other"), 1);
}

TEST_P(BackendConformance, ASinkIsCalledOnceForEachLiveEntry) {
  store().set_many({{"a", 1}, {"b", 2}});
  Backend& session = store().backend();
  const std::array<std::string, 3> keys{store().final_key("a"), store().final_key("absent"),
                                        store().final_key("b")};
  int calls = 0;
  const auto count = [&](std::string_view) { ++calls; };
  EXPECT_TRUE(session.get(keys[0], count));
  EXPECT_EQ(std::exchange(calls, 0), 1) << "get";
  EXPECT_TRUE(session.contains(keys[0], count));
  EXPECT_EQ(std::exchange(calls, 0), 1) << "contains";
  EXPECT_FALSE(session.get(keys[1], count));
  EXPECT_FALSE(session.contains(keys[1], count));
  EXPECT_EQ(calls, 0) << "an absent entry";

  const std::array<std::string_view, 4> asked{keys[0], keys[1], keys[2], keys[0]};
  const std::map<std::size_t, int> once{{0, 1}, {2, 1}, {3, 1}};
  std::map<std::size_t, int> answers;
  session.get_many(asked, [&](std::size_t i, std::string_view) { ++answers[i]; });
  EXPECT_EQ(answers, once) << "get_many";
  if (auto* const ttl = store().extension<TtlExtension>()) {
    EXPECT_TRUE(ttl->get(keys[0], [&](std::string_view, Ttl) { ++calls; }));
    EXPECT_EQ(std::exchange(calls, 0), 1) << "get with lifetimes";
    answers.clear();
    ttl->get_many(asked, [&](std::size_t i, std::string_view, Ttl) { ++answers[i]; });
    EXPECT_EQ(answers, once) << "get_many with lifetimes";
  }
  if (auto* const pop = store().extension<PopExtension>()) {
    EXPECT_TRUE(pop->pop(keys[0], count));
    EXPECT_EQ(calls, 1) << "pop";
    EXPECT_FALSE(pop->pop(keys[0], count));
    EXPECT_EQ(calls, 1) << "pop of an absent entry";
  }
}

TEST_P(BackendConformance, AValueStaysWhatItIsWhileASinkLooksAtIt) {
  for (const std::size_t size : {std::size_t{30}, std::size_t{5000}}) {
    const std::string value(size, 'a');
    store().set("k", value);
    store().visit("k", [&](std::string_view bytes) {
      store().set("k", std::string(2 * size, 'b'));
      store().erase("k");
      EXPECT_TRUE(same_bytes(std::string(bytes), value));
    });
    EXPECT_FALSE(store().contains("k"));
  }
}

TEST_P(BackendConformance, ValuesThatBeginLikeAFrameComeBack) {
  for (const std::string& value : {std::string("\xC1pc"), std::string("\xC1pc\x01\0\0\0\0", 8),
                                   std::string("\xC1pc\xFFrest")}) {
    EXPECT_TRUE(store().set("k", value));
    EXPECT_EQ(store().get("k"), value);
    EXPECT_TRUE(store().contains("k"));
    store().set_many(std::map<std::string, std::string>{{"m", value}});
    EXPECT_EQ(store().get_many({"m"})[0], value);
    EXPECT_EQ(store().pop("m"), value);
  }
}

TEST_P(BackendConformance, AnUnreadableEntryIsAMissAndReadingLeavesItThere) {
  const std::string newer("\xC1pc\x7F of a newer format");
  store().backend().put(store().final_key("k"), newer, Ttl(1min), PutMode::always);
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::entry_damaged), 1U);
  std::string raw;
  store().backend().get(store().final_key("k"), [&](std::string_view bytes) { raw = bytes; });
  EXPECT_EQ(raw, newer);
}

// For an entry that is stored but counts as absent, every operation behaves as for an absent key,
// except erase, which returns whether the store had one.
TEST_P(BackendConformance, AnEntryThatIsNotLiveIsAbsentForEveryOperation) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    SCOPED_TRACE(entry.what);
    const auto store_it = [&] {
      store().backend().put(store().final_key("k"), entry.bytes, Ttl(1min), PutMode::always);
    };
    store_it();
    EXPECT_FALSE(store().get("k"));
    EXPECT_FALSE(store().get_many({"k"})[0]);
    EXPECT_TRUE(store().get_many_map({"k"}).empty());
    EXPECT_FALSE(store().visit("k", [](std::string_view) {}));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_FALSE(store().touch("k", 1h));
    EXPECT_THROW(store().incr_version("k"), KeyNotFound);
    EXPECT_TRUE(store().add("none", 1, 0s)) << "like an absent key";
    EXPECT_TRUE(store().add("k", 1, 0s)) << "there is no live entry";
    EXPECT_TRUE(store().erase("k")) << "the store had an entry";
    EXPECT_FALSE(store().erase("k"));
    store_it();
    EXPECT_FALSE(store().pop("k"));
    EXPECT_FALSE(store().erase("k")) << "pop removed it";
    store_it();
    EXPECT_TRUE(store().add("k", "added"));
    EXPECT_EQ(store().get("k"), "added");
    EXPECT_FALSE(store().add("k", "again"));
    store_it();
    EXPECT_TRUE(store().set("k", "set"));
    EXPECT_EQ(store().get("k"), "set");
    store_it();
    EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "computed");
    EXPECT_EQ(store().get("k"), "computed");
    if (!quirks().has_counters) continue;
    store_it();
    EXPECT_THROW(store().incr("k"), KeyNotFound);
    EXPECT_EQ(store().incr("k", 2, {.initial = 40}), 42);
    EXPECT_EQ(store().get<int>("k"), 42);
    EXPECT_EQ(store().incr("k"), 43);
  }
}

TEST_P(BackendConformance, OnlyAnUnreadableEntryIsWarnedOf) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    SCOPED_TRACE(entry.what);
    const std::size_t before = warnings_of(Warning::Kind::entry_damaged);
    store().backend().put(store().final_key("k"), entry.bytes, Ttl(1min), PutMode::always);
    EXPECT_FALSE(store().get("k"));
    EXPECT_EQ(warnings_of(Warning::Kind::entry_damaged) - before, entry.is_unreadable ? 1U : 0U);
  }
}

TEST_P(BackendConformance, AnEntryWithMetadataIsReadAsItsValue) {
  const std::int64_t now = milliseconds_now();
  const std::string fields = "\x01\x50" + std::string(80, 'f');  // extends beyond the head
  for (const std::string& framed :
       {frame(0, 0, 0, 0, {}, "value"), frame(0, now, now + 3'600'000, 60, {}, "value"),
        frame(0, now, 0, 0, fields, "value")}) {
    store().backend().put(store().final_key("k"), framed, Ttl(1min), PutMode::always);
    EXPECT_EQ(store().get("k"), "value");
    EXPECT_TRUE(store().contains("k"));
    EXPECT_TRUE(store().touch("k", 1h));
    EXPECT_FALSE(store().add("k", "other"));
    EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "value");
    if (quirks().has_counters) {
      EXPECT_THROW(store().incr("k"), ValueError);
    }
    EXPECT_EQ(store().pop("k"), "value");
  }
}

TEST_P(BackendConformance, TypesComeBackAsTheyWere) {
  store().set("bool", true);
  store().set("int", -42);
  store().set("big", std::numeric_limits<std::int64_t>::min());
  store().set("double", 0.1);
  store().set("bytes", std::vector<std::byte>{std::byte{0}, std::byte{255}});
  store().set("duration", 250ms);
  EXPECT_EQ(store().get<bool>("bool"), true);
  EXPECT_EQ(store().get<int>("int"), -42);
  EXPECT_EQ(store().get<std::int64_t>("big"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(store().get<double>("double"), 0.1);
  EXPECT_EQ(store().get<std::vector<std::byte>>("bytes")->size(), 2U);
  EXPECT_EQ(store().get<std::chrono::milliseconds>("duration"), 250ms);
}

TEST_P(BackendConformance, BytesOfAnotherTypeAreAMissAndAWarning) {
  store().set("k", "text");
  EXPECT_FALSE(store().get<int>("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 1U);
  EXPECT_EQ(store().get_many<int>({"k", "absent"})[0], std::nullopt);
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 2U);
  EXPECT_EQ(store().get("k"), "text");
  EXPECT_EQ(store().get_or_set("k", [] { return 5; }), 5);
  EXPECT_EQ(store().get<int>("k"), 5);
}

// --- add, erase, contains, pop ---

TEST_P(BackendConformance, AddStoresOnlyIfAbsent) {
  EXPECT_TRUE(store().add("k", "first"));
  EXPECT_FALSE(store().add("k", "second"));
  EXPECT_EQ(store().get("k"), "first");
  store().erase("k");
  EXPECT_TRUE(store().add("k", "third"));
  EXPECT_EQ(store().get("k"), "third");
}

TEST_P(BackendConformance, AddLeavesTheLifetimeOfALiveEntry) {
  store().set("k", "v", short_life());
  EXPECT_FALSE(store().add("k", "other", never));
  outlive();
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, EraseSaysWhetherThereWasALiveEntry) {
  store().set("k", "v");
  EXPECT_TRUE(store().erase("k"));
  EXPECT_FALSE(store().erase("k"));
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, PopReadsAndRemoves) {
  store().set("k", 7);
  EXPECT_EQ(store().pop<int>("k"), 7);
  EXPECT_FALSE(store().pop<int>("k"));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "text");
  EXPECT_FALSE(store().pop<int>("k"));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, IfPresentReplacesOnlyWhatIsThere) {
  Backend& session = store().backend();
  const std::string key = store().final_key("k");
  EXPECT_FALSE(session.put(key, "v", Ttl(1min), PutMode::if_present));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old");
  EXPECT_TRUE(session.put(key, "new", Ttl(1min), PutMode::if_present));
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_TRUE(session.put(key, "newer", Ttl(short_life()), PutMode::if_present));
  outlive();
  EXPECT_FALSE(store().contains("k")) << "the new lifetime applies";
}

TEST_P(BackendConformance, ContainsShowsTheHeadOfTheValue) {
  store().set("short", "abc");
  std::string value;
  for (int i = 0; i < 1000; ++i) value += std::to_string(i);
  store().set("long", value);
  std::string head;
  const auto take = [&](std::string_view bytes) { head = bytes; };
  EXPECT_TRUE(store().backend().contains(store().final_key("short"), take));
  EXPECT_EQ(head, "abc");
  EXPECT_TRUE(store().backend().contains(store().final_key("long"), take));
  EXPECT_GE(head.size(), 64U);
  EXPECT_TRUE(same_bytes(head, value.substr(0, head.size())));
}

TEST_P(BackendConformance, TouchShowsTheHeadOfTheValue) {
  store().set("short", "abc");
  std::string value;
  for (int i = 0; i < 1000; ++i) value += std::to_string(i);
  store().set("long", value);
  std::string head;
  int shown = 0;
  const auto take = [&](std::string_view bytes) {
    head = bytes;
    ++shown;
  };
  for (const Ttl ttl : {Ttl(1h), Ttl::forever()}) {
    EXPECT_TRUE(store().backend().touch(store().final_key("short"), ttl, take));
    EXPECT_EQ(head, "abc");
    EXPECT_TRUE(store().backend().touch(store().final_key("long"), ttl, take));
    EXPECT_GE(head.size(), 64U);
    EXPECT_TRUE(same_bytes(head, value.substr(0, head.size())));
    EXPECT_FALSE(store().backend().touch(store().final_key("absent"), ttl, take));
  }
  EXPECT_EQ(shown, 4) << "once for each live entry";
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
