// Locks and semaphores under processes that are killed at random moments: never more owners than
// places within living leases, fences that grow, and no place that stays taken.
//
// An owner says in the log when it has a place, and when it gives it back. POLYCACHE_LOCK_TURNS is
// how often the places are taken (process_model.h).

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/locks.h"
#include "polycache/polycache.h"
#include "process_model.h"
#include "support/process_log.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

// Of the places of a model.
using Permits = std::array<int, 3>;
constexpr Permits locks_and_a_semaphore{1, 1, 3};
constexpr Permits semaphores{2, 3, 7};

// The clock of memcached's server counts whole seconds, and stands still while the server gets no
// processor: a short lease may end early there.
std::chrono::milliseconds lease_on(std::string_view store) {
  return store == "memcached" ? 2s : 400ms;
}

// A line of the log. An owner writes one when it has a place, and one before it gives it back.
struct Line {
  char what = 'B';  // begin, end, or lost: it ends after the lease
  int place = 0;
  std::uint64_t owner = 0;  // of process, thread and turn
  std::uint64_t fence = 0;
  Nanoseconds asked = 0;  // before the store was asked
  Nanoseconds at = 0;
};

std::string text_of(const Line& line) {
  std::ostringstream text;
  text << line.what << ' ' << line.place << ' ' << line.owner << ' ' << line.fence << ' '
       << line.asked << ' ' << line.at;
  return text.str();
}

std::istream& operator>>(std::istream& in, Line& line) {
  return in >> line.what >> line.place >> line.owner >> line.fence >> line.asked >> line.at;
}

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

