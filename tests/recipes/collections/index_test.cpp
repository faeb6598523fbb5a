// Index in one process: its functions, what it refuses and with which words, loops while it
// changes, and threads.

#include "polycache/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "support/message_of.h"
#include "support/mirror_transform.h"

namespace polycache::testing {
namespace {

using Keeping = LockExtension::Keeping;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// What the layer below says of keeping, and whether its store is down.
struct Behaviour {
  std::atomic<Keeping> keeping{Keeping::kept};
  std::atomic<bool> is_down{false};
};
Behaviour behaviour;

class BehavingLayer final : public AroundLayer, private IndexExtension {
 public:
  using AroundLayer::AroundLayer;
  using AroundLayer::clear;
  using AroundLayer::erase;
  using AroundLayer::put;

  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (behaviour.is_down) {
      throw BackendError(BackendError::Kind::unreachable, "server", "it is down");
    }
    return go(call.deliver);
  }
  void* extension(std::string_view asked) noexcept override {
    void* const inner = AroundLayer::extension(asked);
    if (asked != IndexExtension::id || inner == nullptr) return inner;
    indexes_ = static_cast<IndexExtension*>(inner);
    return static_cast<IndexExtension*>(this);
  }

 private:
  bool find(const Place& place, std::string_view key, ValueSink sink) override {
    return indexes_->find(place, key, sink);
  }
  Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
          ValueSink sink) override {
    return indexes_->put(place, key, value, mode, sink);
  }
  bool erase(const Place& place, std::string_view key, ValueSink sink) override {
    return indexes_->erase(place, key, sink);
  }
  bool take(const Place& place, Side side, EntrySink sink) override {
    return indexes_->take(place, side, sink);
  }
  bool list(const Place& place, const Range& range, EntrySink sink) override {
    return indexes_->list(place, range, sink);
  }
  std::uint64_t count(const Place& place) override { return indexes_->count(place); }
  std::uint64_t clear(const Place& place) override { return indexes_->clear(place); }
  Keeping keeping() override {
    if (behaviour.is_down) {
      throw BackendError(BackendError::Kind::unreachable, "server", "it is down");
    }
    return behaviour.keeping;
  }

  IndexExtension* indexes_ = nullptr;
};

class BehavingFactory final : public AroundLayerFactory {
 public:
  using AroundLayerFactory::AroundLayerFactory;

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<BehavingLayer>(std::move(session), transparency());
  }
};

constexpr PluginDescriptor behaving_layer = layer_plugin(
    "behaving", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<BehavingFactory>(context.inner);
    });

class IndexTest : public ::testing::Test {
 protected:
  IndexTest() {
    behaviour.keeping = Keeping::kept;
    behaviour.is_down = false;
  }

  CollectionOptions options() { return {.registry = &registry_}; }
  Cache& cache() { return registry_["default"]; }

  CacheRegistry registry_{
      {.caches = {{"default", {.backend = "locmem", .layers = {{.name = "behaving"}}}},
                  {"other", {.backend = "locmem", .location = {"other"}, .key_prefix = "p"}},
                  {"mirrored", {.backend = "locmem", .transform = {{"mirror"}}}},
                  {"none", {.backend = "dummy"}}}},
      {.linked_plugins = {&locmem::plugin, &dummy::plugin, &behaving_layer, &mirror}}};
};

template <class Range>
auto all_of(const Range& range) {
  std::vector<typename decltype(range.begin())::value_type> items;
  for (const auto& item : range) items.push_back(item);
  return items;
}

TEST_F(IndexTest, StoresFindsAndErases) {
  Index<std::string, int> stock("stock", options());
  EXPECT_EQ(stock.find("apple"), std::nullopt);
  EXPECT_TRUE(stock.insert("apple", 3));
  EXPECT_FALSE(stock.insert("apple", 4));
  EXPECT_EQ(stock.find("apple"), 3);
  EXPECT_FALSE(stock.insert_or_assign("apple", 5));
  EXPECT_TRUE(stock.insert_or_assign("pear", 1));
  EXPECT_FALSE(stock.assign("plum", 2));
  EXPECT_TRUE(stock.assign("pear", 2));
  EXPECT_EQ(stock.setdefault("pear", 9), 2);
  EXPECT_EQ(stock.setdefault("fig", 9), 9);
  EXPECT_EQ(stock.find("fig"), 9);
  EXPECT_TRUE(stock.contains("apple"));
  EXPECT_FALSE(stock.contains("plum"));
  EXPECT_EQ(stock.size(), 3U);
  EXPECT_EQ(stock.pop("apple"), 5);
  EXPECT_EQ(stock.pop("apple"), std::nullopt);
  EXPECT_TRUE(stock.erase("fig"));
  EXPECT_FALSE(stock.erase("fig"));
  EXPECT_FALSE(stock.empty());
  EXPECT_EQ(stock.clear(), 1U);
  EXPECT_TRUE(stock.empty());
  EXPECT_EQ(stock.name(), "stock");
}

