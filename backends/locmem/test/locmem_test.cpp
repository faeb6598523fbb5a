#include "polycache/backends/locmem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace polycache {
namespace {

using Options = OptionMap;

OptionValue number(std::int64_t n) { return OptionValue(n); }
OptionValue word(const char* text) { return OptionValue(std::string(text)); }

std::optional<std::string> get(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  const bool found = session.get(key, [&](std::string_view value) { result = value; });
  EXPECT_EQ(found, result.has_value()) << key;
  return result;
}

bool contains(Backend& session, std::string_view key) {
  return session.contains(key, [](std::string_view) {});
}

bool set(Backend& session, std::string_view key, std::string_view value, Ttl ttl = Ttl::forever()) {
  return session.put(key, value, ttl, PutMode::always);
}

template <class Extension>
Extension& extension(Backend& session) {
  auto* const found = static_cast<Extension*>(session.extension(Extension::id));
  if (found == nullptr) throw std::logic_error("no extension " + std::string(Extension::id));
  return *found;
}

class Locmem : public ::testing::Test {
 protected:
  std::unique_ptr<BackendFactory> factory(Options options = {},
                                          std::vector<std::string> location = {}) {
    return testing::make_factory(locmem::plugin, context_,
                                 {.location = std::move(location), .options = std::move(options)});
  }
  std::unique_ptr<Backend> open(Options options = {}) {
    factories_.push_back(factory(std::move(options)));
    return factories_.back()->connect();
  }
  locmem::Factory& last_factory() { return dynamic_cast<locmem::Factory&>(*factories_.back()); }
  locmem::Statistics statistics() { return last_factory().statistics(); }
  std::string problem_of(Options options) {
    try {
      factory(std::move(options));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no problem";
  }

  testing::ManualClock clock_;
  testing::TestContext context_{clock_};
  std::vector<std::unique_ptr<BackendFactory>> factories_;
};

// The keys k0 ... that are there.
std::size_t count(Backend& session, int keys) {
  std::size_t result = 0;
  for (int i = 0; i < keys; ++i) result += contains(session, "k" + std::to_string(i)) ? 1 : 0;
  return result;
}

std::size_t count_of(Backend& session, const std::vector<std::string>& keys) {
  std::size_t result = 0;
  for (const auto& key : keys) result += contains(session, key) ? 1 : 0;
  return result;
}

// How many entries there are after each of so many sets of different keys.
std::vector<std::size_t> sizes_after_each_set(Backend& session, int sets) {
  std::vector<std::size_t> result;
  for (int i = 0; i < sets; ++i) {
    EXPECT_TRUE(set(session, "k" + std::to_string(i), "v"));
    result.push_back(count(session, sets));
  }
  return result;
}

TEST_F(Locmem, GivesBackWhatWasPut) {
  const auto session = open();
  const std::string zeros("a\0b\0", 4);
  const std::string large(1 << 20, 'x');
  EXPECT_TRUE(set(*session, "text", "value"));
  EXPECT_TRUE(set(*session, "empty", ""));
  EXPECT_TRUE(set(*session, "zeros", zeros));
  EXPECT_TRUE(set(*session, "large", large));
  EXPECT_TRUE(set(*session, std::string(100'000, 'k'), "long key"));
  EXPECT_EQ(get(*session, "text"), "value");
  EXPECT_EQ(get(*session, "empty"), "");
  EXPECT_EQ(get(*session, "zeros"), zeros);
  EXPECT_EQ(get(*session, "large"), large);
  EXPECT_EQ(get(*session, std::string(100'000, 'k')), "long key");
  EXPECT_EQ(get(*session, "absent"), std::nullopt);
}

TEST_F(Locmem, PutsByMode) {
  const auto session = open();
  EXPECT_FALSE(session->put("k", "1", Ttl::forever(), PutMode::if_present));
  EXPECT_TRUE(session->put("k", "2", Ttl::forever(), PutMode::if_absent));
  EXPECT_FALSE(session->put("k", "3", Ttl::forever(), PutMode::if_absent));
  EXPECT_EQ(get(*session, "k"), "2");
  EXPECT_TRUE(session->put("k", "4", Ttl::forever(), PutMode::if_present));
  EXPECT_EQ(get(*session, "k"), "4");
}

TEST_F(Locmem, ReplacesByValuesOfEverySize) {
  const auto session = open();
  for (const std::size_t size : {0u, 1u, 100u, 99u, 5000u, 4999u, 100'000u, 10u, 0u}) {
    ASSERT_TRUE(set(*session, "k", std::string(size, 's')));
    EXPECT_EQ(get(*session, "k"), std::string(size, 's'));
  }
}

TEST_F(Locmem, ErasesWhatIsThere) {
  const auto session = open();
  set(*session, "k", "v");
  EXPECT_TRUE(session->erase("k"));
  EXPECT_FALSE(session->erase("k"));
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  set(*session, "k", "v");
  session->clear();
  EXPECT_FALSE(contains(*session, "k"));
  EXPECT_TRUE(set(*session, "k", "v"));
  EXPECT_EQ(get(*session, "k"), "v");
}

TEST_F(Locmem, ExpiresExactly) {
  const auto session = open();
  set(*session, "k", "v", Ttl(10ms));
  clock_.advance(10ms - 1ns);
  EXPECT_EQ(get(*session, "k"), "v");
  clock_.advance(1ns);
  EXPECT_EQ(get(*session, "k"), std::nullopt);
}

TEST_F(Locmem, AnExpiredEntryIsAbsentForEveryOperation) {
  const auto session = open();
  const auto expired = [&](const char* key) {
    set(*session, key, "5", Ttl(1ms));
    clock_.advance(1ms);
    return key;
  };
  EXPECT_FALSE(contains(*session, expired("a")));
  EXPECT_FALSE(session->touch(expired("b"), Ttl(1s)));
  EXPECT_FALSE(session->erase(expired("c")));
  EXPECT_EQ(session->incr(expired("d"), 1), std::nullopt);
  EXPECT_TRUE(session->put(expired("e"), "6", Ttl(1s), PutMode::if_absent));
  EXPECT_FALSE(session->put(expired("f"), "6", Ttl(1s), PutMode::if_present));
  EXPECT_FALSE(extension<PopExtension>(*session).pop(expired("g"), [](std::string_view) {}));
  auto& compare = extension<CompareExtension>(*session);
  EXPECT_FALSE(compare.put_if_equal(expired("h"), "5", "6", std::nullopt));
  EXPECT_FALSE(compare.erase_if_equal(expired("i"), "5"));
  EXPECT_FALSE(extension<TtlExtension>(*session).get(expired("j"), [](std::string_view, Ttl) {}));
}

TEST_F(Locmem, TheLongestLifetimeDoesNotOverflow) {
  const auto session = open();
  const auto longest = std::numeric_limits<std::chrono::milliseconds::rep>::max() - 1;
  EXPECT_TRUE(set(*session, "k", "v", Ttl(std::chrono::milliseconds(longest))));
  clock_.advance(24h * 365 * 100);
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_TRUE(session->touch("k", Ttl(std::chrono::milliseconds(longest))));
  EXPECT_EQ(get(*session, "k"), "v");
}

TEST_F(Locmem, TouchGivesANewLifetime) {
  const auto session = open();
  set(*session, "k", "v", Ttl(1s));
  EXPECT_TRUE(session->touch("k", Ttl(10s)));
  clock_.advance(9s);
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_TRUE(session->touch("k", Ttl::forever()));
  EXPECT_TRUE(session->touch("k", Ttl::forever()));
  clock_.advance(1h);
  EXPECT_EQ(get(*session, "k"), "v");
  EXPECT_FALSE(session->touch("absent", Ttl(1s)));
}

TEST_F(Locmem, CountsAndKeepsTheLifetime) {
  const auto session = open();
  set(*session, "n", "8", Ttl(10s));
  EXPECT_EQ(session->incr("n", 3), 11);
  EXPECT_EQ(session->incr("n", -111), -100);
  EXPECT_EQ(get(*session, "n"), "-100");
  set(*session, "n2", "9223372036854775806");
  EXPECT_EQ(session->incr("n2", 1), std::numeric_limits<std::int64_t>::max());
  EXPECT_THROW(session->incr("n2", 1), ValueError);
  EXPECT_EQ(get(*session, "n2"), "9223372036854775807");
  set(*session, "text", "07");
  EXPECT_THROW(session->incr("text", 1), ValueError);
  EXPECT_EQ(get(*session, "text"), "07");
  EXPECT_EQ(session->incr("absent", 1), std::nullopt);
  clock_.advance(10s);
  EXPECT_EQ(session->incr("n", 1), std::nullopt);
}

TEST_F(Locmem, BulkOperationsAnswerEachKey) {
  const auto session = open();
  std::vector<std::string> names;
  for (int i = 0; i < 100; ++i) names.push_back("key" + std::to_string(i));
  std::vector<Item> items;
  for (const auto& name : names) items.push_back({name, name, Ttl(1s)});
  session->put_many(items, PutMode::always, [](std::size_t) { ADD_FAILURE(); });
  session->erase("key7");
  std::vector<std::string_view> keys(names.begin(), names.end());
  keys.push_back("key3");
  std::map<std::size_t, std::string> found;
  session->get_many(keys, [&](std::size_t i, std::string_view value) {
    EXPECT_TRUE(found.emplace(i, value).second);
  });
  EXPECT_EQ(found.size(), 100u);
  for (const auto& [i, value] : found) EXPECT_EQ(value, keys[i]);
  EXPECT_FALSE(found.contains(7));
  EXPECT_EQ(session->erase_many(keys), 99u);
  EXPECT_EQ(session->erase_many(keys), 0u);
}

TEST_F(Locmem, ReadsTheRemainingLifetime) {
  const auto session = open();
  auto& ttl = extension<TtlExtension>(*session);
  set(*session, "k", "v", Ttl(10s));
  set(*session, "forever", "w");
  clock_.advance(4s - 1ns);
  EXPECT_TRUE(ttl.get("k", [](std::string_view value, Ttl left) {
    EXPECT_EQ(value, "v");
    EXPECT_EQ(left.value(), 6001ms) << "rounded up";
  }));
  std::vector<std::string> seen;
  const std::vector<std::string_view> keys = {"forever", "absent", "k"};
  ttl.get_many(keys, [&](std::size_t i, std::string_view value, Ttl left) {
    seen.push_back(std::to_string(i) + std::string(value) + (left.is_forever() ? "!" : ""));
  });
  EXPECT_THAT(seen, ElementsAre("0w!", "2v"));
}

TEST_F(Locmem, ComparesBeforeItWrites) {
  const auto session = open();
  auto& compare = extension<CompareExtension>(*session);
  set(*session, "k", "a", Ttl(10s));
  EXPECT_FALSE(compare.put_if_equal("k", "b", "c", std::nullopt));
  EXPECT_FALSE(compare.put_if_equal("absent", "", "c", std::nullopt));
  EXPECT_TRUE(compare.put_if_equal("k", "a", std::string(3000, 'c'), std::nullopt));
  EXPECT_EQ(get(*session, "k"), std::string(3000, 'c'));
  clock_.advance(9s);
  EXPECT_TRUE(compare.put_if_equal("k", std::string(3000, 'c'), "d", Ttl(10s)));
  clock_.advance(9s);
  EXPECT_EQ(get(*session, "k"), "d");
  EXPECT_FALSE(compare.erase_if_equal("k", "c"));
  EXPECT_TRUE(compare.erase_if_equal("k", "d"));
  EXPECT_FALSE(contains(*session, "k"));
}

TEST_F(Locmem, PopTakesTheValueAway) {
  const auto session = open();
  auto& pop = extension<PopExtension>(*session);
  for (const std::size_t size : {0u, 5u, 5000u}) {
    set(*session, "k", std::string(size, 'p'));
    std::string popped = "nothing";
    EXPECT_TRUE(pop.pop("k", [&](std::string_view value) { popped = value; }));
    EXPECT_EQ(popped, std::string(size, 'p'));
    EXPECT_FALSE(pop.pop("k", [](std::string_view) {}));
  }
}

TEST_F(Locmem, ErasesByPrefix) {
  const auto session = open();
  for (const char* key : {"a:1", "a:2", "ab:1", "b:1"}) set(*session, key, "v");
  EXPECT_EQ(extension<ErasePrefixExtension>(*session).erase_prefix("a:"), 2u);
  EXPECT_FALSE(contains(*session, "a:1"));
  EXPECT_TRUE(contains(*session, "ab:1"));
  EXPECT_TRUE(contains(*session, "b:1"));
  EXPECT_EQ(session->extension("polycache.unheard_of/1"), nullptr);
}

TEST_F(Locmem, ASinkMayUseAnotherSessionOfTheSameStore) {
  const auto session = open();
  const auto other = open();
  for (const std::size_t size : {5u, 5000u}) {
    const std::string value(size, 's');
    set(*session, "k", value);
    EXPECT_TRUE(session->get("k", [&](std::string_view bytes) {
      other->clear();
      EXPECT_TRUE(set(*other, "k", "new"));
      EXPECT_EQ(bytes, value);
    }));
    EXPECT_EQ(get(*session, "k"), "new");
  }
}

// --- limits ---

TEST_F(Locmem, LruRemovesWhatWasUsedLeastRecently) {
  const auto session = open({{"max_entries", number(3)}, {"policy", word("lru")}});
  for (const char* key : {"a", "b", "c"}) set(*session, key, "1");
  get(*session, "a");
  set(*session, "d", "1");
  EXPECT_FALSE(contains(*session, "b"));
  session->incr("c", 1);
  set(*session, "a", "2");
  set(*session, "e", "1");
  EXPECT_FALSE(contains(*session, "d"));
  EXPECT_TRUE(contains(*session, "a"));
  EXPECT_TRUE(contains(*session, "c"));
}

TEST_F(Locmem, ContainsTouchAndAddDoNotCountAsUse) {
  for (const char* policy : {"lru", "django"}) {
    SCOPED_TRACE(policy);
    factories_.clear();
    const auto session = open({{"max_entries", number(2)}, {"policy", word(policy)}});
    set(*session, "a", "1");
    set(*session, "b", "1");
    EXPECT_TRUE(contains(*session, "a"));
    EXPECT_TRUE(session->touch("a", Ttl(1s)));
    EXPECT_FALSE(session->put("a", "2", Ttl(1s), PutMode::if_absent));
    set(*session, "c", "1");
    EXPECT_FALSE(contains(*session, "a"));
    EXPECT_TRUE(contains(*session, "b"));
  }
}

TEST_F(Locmem, DjangoCullsAShareOfTheEntries) {
  const auto sizes = [this](std::int64_t frequency) {
    factories_.clear();
    const auto session = open({{"max_entries", number(5)},
                               {"policy", word("django")},
                               {"cull_frequency", number(frequency)}});
    return sizes_after_each_set(*session, 14);
  };
  EXPECT_THAT(sizes(3), ElementsAre(1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5));
  EXPECT_THAT(sizes(2), ElementsAre(1, 2, 3, 4, 5, 4, 5, 4, 5, 4, 5, 4, 5, 4));
  EXPECT_THAT(sizes(1), ElementsAre(1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4));
  EXPECT_THAT(sizes(0), ElementsAre(1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4));
  EXPECT_THAT(sizes(100), ElementsAre(1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5))
      << "at least one goes";
}

TEST_F(Locmem, DjangoLeavesWhatItsOwnTestsExpect) {
  for (const auto& [frequency, left] : std::map<std::int64_t, std::size_t>{{3, 29}, {0, 19}}) {
    factories_.clear();
    const auto session = open({{"max_entries", number(30)},
                               {"policy", word("django")},
                               {"cull_frequency", number(frequency)}});
    EXPECT_EQ(sizes_after_each_set(*session, 49).back(), left) << frequency;
  }
}

TEST_F(Locmem, DjangoDoesNotCullWhenItOverwrites) {
  const auto session = open({{"max_entries", number(3)}, {"policy", word("django")}});
  for (int i = 0; i < 3; ++i) set(*session, "k" + std::to_string(i), "v");
  set(*session, "k1", "w");
  EXPECT_EQ(count(*session, 3), 3u);
}

TEST_F(Locmem, DjangoCullsWhatIsExpiredFirst) {
  const auto session = open({{"max_entries", number(40)}, {"policy", word("django")}});
  for (int i = 0; i < 39; ++i) set(*session, "k" + std::to_string(i), "v");
  set(*session, "short", "v", Ttl(1s));
  clock_.advance(1s);
  set(*session, "k39", "v");
  EXPECT_EQ(count(*session, 40), 40u);
}

TEST_F(Locmem, MaxEntriesHoldsUnderConcurrency) {
  constexpr std::size_t limit = 50;
  const auto session = open({{"max_entries", number(limit)}});
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t, own = factories_[0]->connect()] {
      for (int i = 0; i < 2000; ++i) {
        const std::string key = "k" + std::to_string((i * 7 + t * 13) % 200);
        if (!set(*own, key, key)) failed = true;
        if (const auto value = get(*own, key); value && *value != key) failed = true;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(failed);
  EXPECT_LE(count(*session, 200), limit);
  EXPECT_GE(count(*session, 200), limit - 4);
}

TEST_F(Locmem, MaxBytesHolds) {
  const auto session = open({{"max_bytes", number(100'000)}});
  std::size_t stored = 0;
  for (int i = 0; i < 500; ++i) {
    EXPECT_TRUE(set(*session, "k" + std::to_string(i), std::string(1000, 'v')));
  }
  stored = count(*session, 500);
  EXPECT_LE(stored, 99u) << "each occupies more than its 1000 bytes";
  EXPECT_GE(stored, 75u);
}

TEST_F(Locmem, RefusesWhatIsLargerThanTheStore) {
  const auto session = open({{"max_bytes", number(10'000)}});
  EXPECT_TRUE(set(*session, "k", "old"));
  EXPECT_TRUE(set(*session, "other", "v"));
  EXPECT_FALSE(set(*session, "k", std::string(10'000, 'v')));
  EXPECT_FALSE(contains(*session, "k")) << "the old value is gone";
  EXPECT_TRUE(contains(*session, "other"));
  EXPECT_THAT(context_.warnings(), ElementsAre(HasSubstr("max_bytes")));
  set(*session, "k", "old");
  EXPECT_FALSE(extension<CompareExtension>(*session).put_if_equal(
      "k", "old", std::string(10'000, 'v'), std::nullopt));
  EXPECT_FALSE(contains(*session, "k"));
  EXPECT_EQ(context_.warnings().size(), 2u);
}

TEST_F(Locmem, ALargeValueTakesThePlaceOfOthers) {
  const auto session = open({{"max_bytes", number(4 << 20)}});
  for (int i = 0; i < 3000; ++i) set(*session, "k" + std::to_string(i), std::string(100, 'v'));
  const std::string large(4'000'000, 'x');
  EXPECT_TRUE(set(*session, "large", large));
  EXPECT_EQ(get(*session, "large"), large);
  EXPECT_TRUE(set(*session, "k1", std::string(300'000, 'y'))) << "now the large one has to go";
  EXPECT_EQ(get(*session, "k1"), std::string(300'000, 'y'));
}

TEST_F(Locmem, FifoRemovesWhatCameFirst) {
  const auto session = open({{"max_entries", number(3)}, {"policy", word("fifo")}});
  for (const char* key : {"a", "b", "c"}) set(*session, key, "1");
  get(*session, "a");
  set(*session, "a", "2");
  set(*session, "d", "1");
  EXPECT_FALSE(contains(*session, "a"));
  EXPECT_EQ(count_of(*session, {"b", "c", "d"}), 3u);
}

TEST_F(Locmem, LfuRemovesWhatWasUsedLeastOften) {
  const auto session = open({{"max_entries", number(3)}, {"policy", word("lfu")}});
  for (const char* key : {"a", "b", "c"}) set(*session, key, "1");
  for (int i = 0; i < 300; ++i) get(*session, "a");
  for (int i = 0; i < 300; ++i) get(*session, "b");
  get(*session, "c");
  set(*session, "d", "1");
  EXPECT_FALSE(contains(*session, "c"));
  get(*session, "a");
  get(*session, "d");
  get(*session, "d");
  session->erase("d");
  set(*session, "e", "1");
  set(*session, "f", "1");
  EXPECT_FALSE(contains(*session, "e"));
  EXPECT_EQ(count_of(*session, {"a", "b", "f"}), 3u);
}

TEST_F(Locmem, S3FifoKeepsWhatIsUsedThroughAScan) {
  const auto session = open({{"max_entries", number(100)}});
  for (int i = 0; i < 50; ++i) set(*session, "hot" + std::to_string(i), "v");
  for (int i = 0; i < 25; ++i) set(*session, "other" + std::to_string(i), "v");
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 50; ++i) get(*session, "hot" + std::to_string(i));
  }
  for (int i = 0; i < 10'000; ++i) set(*session, "scan" + std::to_string(i), "v");
  std::size_t kept = 0;
  for (int i = 0; i < 50; ++i) kept += contains(*session, "hot" + std::to_string(i)) ? 1 : 0;
  EXPECT_EQ(kept, 50u);
}

TEST_F(Locmem, S3FifoDoesNotCountABurstOfUsesRightAfterTheArrival) {
  const auto session = open({{"max_entries", number(100)}});
  for (int i = 0; i < 50; ++i) set(*session, "before" + std::to_string(i), "v");
  set(*session, "late", "v");
  set(*session, "burst", "v");
  for (int use = 0; use < 5; ++use) get(*session, "burst");
  for (int i = 0; i < 30; ++i) set(*session, "between" + std::to_string(i), "v");
  get(*session, "late");
  for (int i = 0; i < 10'000; ++i) set(*session, "scan" + std::to_string(i), "v");
  EXPECT_FALSE(contains(*session, "burst"));
  EXPECT_TRUE(contains(*session, "late"));
}

TEST_F(Locmem, S3FifoRemembersWhatItRemoved) {
  const auto session = open({{"max_entries", number(100)}});
  for (int i = 0; i < 150; ++i) set(*session, "k" + std::to_string(i), "v");
  ASSERT_FALSE(contains(*session, "k20"));
  set(*session, "k20", "v");  // comes back: it belongs to the main queue
  for (int i = 0; i < 200; ++i) set(*session, "scan" + std::to_string(i), "v");
  EXPECT_TRUE(contains(*session, "k20"));
}

// Forth and back through more than there is room for: what was asked for last comes again
// first, which is LRU's best case and the worst of a small queue that stays small.
TEST_F(Locmem, S3FifoFollowsLruWhereTheNewestComesBack) {
  const auto hits = [&](const char* policy) {
    const auto session =
        open({{"max_entries", number(300)}, {"policy", OptionValue(std::string(policy))}});
    int found = 0;
    const auto ask = [&](int i) {
      const std::string key = "k" + std::to_string(i);
      if (get(*session, key)) {
        ++found;
      } else {
        set(*session, key, "v");
      }
    };
    for (int round = 0; round < 30; ++round) {
      if (round == 15) found = 0;  // the small queue has grown by then
      for (int i = 0; i < 1000; ++i) ask(i);
      for (int i = 999; i >= 0; --i) ask(i);
    }
    return found;
  };
  EXPECT_GT(hits("s3-fifo"), hits("lru") * 9 / 10);
}

// Round and round: LRU never has what comes next.
TEST_F(Locmem, S3FifoKeepsAPartOfALoop) {
  const auto session = open({{"max_entries", number(300)}});
  int found = 0;
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 500; ++i) {
      const std::string key = "k" + std::to_string(i);
      if (get(*session, key)) {
        ++found;
      } else {
        set(*session, key, "v");
      }
    }
  }
  EXPECT_GT(found, 40 * 500 / 10);
}

TEST_F(Locmem, EveryPolicyHoldsItsLimitsOnEverySize) {
  for (const char* policy : {"s3-fifo", "lru", "fifo", "lfu", "django"}) {
    SCOPED_TRACE(policy);
    factories_.clear();
    const auto session = open(
        {{"max_entries", number(700)}, {"max_bytes", number(300'000)}, {"policy", word(policy)}});
    std::mt19937 random(7);
    for (int i = 0; i < 5000; ++i) {
      const std::string key = "k" + std::to_string(random() % 2000);
      const std::string value(random() % (random() % 10 == 0 ? 20'000 : 300), 'v');
      ASSERT_TRUE(set(*session, key, value));
      ASSERT_EQ(get(*session, key), value);
      ASSERT_LE(statistics().entries, 700u);
      ASSERT_LE(statistics().bytes, 300'000u);
    }
    session->clear();
    EXPECT_EQ(statistics().entries, 0u);
    EXPECT_EQ(statistics().bytes, 0u);
  }
}

// A store of many shards may hold as much in few of them as in all.
TEST_F(Locmem, LimitsAreThoseOfTheWholeStore) {
  const auto session = open({{"max_entries", number(200'000)}});
  for (int i = 0; i < 200'000; ++i) set(*session, "k" + std::to_string(i), "v");
  EXPECT_EQ(statistics().entries, 200'000u) << "none was removed before the limit is reached";
  EXPECT_EQ(statistics().evicted, 0u);
  for (int i = 0; i < 100; ++i) set(*session, "more" + std::to_string(i), "v");
  EXPECT_EQ(statistics().entries, 200'000u);
  EXPECT_EQ(statistics().evicted, 100u);
}

TEST_F(Locmem, ExpiredEntriesLeaveWithoutBeingRead) {
  const auto session = open();
  for (int i = 0; i < 20'000; ++i) set(*session, "old" + std::to_string(i), "v", Ttl(1s));
  set(*session, "kept", "v", Ttl(1h));
  clock_.advance(1s);
  EXPECT_EQ(statistics().entries, 20'001u);
  for (int i = 0; i < 40'000; ++i) set(*session, "new" + std::to_string(i % 100), "v");
  EXPECT_EQ(statistics().entries, 101u);
  EXPECT_EQ(statistics().expired, 20'000u);
  EXPECT_EQ(get(*session, "kept"), "v");
  clock_.advance(1h);
  for (int i = 0; i < 60'000; ++i) set(*session, "new" + std::to_string(i % 100), "v");
  EXPECT_EQ(statistics().entries, 100u);
}

TEST_F(Locmem, ExpiredEntriesGoBeforeLiveOnes) {
  const auto session = open({{"max_entries", number(5)}, {"policy", word("lru")}});
  for (const char* key : {"a", "b", "c", "d"}) set(*session, key, "v");
  set(*session, "short", "v", Ttl(1s));
  clock_.advance(1s);
  set(*session, "e", "v");
  EXPECT_EQ(count_of(*session, {"a", "b", "c", "d", "e"}), 5u);
}

// --- listening ---

TEST_F(Locmem, ReportsRemovedEntriesAndTheCause) {
  const auto session = open({{"max_entries", number(2)}, {"policy", word("lru")}});
  std::vector<std::string> told;
  last_factory().on_removal(
      [&](locmem::Removal cause, std::string_view key, std::string_view value) {
        static constexpr std::array cause_names = {"size", "expired", "replaced", "erased"};
        told.push_back(std::string(cause_names[static_cast<std::size_t>(cause)]) + " " +
                       std::string(key) + "=" + std::string(value));
      });
  set(*session, "a", "1");
  set(*session, "a", "2");
  session->incr("a", 1);
  set(*session, "b", "1", Ttl(1s));
  clock_.advance(1s);
  EXPECT_FALSE(get(*session, "b"));
  session->erase("a");
  const std::string large(5000, 'l');
  set(*session, "c", large);
  set(*session, "d", "1");
  set(*session, "e", "1");
  session->clear();
  EXPECT_THAT(
      std::vector(told.begin(), told.begin() + 5),
      ElementsAre("replaced a=1", "replaced a=2", "expired b=1", "erased a=3", "size c=" + large));
  EXPECT_THAT(std::vector(told.begin() + 5, told.end()),
              ::testing::UnorderedElementsAre("erased d=1", "erased e=1"));
  const locmem::Statistics counted = statistics();
  EXPECT_EQ(counted.replaced, 2u);
  EXPECT_EQ(counted.expired, 1u);
  EXPECT_EQ(counted.evicted, 1u);
  EXPECT_EQ(counted.erased, 3u);
  last_factory().on_removal({});
  set(*session, "a", "1");
  session->erase("a");
  EXPECT_EQ(told.size(), 7u);
}

TEST_F(Locmem, AListenerMayUseTheStore) {
  const auto session = open({{"max_entries", number(2)}, {"policy", word("fifo")}});
  const auto inner = factories_[0]->connect();
  last_factory().on_removal([&](locmem::Removal cause, std::string_view key, std::string_view) {
    if (cause == locmem::Removal::size) {
      EXPECT_FALSE(contains(*inner, key));
    }
  });
  for (int i = 0; i < 10; ++i) set(*session, "k" + std::to_string(i), "v");
  EXPECT_EQ(statistics().evicted, 8u);
}

// --- options and locations ---

TEST_F(Locmem, RefusesWrongOptions) {
  EXPECT_THAT(problem_of({{"max_entries", number(0)}}), HasSubstr("max_entries"));
  EXPECT_THAT(problem_of({{"max_entries", number(-1)}}), HasSubstr("max_entries"));
  EXPECT_THAT(problem_of({{"max_bytes", number(10)}}), HasSubstr("max_bytes"));
  EXPECT_THAT(problem_of({{"policy", word("lruu")}}), HasSubstr("policy"));
  EXPECT_THAT(problem_of({{"cull_frequency", number(3)}, {"policy", word("lru")}}),
              HasSubstr("django"));
  EXPECT_THAT(problem_of({{"max_entires", number(3)}}), HasSubstr("did you mean \"max_entries\""));
  EXPECT_EQ(problem_of({{"max_bytes", word("10MiB")}, {"max_entries", number(1)}}), "no problem");
}

TEST_F(Locmem, HasOneLocation) { EXPECT_THROW(factory({}, {"a", "b"}), ConfigError); }

TEST_F(Locmem, AliasesOfOneLocationShareAStore) {
  const auto a = factory({}, {"here"});
  const auto b = factory({}, {"here"});
  const auto c = factory({}, {"there"});
  set(*a->connect(), "k", "v");
  EXPECT_EQ(get(*b->connect(), "k"), "v");
  EXPECT_EQ(get(*c->connect(), "k"), std::nullopt);
}

TEST_F(Locmem, AStoreOutlivesItsFactories) {
  set(*factory()->connect(), "k", "v");
  EXPECT_EQ(get(*factory()->connect(), "k"), "v");
}

TEST_F(Locmem, EachClockHasItsOwnStores) {
  testing::ManualClock other_clock;
  const std::vector<std::string> location = {"here"};
  const Options none;
  const OptionReader reader("caches.test", location, none);
  std::map<std::string, std::shared_ptr<void>, std::less<>> objects;
  const auto process_wide = [&](std::string_view id, FunctionRef<std::shared_ptr<void>()> make) {
    auto& slot = objects[std::string(id)];
    if (!slot) slot = make();
    return slot;
  };
  const auto no_sibling = [](std::string_view) -> std::shared_ptr<BackendFactory> { return {}; };
  const auto make = [&](const Clock& clock) {
    const BackendContext context{.alias = "test",
                                 .clock = clock,
                                 .key_head = "",
                                 .inner = nullptr,
                                 .sibling = no_sibling,
                                 .report = [](const Warning&) {},
                                 .process_wide = process_wide};
    return locmem::plugin.payload.create(reader, context);
  };
  const auto a = make(clock_);
  const auto b = make(other_clock);
  set(*a->connect(), "k", "v");
  EXPECT_EQ(get(*b->connect(), "k"), std::nullopt);
}

class LocmemAliases : public Locmem {
 protected:
  std::unique_ptr<BackendFactory> factory_of(const char* alias, const Options& options) {
    const std::vector<std::string> location = {"shared"};
    const OptionReader reader("caches." + std::string(alias), location, options);
    const auto process_wide = [this](std::string_view id,
                                     FunctionRef<std::shared_ptr<void>()> make) {
      auto& slot = objects_[std::string(id)];
      if (!slot) slot = make();
      return slot;
    };
    const auto no_sibling = [](std::string_view) -> std::shared_ptr<BackendFactory> { return {}; };
    return locmem::plugin.payload.create(reader, BackendContext{.alias = alias,
                                                                .clock = clock_,
                                                                .key_head = "",
                                                                .inner = nullptr,
                                                                .sibling = no_sibling,
                                                                .report = [](const Warning&) {},
                                                                .process_wide = process_wide});
  }
  std::map<std::string, std::shared_ptr<void>, std::less<>> objects_;
};

TEST_F(LocmemAliases, AnAliasMayChangeItsOwnLimits) {
  auto before = factory_of("first", {{"max_entries", number(10)}});
  const auto old_session = before->connect();
  set(*old_session, "k", "v");
  const auto after = factory_of("first", {{"max_entries", number(2)}});
  before.reset();
  const auto session = after->connect();
  EXPECT_LE(sizes_after_each_set(*session, 5).back(), 2u);
  EXPECT_EQ(get(*old_session, "k"), "v") << "an open session keeps its store";
  EXPECT_LE(count(*factory_of("second", {{"max_entries", number(2)}})->connect(), 5), 2u);
}

TEST_F(LocmemAliases, ARefusedChangeLeavesTheStore) {
  auto before = factory_of("first", {{"max_entries", number(10)}});
  set(*before->connect(), "k", "v");
  before.reset();
  factory_of("first", {{"max_entries", number(2)}});  // never connected
  EXPECT_EQ(get(*factory_of("first", {{"max_entries", number(10)}})->connect(), "k"), "v");
}

TEST_F(Locmem, KeyRulesAreTheAuthorsChoice) {
  class Picky final : public locmem::Factory {
   public:
    Picky(const OptionReader& options, const BackendContext& context)
        : locmem::Factory(options, context, KeyRules::custom) {}
  };
  const auto create = [](const OptionReader& options,
                         const BackendContext& context) -> std::unique_ptr<BackendFactory> {
    return std::make_unique<Picky>(options, context);
  };
  const PluginDescriptor picky = backend_plugin("picky", "1", create);
  const auto derived = testing::make_factory(picky, context_);
  EXPECT_EQ(derived->traits().key_rules, KeyRules::custom);
  EXPECT_EQ(factory()->traits().key_rules, KeyRules::portable);
  set(*factory()->connect(), "k", "v");
  EXPECT_EQ(get(*derived->connect(), "k"), "v") << "it shares the stock store";
}

// --- threads and processes ---

TEST_F(Locmem, CountsEveryIncrementOfEveryThread) {
  const auto session = open();
  set(*session, "n", "0");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([own = factories_[0]->connect()] {
      for (int i = 0; i < 1000; ++i) own->incr("n", 1);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(get(*session, "n"), "4000");
}

// g++ 12's AddressSanitizer does not hold its allocator's locks over a fork.
#if !defined(__SANITIZE_ADDRESS__)
TEST_F(Locmem, AChildUsesWhatItInherited) {
  const auto session = open();
  for (int i = 0; i < 200; ++i) set(*session, "k" + std::to_string(i), "v");
  std::atomic<bool> stop{false};
  std::thread writer([&, own = factories_[0]->connect()] {
    for (int i = 0; !stop; ++i) set(*own, "k" + std::to_string(i % 200), "w");
  });
  for (int n = 0; n < 10; ++n) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // Every key, so every lock; a child that hangs is ended by the alarm.
      alarm(100);
      bool good = true;
      for (int i = 0; i < 200; ++i) good &= contains(*session, "k" + std::to_string(i));
      for (int i = 0; i < 200; ++i) good &= set(*session, "k" + std::to_string(i), "c");
      _exit(good ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  stop = true;
  writer.join();
  EXPECT_TRUE(contains(*session, "k0")) << "the parent goes on, too";
}
#endif

// Each thread owns some keys, of which it knows everything but what was evicted, and shares
// others. Small enough that everything is evicted all the time.
TEST_F(Locmem, StaysRightWhileManyThreadsWriteAndEvict) {
  const auto session = open({{"max_entries", number(3000)}, {"max_bytes", number(2'000'000)}});
  last_factory().on_removal([](locmem::Removal, std::string_view key, std::string_view value) {
    if (!value.starts_with(key)) ADD_FAILURE() << "the value of another key";
  });
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t, own = factories_[0]->connect()] {
      std::map<std::string, std::string> model;
      std::mt19937 random(static_cast<unsigned>(t));
      for (int step = 0; step < 20'000; ++step) {
        const bool shared = random() % 4 == 0;
        const std::string key =
            (shared ? "s" : "t" + std::to_string(t) + "-") + std::to_string(random() % 3000);
        switch (random() % 8) {
          case 0:
          case 1:
          case 2: {
            const std::string value =
                key + std::string(random() % (step % 50 == 0 ? 5000 : 200), 'x');
            EXPECT_TRUE(set(*own, key, value, random() % 2 == 0 ? Ttl(1h) : Ttl::forever()));
            if (!shared) model[key] = value;
            break;
          }
          case 3:
            own->erase(key);
            if (!shared) model.erase(key);
            break;
          case 4: {
            const std::string other = "s" + std::to_string(random() % 3000);
            const std::array<std::string_view, 2> keys = {key, other};
            own->get_many(keys, [&](std::size_t i, std::string_view value) {
              EXPECT_TRUE(value.starts_with(keys[i]));
            });
            break;
          }
          default:
            if (const auto value = get(*own, key)) {
              if (shared) {
                EXPECT_TRUE(value->starts_with(key));
              } else {
                EXPECT_EQ(*value, model[key]);
              }
            }
        }
      }
    });
  }
  std::thread watcher([&] {
    while (!stop) {
      // Counted shard by shard, so only each shard's part is of one moment.
      EXPECT_LE(statistics().entries, 3300u);
      std::this_thread::yield();
    }
  });
  for (auto& thread : threads) thread.join();
  stop = true;
  watcher.join();
  EXPECT_LE(statistics().entries, 3000u);
  EXPECT_LE(statistics().bytes, 2'000'000u);
  session->clear();
  EXPECT_EQ(statistics().entries, 0u);
  EXPECT_EQ(statistics().bytes, 0u);
}

// --- a model ---

// Random operations on a few keys, checked against a map.
TEST_F(Locmem, DoesWhatAMapDoes) {
  const auto session = open();
  struct Modelled {
    std::string value;
    std::optional<std::chrono::steady_clock::time_point> deadline;
  };
  std::map<std::string, Modelled> model;
  std::mt19937 random(42);
  const auto below = [&](unsigned n) { return static_cast<std::size_t>(random() % n); };
  for (int step = 0; step < 20'000; ++step) {
    const std::string key = "key" + std::to_string(below(60));
    const auto now = clock_.steady_now();
    if (const auto it = model.find(key);
        it != model.end() && it->second.deadline <= now && it->second.deadline.has_value()) {
      model.erase(it);
    }
    const auto it = model.find(key);
    const bool there = it != model.end();
    const bool mortal = below(2) == 0;
    const auto life = std::chrono::milliseconds(1 + below(50));
    const Ttl ttl = mortal ? Ttl(life) : Ttl::forever();
    const auto deadline = mortal ? std::optional(now + life) : std::nullopt;
    switch (below(8)) {
      case 0:
      case 1: {
        const auto mode = static_cast<PutMode>(below(3));
        const std::string value(below(3) == 0 ? below(4000) : below(40), 'a');
        const bool stores = mode == PutMode::always || there == (mode == PutMode::if_present);
        ASSERT_EQ(session->put(key, value, ttl, mode), stores);
        if (stores) model[key] = {value, deadline};
        break;
      }
      case 2:
        ASSERT_EQ(session->erase(key), there);
        model.erase(key);
        break;
      case 3:
        ASSERT_EQ(session->touch(key, ttl), there);
        if (there) it->second.deadline = deadline;
        break;
      case 4:
        clock_.advance(std::chrono::milliseconds(below(5)));
        break;
      case 5:
        if (below(200) == 0) {
          session->clear();
          model.clear();
        }
        break;
      case 6: {
        auto& compare = extension<CompareExtension>(*session);
        const std::string expected = there ? it->second.value : "";
        ASSERT_EQ(compare.put_if_equal(key, expected, "swapped", std::nullopt), there);
        if (there) it->second.value = "swapped";
        break;
      }
      default:
        ASSERT_EQ(get(*session, key), there ? std::optional(it->second.value) : std::nullopt);
    }
  }
}

}  // namespace
}  // namespace polycache
