// The memcached store through caches["alias"] against bare libmemcached, on a server of its
// own.
//
//   memcached [--quick] [--cpu] [--only TEXT]
//
// With --cpu the time is what this process and the server spent on the CPU, not what passed:
// for a machine that is busy with other things. With --only the contests whose name has TEXT.
//
// Both contenders and the server are pinned to one CPU and take turns in slices of about 50
// operations: a round trip between two idle virtual CPUs costs ten times as much, and the
// scheduler would decide who wins. A ratio is that of two neighbouring slices; shown are the
// median of all, and the quartiles. Ours builds the key from prefix and version, keeps the
// deadline and looks at it, and returns an owned std::string; bare libmemcached is given the
// final key and copies the value into a std::string.
//
// Goals: M1, get at least 0.98 times as fast as memcached_get; M2, get_many at least as fast
// as memcached_mget (stretch: 1.3 times); M3, set_many never slower than a loop of
// memcached_set (stretch: 4 times).

#include <libmemcached/memcached.h>
#include <polycache/backends/memcached.h>
#include <polycache/polycache.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/server.h"

namespace {

constexpr std::size_t kKeys = 10'000;
constexpr std::size_t kMany = 100;     // keys of one bulk operation
constexpr std::size_t kSlice = 50;     // single operations of one contender in a row
constexpr std::size_t kBulkSlice = 5;  // bulk operations
constexpr time_t kLifetime = 300;

using Items = std::vector<std::pair<std::string, std::string>>;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "memcached benchmark: %s\n", why.c_str());
  std::exit(2);
}

void expect(bool good) {
  if (!good) give_up("an operation had the wrong result");
}

// This process, and with it every child that it starts from now on, on its last CPU.
void pin_to_one_cpu() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) give_up("cannot read the CPU set");
  int last = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &allowed)) last = cpu;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(last, &one);
  if (::sched_setaffinity(0, sizeof one, &one) != 0) give_up("cannot pin to a CPU");
}

// --- Bare libmemcached, as somebody who needs a cache and knows it would use it ---

class Bare {
 public:
  explicit Bare(const std::function<memcached_return_t(memcached_st*)>& add_server)
      : client_(memcached_create(nullptr)) {
    memcached_behavior_set(client_, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
    if (add_server(client_) != MEMCACHED_SUCCESS) give_up("libmemcached takes no server");
    memcached_result_create(client_, &result_);
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    memcached_result_free(&result_);
    memcached_free(client_);
  }

  std::optional<std::string> get(const std::string& key) {
    std::size_t size = 0;
    std::uint32_t flags = 0;
    memcached_return_t error = MEMCACHED_SUCCESS;
    char* const bytes = memcached_get(client_, key.data(), key.size(), &size, &flags, &error);
    if (bytes == nullptr) return std::nullopt;
    std::optional<std::string> value(std::in_place, bytes, size);
    std::free(bytes);
    return value;
  }

  bool set(const std::string& key, const std::string& value) {
    return memcached_set(client_, key.data(), key.size(), value.data(), value.size(), kLifetime,
                         0) == MEMCACHED_SUCCESS;
  }

  // In the order in which they come, which is that of the keys; none is absent here.
  std::vector<std::optional<std::string>> get_many(const std::vector<std::string>& keys) {
    std::vector<const char*> begins;
    std::vector<std::size_t> sizes;
    for (const std::string& key : keys) {
      begins.push_back(key.data());
      sizes.push_back(key.size());
    }
    std::vector<std::optional<std::string>> values;
    values.reserve(keys.size());
    expect(memcached_mget(client_, begins.data(), sizes.data(), keys.size()) == MEMCACHED_SUCCESS);
    memcached_return_t error = MEMCACHED_SUCCESS;
    while (memcached_fetch_result(client_, &result_, &error) != nullptr) {
      values.emplace_back(std::in_place, memcached_result_value(&result_),
                          memcached_result_length(&result_));
    }
    return values;
  }

  bool set_many(const Items& items) {
    bool good = true;
    for (const auto& [key, value] : items) good = set(key, value) && good;
    return good;
  }

 private:
  memcached_st* const client_;
  memcached_result_st result_;
};

// --- Taking turns ---

struct Quartiles {
  double low;
  double median;
  double high;
};

Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
  };
  return {at(0.25), at(0.5), at(0.75)};
}

struct Contest {
  std::string name;
  std::size_t operations;      // of one slice
  std::size_t keys_each;       // of one operation
  std::optional<double> goal;  // theirs / ours
  std::function<void(std::size_t)> ours;
  std::function<void(std::size_t)> theirs;
};

// Nanoseconds, by one clock or by the sum of two.
class Stopwatch {
 public:
  explicit Stopwatch(std::vector<clockid_t> clocks) : clocks_(std::move(clocks)) {}

