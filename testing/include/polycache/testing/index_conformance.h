// The part of the conformance suite about ordered maps: the extension index/1.
// backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/index_extension.h"
#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// The index of one test, by its final key. Some stores keep indexes in clear(), so no two tests
// have the same; it is cleared at the end.
class IndexUnderTest {
 public:
  using Side = IndexExtension::Side;
  using Order = IndexExtension::Order;
  using Range = IndexExtension::Range;

  explicit IndexUnderTest(Cache& cache, Order order = Order::by_key)
      : cache_(cache), order_(order) {
    static std::atomic<int> count{0};
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    key_ = "p:~k:{" + std::to_string(now.count()) + "-" + std::to_string(++count) + "}";
  }
  IndexUnderTest(const IndexUnderTest&) = delete;
  IndexUnderTest& operator=(const IndexUnderTest&) = delete;
  ~IndexUnderTest() {
    try {
      clear(cache_);
    } catch (const std::exception&) {  // the test has failed already
    }
  }

  void set_type(std::string type) { type_ = std::move(type); }

  // In text: "value", "none", "a=1 b=2". Empty keys and values are "".
  std::string find(Cache& cache, std::string_view key) const {
    return with_value([&](ValueSink sink) { return of(cache).find(place(), key, sink); });
  }
  std::string erase(Cache& cache, std::string_view key) const {
    return with_value([&](ValueSink sink) { return of(cache).erase(place(), key, sink); });
  }
  // "new", "old", "none", or the value that is there.
  std::string put(Cache& cache, std::string_view key, std::string_view value,
                  PutMode mode = PutMode::always) const {
    std::string held;
    const IndexExtension::Put put =
        of(cache).put(place(), key, value, mode, [&](std::string_view there) { held = there; });
    if (put.stored) return put.was_there ? "old" : "new";
    return put.was_there ? held : "none";
  }
  std::string take(Cache& cache, Side side) const {
    std::string taken;
    const auto sink = [&](const IndexExtension::Entry& entry) { append(taken, entry); };
    return of(cache).take(place(), side, sink) ? taken : "none";
  }
  // "..." at the end: there are more.
  std::string list(Cache& cache, const Range& range = {}) const {
    std::string listed;
    const bool more = of(cache).list(
        place(), range, [&](const IndexExtension::Entry& entry) { append(listed, entry); });
    return listed + (more ? " ..." : "");
  }
  std::vector<std::uint64_t> positions(Cache& cache) const {
    std::vector<std::uint64_t> positions;
    of(cache).list(place(), {}, [&](const IndexExtension::Entry& entry) {
      positions.push_back(entry.position);
    });
    return positions;
  }
  std::uint64_t count(Cache& cache) const { return of(cache).count(place()); }
  std::uint64_t clear(Cache& cache) const { return of(cache).clear(place()); }

  static IndexExtension& of(Cache& cache) { return *cache.extension<IndexExtension>(); }

 private:
  IndexExtension::Place place() const noexcept {
    return {.key = key_, .type = type_, .order = order_};
  }
  template <class F>
  static std::string with_value(F f) {
    std::string value;
    int calls = 0;
    const bool found = f([&](std::string_view bytes) {
      value = bytes;
      ++calls;
    });
    EXPECT_EQ(calls, found ? 1 : 0);
    return found ? value : "none";
  }
  static void append(std::string& text, const IndexExtension::Entry& entry) {
    if (!text.empty()) text += ' ';
    text.append(entry.key).append("=").append(entry.value);
  }

  Cache& cache_;
  Order order_;
  std::string key_;
  std::string type_ = "of the test";
};

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreWithoutIndexesSaysWhichStoresHaveThem) {
  ASSERT_EQ(store().extension<IndexExtension>() != nullptr, quirks().has_indexes);
  if (quirks().has_indexes) return;
  try {
    store().with_extension<IndexExtension>(Op::find_in_index, "name", "has no indexes",
                                           [](IndexExtension&, std::string_view) { return true; });
    ADD_FAILURE() << "did not throw";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
    EXPECT_NE(std::string(error.what()).find("has no indexes"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("locmem"), std::string::npos) << error.what();
  }
}

TEST_P(BackendConformance, AnIndexKeepsWhatWasPutUntilItIsErased) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  EXPECT_EQ(index.find(store(), "a"), "none");
  EXPECT_EQ(index.erase(store(), "a"), "none");
  EXPECT_EQ(index.count(store()), 0U);
  EXPECT_EQ(index.put(store(), "a", "1"), "new");
  EXPECT_EQ(index.put(store(), "b", "2"), "new");
  EXPECT_EQ(index.find(store(), "a"), "1");
  EXPECT_EQ(index.put(store(), "a", "3"), "old");
  EXPECT_EQ(index.find(store(), "a"), "3");
  EXPECT_EQ(index.count(store()), 2U);
  EXPECT_EQ(index.erase(store(), "a"), "3");
  EXPECT_EQ(index.erase(store(), "a"), "none");
  EXPECT_EQ(index.find(store(), "a"), "none");
  EXPECT_EQ(index.find(store(), "b"), "2");
  EXPECT_EQ(index.count(store()), 1U);
}