TEST_F(IndexTest, GivesItemsAtBothEnds) {
  Index<double, std::string> index("ends", options());
  for (const double key : {2.5, -1e300, 0.0, -0.5}) index.insert(key, std::to_string(key));
  EXPECT_EQ(index.peekitem(IndexEnd::first)->first, -1e300);
  EXPECT_EQ(index.peekitem()->first, 2.5);
  EXPECT_EQ(index.popitem()->first, 2.5);
  EXPECT_EQ(index.popitem(IndexEnd::first)->first, -1e300);
  EXPECT_EQ(index.popitem(IndexEnd::first), std::pair(-0.5, std::string("-0.500000")));
  EXPECT_EQ(index.popitem()->first, 0);
  EXPECT_EQ(index.popitem(), std::nullopt);
  EXPECT_EQ(index.peekitem(), std::nullopt);
}

TEST_F(IndexTest, LoopsInTheOrderOfTheKeys) {
  Index<int, int> index("order", options());
  for (const int key : {300, -2, 7, 0, -300, 1}) index.insert(key, -key);
  for (const std::size_t page : {1U, 2U, 3U, 100U, 0U}) {
    EXPECT_THAT(all_of(index.items().page(page)),
                ElementsAre(Pair(-300, 300), Pair(-2, 2), Pair(0, 0), Pair(1, -1), Pair(7, -7),
                            Pair(300, -300)))
        << page;
    EXPECT_THAT(all_of(index.reversed().page(page)),
                ElementsAre(Pair(300, -300), Pair(7, -7), Pair(1, -1), Pair(0, 0), Pair(-2, 2),
                            Pair(-300, 300)))
        << page;
    EXPECT_THAT(all_of(index.between(-2, 7).page(page)),
                ElementsAre(Pair(-2, 2), Pair(0, 0), Pair(1, -1)));
    EXPECT_THAT(all_of(index.between(-2, 7).reversed().page(page)),
                ElementsAre(Pair(1, -1), Pair(0, 0), Pair(-2, 2)));
    EXPECT_THAT(all_of(index.from(2).page(page)), ElementsAre(Pair(7, -7), Pair(300, -300)));
    EXPECT_THAT(all_of(index.until(-2).page(page)), ElementsAre(Pair(-300, 300)));
    EXPECT_THAT(all_of(index.until(0).reversed().page(page)),
                ElementsAre(Pair(-2, 2), Pair(-300, 300)));
  }
  EXPECT_TRUE(all_of(index.between(7, -2)).empty());
  int sum = 0;
  for (const auto& [key, value] : index) sum += key + value;
  EXPECT_EQ(sum, 0);
}

TEST_F(IndexTest, ByInsertionKeepsTheOrderInWhichKeysCame) {
  auto index = Index<std::string, int>::by_insertion("came", options());
  for (const char* const key : {"d", "b", "e", "a"}) index.insert(key, 1);
  index.insert_or_assign("b", 2);
  EXPECT_THAT(all_of(index.items().page(2)),
              ElementsAre(Pair("d", 1), Pair("b", 2), Pair("e", 1), Pair("a", 1)));
  EXPECT_THAT(all_of(index.reversed().page(3)),
              ElementsAre(Pair("a", 1), Pair("e", 1), Pair("b", 2), Pair("d", 1)));
  index.erase("d");
  index.insert("d", 3);
  EXPECT_EQ(index.popitem(), (std::pair<std::string, int>("d", 3)));
  EXPECT_EQ(index.popitem(IndexEnd::first), (std::pair<std::string, int>("b", 2)));
  const auto message = message_of<ValueError>([&] { index.between("a", "b"); });
  EXPECT_THAT(message, HasSubstr("between()"));
  EXPECT_THAT(message, HasSubstr("by insertion"));
  EXPECT_THROW(index.from("a"), ValueError);
  EXPECT_THROW(index.until("a"), ValueError);
}

