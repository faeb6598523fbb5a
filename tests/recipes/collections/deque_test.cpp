// Deques in one process, on the simplest store. Stores behind files and servers:
// tests/recipes/collections/deque_stores_test.cpp; threads and processes: deque_process_test.cpp.

#include "polycache/deque.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "support/message_of.h"
#include "support/mirror_transform.h"

namespace polycache::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

enum class Colour : std::uint8_t { red, green };

// Encodes as an int, and refuses to decode one that is negative.
struct Picky {
  int value = 0;
};

}  // namespace
}  // namespace polycache::testing

template <>
struct polycache::Codec<polycache::testing::Picky> {
  static std::string_view encode(const testing::Picky& picky, std::string& scratch) {
    return scratch = std::to_string(picky.value);
  }
  static std::optional<testing::Picky> decode(std::string_view bytes) {
    if (bytes.starts_with('-')) return std::nullopt;
    return testing::Picky{std::stoi(std::string(bytes))};
  }
};

namespace polycache::testing {
namespace {

class DequeTest : public ::testing::Test {
 protected:
  DequeTest()
      : registry_({.caches = {{"default", {.backend = "memory", .layers = {{.name = "chaos"}}}},
                              {"mirrored", {.backend = "memory", .transform = {{"mirror"}}}},
                              {"none", {.backend = "dummy"}}}},
                  {.clock = &clock_,
                   .linked_plugins = {&memory_store, &chaos_layer, &mirror, &dummy::plugin}}),
        global_(registry_) {}

  template <class T>
  static std::vector<T> seen(const Deque<T>& deque) {
    std::vector<T> all;
    for (const T& value : deque) all.push_back(value);
    return all;
  }

