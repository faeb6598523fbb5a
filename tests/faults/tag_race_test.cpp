// Processes write entries with tags, erase the tags and lose their versions, and are killed at any
// moment. What one of them reads must never be older than an erasure that had been acknowledged
// before the read began (FAULTS 25, 50 to 59).
//
//   POLYCACHE_TAG_STEPS=1000000   steps of all processes together [20000; 4000 with a sanitizer]
//   POLYCACHE_TAG_SEED=17         of the random numbers [printed]

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "polycache/polycache.h"
#include "support/process_stores.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t tags = 3;
constexpr int processes = 4;
constexpr int kills = 40;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int usual_steps = 4000;
#else
constexpr int usual_steps = 20000;
#endif

int number_of(const char* variable, int otherwise) {
  const char* const given = std::getenv(variable);
  return given != nullptr ? std::atoi(given) : otherwise;
}

struct Counts {
  std::array<std::atomic<int>, tags> begun{};  // erasures
  std::array<std::atomic<int>, tags> done{};   // acknowledged ones
  std::atomic<int> steps{0};
  std::atomic<int> hits{0};
  std::atomic<int> outdated{0};
};

class TagRaces : public ::testing::TestWithParam<ProcessStore> {
 protected:
  // Each value is how often its tag had been erased when its version was read, or a little later.
  void make_step(Cache& cache, std::mt19937& random) {
    const std::size_t t = random() % tags;
    const std::string tag = "t" + std::to_string(t);
    const std::string key = tag + ":" + std::to_string(random() % 4);
    const auto look = [&](auto&& read) {
      const int erased = counts_->done[t];
      const std::optional<int> value = read();
      if (!value) return;
      ++counts_->hits;
      if (*value < erased) ++counts_->outdated;
    };
    switch (random() % 8) {
      case 0: {
        const TagSnapshot before = cache.tags(tag);
        const int erased = counts_->begun[t];
        cache.set(key, erased, {.tags = before});
        break;
      }
      case 1:
        ++counts_->begun[t];
        cache.erase_tag(tag);
        ++counts_->done[t];
        break;
      case 2:  // as if it had been evicted
        ++counts_->begun[t];
        cache.backend().erase(":~t:" + tag);
        ++counts_->done[t];
        break;
      case 3:
        look([&] {
          return std::optional(
              cache.get_or_set(key, [&] { return counts_->begun[t].load(); }, {.tags = tag}));
        });
        break;
      case 4:
        look([&] { return cache.get_many<int>({key})[0]; });
        break;
      default:
        look([&] { return cache.get<int>(key); });
    }
  }

  pid_t start_worker(std::uint32_t seed, int all) {
    return start_child([&] {
      CacheRegistry registry(config_, environment_of_all_stores());
      Cache& cache = registry["default"];
      std::mt19937 random(seed);
      while (counts_->steps.fetch_add(1) < all) make_step(cache, random);
      return true;
    });
  }

  Config config_;
  Shared<Counts> counts_;
};

TEST_P(TagRaces, NoReadGivesAValueWhoseTagWasErasedAlthoughProcessesAreKilled) {
  const int all = number_of("POLYCACHE_TAG_STEPS", usual_steps);
  const int seed = number_of("POLYCACHE_TAG_SEED", static_cast<int>(std::random_device()() >> 1U));
  std::cout << "POLYCACHE_TAG_SEED=" << seed << '\n';
  config_.caches["default"] = {
      .backend = GetParam().name,
      .location = GetParam().location(),
      .timeout = 1h,
      .on_error = {.read = ErrorPolicy::throw_error, .write = ErrorPolicy::throw_error}};
  if (GetParam().name == std::string("sqlite"))
    config_.caches["default"].options["busy_timeout"] = "1m";
  CacheRegistry(config_, environment_of_all_stores())["default"].clear();

  std::mt19937 random(static_cast<std::uint32_t>(seed));
  std::vector<pid_t> workers;
  for (int i = 0; i < processes; ++i) {
    workers.push_back(start_worker(static_cast<std::uint32_t>(random()), all));
  }
  int killed = 0;
  for (int next = 1; next <= kills; ++next) {
    pid_t& victim = workers[random() % workers.size()];
    while (counts_->steps < next * (all / (kills + 1))) {
      ASSERT_EQ(::waitpid(victim, nullptr, WNOHANG), 0) << "a process ended";
      std::this_thread::sleep_for(1ms);
    }
    ::kill(victim, SIGKILL);
    if (WIFSIGNALED(wait_for(victim))) ++killed;
    victim = start_worker(static_cast<std::uint32_t>(random()), all);
  }
  for (const pid_t worker : workers) EXPECT_EQ(wait_for(worker), 0);
  std::cout << counts_->steps << " steps, " << counts_->hits << " hits, " << killed << " kills\n";
  EXPECT_EQ(counts_->outdated, 0);
  EXPECT_GT(counts_->hits, 0) << "else nothing was looked at";
  EXPECT_GT(killed, 0);
}

INSTANTIATE_TEST_SUITE_P(SharedStores, TagRaces,
                         ::testing::Values(memcached_store, redis_store, sqlite_store), name_of);

}  // namespace
}  // namespace polycache::testing