TEST_F(IndexTest, ALoopSeesWhatIsThereAllTheTimeExactlyOnce) {
  Index<int, int> index("loop", options());
  for (int key = 0; key < 100; key += 2) index.insert(key, 0);
  std::vector<int> even;
  int last = -1;
  for (const auto& [key, value] : index.items().page(3)) {
    EXPECT_GT(key, last);
    last = key;
    if (key % 2 != 0) continue;
    even.push_back(key);
    index.erase(key - 1);       // behind
    index.insert(key - 3, 1);   // behind
    index.insert(key + 1, 1);   // before, perhaps in this page
    index.insert(key + 11, 1);  // before
  }
  ASSERT_EQ(even.size(), 50U);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(even[static_cast<std::size_t>(i)], 2 * i);
}

TEST_F(IndexTest, ALoopByInsertionSeesWhatIsErasedAndInsertedAgain) {
  auto index = Index<int, int>::by_insertion("again", options());
  for (int key = 0; key < 6; ++key) index.insert(key, 0);
  std::vector<int> seen;
  for (const auto& [key, value] : index.items().page(2)) {
    seen.push_back(key);
    if (key != 1 || seen.size() > 3) continue;
    index.erase(0);
    index.insert(0, 1);
  }
  EXPECT_THAT(seen, ElementsAre(0, 1, 2, 3, 4, 5, 0));
}

TEST_F(IndexTest, ARangeCanBeReadTwice) {
  Index<int, int> index("twice", options());
  index.insert(1, 1);
  const auto range = index.items();
  EXPECT_EQ(all_of(range).size(), 1U);
  index.insert(2, 2);
  EXPECT_EQ(all_of(range).size(), 2U);
}

TEST_F(IndexTest, OneNameIsOneIndexAndIsNoEntry) {
  Index<int, int> index("one", options());
  Index<int, int> same(cache(), "one");
  Index<int, int> other("two", options());
  Index<int, int> elsewhere("one", {.cache = "other", .registry = &registry_});
  index.insert(1, 10);
  cache().set("one", 5);
  EXPECT_EQ(same.find(1), 10);
  EXPECT_EQ(other.find(1), std::nullopt);
  EXPECT_EQ(elsewhere.find(1), std::nullopt);
  cache().clear();
  EXPECT_EQ(same.find(1), 10) << "clear() is of entries";
  const std::string long_name(1000, 'x');
  Index<int, int> with_long_name(long_name, options());
  with_long_name.insert(1, 2);
  EXPECT_EQ((Index<int, int>(long_name, options()).find(1)), 2);
}

// --- What is refused ---

TEST_F(IndexTest, AnEmptyNameIsRefused) {
  EXPECT_THAT(message_of<ValueError>([&] { Index<int, int>("", options()); }),
              HasSubstr("the name is empty"));
}

TEST_F(IndexTest, AStoreWithoutIndexesIsRefusedWhenTheIndexIsMade) {
  const auto message = message_of<BackendError>(
      [&] { Index<int, int>("x", {.cache = "none", .registry = &registry_}); });
  EXPECT_THAT(message, HasSubstr("\"dummy\" has no indexes"));
  EXPECT_THAT(message, HasSubstr("these can: locmem"));
  EXPECT_THROW((Index<int, int>("x", {.cache = "absent", .registry = &registry_})), ConfigError);
}

TEST_F(IndexTest, AnIndexReadAsAnotherTypeIsAnError) {
  Index<std::string, int> index("typed", options());
  index.insert("a", 1);
  Index<int, int> of_other_keys("typed", options());
  const auto message = message_of<ValueError>([&] { of_other_keys.find(1); });
  EXPECT_THAT(message, HasSubstr("index \"typed\": "));
  EXPECT_THAT(message, HasSubstr("\"text to integer, by key\""));
  EXPECT_THAT(message, HasSubstr("\"integer to integer, by key\""));
  EXPECT_THROW(of_other_keys.insert(1, 1), ValueError);
  EXPECT_THROW(of_other_keys.popitem(), ValueError);
  EXPECT_THROW(of_other_keys.begin(), ValueError);
  Index<std::string, std::string> of_other_values("typed", options());
  EXPECT_THROW(of_other_values.find("a"), ValueError);
  EXPECT_THROW(of_other_values.setdefault("b", "c"), ValueError);
  auto of_other_order = Index<std::string, int>::by_insertion("typed", options());
  EXPECT_THROW(of_other_order.size(), ValueError);
  EXPECT_EQ(index.size(), 1U);
  Index<std::string, long> of_other_size("typed", options());
  EXPECT_EQ(of_other_size.find("a"), 1) << "integers of all sizes are one type";
  EXPECT_EQ(of_other_keys.clear(), 1U);
  EXPECT_TRUE(of_other_keys.insert(1, 1));
}