  ManualClock clock_;
  CacheRegistry registry_;
  ScopedGlobalRegistry global_;
};

TEST_F(DequeTest, BothEndsPushPopAndPeek) {
  Deque<std::string> deque("jobs");
  EXPECT_EQ(deque.name(), "jobs");
  EXPECT_TRUE(deque.empty());
  EXPECT_EQ(deque.pop_front(), std::nullopt);
  EXPECT_EQ(deque.peek_back(), std::nullopt);
  deque.push_back("b");
  deque.push_back("c");
  deque.push_front("a");
  EXPECT_EQ(deque.size(), 3U);
  EXPECT_EQ(deque.peek_front(), "a");
  EXPECT_EQ(deque.peek_back(), "c");
  EXPECT_EQ(deque.at(1), "b");
  EXPECT_EQ(deque.at(-2), "b");
  EXPECT_EQ(deque.at(3), std::nullopt);
  EXPECT_EQ(deque.pop_back(), "c");
  EXPECT_EQ(deque.pop_front(), "a");
  EXPECT_TRUE(deque.clear());
  EXPECT_FALSE(deque.clear());
}

TEST_F(DequeTest, ExtendAddsOneAfterTheOtherAtEitherEnd) {
  Deque<int> deque("d");
  deque.extend_back({1, 2});
  deque.extend_front(std::vector<int>{10, 11});
  deque.extend_back(std::vector<int>());
  EXPECT_THAT(deque.values(), ElementsAre(11, 10, 1, 2));
  EXPECT_THAT(deque.values(1, 2), ElementsAre(10, 1));
  EXPECT_THAT(deque.values(9), IsEmpty());
  EXPECT_THAT(deque.values(0, 0), IsEmpty());
  deque.rotate();
  EXPECT_THAT(deque.values(), ElementsAre(2, 11, 10, 1));
  deque.rotate(-2);
  EXPECT_THAT(deque.values(), ElementsAre(10, 1, 2, 11));
}

TEST_F(DequeTest, ALongExtensionIsAddedInStepsAndKeepsItsOrder) {
  Deque<int> deque("d", {.page = 7});
  std::vector<int> numbers(1000);
  for (int i = 0; i < 1000; ++i) numbers[static_cast<std::size_t>(i)] = i;
  deque.extend_back(numbers);
  EXPECT_EQ(deque.size(), 1000U);
  EXPECT_EQ(seen(deque), numbers);
  EXPECT_EQ(deque.values(), numbers);
}

TEST_F(DequeTest, MaxlenDropsFromTheOtherEnd) {
  Deque<int> last("d", {.maxlen = 3});
  EXPECT_EQ(last.maxlen(), 3U);
  last.extend_back({1, 2, 3, 4});
  EXPECT_THAT(last.values(), ElementsAre(2, 3, 4));
  last.push_front(9);
  EXPECT_THAT(last.values(), ElementsAre(9, 2, 3));
  Deque<int> free("d");
  EXPECT_EQ(free.maxlen(), std::nullopt);
  free.push_back(5);
  EXPECT_EQ(last.size(), 4U) << "the limit belongs to the object";
  last.push_back(6);
  EXPECT_THAT(free.values(), ElementsAre(3, 5, 6));
}

TEST_F(DequeTest, TypesOfManyKindsReadBackEqual) {
  Deque<double> numbers("numbers");
  numbers.push_back(0.1);
  EXPECT_EQ(numbers.pop_back(), 0.1);
  Deque<Colour> colours("colours");
  colours.push_back(Colour::green);
  EXPECT_EQ(colours.pop_back(), Colour::green);
  Deque<std::vector<std::byte>> bytes("bytes");
  bytes.push_back({std::byte{0xC1}, std::byte{0}});
  EXPECT_EQ(bytes.pop_back(), (std::vector<std::byte>{std::byte{0xC1}, std::byte{0}}));
  Deque<std::string> texts("texts");
  for (const std::string& text : {std::string(), std::string("\xC1pc"), std::string(1, '\0')}) {
    texts.push_back(text);
    EXPECT_EQ(texts.pop_back(), text);
  }
}

TEST_F(DequeTest, AValueOfAnotherTypeIsAnErrorThatNamesBothAndLosesNothing) {
  Deque<int> numbers("d");
  numbers.extend_back({1, 2});
  Deque<std::string> texts("d");
  const auto is_clear = AllOf(HasSubstr("deque \"d\""), HasSubstr("\"i32\""), HasSubstr("\"str\""));
  EXPECT_THAT(message_of<ValueError>([&] { texts.pop_front(); }), is_clear);
  EXPECT_THAT(message_of<ValueError>([&] { texts.pop_back(); }), is_clear);
  EXPECT_THAT(message_of<ValueError>([&] { texts.peek_front(); }), is_clear);
  EXPECT_THAT(message_of<ValueError>([&] { texts.values(); }), is_clear);
  EXPECT_THAT(message_of<ValueError>([&] { seen(texts); }), is_clear);
  EXPECT_THAT(numbers.values(), ElementsAre(1, 2));
  Deque<Colour> colours("d");
  EXPECT_THAT(message_of<ValueError>([&] { colours.pop_front(); }), HasSubstr("not \"#"));
}

TEST_F(DequeTest, AValueThatItsCodecRefusesStaysWhereItWas) {
  Deque<Picky> deque("d", {.maxlen = 2});
  deque.extend_back({Picky{-1}, Picky{5}});
  EXPECT_THAT(message_of<ValueError>([&] { deque.pop_front(); }),
              HasSubstr("deque \"d\": the codec"));
  EXPECT_EQ(deque.size(), 2U);
  EXPECT_EQ(deque.pop_back()->value, 5);
  EXPECT_THROW(deque.pop_back(), ValueError);
  EXPECT_EQ(deque.size(), 1U);
}

TEST_F(DequeTest, TheTypeMayHaveANameOfTheProgram) {
  Deque<Colour> here("d", {.collection = {.type = "colour"}});
  here.push_back(Colour::green);
  EXPECT_EQ(Deque<Colour>("d", {.collection = {.type = "colour"}}).peek_back(), Colour::green);
  EXPECT_THROW(Deque<Colour>("d").peek_back(), ValueError);
  const std::string long_name(1000, 'x');
  Deque<int> named("long", {.collection = {.type = long_name}});
  named.push_back(1);
  EXPECT_EQ(named.pop_back(), 1);
}

TEST_F(DequeTest, TheTransformsOfItsAliasChangeItsValues) {
  Deque<std::string> mirrored("d", {.collection = {.cache = "mirrored"}});
  mirrored.extend_back({"secret", ""});
  std::string stored;
  registry_["mirrored"].with_extension<DequeExtension>(
      Op::deque_read, "d.d", "has no deques", [&](DequeExtension& deques, std::string_view key) {
        return deques.at(key, 0, [&](std::string_view value) { stored = value; });
      });
  EXPECT_FALSE(stored.empty());
  EXPECT_EQ(stored.find("secret"), std::string::npos);
  EXPECT_THAT(mirrored.values(), ElementsAre("secret", ""));

  Deque<std::string> plain("d");  // the same one, of an alias without the transform
  EXPECT_THAT(message_of<ValueError>([&] { plain.pop_front(); }),
              AllOf(HasSubstr("deque \"d\""), HasSubstr("\"mirror\"")));
  EXPECT_EQ(mirrored.pop_front(), "secret");
  EXPECT_TRUE(mirrored.clear());
  plain.push_back("plain");
  EXPECT_THAT(message_of<ValueError>([&] { mirrored.peek_back(); }),
              HasSubstr("without the transform \"mirror\""));
}

TEST_F(DequeTest, BadInputIsRefusedAtOnce) {
  EXPECT_THAT(message_of<ValueError>([] { Deque<int>(""); }),
              HasSubstr("deque: the name is empty; give it one"));
  EXPECT_THAT(message_of<ValueError>([] { Deque<int>("d", {.maxlen = 0}); }),
              HasSubstr("deque \"d\": a maxlen of 0"));
  EXPECT_THAT(message_of<ValueError>([] { Deque<int>("d", {.page = 0}); }),
              HasSubstr("a page of 0 values"));
  Deque<int> deque("d");
  EXPECT_THAT(message_of<ValueError>([&] { deque.rotate(INT64_MAX); }), HasSubstr("2^53"));
  EXPECT_THAT(message_of<ValueError>([&] { deque.rotate(INT64_MIN); }), HasSubstr("2^53"));
  EXPECT_THROW(Deque<int>("d", {.collection = {.cache = "nowhere"}}), ConfigError);
}

TEST_F(DequeTest, AStoreWithoutDequesIsRefusedByName) {
  const std::string message =
      message_of<BackendError>([] { Deque<int>("d", {.collection = {.cache = "none"}}); });
  EXPECT_THAT(message, AllOf(HasSubstr("dummy"), HasSubstr("has no deques"),
                             HasSubstr("locmem, redis, sqlite")));
}

TEST_F(DequeTest, AStoreThatIsDownThrowsWhateverOnErrorSays) {
  const auto chaos = Chaos::named("default", clock_);
  chaos->set({.fail = 1});
  Deque<int> deque("d");  // asked later
  EXPECT_THROW(deque.push_back(1), BackendError);
  EXPECT_THROW(deque.pop_front(), BackendError);
  EXPECT_THROW(deque.peek_front(), BackendError);
  EXPECT_THROW(deque.values(), BackendError);
  EXPECT_THROW(deque.size(), BackendError);
  EXPECT_THROW(deque.rotate(), BackendError);
  EXPECT_THROW(deque.clear(), BackendError);
  EXPECT_THROW(deque.extend_back({1, 2}), BackendError);
  chaos->off();
  clock_.advance(std::chrono::hours(1));  // the circuit breaker lets calls through again
  EXPECT_TRUE(deque.empty());
}

TEST_F(DequeTest, AnIterationThatOthersDisturbSeesWhatItsPlacesHave) {
  Deque<int> deque("d", {.page = 2});
  deque.extend_back({0, 1, 2, 3, 4, 5, 6, 7});
  std::vector<int> all;
  for (const int value : deque) {
    all.push_back(value);
    if (all.size() == 2) deque.pop_front();    // the next page begins one value later
    if (all.size() == 4) deque.push_front(9);  // and the one after it one earlier
  }
  EXPECT_THAT(all, ElementsAre(0, 1, 3, 4, 4, 5, 6));
}

TEST_F(DequeTest, AnIterationEndsThoughValuesAreAdded) {
  Deque<int> deque("d", {.page = 2});
  deque.extend_back({0, 1, 2, 3, 4});
  int count = 0;
  for (const int value : deque) {
    deque.push_back(value);
    ASSERT_LT(++count, 100);
  }
  EXPECT_EQ(count, 7) << "as many as there were when the second page was due";
}

TEST_F(DequeTest, ADequeOfACacheUsesThatCache) {
  Cache& cache = registry_["default"];
  Deque<int> mine(cache, "d");
  mine.push_back(1);
  EXPECT_EQ(Deque<int>("d").pop_front(), 1);
  EXPECT_THROW(Deque<int>(registry_["none"], "d"), BackendError);
}

TEST_F(DequeTest, ThreadsShareADequeOfAnAlias) {
  Deque<int> deque("d");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) deque.push_back(n);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(deque.size(), 400U);
}

TEST_F(DequeTest, ItsNameMeetsNoEntryAndNoVersion) {
  Deque<int> deque("d");
  deque.push_back(1);
  Cache& cache = registry_["default"];
  cache.set("d", "entry");
  EXPECT_EQ(cache.get("d"), "entry");
  EXPECT_EQ(deque.size(), 1U);
}

}  // namespace
}  // namespace polycache::testing
