// The part of the conformance suite about deques: the extension deque/1. backend_conformance.h
// includes it.

#pragma once

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/deque_extension.h"
#include "polycache/observer.h"
#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

// The deque of one test, by its final key. Deques may outlive clear(), so no two tests have the
// same.
class DequeUnderTest {
 public:
  using End = DequeExtension::End;
  using Values = std::vector<std::string>;

  DequeUnderTest() {
    static std::atomic<int> count{0};
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    key_ = "p:~k:{" + std::to_string(now.count()) + "=" + std::to_string(++count) + "}";
  }

  const std::string& key() const noexcept { return key_; }
  void push(Cache& cache, End end, const Values& values, std::uint64_t most = 0) const {
    const std::vector<std::string_view> views(values.begin(), values.end());
    of(cache).push(key_, end, views, most);
  }
  std::optional<std::string> pop(Cache& cache, End end) const {
    std::optional<std::string> popped;
    int calls = 0;
    const bool was_there = of(cache).pop(key_, end, [&](std::string_view value) {
      popped = value;
      ++calls;
    });
    EXPECT_EQ(calls, was_there ? 1 : 0);
    return popped;
  }
  std::optional<std::string> at(Cache& cache, std::int64_t place) const {
    std::optional<std::string> found;
    const bool is_there = of(cache).at(key_, place, [&](std::string_view value) { found = value; });
    EXPECT_EQ(is_there, found.has_value());
    return found;
  }
  Values list(Cache& cache, std::uint64_t from = 0, std::size_t at_most = 1000) const {
    Values listed;
    const std::size_t count = of(cache).list(
        key_, from, at_most, [&](std::string_view value) { listed.emplace_back(value); });
    EXPECT_EQ(count, listed.size());
    return listed;
  }
  std::uint64_t size(Cache& cache) const { return of(cache).size(key_); }
  void rotate(Cache& cache, std::int64_t steps) const { of(cache).rotate(key_, steps); }
  bool erase(Cache& cache) const { return of(cache).erase_deque(key_); }

  static DequeExtension& of(Cache& cache) { return *cache.extension<DequeExtension>(); }