  double now() const {
    double sum = 0;
    for (const clockid_t clock : clocks_) {
      timespec time{};
      ::clock_gettime(clock, &time);
      sum += static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
    }
    return sum;
  }

  double microseconds_per_key(const Contest& contest, const std::function<void(std::size_t)>& run,
                              std::size_t first) const {
    const double begin = now();
    for (std::size_t i = 0; i < contest.operations; ++i) run(first + i);
    return (now() - begin) / 1e3 / static_cast<double>(contest.operations * contest.keys_each);
  }

 private:
  const std::vector<clockid_t> clocks_;
};

Stopwatch stopwatch_for(bool cpu, pid_t server) {
  if (!cpu) return Stopwatch({CLOCK_MONOTONIC});
  clockid_t clock = 0;
  if (::clock_getcpuclockid(server, &clock) != 0) give_up("cannot read the server's CPU time");
  return Stopwatch({CLOCK_PROCESS_CPUTIME_ID, clock});
}

bool report(const Stopwatch& stopwatch, const Contest& contest, std::size_t slices) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  for (std::size_t slice = 0; slice < slices; ++slice) {
    const std::size_t first = slice * contest.operations;
    const auto take = [&](std::vector<double>& times, const auto& run) {
      times.push_back(stopwatch.microseconds_per_key(contest, run, first));
    };
    // Who goes first may have the warmer caches, or not.
    if (slice % 2 == 0) take(ours, contest.ours);
    take(theirs, contest.theirs);
    if (slice % 2 == 1) take(ours, contest.ours);
    ratios.push_back(theirs.back() / ours.back());
  }
  const Quartiles ratio = quartiles(ratios);
  const bool met = !contest.goal || ratio.median >= *contest.goal;
  std::printf("| %-34s | %8.2f | %8.2f | %5.2f (%.2f to %.2f) |", contest.name.c_str(),
              quartiles(ours).median, quartiles(theirs).median, ratio.median, ratio.low,
              ratio.high);
  if (contest.goal) {
    std::printf(" %4.2f | %-6s |\n", *contest.goal, met ? "met" : "missed");
  } else {
    std::printf("      |        |\n");
  }
  std::fflush(stdout);
  return met;
}

// Few keys often, many seldom: the k-th most popular one with a probability like 1/k.
std::vector<std::size_t> popular_keys(std::size_t count) {
  std::vector<double> sums;
  double sum = 0;
  for (std::size_t i = 0; i < kKeys; ++i) {
    sum += 1.0 / static_cast<double>(i + 1);
    sums.push_back(sum);
  }
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> anywhere(0, sum);
  std::vector<std::size_t> keys;
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = std::lower_bound(sums.begin(), sums.end(), anywhere(random));
    keys.push_back(static_cast<std::size_t>(at - sums.begin()));
  }
  return keys;
}

struct Wishes {
  std::size_t slices = 2000;
  bool cpu = false;
  std::string only = {};
};

// One transport and one size of values.
class Round {
 public:
  Round(polycache::Cache& cache, Bare& bare, std::string name, std::size_t value_bytes)
      : cache_(cache), bare_(bare), name_(std::move(name)), value_(value_bytes, 'v') {
    for (std::size_t i = 0; i < kKeys; ++i) {
      keys_.push_back("user:profile:" + std::to_string(i * 7919 % kKeys));
      finals_.push_back(cache_.final_key(keys_.back()));
    }
    for (std::size_t first = 0; first < kKeys; first += kMany) {
      Group group;
      for (std::size_t i = first; i < first + kMany; ++i) {
        group.keys.push_back(keys_[i]);
        group.finals.push_back(finals_[i]);
        group.items.emplace_back(keys_[i], value_);
        group.final_items.emplace_back(finals_[i], value_);
      }
      expect(cache_.set_many(group.items).empty());
      groups_.push_back(std::move(group));
    }
    if (bare_.get(finals_.front()) != value_) give_up("the two do not see the same entries");
  }

  bool run(const Stopwatch& stopwatch, const Wishes& wishes) {
    bool met = true;
    for (const Contest& contest : contests()) {
      if (contest.name.find(wishes.only) == std::string::npos) continue;
      met = report(stopwatch, contest, wishes.slices) && met;
    }
    return met;
  }

 private:
  struct Group {
    std::vector<std::string> keys;
    std::vector<std::string> finals;
    Items items;
    Items final_items;
  };

  const std::string& key(std::size_t i) const { return keys_[i % kKeys]; }
  const std::string& final_key(std::size_t i) const { return finals_[i % kKeys]; }
  const Group& group(std::size_t i) const { return groups_[i % groups_.size()]; }

