// What is counted and observed is what callers see.

#include "polycache/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/observer.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A store that fails while it is told to.
std::atomic<bool> failing{false};

class FailingSession final : public Backend {
 public:
  bool get(std::string_view, ValueSink) override { return fail(); }
  bool put(std::string_view, std::string_view, Ttl, PutMode) override { return fail(); }
  bool touch(std::string_view, Ttl, ValueSink) override { return fail(); }
  bool erase(std::string_view) override { return fail(); }
  void clear() override { fail(); }

 private:
  static bool fail() {
    if (failing) throw BackendError(BackendError::Kind::unreachable, "10.0.0.1:1", "refused");
    return false;
  }
};

class FailingFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<FailingSession>(); }
};

constexpr PluginDescriptor failing_store = backend_plugin(
    "failing", "1.0",
    [](const OptionReader&, const BackendContext&) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<FailingFactory>();
    });

// Writes down what it sees: "begin get k", "end get k hit".
class Recorder final : public Observer {
 public:
  void begin(const Call& call) noexcept override { write("begin", call, ""); }
  void end(const Call& call, const CallEnd& end) noexcept override {
    write("end", call, " " + std::string(name_of(end.result)));
    hits_ += end.hits;
  }
  std::vector<std::string> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(lines_, {});
  }
  std::size_t hits() const { return hits_; }

 private:
  void write(const char* what, const Call& call, const std::string& end) {
    const std::lock_guard lock(mutex_);
    std::string line = std::string(what) + " " + std::string(name_of(call.op));
    if (!call.key.empty()) line += " " + std::string(call.key);
    if (call.keys > 1) line += " of " + std::to_string(call.keys);
    lines_.push_back(line + end);
  }

  std::mutex mutex_;
  std::vector<std::string> lines_;
  std::atomic<std::size_t> hits_{0};
};

class Statistics : public ::testing::Test {
 protected:
  static Config config() {
    Config config;
    config.caches["a"] = {.backend = "locmem", .location = {"statistics_test"}};
    config.caches["b"] = {.backend = "locmem", .location = {"statistics_test_b"}};
    config.caches["bad"] = {.backend = "failing"};
    return config;
  }
  Environment environment(std::shared_ptr<Observer> observer = {}) const {
    return {.clock = &clock_,
            .on_warning = {},
            .observer = std::move(observer),
            .linked_plugins = {&locmem::plugin, &failing_store}};
  }
  Statistics() { failing = false; }
  ~Statistics() override { failing = false; }

  testing::ManualClock clock_;
  CacheRegistry registry_{config(), environment()};
  Cache& cache_ = registry_["a"];
};

TEST_F(Statistics, BeginAtZero) {
  EXPECT_EQ(cache_.statistics(), CacheStatistics());
  EXPECT_EQ(cache_.statistics().hit_ratio(), 0.0);
}

TEST_F(Statistics, CountEachKeyThatIsRead) {
  cache_.set("k", 1);
  cache_.get("k");
  cache_.get("none");
  cache_.visit("k", [](std::string_view) {});
  cache_.get_many({"k", "none", "neither"});
  cache_.pop("k");
  cache_.pop("k");
  const CacheStatistics seen = cache_.statistics();
  EXPECT_EQ(seen.hits, 4U);
  EXPECT_EQ(seen.misses, 4U);
  EXPECT_EQ(seen.hit_ratio(), 0.5);
  EXPECT_EQ(seen.erased, 1U) << "by pop";
}

TEST_F(Statistics, AnEntryOfAnotherTypeIsAMiss) {
  cache_.set("k", "text");
  EXPECT_FALSE(cache_.get<int>("k"));
  EXPECT_EQ(cache_.statistics().misses, 1U);
  EXPECT_EQ(cache_.statistics().hits, 0U);
}

TEST_F(Statistics, CountWritesAndThoseThatWereNotDone) {
  cache_.set("k", 1);
  cache_.add("k", 2);
  cache_.add("l", 2);
  cache_.touch("k", 1h);
  cache_.touch("none", 1h);
  cache_.incr("k");
  cache_.set_many({{"m", 1}, {"n", 2}});
  cache_.incr_version("m");
  const CacheStatistics seen = cache_.statistics();
  EXPECT_EQ(seen.writes, 7U);
  EXPECT_EQ(seen.refused_writes, 2U);
  EXPECT_EQ(seen.hits + seen.misses, 0U);
}