TEST_F(IndexTest, AValueThatCannotBeReadIsAnError) {
  Index<int, long> large("large", options());
  large.insert(1, 1'000'000);
  Index<int, short> small("large", options());
  EXPECT_THAT(message_of<ValueError>([&] { small.find(1); }),
              HasSubstr("index \"large\": the value of an item cannot be read"));
  Index<short, long> with_small_keys("large", options());
  large.insert(1'000'000, 1);
  EXPECT_THAT(message_of<ValueError>([&] { with_small_keys.peekitem(); }),
              HasSubstr("the key of an item cannot be read"));
}

TEST_F(IndexTest, TheTransformsOfItsAliasChangeItsValues) {
  Index<int, std::string> mirrored("hidden", {.cache = "mirrored", .registry = &registry_});
  EXPECT_TRUE(mirrored.insert(1, "secret"));
  EXPECT_EQ(mirrored.setdefault(1, "other"), "secret");
  EXPECT_EQ(mirrored.setdefault(2, ""), "");
  EXPECT_THAT(all_of(mirrored), ElementsAre(Pair(1, "secret"), Pair(2, "")));

  Index<int, std::string> plain("hidden", options());  // the same one
  EXPECT_THAT(message_of<ValueError>([&] { plain.find(1); }),
              AllOf(HasSubstr("index \"hidden\""), HasSubstr("\"mirror\"")));
  EXPECT_TRUE(plain.insert_or_assign(3, "plain"));
  EXPECT_THAT(message_of<ValueError>([&] { mirrored.find(3); }),
              HasSubstr("without the transform \"mirror\""));
  EXPECT_EQ(mirrored.popitem(IndexEnd::first), std::pair(1, std::string("secret")));
}

TEST_F(IndexTest, NaNIsNoKey) {
  Index<double, int> index("nan", options());
  EXPECT_THROW(index.insert(std::numeric_limits<double>::quiet_NaN(), 1), InvalidKey);
  EXPECT_TRUE(index.empty());
}

TEST_F(IndexTest, AStoreThatMayEvictIsRefusedUnlessItIsAccepted) {
  behaviour.keeping = Keeping::may_evict;
  const auto message = message_of<ConfigError>([&] { Index<int, int>("x", options()); });
  EXPECT_THAT(message, HasSubstr("index \"x\": the store may evict"));
  EXPECT_THAT(message, HasSubstr("evicting_store"));
  Index<int, int> accepted("x", {.evicting_store = EvictingStore::accept, .registry = &registry_});
  EXPECT_TRUE(accepted.insert(1, 1));
  behaviour.keeping = Keeping::not_known;
  EXPECT_NO_THROW((Index<int, int>("y", options())));
}

TEST_F(IndexTest, AStoreThatIsDownIsAnErrorOfEachCallAndIsAskedAgain) {
  behaviour.is_down = true;
  Index<int, int> index("down", options());
  EXPECT_THROW(index.find(1), BackendError);
  EXPECT_THROW(index.insert(1, 1), BackendError);
  EXPECT_THROW(index.size(), BackendError);
  behaviour.is_down = false;
  behaviour.keeping = Keeping::may_evict;
  EXPECT_THROW(index.insert(1, 1), ConfigError) << "it could not be asked before";
  behaviour.keeping = Keeping::kept;
  EXPECT_TRUE(index.insert(1, 1));
}

// --- Threads ---

TEST_F(IndexTest, LosesNothingAndGivesNothingTwiceToThreads) {
  constexpr int threads = 8;
  constexpr int items = 400;  // of each
  Index<int, int> index("threads", options());
  std::mutex mutex;
  std::multiset<int> popped;  // guarded by the mutex
  std::vector<std::thread> all;
  for (int thread = 0; thread < threads; ++thread) {
    all.emplace_back([&, thread] {
      std::vector<int> own;
      for (int i = 0; i < items; ++i) {
        const int key = i * threads + thread;
        EXPECT_TRUE(index.insert(key, key));
        if (i % 2 == 0) continue;
        const auto item = index.popitem(i % 4 == 1 ? IndexEnd::first : IndexEnd::last);
        ASSERT_TRUE(item.has_value());
        EXPECT_EQ(item->first, item->second);
        own.push_back(item->first);
      }
      const std::lock_guard lock(mutex);
      popped.insert(own.begin(), own.end());
    });
  }
  for (std::thread& thread : all) thread.join();
  for (const auto& [key, value] : index) popped.insert(key);
  EXPECT_EQ(popped.size(), static_cast<std::size_t>(threads * items));
  EXPECT_EQ(std::set<int>(popped.begin(), popped.end()).size(), popped.size());
}

}  // namespace
}  // namespace polycache::testing