TEST_P(BackendConformance, PuttingIntoAnIndexHasModes) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  EXPECT_EQ(index.put(store(), "a", "1", PutMode::if_present), "none");
  EXPECT_EQ(index.put(store(), "a", "2", PutMode::if_absent), "new");
  EXPECT_EQ(index.put(store(), "a", "3", PutMode::if_absent), "2");
  EXPECT_EQ(index.find(store(), "a"), "2");
  EXPECT_EQ(index.put(store(), "a", "4", PutMode::if_present), "old");
  EXPECT_EQ(index.find(store(), "a"), "4");
  EXPECT_EQ(index.put(store(), "b", "5", PutMode::if_present), "none");
  EXPECT_EQ(index.count(store()), 1U);
}

TEST_P(BackendConformance, KeysAndValuesOfAnIndexAreBytes) {
  if (!quirks().has_indexes) return;
  using std::string_literals::operator""s;
  const IndexUnderTest index(store());
  const std::vector<std::string> keys{"",      "\0"s,   "\0\0"s,    "\0a"s,  "\x01",    " ",
                                      "A",     "a",     "a\0"s,     "a\0b"s, "a b",     "ab",
                                      "a\x7F", "a\x80", "\xC3\xA9", "\xFF",  "\xFF\0"s, "\xFF\xFF"};
  for (std::size_t i = keys.size(); i-- > 0;) {
    EXPECT_EQ(index.put(store(), keys[i], "v" + keys[i]), "new") << i;
  }
  EXPECT_EQ(index.count(store()), keys.size());
  std::string all;
  for (const std::string& key : keys) {
    EXPECT_EQ(index.find(store(), key), "v" + key);
    all += (all.empty() ? "" : " ") + key + "=v" + key;
  }
  EXPECT_EQ(index.list(store()), all);
  const std::string large(300'000, '\xFE');
  EXPECT_EQ(index.put(store(), "", large), "old");
  EXPECT_EQ(index.find(store(), ""), large);
  EXPECT_EQ(index.put(store(), "", ""), "old");
  EXPECT_EQ(index.find(store(), ""), "");
}

TEST_P(BackendConformance, AnIndexListsRangesFromBothEndsInPages) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  using Side = IndexUnderTest::Side;
  EXPECT_EQ(index.list(store()), "");
  for (const char* const key : {"d", "b", "e", "a", "c"}) index.put(store(), key, "1");
  EXPECT_EQ(index.list(store()), "a=1 b=1 c=1 d=1 e=1");
  EXPECT_EQ(index.list(store(), {.side = Side::last}), "e=1 d=1 c=1 b=1 a=1");
  EXPECT_EQ(index.list(store(), {.at_most = 2}), "a=1 b=1 ...");
  EXPECT_EQ(index.list(store(), {.side = Side::last, .at_most = 2}), "e=1 d=1 ...");
  EXPECT_EQ(index.list(store(), {.from = "b", .to = "d"}), "b=1 c=1");
  EXPECT_EQ(index.list(store(), {.from = "b", .to = "d", .side = Side::last}), "c=1 b=1");
  EXPECT_EQ(index.list(store(), {.from = "bb"}), "c=1 d=1 e=1");
  EXPECT_EQ(index.list(store(), {.to = "bb"}), "a=1 b=1");
  EXPECT_EQ(index.list(store(), {.to = ""}), "");
  EXPECT_EQ(index.list(store(), {.from = "d", .to = "b"}), "");
  EXPECT_EQ(index.list(store(), {.from = "x"}), "");
  EXPECT_EQ(index.list(store(), {.from = "b", .to = "e", .at_most = 1}), "b=1 ...");
  EXPECT_EQ(index.positions(store()), std::vector<std::uint64_t>(5, 0));
}