TEST_F(Statistics, CountWhatWasErased) {
  cache_.set_many({{"a", 1}, {"b", 2}, {"c", 3}, {"d", 4}});
  cache_.erase("a");
  cache_.erase("a");
  cache_.erase_many({"b", "none"});
  cache_.set("c", 1, 0s);
  cache_.touch("d", 0s);
  EXPECT_EQ(cache_.statistics().erased, 4U);
}

TEST_F(Statistics, CountComputations) {
  EXPECT_EQ(cache_.get_or_set("k", [] { return 1; }), 1);
  EXPECT_EQ(cache_.get_or_set("k", [] { return 2; }), 1);
  EXPECT_THROW(cache_.get_or_set("l", []() -> int { throw std::runtime_error("no"); }),
               std::runtime_error);
  const CacheStatistics seen = cache_.statistics();
  EXPECT_EQ(seen.loads, 2U);
  EXPECT_EQ(seen.failed_loads, 1U);
  EXPECT_EQ(seen.hits, 1U);
  EXPECT_EQ(seen.misses, 2U);
}

TEST_F(Statistics, AResetDuringAComputationLeavesNoNegativeNumber) {
  cache_.get_or_set("k", [&] {
    EXPECT_EQ(cache_.statistics().failed_loads, 0U);
    registry_.reset_statistics();
    return 1;
  });
  EXPECT_EQ(cache_.statistics().failed_loads, 0U);
}

TEST_F(Statistics, CountFailuresAndRefusals) {
  failing = true;
  Cache& bad = registry_["bad"];
  for (int i = 0; i < 50; ++i) bad.get("k");
  EXPECT_THROW(bad.erase("k"), BackendError);
  const CacheStatistics seen = bad.statistics();
  EXPECT_EQ(seen.misses, 50U);
  EXPECT_EQ(seen.errors + seen.refusals, 51U);
  EXPECT_GT(seen.errors, 0U);
  EXPECT_GT(seen.refusals, 0U) << "the breaker has opened";
}

TEST_F(Statistics, AddUpTheThreadsAlsoThoseThatHaveEnded) {
  cache_.set("k", 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) registry_["a"].get("k");
      registry_.open("a")->get("none");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cache_.statistics().hits, 4000U);
  EXPECT_EQ(cache_.statistics().misses, 4U);
  EXPECT_EQ(registry_["b"].statistics(), CacheStatistics());
}

// Under the thread sanitizer this shows that reading needs no lock of the writers.
TEST_F(Statistics, AreReadWhileOtherThreadsCount) {
  std::atomic<bool> ending{false};
  std::thread thread([&] {
    while (!ending) registry_["a"].get("none");
  });
  std::uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t misses = cache_.statistics().misses;
    EXPECT_GE(misses, last);
    last = misses;
  }
  ending = true;
  thread.join();
}

TEST_F(Statistics, OfTheRegistryAreByAlias) {
  cache_.get("none");
  const auto all = registry_.statistics();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all.at("a").misses, 1U);
  EXPECT_EQ(all.at("b"), CacheStatistics());
}

TEST_F(Statistics, SurviveAReconfigurationThatKeepsTheAlias) {
  cache_.get("none");
  Config fresh = config();
  fresh.caches["a"].timeout = 5s;
  fresh.caches.erase("b");
  registry_.reconfigure(fresh);
  EXPECT_EQ(registry_.statistics().at("a").misses, 1U);
  registry_["a"].get("none");
  EXPECT_EQ(registry_.statistics().at("a").misses, 2U);
  EXPECT_FALSE(registry_.statistics().contains("b"));
  registry_.reconfigure(config());
  EXPECT_EQ(registry_.statistics().at("b"), CacheStatistics()) << "it was gone, and is new";
}

