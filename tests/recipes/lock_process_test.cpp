// Locks and semaphores under processes that are killed at random moments: never more owners than
// places within living leases, fences that grow, and no lock that stays taken.
//
// Each owner appends what it does to a log, and a model checks the log. 8 processes of 4 threads,
// on locmem 32 threads. POLYCACHE_LOCK_TURNS is how often the places are taken, POLYCACHE_SEED
// chooses the same kills again, as far as the machine runs the threads alike.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/locks.h"
#include "polycache/polycache.h"
#include "support/process_stores.h"

#ifdef __SANITIZE_THREAD__
// Children start threads here, at which ThreadSanitizer would end them if a test before this one
// has had threads.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_options() {
  return "die_after_fork=0";
}
#endif

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using Nanoseconds = std::int64_t;

constexpr int process_count = 8;
constexpr int threads_of_process = 4;
constexpr std::array<int, 3> permits_of_place{1, 1, 3};  // two locks and a semaphore
constexpr auto lease = 400ms;

std::int64_t number_from_environment(const char* name, std::int64_t fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoll(text, nullptr, 10);
}

// The same in all processes.
Nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch() / 1ns; }

// A line of the log. An owner writes one when it has a place, and one before it gives it back.
struct Line {
  char what = 'B';          // begin, end, or lost: it ends after the lease
  int place = 0;            // of permits_of_place
  std::uint64_t owner = 0;  // of process, thread and turn
  std::uint64_t fence = 0;
  Nanoseconds asked = 0;  // before the store was asked
  Nanoseconds at = 0;
};

class Log {
 public:
  explicit Log(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (file_ < 0) throw std::runtime_error("no log");
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() { ::close(file_); }

  // In one piece.
  void append(const Line& line) const {
    std::ostringstream text;
    text << line.what << ' ' << line.place << ' ' << line.owner << ' ' << line.fence << ' '
         << line.asked << ' ' << line.at << '\n';
    const std::string bytes = text.str();
    if (::write(file_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) _exit(9);
  }

  static std::vector<Line> read(const std::string& path) {
    std::vector<Line> lines;
    std::ifstream file(path);
    for (Line line;
         file >> line.what >> line.place >> line.owner >> line.fence >> line.asked >> line.at;) {
      lines.push_back(line);
    }
    return lines;
  }

 private:
  int file_;
};

// What the log says, owner by owner.
struct Owned {
  std::uint64_t fence = 0;
  Nanoseconds begin = 0;
  Nanoseconds end = 0;  // it had the place until then at least
};

struct Findings {
  std::size_t turns = 0;
  std::size_t unfinished = 0;  // killed, or lost
  std::vector<std::string> problems;
};

std::map<int, std::vector<Owned>> owned_places(const std::vector<Line>& log, Findings& findings) {
  std::map<std::uint64_t, std::pair<int, Owned>> owners;
  for (const Line& line : log) {
    if (line.what == 'B') {
      // Until its lease ends, unless it says more later.
      owners[line.owner] = {line.place, {line.fence, line.at, line.asked + lease / 1ns}};
      ++findings.turns;
      ++findings.unfinished;
    } else {
      --findings.unfinished;
      if (line.what == 'E') owners.at(line.owner).second.end = line.at;
      if (line.what == 'L') ++findings.unfinished;
    }
  }
  std::map<int, std::vector<Owned>> places;
  for (const auto& [owner, owned] : owners) places[owned.first].push_back(owned.second);
  return places;
}

void check_place(int place, std::vector<Owned>& all, bool has_fences, Findings& findings) {
  std::sort(all.begin(), all.end(),
            [](const Owned& a, const Owned& b) { return a.begin < b.begin; });
  const auto permits =
      static_cast<std::size_t>(permits_of_place.at(static_cast<std::size_t>(place)));
  std::vector<Owned> inside;
  std::uint64_t last_fence = 0;
  for (const Owned& next : all) {
    std::erase_if(inside, [&](const Owned& one) { return one.end <= next.begin; });
    inside.push_back(next);
    if (inside.size() > permits) {
      findings.problems.push_back("place " + std::to_string(place) + " had " +
                                  std::to_string(inside.size()) + " owners at " +
                                  std::to_string(next.begin));
    }
    if (has_fences && permits == 1 && next.fence <= last_fence) {
      findings.problems.push_back("the fence " + std::to_string(next.fence) + " follows " +
                                  std::to_string(last_fence));
    }
    last_fence = next.fence;
  }
}

Findings check(const std::vector<Line>& log, bool has_fences) {
  Findings findings;
  for (auto& [place, all] : owned_places(log, findings)) {
    check_place(place, all, has_fences, findings);
  }
  return findings;
}

// --- The model itself ---

TEST(LockModel, FindsTwoOwnersWithinALease) {
  const Nanoseconds life = lease / 1ns;
  const Line a{'B', 0, 1, 5, 100, 110};
  EXPECT_TRUE(check({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 6, 150, 200}}, true).problems.empty());
  EXPECT_FALSE(check({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 6, 150, 199}}, true).problems.empty());
  EXPECT_TRUE(check({a, {'B', 0, 2, 6, 150, 100 + life}}, true).problems.empty())
      << "it was killed";
  EXPECT_FALSE(check({a, {'B', 0, 2, 6, 150, 99 + life}}, true).problems.empty());
  EXPECT_FALSE(check({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 5, 150, 300}}, true).problems.empty())
      << "an old fence";
  const Line b{'B', 2, 1, 5, 100, 110};
  const Line c{'B', 2, 2, 6, 100, 111};
  const Line d{'B', 2, 3, 7, 100, 112};
  EXPECT_TRUE(check({b, c, d}, true).problems.empty()) << "three permits";
  EXPECT_FALSE(check({b, c, d, {'B', 2, 4, 8, 100, 113}}, true).problems.empty());
  EXPECT_EQ(check({b, c, {'E', 2, 2, 6, 0, 120}}, true).unfinished, 1U);
}