  std::vector<Contest> contests() {
    return {
        {name_ + " get", kSlice, 1, 0.98,
         [this](std::size_t i) { expect(cache_.get(key(i))->size() == value_.size()); },
         [this](std::size_t i) { expect(bare_.get(final_key(i))->size() == value_.size()); }},
        {name_ + " get, miss", kSlice, 1, std::nullopt,
         [this](std::size_t) { expect(!cache_.get("user:profile:none")); },
         [this](std::size_t) { expect(!bare_.get("bench:1:user:profile:none")); }},
        {name_ + " set", kSlice, 1, std::nullopt,
         [this](std::size_t i) { expect(cache_.set(key(i), value_)); },
         [this](std::size_t i) { expect(bare_.set(final_key(i), value_)); }},
        {name_ + " get:set 95:5, zipf", kSlice, 1, std::nullopt,
         [this](std::size_t i) {
           const std::size_t k = popular_[i % popular_.size()];
           expect(i % 20 == 0 ? cache_.set(keys_[k], value_) : cache_.get(keys_[k]).has_value());
         },
         [this](std::size_t i) {
           const std::size_t k = popular_[i % popular_.size()];
           expect(i % 20 == 0 ? bare_.set(finals_[k], value_) : bare_.get(finals_[k]).has_value());
         }},
        {name_ + " get_many(100), per key", kBulkSlice, kMany, 1.0,
         [this](std::size_t i) { expect(cache_.get_many(group(i).keys).back().has_value()); },
         [this](std::size_t i) { expect(bare_.get_many(group(i).finals).size() == kMany); }},
        {name_ + " set_many(100), per key", kBulkSlice, kMany, 1.0,
         [this](std::size_t i) { expect(cache_.set_many(group(i).items).empty()); },
         [this](std::size_t i) { expect(bare_.set_many(group(i).final_items)); }},
    };
  }

  polycache::Cache& cache_;
  Bare& bare_;
  const std::string name_;
  const std::string value_;
  std::vector<std::string> keys_;
  std::vector<std::string> finals_;
  std::vector<Group> groups_;
  const std::vector<std::size_t> popular_ = popular_keys(20'000);
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "memcached";
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

void print_head(const Wishes& wishes) {
  std::printf("memcached: ours against bare libmemcached %s, microseconds%s, one CPU\n",
              memcached_lib_version(), wishes.cpu ? " on the CPU" : "");
  std::printf("ratio: theirs / ours, median and quartiles of %zu pairs of slices\n\n",
              wishes.slices);
  std::printf("| %-34s | %8s | %8s | %-20s | %-4s | %-6s |\n", "operation", "ours", "bare", "ratio",
              "goal", "");
  std::printf("|%s|---------:|---------:|%s|------|--------|\n", std::string(36, '-').c_str(),
              std::string(22, '-').c_str());
}

bool run_all(const Wishes& wishes) {
  using polycache::testing::Server;
  // One worker thread: the rest of them would only take turns on the one CPU.
  const auto on_socket = Server::memcached_on_socket({"-t", "1", "-m", "256"});
  const auto on_port = Server::memcached({"-t", "1", "-m", "256"});
  polycache::Config config;
  config.caches = {{"socket", alias_at("unix:" + on_socket->unix_socket())},
                   {"tcp", alias_at(on_port->address())}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::memcached::plugin}});
  Bare by_socket([&](memcached_st* client) {
    return memcached_server_add_unix_socket(client, on_socket->unix_socket().c_str());
  });
  Bare by_tcp([&](memcached_st* client) {
    return memcached_server_add(client, "127.0.0.1", on_port->port());
  });

  print_head(wishes);
  bool met = true;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{1024}}) {
    const std::string size = bytes == 100 ? "100 B" : "1 KiB";
    met = Round(polycache::caches["socket"], by_socket, "unix " + size, bytes)
              .run(stopwatch_for(wishes.cpu, on_socket->pid()), wishes) &&
          met;
    met = Round(polycache::caches["tcp"], by_tcp, "tcp " + size, bytes)
              .run(stopwatch_for(wishes.cpu, on_port->pid()), wishes) &&
          met;
  }
  return met;
}

}  // namespace

// Exit status: 0 if every goal is met, 1 if one is missed, 2 if nothing could be measured.
int main(int argc, char** argv) {
  Wishes wishes;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--quick") {
      wishes.slices = 300;
    } else if (word == "--cpu") {
      wishes.cpu = true;
    } else if (word == "--only" && i + 1 < argc) {
      wishes.only = argv[++i];
    } else {
      give_up("usage: memcached [--quick] [--cpu] [--only TEXT]");
    }
  }
  try {
    pin_to_one_cpu();
    return run_all(wishes) ? 0 : 1;
  } catch (const std::exception& problem) {
    give_up(problem.what());
  }
}