 private:
  std::string key_;
};

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreWithoutDequesSaysWhichStoresHaveThem) {
  ASSERT_EQ(store().extension<DequeExtension>() != nullptr, quirks().has_deques);
  if (quirks().has_deques) return;
  try {
    store().with_extension<DequeExtension>(Op::deque_push, "name", "has no deques",
                                           [](DequeExtension&, std::string_view) { return true; });
    ADD_FAILURE() << "did not throw";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
    EXPECT_NE(std::string(error.what()).find("has no deques"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("locmem"), std::string::npos) << error.what();
  }
}

TEST_P(BackendConformance, ADequeGivesItsValuesFromBothEnds) {
  if (!quirks().has_deques) return;
  using End = DequeExtension::End;
  const DequeUnderTest deque;
  EXPECT_EQ(deque.pop(store(), End::front), std::nullopt);
  deque.push(store(), End::back, {"b"});
  deque.push(store(), End::back, {"c"});
  deque.push(store(), End::front, {"a"});
  EXPECT_EQ(deque.size(store()), 3U);
  EXPECT_EQ(DequeUnderTest().size(store()), 0U) << "another deque";
  EXPECT_EQ(deque.pop(store(), End::back), "c");
  EXPECT_EQ(deque.pop(store(), End::front), "a");
  EXPECT_EQ(deque.pop(store(), End::front), "b");
  EXPECT_EQ(deque.pop(store(), End::front), std::nullopt);
  EXPECT_EQ(deque.pop(store(), End::back), std::nullopt);
  EXPECT_EQ(deque.size(store()), 0U);
}

TEST_P(BackendConformance, SeveralValuesAreAddedOneAfterTheOther) {
  if (!quirks().has_deques) return;
  const DequeUnderTest deque;
  deque.push(store(), DequeExtension::End::back, {"1", "2", "3"});
  deque.push(store(), DequeExtension::End::front, {"a", "b"});
  EXPECT_EQ(deque.list(store()), (DequeUnderTest::Values{"b", "a", "1", "2", "3"}));
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, ALimitedDequeDropsValuesFromItsOtherEnd) {
  if (!quirks().has_deques) return;
  using End = DequeExtension::End;
  const DequeUnderTest deque;
  deque.push(store(), End::back, {"1", "2"}, 3);
  EXPECT_EQ(deque.size(store()), 2U);
  deque.push(store(), End::back, {"3", "4"}, 3);
  EXPECT_EQ(deque.list(store()), (DequeUnderTest::Values{"2", "3", "4"}));
  deque.push(store(), End::front, {"a"}, 3);
  EXPECT_EQ(deque.list(store()), (DequeUnderTest::Values{"a", "2", "3"}));
  deque.push(store(), End::back, {"4", "5", "6", "7", "8"}, 3);
  EXPECT_EQ(deque.list(store()), (DequeUnderTest::Values{"6", "7", "8"})) << "more than its limit";
  deque.push(store(), End::back, {"9"});
  EXPECT_EQ(deque.size(store()), 4U) << "without a limit";
  deque.push(store(), End::front, {"b"}, 2);
  EXPECT_EQ(deque.list(store()), (DequeUnderTest::Values{"b", "6"}));
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, APlaceInADequeCountsFromEitherEnd) {
  if (!quirks().has_deques) return;
  const DequeUnderTest deque;
  EXPECT_EQ(deque.at(store(), 0), std::nullopt);
  EXPECT_EQ(deque.at(store(), -1), std::nullopt);
  deque.push(store(), DequeExtension::End::front, {"b", "a"});
  deque.push(store(), DequeExtension::End::back, {"c"});
  EXPECT_EQ(deque.at(store(), 0), "a");
  EXPECT_EQ(deque.at(store(), 2), "c");
  EXPECT_EQ(deque.at(store(), 3), std::nullopt);
  EXPECT_EQ(deque.at(store(), -1), "c");
  EXPECT_EQ(deque.at(store(), -3), "a");
  EXPECT_EQ(deque.at(store(), -4), std::nullopt);
  EXPECT_EQ(deque.size(store()), 3U) << "reading removes nothing";
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, APageOfADequeHasTheValuesFromAPlaceOn) {
  if (!quirks().has_deques) return;
  using Values = DequeUnderTest::Values;
  const DequeUnderTest deque;
  EXPECT_EQ(deque.list(store()), Values{});
  deque.push(store(), DequeExtension::End::front, {"b", "a"});
  deque.push(store(), DequeExtension::End::back, {"c", "d"});
  EXPECT_EQ(deque.list(store(), 0, 2), (Values{"a", "b"}));
  EXPECT_EQ(deque.list(store(), 1, 2), (Values{"b", "c"}));
  EXPECT_EQ(deque.list(store(), 3, 2), (Values{"d"}));
  EXPECT_EQ(deque.list(store(), 4, 2), Values{});
  EXPECT_EQ(deque.list(store(), 0, SIZE_MAX).size(), 4U);
  EXPECT_EQ(deque.list(store(), UINT64_MAX, 1), Values{});
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, RotatingADequeMovesValuesFromOneEndToTheOther) {
  if (!quirks().has_deques) return;
  using Values = DequeUnderTest::Values;
  const DequeUnderTest deque;
  deque.rotate(store(), 1);
  EXPECT_FALSE(deque.erase(store()));
  deque.push(store(), DequeExtension::End::back, {"a"});
  deque.rotate(store(), 3);
  EXPECT_EQ(deque.list(store()), (Values{"a"}));
  deque.push(store(), DequeExtension::End::back, {"b", "c", "d", "e"});
  const auto rotated = [&](std::int64_t steps) {
    deque.rotate(store(), steps);
    std::string joined;
    for (const std::string& value : deque.list(store())) joined += value;
    return joined;
  };
  EXPECT_EQ(rotated(1), "eabcd");
  EXPECT_EQ(rotated(-1), "abcde");
  EXPECT_EQ(rotated(2), "deabc");
  EXPECT_EQ(rotated(-2), "abcde");
  EXPECT_EQ(rotated(4), "bcdea");
  EXPECT_EQ(rotated(-4), "abcde");
  EXPECT_EQ(rotated(5), "abcde");
  EXPECT_EQ(rotated(0), "abcde");
  EXPECT_EQ(rotated(13), "cdeab");
  EXPECT_EQ(rotated(-13), "abcde");
  // 2^53 is 2 more than a multiple of 5.
  EXPECT_EQ(rotated(DequeExtension::most_steps), "deabc");
  EXPECT_EQ(rotated(-DequeExtension::most_steps), "abcde");
  EXPECT_EQ(deque.at(store(), 0), "a") << "the ends are as before";
  EXPECT_EQ(deque.at(store(), -1), "e");
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, ADequeIsErasedAsAWhole) {
  if (!quirks().has_deques) return;
  const DequeUnderTest deque;
  const DequeUnderTest other;
  EXPECT_FALSE(deque.erase(store()));
  deque.push(store(), DequeExtension::End::back, {"a", "b"});
  other.push(store(), DequeExtension::End::back, {"c"});
  EXPECT_TRUE(deque.erase(store()));
  EXPECT_FALSE(deque.erase(store()));
  EXPECT_EQ(deque.size(store()), 0U);
  EXPECT_EQ(deque.list(store()), DequeUnderTest::Values{});
  EXPECT_EQ(other.pop(store(), DequeExtension::End::front), "c");
}

TEST_P(BackendConformance, ADequeKeepsAnyBytes) {
  if (!quirks().has_deques) return;
  using End = DequeExtension::End;
  const DequeUnderTest deque;
  std::string all_bytes;
  for (int i = 0; i < 256; ++i) all_bytes += static_cast<char>(i);
  for (const std::string& value : {std::string(), std::string("\0", 1), std::string("10"),
                                   all_bytes, std::string(std::size_t{1} << 20U, 'x')}) {
    deque.push(store(), End::back, {value, "behind"});
    EXPECT_EQ(deque.at(store(), 0), value) << value.size();
    EXPECT_EQ(deque.list(store(), 0, 1), (DequeUnderTest::Values{value})) << value.size();
    EXPECT_EQ(deque.pop(store(), End::front), value) << value.size();
    EXPECT_EQ(deque.pop(store(), End::front), "behind");
  }
}

TEST_P(BackendConformance, ADequeMeetsNoEntry) {
  if (!quirks().has_deques) return;
  const DequeUnderTest deque;
  deque.push(store(), DequeExtension::End::back, {"a", "b"});
  store().set("k", "v");
  if (can_scan()) {
    int listed = 0;
    for (const EntryInfo& entry : store().scan("*")) listed += entry.key.empty() ? 100 : 1;
    EXPECT_EQ(listed, 1);
  }
  EXPECT_EQ(store().get("k"), "v");
  EXPECT_TRUE(store().erase("k"));
  EXPECT_EQ(deque.size(store()), 2U);
  EXPECT_TRUE(deque.erase(store()));
}

TEST_P(BackendConformance, AStoreSaysWhetherItKeepsDeques) {
  if (!quirks().has_deques) return;
  EXPECT_EQ(DequeUnderTest::of(store()).keeping(), DequeExtension::Keeping::kept);
}

// Which values were popped how often, of those that producers have numbered.
class PoppedOnce {
 public:
  static constexpr int producers = 3;
  static constexpr int each = 40;

  static std::string name(int producer, int i) { return std::to_string(producer * each + i); }
  void add(const std::string& value) {
    const std::lock_guard lock(mutex_);
    ++counts_.at(static_cast<std::size_t>(std::stoi(value)));
  }
  int wrong() const {
    int wrong = 0;
    for (const int count : counts_) wrong += count == 1 ? 0 : 1;
    return wrong;
  }

 private:
  std::mutex mutex_;
  std::array<int, producers * each> counts_{};
};

TEST_P(BackendConformance, ThreadsPopEachValueOnce) {
  if (!quirks().has_deques) return;
  using End = DequeExtension::End;
  const DequeUnderTest deque;
  PoppedOnce popped;
  std::atomic<int> left{PoppedOnce::producers * PoppedOnce::each};
  on_threads(2 * PoppedOnce::producers, [&](int thread) {
    const End end = thread % 2 == 0 ? End::front : End::back;
    if (thread < PoppedOnce::producers) {
      for (int i = 0; i < PoppedOnce::each; ++i) {
        deque.push(store(), end, {PoppedOnce::name(thread, i)});
      }
      return;
    }
    while (left > 0) {
      if (const auto value = deque.pop(store(), end)) {
        popped.add(*value);
        --left;
      } else {
        std::this_thread::yield();
      }
    }
  });
  EXPECT_EQ(popped.wrong(), 0);
  EXPECT_EQ(deque.size(store()), 0U);
}

TEST_P(BackendConformance, ProcessesPopEachValueOnce) {
  if (!quirks().has_deques || !quirks().shared_between_processes) return;
  using End = DequeExtension::End;
  const DequeUnderTest queue;
  const DequeUnderTest done;
  in_processes(PoppedOnce::producers, [&](int process) {
    const End end = process % 2 == 0 ? End::front : End::back;
    for (int i = 0; i < PoppedOnce::each; ++i) {
      queue.push(store(), end, {PoppedOnce::name(process, i)});
      if (const auto value = queue.pop(store(), end)) done.push(store(), End::back, {*value});
    }
    return true;
  });
  PoppedOnce popped;
  while (const auto value = queue.pop(store(), End::front)) popped.add(*value);
  while (const auto value = done.pop(store(), End::front)) popped.add(*value);
  EXPECT_EQ(popped.wrong(), 0);
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, HasNoDeques) {
  EXPECT_EQ(store().extension<DequeExtension>(), nullptr);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