// --- The processes ---

struct Totals {
  std::atomic<std::int64_t> turns{0};
  std::atomic<std::int64_t> failures{0};
};

class Worker {
 public:
  Worker(CacheRegistry& registry, const Log& log, Totals& totals, std::int64_t turns,
         std::uint64_t number)
      : registry_(registry), log_(log), totals_(totals), turns_(turns), number_(number) {}

  void run() {
    const LockOptions options{.lease = lease,
                              .renew = true,
                              .evicting_store = EvictingStore::accept,
                              .registry = &registry_};
    Lock first("first", options);
    Lock second("second", options);
    Semaphore third("third", permits_of_place[2], options);
    while (totals_.turns < turns_) {
      switch (random_() % 3) {
        case 0:
          own(0, first, [&](auto time) { return first.try_lock_for(time); });
          break;
        case 1:
          own(1, second, [&](auto time) { return second.try_lock_for(time); });
          break;
        default:
          own(2, third, [&](auto time) { return third.try_acquire_for(time); });
      }
    }
  }

 private:
  template <class Place, class Take>
  void own(int number, Place& place, Take take) {
    // The store was asked no earlier than this.
    Nanoseconds asked = now();
    bool has_it = false;
    while (!has_it && totals_.turns < turns_) {
      asked = now();
      has_it = take(20ms);
    }
    if (!has_it) return;
    const std::uint64_t owner = number_ * 1'000'000'000 + ++turn_;
    const std::uint64_t fence = place.fence();
    log_.append({'B', number, owner, fence, asked, now()});
    ++totals_.turns;
    if (random_() % 8 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 3000));
    }
    // Some work longer than their lease, which is renewed meanwhile.
    if (random_() % 200 == 0) std::this_thread::sleep_for(lease + 100ms);
    const Nanoseconds end = now();
    const bool kept = place.is_held();
    log_.append({kept ? 'E' : 'L', number, owner, fence, 0, end});
    // One that was not lost a moment ago may end while it is released.
    static_cast<void>(place.release());
  }

  CacheRegistry& registry_;
  const Log& log_;
  Totals& totals_;
  const std::int64_t turns_;
  const std::uint64_t number_;
  std::uint64_t turn_ = 0;
  std::minstd_rand random_{static_cast<std::uint32_t>(number_) * 7919U + 1U};
};

class LockProcesses : public ::testing::TestWithParam<ProcessStore> {
 protected:
  Config config() const {
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = "processes",
                         .options = patient_options(GetParam().name)}}}};
  }
  bool has_fences() const { return std::string(GetParam().name) != "memcached"; }

  // The threads of one process.
  void work(int threads, std::uint64_t number) {
    CacheRegistry registry(config(), environment_of_all_stores());
    const Log log(path_);
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) {
      all.emplace_back([&, i] {
        try {
          Worker(registry, log, *totals_.operator->(), turns_,
                 number * 100 + static_cast<std::uint64_t>(i))
              .run();
        } catch (const std::exception& error) {
          std::cerr << error.what() << '\n';
          ++totals_->failures;
        }
      });
    }
    for (std::thread& thread : all) thread.join();
  }

  pid_t start_process() {
    const std::uint64_t number = ++processes_;
    const pid_t child = ::fork();
    if (child != 0) return child;
    work(threads_of_process, number);
    ::_exit(0);
  }

  // Until the turns are done. Returns how many were killed.
  int run_and_kill(std::mt19937& random) {
    std::vector<pid_t> children;
    for (int i = 0; i < process_count; ++i) children.push_back(start_process());
    int killed = 0;
    while (totals_->turns < turns_ && totals_->failures == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 300));
      pid_t& victim = children.at(random() % children.size());
      ::kill(victim, SIGKILL);
      ::waitpid(victim, nullptr, 0);
      ++killed;
      victim = start_process();
    }
    for (const pid_t child : children) {
      int status = 0;
      EXPECT_EQ(::waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
    return killed;
  }

  const TemporaryFolder folder_;
  const std::string path_ = folder_.path() / "log";
  const Shared<Totals> totals_;
  std::int64_t turns_ = number_from_environment("POLYCACHE_LOCK_TURNS", 1500);
  std::uint64_t processes_ = 0;
};

TEST_P(LockProcesses, NeverHaveMoreOwnersThanPlacesWithinLivingLeases) {
  const auto seed =
      static_cast<std::uint32_t>(number_from_environment("POLYCACHE_SEED", std::random_device()()));
  std::mt19937 random(seed);
  static_cast<void>(GetParam().location());  // its server is this process's
  int killed = 0;
  if (GetParam().is_private) {
    work(process_count * threads_of_process, 1);
  } else {
    killed = run_and_kill(random);
  }
  const Findings findings = check(Log::read(path_), has_fences());
  std::cout << GetParam().name << ": seed " << seed << ", " << findings.turns << " owners, "
            << killed << " processes killed, " << findings.unfinished
            << " owners killed or lost their place\n";
  EXPECT_EQ(totals_->failures, 0);
  EXPECT_GE(findings.turns, static_cast<std::size_t>(turns_));
  EXPECT_LE(findings.problems.size(), 0U) << findings.problems.front() << "; seed " << seed;
}

const ProcessStore locmem_store{"locmem", [] { return std::vector<std::string>(); }, true};

INSTANTIATE_TEST_SUITE_P(Stores, LockProcesses,
                         ::testing::Values(locmem_store, sqlite_store, redis_store,
                                           memcached_store),
                         name_of);

}  // namespace
}  // namespace polycache::testing