TEST_P(BackendConformance, AnIndexGivesItsItemsAtBothEnds) {
  if (!quirks().has_indexes) return;
  using Side = IndexUnderTest::Side;
  const IndexUnderTest index(store());
  EXPECT_EQ(index.take(store(), Side::first), "none");
  for (const char* const key : {"b", "d", "a", "c"}) index.put(store(), key, key);
  EXPECT_EQ(index.take(store(), Side::first), "a=a");
  EXPECT_EQ(index.take(store(), Side::last), "d=d");
  EXPECT_EQ(index.take(store(), Side::last), "c=c");
  EXPECT_EQ(index.take(store(), Side::first), "b=b");
  EXPECT_EQ(index.take(store(), Side::last), "none");
  EXPECT_EQ(index.count(store()), 0U);
}

TEST_P(BackendConformance, AnIndexByInsertionKeepsThePositionOfAKey) {
  if (!quirks().has_indexes) return;
  using Side = IndexUnderTest::Side;
  const IndexUnderTest index(store(), IndexUnderTest::Order::by_insertion);
  for (const char* const key : {"d", "b", "e", "a"}) index.put(store(), key, "1");
  index.put(store(), "b", "2");
  index.put(store(), "e", "3", PutMode::if_present);
  EXPECT_EQ(index.list(store()), "d=1 b=2 e=3 a=1");
  EXPECT_EQ(index.list(store(), {.side = Side::last, .at_most = 3}), "a=1 e=3 b=2 ...");
  index.erase(store(), "d");
  index.put(store(), "d", "4");
  EXPECT_EQ(index.list(store()), "b=2 e=3 a=1 d=4");
  const std::vector<std::uint64_t> positions = index.positions(store());
  ASSERT_EQ(positions.size(), 4U);
  EXPECT_GT(positions[0], 0U);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_GT(positions[i], positions[i - 1]) << i;
  EXPECT_EQ(index.list(store(), {.after = positions[0], .at_most = 2}), "e=3 a=1 ...");
  EXPECT_EQ(index.list(store(), {.after = positions[0], .before = positions[3]}), "e=3 a=1");
  EXPECT_EQ(index.list(store(), {.before = positions[3], .side = Side::last}), "a=1 e=3 b=2");
  EXPECT_EQ(index.list(store(), {.after = positions[3]}), "");
  EXPECT_EQ(index.take(store(), Side::last), "d=4");
  EXPECT_EQ(index.take(store(), Side::first), "b=2");
  EXPECT_EQ(index.list(store()), "e=3 a=1");
  for (int i = 0; i < 2; ++i) index.take(store(), Side::last);
  index.put(store(), "z", "1");
  EXPECT_GT(index.positions(store()).at(0), positions[3]) << "it was empty";
}

TEST_P(BackendConformance, AnIndexOfAnotherTypeIsRefused) {
  if (!quirks().has_indexes) return;
  IndexUnderTest index(store());
  index.set_type("apples");
  EXPECT_EQ(index.count(store()), 0U);
  index.put(store(), "a", "1");
  index.set_type("pears");
  const auto refused = [](auto f) {
    try {
      f();
    } catch (const ValueError& error) {
      const std::string text = error.what();
      return text.find("apples") != std::string::npos && text.find("pears") != std::string::npos;
    }
    return false;
  };
  EXPECT_TRUE(refused([&] { index.find(store(), "a"); }));
  EXPECT_TRUE(refused([&] { index.find(store(), "b"); }));
  EXPECT_TRUE(refused([&] { index.put(store(), "b", "1"); }));
  EXPECT_TRUE(refused([&] { index.put(store(), "a", "1", PutMode::if_absent); }));
  EXPECT_TRUE(refused([&] { index.put(store(), "b", "1", PutMode::if_present); }));
  EXPECT_TRUE(refused([&] { index.erase(store(), "a"); }));
  EXPECT_TRUE(refused([&] { index.take(store(), IndexUnderTest::Side::first); }));
  EXPECT_TRUE(refused([&] { index.list(store()); }));
  EXPECT_TRUE(refused([&] { index.count(store()); }));
  index.set_type("apples");
  EXPECT_EQ(index.list(store()), "a=1") << "nothing changed";
  index.erase(store(), "a");
  index.set_type("pears");
  EXPECT_TRUE(refused([&] { index.put(store(), "b", "1"); })) << "it is empty, but it is there";
  EXPECT_EQ(index.clear(store()), 0U);
  EXPECT_EQ(index.put(store(), "b", "1"), "new");
}