std::map<int, std::vector<Owned>> owned_places(const std::vector<Line>& log, Nanoseconds lease,
                                               Findings& findings) {
  std::map<std::uint64_t, std::pair<int, Owned>> owners;
  for (const Line& line : log) {
    if (line.what == 'B') {
      // Until its lease ends, unless it says more later.
      owners[line.owner] = {line.place, {line.fence, line.at, line.asked + lease}};
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

void check_place(int place, std::size_t permits, std::vector<Owned>& all, bool has_fences,
                 Findings& findings) {
  std::sort(all.begin(), all.end(),
            [](const Owned& a, const Owned& b) { return a.begin < b.begin; });
  std::vector<Owned> inside;
  std::uint64_t last_fence = 0;
  for (const Owned& next : all) {
    // On a busy machine an owner may come to the log after its lease.
    if (next.end <= next.begin) continue;
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

Findings check(const std::vector<Line>& log, Nanoseconds lease, bool has_fences,
               const Permits& permits) {
  Findings findings;
  for (auto& [place, all] : owned_places(log, lease, findings)) {
    const auto most = static_cast<std::size_t>(permits.at(static_cast<std::size_t>(place)));
    check_place(place, most, all, has_fences, findings);
  }
  return findings;
}

// --- The model itself ---

TEST(LockModel, FindsTwoOwnersWithinALease) {
  const Nanoseconds life = 400;
  const auto findings = [&](const std::vector<Line>& log) {
    return check(log, life, true, locks_and_a_semaphore);
  };
  const Line a{'B', 0, 1, 5, 100, 110};
  EXPECT_TRUE(findings({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 6, 150, 200}}).problems.empty());
  EXPECT_FALSE(findings({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 6, 150, 199}}).problems.empty());
  EXPECT_TRUE(findings({a, {'B', 0, 2, 4, -life, 150}}).problems.empty())
      << "it came to the log after its lease";
  EXPECT_TRUE(findings({a, {'B', 0, 2, 6, 150, 100 + life}}).problems.empty()) << "it was killed";
  EXPECT_FALSE(findings({a, {'B', 0, 2, 6, 150, 99 + life}}).problems.empty());
  EXPECT_FALSE(findings({a, {'E', 0, 1, 5, 0, 200}, {'B', 0, 2, 5, 150, 300}}).problems.empty())
      << "an old fence";
  const Line b{'B', 2, 1, 5, 100, 110};
  const Line c{'B', 2, 2, 6, 100, 111};
  const Line d{'B', 2, 3, 7, 100, 112};
  EXPECT_TRUE(findings({b, c, d}).problems.empty()) << "three permits";
  EXPECT_FALSE(findings({b, c, d, {'B', 2, 4, 8, 100, 113}}).problems.empty());
  EXPECT_EQ(findings({b, c, {'E', 2, 2, 6, 0, 120}}).unfinished, 1U);
}

// --- The processes ---

// A lock, or a semaphore if there are several permits.
class Place {
 public:
  Place(CacheRegistry& registry, const std::string& name, int permits,
        std::chrono::milliseconds lease) {
    const LockOptions options{.lease = lease,
                              .renew = true,
                              .evicting_store = EvictingStore::accept,
                              .registry = &registry};
    if (permits == 1) {
      lock_ = std::make_unique<Lock>(name, options);
    } else {
      semaphore_ = std::make_unique<Semaphore>(name, permits, options);
    }
  }

  bool take(std::chrono::milliseconds limit) {
    return lock_ ? lock_->try_lock_for(limit) : semaphore_->try_acquire_for(limit);
  }
  std::uint64_t fence() const { return lock_ ? lock_->fence() : semaphore_->fence(); }
  bool is_held() const { return lock_ ? lock_->is_held() : semaphore_->is_held(); }
  bool release() { return lock_ ? lock_->release() : semaphore_->release(); }

 private:
  std::unique_ptr<Lock> lock_;
  std::unique_ptr<Semaphore> semaphore_;
};

class PlaceModel : public ProcessModel {
 protected:
  PlaceModel(std::string name, const Permits& permits)
      : ProcessModel(name, number_from_environment("POLYCACHE_LOCK_TURNS", 1000)),
        name_(std::move(name)),
        permits_(permits) {}

  std::vector<Place> places(CacheRegistry& registry) const {
    std::vector<Place> all;
    for (std::size_t i = 0; i < permits_.size(); ++i) {
      all.emplace_back(registry, name_ + std::to_string(i), permits_.at(i), lease_);
    }
    return all;
  }

  void work(CacheRegistry& registry, const ProcessLog& log, std::uint64_t thread) override {
    std::minstd_rand random(static_cast<std::uint32_t>(thread) * 7919U + 1U);
    std::vector<Place> all = places(registry);
    for (std::uint64_t turn = 1; !is_done(); ++turn) {
      const std::size_t number = random() % all.size();
      own(all.at(number), number, thread * 1'000'000'000 + turn, log, random);
    }
  }

  void own(Place& place, std::size_t number, std::uint64_t owner, const ProcessLog& log,
           std::minstd_rand& random) {
    // The store was asked no earlier than this.
    Nanoseconds asked = now();
    bool has_it = false;
    while (!has_it && !is_done()) {
      asked = now();
      has_it = place.take(20ms);
    }
    if (!has_it) return;
    const std::uint64_t fence = place.fence();
    const auto at = static_cast<int>(number);
    log.append(text_of({'B', at, owner, fence, asked, now()}));
    did_turn();
    if (random() % 8 == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
    }
    // A few work longer than their lease, which is renewed meanwhile.
    const auto one_of = static_cast<std::uint64_t>(std::max<std::int64_t>(200, turns() / 50));
    if (random() % one_of == 0) {
      std::this_thread::sleep_for(lease_ + 100ms);
    }
    const Nanoseconds end = now();
    const bool kept = place.is_held();
    log.append(text_of({kept ? 'E' : 'L', at, owner, fence, 0, end}));
    // One that was not lost a moment ago may end while it is released.
    static_cast<void>(place.release());
  }

  // What was killed is free after its lease, and nothing else is missing.
  void expect_all_free(CacheRegistry& registry) const {
    std::vector<Place> all = places(registry);
    for (std::size_t i = 0; i < all.size(); ++i) {
      for (int taken = 0; taken < permits_.at(i); ++taken) {
        EXPECT_TRUE(all.at(i).take(60s)) << "place " << i << ", permit " << taken;
      }
    }
  }

  void check_model() {
    const std::string log = run([this](CacheRegistry& registry) { expect_all_free(registry); });
    const Findings findings =
        check(read_process_log<Line>(log), lease_ / 1ns, !is("memcached"), permits_);
    std::cout << summary() << ", " << findings.unfinished << " owners killed or lost their place\n";
    EXPECT_GE(findings.turns, static_cast<std::size_t>(turns()));
    ASSERT_TRUE(findings.problems.empty()) << findings.problems.front() << "; seed " << seed();
  }

 private:
  const std::string name_;
  const Permits permits_;
  const std::chrono::milliseconds lease_ = lease_on(GetParam().name);
};

struct LockProcesses : PlaceModel {
  LockProcesses() : PlaceModel("locks", locks_and_a_semaphore) {}
};

TEST_P(LockProcesses, NeverHaveMoreOwnersThanPlacesWithinLivingLeases) { check_model(); }

struct SemaphoreProcesses : PlaceModel {
  SemaphoreProcesses() : PlaceModel("semaphores", semaphores) {}
};

TEST_P(SemaphoreProcesses, NeverHaveMoreOwnersThanPermitsWithinLivingLeases) { check_model(); }

INSTANTIATE_TEST_SUITE_P(Stores, LockProcesses, stores_of_processes, name_of);
INSTANTIATE_TEST_SUITE_P(Stores, SemaphoreProcesses, stores_of_processes, name_of);

}  // namespace
}  // namespace polycache::testing