TEST_F(Statistics, CanBeReset) {
  cache_.get("none");
  registry_.reset_statistics();
  EXPECT_EQ(cache_.statistics(), CacheStatistics());
  cache_.get("none");
  EXPECT_EQ(cache_.statistics().misses, 1U);
  registry_.reset_statistics();
  EXPECT_EQ(cache_.statistics(), CacheStatistics());
}

// --- Observers ---

class Observed : public Statistics {
 protected:
  const std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
  CacheRegistry observed_{config(), environment(recorder_)};
  Cache& seen_ = observed_["a"];
};

TEST_F(Observed, EachOperationBeginsAndEnds) {
  seen_.get("k");
  seen_.set("k", 1);
  seen_.get("k");
  seen_.add("k", 2);
  seen_.contains("k");
  seen_.touch("k");
  seen_.incr("k");
  seen_.get_many({"k", "none"});
  seen_.set_many({{"x", 1}, {"y", 2}, {"z", 3}});
  seen_.erase_many({"x", "none"});
  seen_.pop("y");
  seen_.incr_version("z");
  seen_.erase("none");
  seen_.clear();
  EXPECT_THAT(
      recorder_->take(),
      ElementsAre("begin get :1:k", "end get :1:k miss", "begin set :1:k", "end set :1:k hit",
                  "begin get :1:k", "end get :1:k hit", "begin add :1:k", "end add :1:k miss",
                  "begin contains :1:k", "end contains :1:k hit", "begin touch :1:k",
                  "end touch :1:k hit", "begin incr :1:k", "end incr :1:k hit",
                  "begin get_many :1:k of 2", "end get_many :1:k of 2 hit",
                  "begin set_many :1:x of 3", "end set_many :1:x of 3 hit",
                  "begin erase_many :1:x of 2", "end erase_many :1:x of 2 hit", "begin pop :1:y",
                  "end pop :1:y hit", "begin incr_version :1:z", "end incr_version :1:z hit",
                  "begin erase :1:none", "end erase :1:none miss", "begin clear", "end clear hit"));
}

TEST_F(Observed, OperationsNest) {
  seen_.get_or_set("outer", [&] { return seen_.get_or_set("inner", [] { return 1; }); });
  EXPECT_THAT(recorder_->take(),
              ElementsAre("begin get_or_set :1:outer", "begin get_or_set :1:inner",
                          "end get_or_set :1:inner miss", "end get_or_set :1:outer miss"));
}

TEST_F(Observed, FailuresAreErrors) {
  failing = true;
  Cache& bad = observed_["bad"];
  EXPECT_FALSE(bad.get("k"));
  EXPECT_FALSE(bad.set("k", 1));
  EXPECT_THROW(bad.erase("k"), BackendError);
  EXPECT_THAT(recorder_->take(),
              ElementsAre("begin get :1:k", "end get :1:k error", "begin set :1:k",
                          "end set :1:k error", "begin erase :1:k", "end erase :1:k error"));
  EXPECT_THROW(seen_.get_or_set("k", []() -> int { throw std::runtime_error("no"); }),
               std::runtime_error);
  EXPECT_THAT(recorder_->take(), ElementsAre("begin get_or_set :1:k", "end get_or_set :1:k error"));
}

TEST_F(Observed, AnExceptionOfTheComputationIsAnError) {
  EXPECT_THROW(observed_["a"].get_or_set("k", []() -> int { throw std::runtime_error("unwell"); }),
               std::runtime_error);
  EXPECT_THAT(recorder_->take(), ElementsAre("begin get_or_set :1:k", "end get_or_set :1:k error"));
}

TEST_F(Observed, AMissingCounterIsAMiss) {
  EXPECT_THROW(seen_.incr("none"), KeyNotFound);
  EXPECT_THROW(seen_.incr_version("none"), KeyNotFound);
  EXPECT_THAT(recorder_->take(),
              ElementsAre("begin incr :1:none", "end incr :1:none miss",
                          "begin incr_version :1:none", "end incr_version :1:none miss"));
}

TEST_F(Observed, NothingIsSeenOfABulkOperationWithoutKeys) {
  seen_.get_many(std::vector<std::string>());
  EXPECT_THAT(recorder_->take(), IsEmpty());
}

}  // namespace
}  // namespace polycache
