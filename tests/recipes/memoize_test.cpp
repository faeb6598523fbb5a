// Functions that remember their results, on the simplest store with a clock and an executor that
// the test moves.

#include "polycache/memoize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/manual_executor.h"
#include "polycache/testing/memory_store.h"

namespace shop {

struct Product {
  int id = 0;
  std::string name;
};
// The id says which product it is.
inline std::string key_of(const Product& product) { return std::to_string(product.id); }

struct Nameless {};
inline const char* key_of(const Nameless&) { return nullptr; }

}  // namespace shop

namespace polycache {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

template <class T>
std::string text_of(const T& value) {
  std::string text;
  detail::keys::append(text, value);
  return text;
}

enum class Colour : std::uint8_t { red = 7 };
enum class Shade : std::uint8_t { red = 7 };
struct Point {
  int x = 0;
  std::optional<std::string> label;
};

TEST(KeyOf, HasATextForEachKindOfValue) {
  EXPECT_EQ(text_of(42), "42");
  EXPECT_EQ(text_of(std::uint8_t{200}), "200");
  EXPECT_EQ(text_of(true), "1");
  EXPECT_EQ(text_of('a'), "a");
  EXPECT_EQ(text_of(Colour::red), "7");
  EXPECT_EQ(text_of(2.5), "2.5");
  EXPECT_EQ(text_of(std::string("a b:c,(d)")), "a%20b%3Ac%2C%28d%29");
  EXPECT_EQ(text_of(std::string("Größe")), "Größe");
  EXPECT_EQ(text_of(1500ms), "1500");
  EXPECT_EQ(text_of(std::chrono::system_clock::time_point(1s)),
            text_of(std::chrono::nanoseconds(1s)));
  EXPECT_EQ(text_of(std::optional<int>()), "~");
  EXPECT_EQ(text_of(std::optional<int>(3)), "(3)");
  EXPECT_EQ(text_of(std::pair(1, std::string("x"))), "(1,x,)");
  EXPECT_EQ(text_of(std::tuple()), "()");
  EXPECT_EQ(text_of(std::vector<int>{1, 2}), "(1,2,)");
  EXPECT_EQ(text_of(std::array<bool, 2>{true, false}), "(1,0,)");
  EXPECT_EQ(text_of(std::vector<bool>{true, false}), "(1,0,)");
  EXPECT_EQ(text_of(std::map<std::string, int>{{"b", 2}, {"a", 1}}), "((a,1,),(b,2,),)");
  EXPECT_EQ(text_of(std::variant<int, std::string>("x")), "1(x)");
  EXPECT_EQ(text_of(Point{.x = 1, .label = "p"}), "(1,(p),)");
  EXPECT_EQ(text_of(shop::Product{.id = 7, .name = "chair"}), "7");
  EXPECT_EQ(text_of(std::filesystem::path("a/b")), "a%2Fb");
  EXPECT_EQ(text_of(std::vector<std::filesystem::path>{"a"}), "(a,)");
  EXPECT_EQ(text_of(u'a'), "97");
}

struct Tree {
  int value = 0;
  std::vector<Tree> children;
};
struct Opaque {
  explicit Opaque(int) {}
};

// An aggregate with a member that {} cannot make.
struct Query {
  Opaque id;
  int page = 0;
};
struct Matrix {
  explicit Matrix(int rows) : rows_(rows) {}
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  int rows() const { return rows_; }

 private:
  int rows_;
  std::vector<double> values_;
};
class Money {
 public:
  explicit Money(long cents) : cents_(cents) {}
  operator double() const { return static_cast<double>(cents_); }  // NOLINT

 private:
  long cents_;
};
class Named {
 public:
  explicit Named(std::string name) : name_(std::move(name)) {}
  operator std::string_view() const { return name_; }  // NOLINT