TEST_P(BackendConformance, ClearingAnIndexRemovesItsItemsAndNoOthers) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  const IndexUnderTest other(store());
  EXPECT_EQ(index.clear(store()), 0U);
  index.put(store(), "a", "1");
  index.put(store(), "b", "1");
  other.put(store(), "a", "2");
  store().set("a", 3);
  EXPECT_EQ(index.clear(store()), 2U);
  EXPECT_EQ(index.count(store()), 0U);
  EXPECT_EQ(index.list(store()), "");
  EXPECT_EQ(other.list(store()), "a=2");
  EXPECT_EQ(store().get<int>("a"), 3);
}

TEST_P(BackendConformance, SessionsShareAnIndex) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  index.put(store(), "a", "1");
  Cache another(store().state());
  EXPECT_EQ(index.find(another, "a"), "1");
  EXPECT_EQ(index.put(another, "b", "2"), "new");
  EXPECT_EQ(index.list(store()), "a=1 b=2");
  another.close();
  EXPECT_EQ(index.list(another), "a=1 b=2");
}

TEST_P(BackendConformance, TheSinkOfAnIndexMayUseIt) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  for (const char* const key : {"a", "b", "c"}) index.put(store(), key, "1");
  Cache another(store().state());
  auto& extension = IndexUnderTest::of(store());
  std::string seen;
  const IndexExtension::Place place{.key = "p:~k:{sink}", .type = "of the test"};
  extension.put(place, "k", "v", PutMode::always, [](std::string_view) {});
  extension.find(place, "k", [&](std::string_view) { seen += index.erase(another, "a"); });
  extension.erase(place, "k", [&](std::string_view) { seen += index.erase(another, "b"); });
  extension.put(place, "k", "v", PutMode::always, [](std::string_view) {});
  extension.list(place, {}, [&](const auto&) { seen += index.put(another, "d", "2"); });
  extension.take(place, IndexExtension::Side::last,
                 [&](const auto&) { seen += index.erase(another, "c"); });
  EXPECT_EQ(seen, "11new1");
  EXPECT_EQ(index.list(store()), "d=2");
  extension.clear(place);
}

TEST_P(BackendConformance, EachItemOfAnIndexIsTakenByOneOfManyThreads) {
  if (!quirks().has_indexes) return;
  using Side = IndexUnderTest::Side;
  constexpr int count = 120;
  for (const auto order : {IndexUnderTest::Order::by_key, IndexUnderTest::Order::by_insertion}) {
    const IndexUnderTest index(store(), order);
    for (int i = 0; i < count; ++i) index.put(store(), std::to_string(i), "1");
    std::mutex mutex;
    std::multiset<std::string> taken;
    restless_clock_.set_restless(true);
    on_threads(4, [&](int thread) {
      for (std::string item; item != "none";) {
        item = index.take(registry()["store"], thread % 2 == 0 ? Side::first : Side::last);
        const std::lock_guard lock(mutex);
        if (item != "none") taken.insert(item);
      }
    });
    restless_clock_.set_restless(false);
    EXPECT_EQ(taken.size(), static_cast<std::size_t>(count));
    EXPECT_EQ(std::set<std::string>(taken.begin(), taken.end()).size(), taken.size());
    EXPECT_EQ(index.count(store()), 0U);
  }
}

TEST_P(BackendConformance, OneOfManyThreadsInsertsAKeyIntoAnIndex) {
  if (!quirks().has_indexes) return;
  const IndexUnderTest index(store());
  for (int turn = 0; turn < 20; ++turn) {
    const std::string key = std::to_string(turn);
    std::atomic<int> inserted{0};
    restless_clock_.set_restless(true);
    on_threads(4, [&](int thread) {
      const std::string own = std::to_string(thread);
      Cache& cache = registry()["store"];
      if (index.put(cache, key, own, PutMode::if_absent) == "new") ++inserted;
    });
    restless_clock_.set_restless(false);
    EXPECT_EQ(inserted, 1) << turn;
  }
}

TEST_P(BackendConformance, AStoreSaysWhetherItKeepsIndexes) {
  if (!quirks().has_indexes) return;
  EXPECT_EQ(IndexUnderTest::of(store()).keeping(), LockExtension::Keeping::kept);
}

#endif

}  // namespace polycache::testing