 private:
  std::string name_;
};
struct Code {
  char code[4];
  int number;
};

TEST(KeyOf, KnowsWhichTypesHaveATextBeforeItIsAsked) {
  EXPECT_TRUE(detail::keys::has_text<Tree>());
  EXPECT_EQ(text_of(Tree{.value = 1, .children = {Tree{.value = 2, .children = {}}}}),
            "(1,((2,(),),),)");
  EXPECT_TRUE((detail::keys::has_text<std::map<std::string, std::optional<Point>>>()));
  EXPECT_FALSE(detail::keys::has_text<Opaque>());
  EXPECT_FALSE((detail::keys::has_text<std::vector<std::pair<int, Opaque>>>()));
  EXPECT_FALSE(detail::keys::has_text<std::shared_ptr<int>>());
  EXPECT_FALSE(detail::keys::has_text<Query>()) << "its members cannot be told";
  EXPECT_FALSE(detail::keys::has_text<Matrix>()) << "more than its elements counts";
  EXPECT_FALSE(detail::keys::has_text<Money>());
  EXPECT_FALSE(detail::keys::has_text<Named>());
}

TEST(KeyOf, AnArrayOfCharactersIsAllOfThem) {
  const Code whole{{'A', 'B', 'C', 'D'}, 1};
  EXPECT_EQ(text_of(whole), "(ABCD,1,)");
  const Code one{{'a', 0, 'b', 0}, 1};
  const Code other{{'a', 0, 'c', 0}, 1};
  EXPECT_NE(text_of(one), text_of(other));
}

TEST(KeyOf, TellsWhatACopyOwns) {
  using detail::keys::owns;
  EXPECT_TRUE(owns<std::string>());
  EXPECT_TRUE((owns<std::map<std::string, std::vector<std::optional<int>>>>()));
  EXPECT_TRUE(owns<Tree>());
  EXPECT_FALSE(owns<std::string_view>());
  EXPECT_FALSE(owns<std::optional<std::string_view>>());
  EXPECT_FALSE(owns<std::vector<std::string_view>>());
  EXPECT_FALSE((owns<std::pair<int, const char*>>()));
  EXPECT_FALSE((owns<std::span<const int, 4>>()));
  EXPECT_FALSE(owns<std::initializer_list<int>>());
}

TEST(KeyOf, TellsWhatIsNearlyTheSameApart) {
  EXPECT_NE(text_of(std::vector<std::string>{}), text_of(std::vector<std::string>{""}));
  EXPECT_NE(text_of(std::vector<std::string>{"a", "b"}), text_of(std::vector<std::string>{"a,b"}));
  EXPECT_NE(text_of(std::optional<std::string>()), text_of(std::optional<std::string>("~")));
  EXPECT_NE(text_of(std::optional<std::optional<int>>(std::optional<int>())),
            text_of(std::optional<std::optional<int>>()));
  EXPECT_NE(text_of(std::variant<int, long>(std::in_place_index<0>, 1)),
            text_of(std::variant<int, long>(std::in_place_index<1>, 1)));
  EXPECT_NE(text_of(0.1F), text_of(0.1F + 1e-8F * 2));
}

TEST(KeyOf, EqualValuesHaveOneText) {
  EXPECT_EQ(text_of(-0.0), text_of(0.0));
  EXPECT_EQ(text_of(std::unordered_set<int>{3, 1, 2}), text_of(std::unordered_set<int>{2, 3, 1}));
  std::unordered_map<std::string, int> some{{"a", 1}, {"b", 2}};
  some.rehash(1000);
  EXPECT_EQ(text_of(some), text_of(std::unordered_map<std::string, int>{{"b", 2}, {"a", 1}}));
}

TEST(KeyOf, RefusesNaNAndNullPointers) {
  EXPECT_THROW(text_of(std::nan("")), InvalidKey);
  EXPECT_THROW(text_of(std::vector<float>{std::numeric_limits<float>::quiet_NaN()}), InvalidKey);
  const char* const null = nullptr;
  EXPECT_THROW(text_of(null), InvalidKey);
  EXPECT_THROW(text_of(shop::Nameless()), InvalidKey) << "its own text is null";
}

class Memoize : public ::testing::Test {
 protected:
  Memoize() { memo_.registry = &registry_; }
  Cache& cache() { return registry_["default"]; }
  // Each call is another number.
  auto counting() {
    return [this](int n) { return n * 100 + ++calls_; };
  }

  testing::ManualClock clock_;
  std::shared_ptr<testing::ManualExecutor> executor_ = std::make_shared<testing::ManualExecutor>();
  CacheRegistry registry_{
      {.caches = {{"default", {.backend = "memory", .timeout = 100s}},
                  {"other", {.backend = "memory", .location = {"other"}, .timeout = 100s}}}},
      {.clock = &clock_, .executor = executor_, .linked_plugins = {&testing::memory_store}}};
  MemoizeOptions memo_;
  int calls_ = 0;
};

double area_of(double width, double height) { return width * height; }

TEST_F(Memoize, CallsTheFunctionOnceForItsArguments) {
  const auto f = memoize("f", counting(), {}, memo_);
  EXPECT_EQ(f(1), 101);
  EXPECT_EQ(f(1), 101);
  EXPECT_EQ(f(2), 202);
  clock_.advance(101s);
  EXPECT_EQ(f(1), 103);
}

TEST_F(Memoize, ConvertsArgumentsToTheParametersFirst) {
  const auto area = memoize("area", area_of, {.timeout = 1h}, memo_);
  EXPECT_EQ(area.key(3, 4), "area@1:3:4");
  EXPECT_EQ(area.key(3.0F, 4L), area.key(3, 4));
  EXPECT_EQ(area(3, 4), 12.0);
  EXPECT_EQ(cache().get<double>("area@1:3:4"), 12.0);
  const auto named = memoize(
      "named", [](const std::string& name) { return name.size(); }, {}, memo_);
  EXPECT_EQ(named("a:b"), 3U);
  EXPECT_EQ(named.key("a:b"), key("named@1", "a:b"));
}

TEST_F(Memoize, AResultCanBeReadReplacedAndForgotten) {
  const auto f = memoize("f", counting(), {}, memo_);
  EXPECT_FALSE(f.get(1));
  EXPECT_FALSE(f.invalidate(1));
  EXPECT_EQ(f(1), 101);
  EXPECT_EQ(f.get(1), 101);
  EXPECT_EQ(f.original(1), 102);
  EXPECT_EQ(f(1), 101);
  EXPECT_EQ(f.refresh(1), 103);
  EXPECT_EQ(f(1), 103);
  EXPECT_TRUE(f.set(7, 1));
  EXPECT_EQ(f(1), 7);
  EXPECT_TRUE(f.invalidate(1));
  EXPECT_EQ(f(1), 104);
}

TEST_F(Memoize, ARefreshThatFailsReturnsTheOlderResultIfThatMayServe) {
  bool fails = false;
  const auto compute = [&] {
    if (fails) throw std::runtime_error("the origin is down");
    return 1;
  };
  const auto f = memoize("f", compute, {}, memo_);
  const auto kept = memoize("kept", compute, {.stale_if_error = 1h}, memo_);
  EXPECT_EQ(f(), 1);
  EXPECT_EQ(kept(), 1);
  fails = true;
  EXPECT_THROW(f.refresh(), std::runtime_error);
  EXPECT_FALSE(f.get());
  EXPECT_EQ(kept.refresh(), 1);
  EXPECT_EQ(kept(), 1);
}

TEST_F(Memoize, WritesDuringARefreshWin) {
  std::function<void()> meanwhile = [] {};
  const auto f = memoize(
      "f",
      [&](int n) {
        const int result = n * 10 + ++calls_;
        meanwhile();
        return result;
      },
      {}, memo_);
  EXPECT_EQ(f(1), 11);
  meanwhile = [&] { f.invalidate(1); };
  EXPECT_EQ(f.refresh(1), 12);
  EXPECT_FALSE(f.get(1));
  meanwhile = [&] { f.set(77, 1); };
  EXPECT_EQ(f.refresh(1), 13);
  EXPECT_EQ(f.get(1), 77);
  meanwhile = [&] { f.invalidate_all(); };
  EXPECT_EQ(f.refresh(1), 14);
  EXPECT_FALSE(f.get(1));
}

TEST_F(Memoize, ARefreshRecordsTags) {
  cache().set("post", 1, {.tags = {"posts"}});
  const auto f = memoize(
      "f", [&] { return cache().get<int>("post").value_or(0) + ++calls_; }, {.record_tags = true},
      memo_);
  f.refresh();
  EXPECT_TRUE(f.get());
  cache().erase_tag("posts");
  EXPECT_FALSE(f.get());
}

TEST_F(Memoize, ALoadedMaySayThatTheOlderResultIsStillGood) {
  bool changed = true;
  const auto f = memoize(
      "f",
      [&]() -> Loaded<int> {
        if (!changed) return Failed{"the origin is down"};
        return 5;
      },
      {.stale_if_error = 1h}, memo_);
  EXPECT_EQ(f(), 5);
  changed = false;
  EXPECT_EQ(f.refresh(), 5);
}

TEST_F(Memoize, RunsWhereItIsCalledUnlessItIsGivenInBackground) {
  CacheRegistry registry(
      {.caches = {{"default",
                   {.backend = "memory", .timeout = 100s, .load = {.refresh_after = 0.1}}}}},
      {.clock = &clock_, .executor = executor_, .linked_plugins = {&testing::memory_store}});
  memo_.registry = &registry;
  const auto here = memoize("here", counting(), {}, memo_);
  const auto there = memoize("there", in_background(counting()), {}, memo_);
  here(1);
  there(1);
  clock_.advance(50s);
  EXPECT_EQ(here(1), 103) << "the first reader computes";
  EXPECT_EQ(there(1), 102);
  EXPECT_EQ(executor_->size(), 1U);
  executor_->clear();
}

TEST_F(Memoize, ARefreshIsStoredWithAllOptions) {
  const auto f = memoize("f", counting(), {.timeout = 100s, .stale_if_error = 1h}, memo_);
  f.refresh(1);
  clock_.advance(101s);
  EXPECT_EQ(cache().get_entry<int>(f.key(1)).status, EntryStatus::stale);
}

TEST_F(Memoize, ATagThatIsErasedDuringARefreshWins) {
  const auto f = memoize(
      "f",
      [&] {
        cache().erase_tag("t");
        return 1;
      },
      {.tags = {"t"}}, memo_);
  EXPECT_EQ(f.refresh(), 1);
  EXPECT_FALSE(f.get());
}

TEST_F(Memoize, AllResultsCanBeForgotten) {
  const auto f = memoize("f", counting(), {}, memo_);
  const auto g = memoize("f2", counting(), {}, memo_);
  const auto none = memoize(
      "none", [] { return 5; }, {}, memo_);
  f(1);
  f(2);
  g(1);
  none();
  EXPECT_EQ(f.invalidate_all(), 2U);
  EXPECT_FALSE(f.get(1));
  EXPECT_TRUE(g.get(1));
  EXPECT_EQ(none.invalidate_all(), 1U);
  EXPECT_FALSE(none.get());
}

TEST_F(Memoize, TagsForgetResults) {
  const auto f = memoize("f", counting(), {.tags = {"geo"}}, memo_);
  EXPECT_EQ(f(1), 101);
  cache().erase_tag("geo");
  EXPECT_EQ(f(1), 102);
}

TEST_F(Memoize, VersionsHaveTheirOwnResults) {
  const auto f = memoize("f", counting(), {}, memo_);
  memo_.version = 2;
  const auto newer = memoize("f", counting(), {}, memo_);
  EXPECT_EQ(f(1), 101);
  EXPECT_EQ(newer(1), 102);
  EXPECT_EQ(newer.key(1), "f@2:1");
  EXPECT_EQ(newer.invalidate_all(), 1U);
  EXPECT_EQ(f.get(1), 101);
}

TEST_F(Memoize, UsesTheAliasOrTheCacheThatItIsGiven) {
  memo_.cache = "other";
  const auto f = memoize("f", counting(), {}, memo_);
  f(1);
  EXPECT_FALSE(cache().contains("f@1:1"));
  EXPECT_TRUE(registry_["other"].contains("f@1:1"));
  const auto mine = memoize(cache(), "f", counting());
  mine(2);
  EXPECT_TRUE(cache().contains("f@1:2"));
}

TEST_F(Memoize, SaysThatThereIsNoSuchThing) {
  const auto find = memoize(
      "find",
      [&](int id) -> std::optional<std::string> {
        ++calls_;
        if (id < 0) return std::nullopt;
        return "thing";
      },
      {.negative_timeout = 10s}, memo_);
  EXPECT_FALSE(find(-1));
  EXPECT_FALSE(find(-1));
  EXPECT_EQ(find(1), "thing");
  EXPECT_EQ(find.get(1), "thing");
  EXPECT_EQ(calls_, 2);
  EXPECT_FALSE(find.refresh(-1));
  EXPECT_EQ(calls_, 3);
}

struct Shop {
  std::string city;
  std::string greet(int visitor) const { return city + std::to_string(visitor); }
};

TEST_F(Memoize, TakesMemberFunctionsAndTheirObjects) {
  const auto greet = memoize("greet", &Shop::greet, {}, memo_);
  EXPECT_EQ(greet(Shop{"Bonn"}, 1), "Bonn1");
  EXPECT_EQ(greet.key(Shop{"Bonn"}, 1), "greet@1:(Bonn,):1");
  const auto price = memoize(
      "price", [](const shop::Product& product) { return product.id; }, {}, memo_);
  EXPECT_EQ(price.key(shop::Product{.id = 9, .name = "x"}), "price@1:9");
}

struct Qualified {
  int twice(int n) const& noexcept { return n * 2; }
};

TEST_F(Memoize, TakesQualifiedMemberFunctions) {
  const auto twice = memoize("twice", &Qualified::twice, {}, memo_);
  EXPECT_EQ(twice.key(Qualified{}, 2), "twice@1:():2");
  EXPECT_EQ(twice(Qualified{}, 2), 4);
}

TEST_F(Memoize, TakesATimeoutAlone) {
  const auto f = memoize("f", counting(), 10s, memo_);
  EXPECT_EQ(f(1), 101);
  clock_.advance(11s);
  EXPECT_EQ(f(1), 102);
}

TEST_F(Memoize, TellsKindsOfArgumentsOfAGenericFunctionApart) {
  memo_.typed = true;
  const auto size = memoize(
      "size", [&](const auto& value) { return ++calls_ * 10 + static_cast<int>(sizeof(value)); },
      {}, memo_);
  EXPECT_EQ(size(1), 14);
  EXPECT_EQ(size(1L), 28);
  EXPECT_EQ(size(1), 14);
  EXPECT_EQ(size.key(1), "size@1:i32:1");
  EXPECT_EQ(size.key(1U), "size@1:u32:1");
  EXPECT_EQ(size.key(1.0), "size@1:f64:1");
  EXPECT_EQ(size.key("1"), "size@1:str:1");
  EXPECT_EQ(size.key(std::string("1")), size.key("1"));
  EXPECT_NE(size.key(std::vector<int>{1}), size.key(std::vector<long>{1}));
  EXPECT_NE(size.key(std::vector<int>{1}), size.key(std::set<int>{1}));
  EXPECT_NE(size.key(Colour::red), size.key(Shade::red));
  EXPECT_NE(size.key(std::chrono::sys_time<std::chrono::seconds>(1s)),
            size.key(std::chrono::sys_time<std::chrono::milliseconds>(1ms)));
  EXPECT_TRUE(size.invalidate(1));
  EXPECT_EQ(size(1), 34);
}

TEST_F(Memoize, IgnoresWhatDoesNotMatter) {
  struct Connection {};
  const auto rows = memoize<Ignoring<0>>(
      "rows", [&](const std::shared_ptr<Connection>&, int id) { return id + ++calls_; }, {}, memo_);
  EXPECT_EQ(rows(std::make_shared<Connection>(), 10), 11);
  EXPECT_EQ(rows(nullptr, 10), 11);
  EXPECT_EQ(rows.key(nullptr, 10), "rows@1:10");
}

TEST_F(Memoize, HashesLongKeys) {
  const auto f = memoize(
      "f", [](const std::string& text) { return text.size(); }, {}, memo_);
  const std::string text(300, 'x');
  EXPECT_EQ(f(text), 300U);
  const std::string hashed = f.key(text);
  EXPECT_EQ(hashed.substr(0, 6), "f@1:%#");
  EXPECT_EQ(hashed.size(), 6U + 32U);
  EXPECT_NE(hashed, f.key(text + 'x'));
  EXPECT_EQ(f.get(text), 300U);
  EXPECT_NE(f.key(hashed.substr(4)), hashed) << "an argument that looks like a hash";
  EXPECT_EQ(f.invalidate_all(), 1U);
}

std::string describe(const char* name, std::string_view text, std::span<const int> numbers) {
  return std::string(name) + ' ' + std::string(text) + ' ' + std::to_string(numbers.size());
}

TEST_F(Memoize, ARefreshInTheBackgroundHasItsOwnArguments) {
  const auto f =
      memoize("f", in_background(describe), {.timeout = 100s, .refresh_after = 0.5}, memo_);
  const auto ask = [&] {
    const std::string name = "a name that is too long for a small string";
    const std::string text = "a text that is too long for a small string";
    const std::vector<int> numbers{1, 2, 3};
    return f(name.c_str(), text, numbers);
  };
  const std::string first = ask();
  clock_.advance(60s);
  EXPECT_EQ(ask(), first);
  EXPECT_EQ(executor_->size(), 1U);
  executor_->run_all();
  EXPECT_EQ(cache().statistics().refreshes, 1U);
  clock_.advance(60s);
  EXPECT_EQ(f.get("a name that is too long for a small string",
                  "a text that is too long for a small string", std::vector<int>{1, 2, 3}),
            first);
}

TEST_F(Memoize, ManyThreadsUseOneOfAnAlias) {
  const auto f = memoize(
      "f", [](int n) { return n * 2; }, {}, memo_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&f] {
      for (int n = 0; n < 200; ++n) EXPECT_EQ(f(n % 20), n % 20 * 2);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Memoize, WhatCannotBeIsRefused) {
  EXPECT_THROW(memoize("", counting(), {}, memo_), ValueError);
  EXPECT_THROW(memoize(std::string(151, 'n'), counting(), {}, memo_), ValueError);
  EXPECT_THROW(memoize("a b", counting(), {}, memo_), ValueError);
  EXPECT_THROW(memoize("a@1", counting(), {}, memo_), ValueError);
  int (*const null)(int) = nullptr;
  EXPECT_THROW(memoize("f", null, {}, memo_), ValueError);
  EXPECT_THROW(memoize("f", std::function<int(int)>(), {}, memo_), ValueError);
  using Many = std::map<int, int> (*)(const std::vector<int>&);
  EXPECT_THROW(memoize_many("f", Many(nullptr), {}, memo_), ValueError);
  const auto f = memoize(
      "f", [](const char* text) { return std::string(text); }, {}, memo_);
  EXPECT_THROW(f(nullptr), InvalidKey);
  const auto g = memoize(
      "g", [](double x) { return x; }, {}, memo_);
  EXPECT_THROW(g(std::nan("")), InvalidKey);
}

// --- Several at once. ---

TEST_F(Memoize, SeveralResultsAreComputedInOneCall) {
  std::vector<std::vector<int>> asked;
  const auto doubled = memoize_many(
      "doubled",
      [&](const std::vector<int>& numbers) {
        asked.push_back(numbers);
        std::vector<int> results;
        for (const int n : numbers) results.push_back(n * 2);
        return results;
      },
      {}, memo_);
  EXPECT_THAT(doubled({1, 2}), ElementsAre(2, 4));
  EXPECT_THAT(doubled({3, 1, 3}), ElementsAre(6, 2, 6));
  EXPECT_THAT(asked, ElementsAre(ElementsAre(1, 2), ElementsAre(3)));
  EXPECT_EQ(doubled.get(1), 2);
  EXPECT_TRUE(doubled.invalidate(1));
  EXPECT_TRUE(doubled.set(7, 1));
  EXPECT_THAT(doubled({1}), ElementsAre(7));
  EXPECT_EQ(doubled.key(1), "doubled@1:1");
  EXPECT_EQ(doubled.invalidate_all(), 3U);
}

TEST_F(Memoize, AMapSaysWhichOfSeveralThereAre) {
  const auto names = memoize_many(
      "names",
      [&](std::span<const int> ids) {
        ++calls_;
        std::map<int, std::string> found;
        for (const int id : ids) {
          if (id > 0) found[id] = "name " + std::to_string(id);
        }
        return found;
      },
      {.negative_timeout = 10s}, memo_);
  EXPECT_THAT(names({1, -1}), ElementsAre("name 1", std::nullopt));
  EXPECT_THAT(names({-1, 1}), ElementsAre(std::nullopt, "name 1"));
  EXPECT_EQ(calls_, 1);
  EXPECT_THAT(names.refresh(std::vector<int>{1, 2}), ElementsAre("name 1", "name 2"));
  EXPECT_EQ(calls_, 2);
  EXPECT_EQ(names.original({3}), (std::map<int, std::string>{{3, "name 3"}}));
}

}  // namespace
}  // namespace polycache
