// The redis store through caches["alias"] against bare hiredis, on a server of its own.
//
//   redis [--quick] [--cpu] [--only TEXT]
//
// With --cpu the time is what this process and the server spent on the CPU, not what passed:
// for a machine that is busy with other things. With --only the contests whose name has TEXT.
//
// Both contenders and the server are pinned to one CPU and take turns in slices of about 50
// operations: a round trip between two idle virtual CPUs costs ten times as much, and the
// scheduler would decide who wins. A ratio is that of two neighbouring slices; shown are the
// median of all, and the quartiles. Ours builds the key from prefix and version, keeps a
// lifetime, and returns an owned std::string; bare hiredis is given the final key and copies
// the reply into a std::string.
//
// Goals: R1, get at least 1.00 times as fast as redisCommandArgv; R2, get_many 1.10 times as
// fast as a bare MGET and set_many 1.15 times as fast as a bare pipeline.

#include <hiredis/hiredis.h>
#include <polycache/backends/redis.h>
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
#include <stdexcept>
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
constexpr std::string_view kLifetime = "300000";

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "redis benchmark: %s\n", why.c_str());
  std::exit(2);
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

// --- Bare hiredis, as somebody who needs a cache and knows hiredis would use it ---

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

class Bare {
 public:
  explicit Bare(redisContext* context) : context_(context) {
    if (context_ == nullptr || context_->err != 0) give_up("hiredis cannot connect");
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() { redisFree(context_); }

  std::optional<std::string> get(std::string_view key) {
    const std::array<std::string_view, 2> words{"GET", key};
    const Reply reply = command(words);
    if (reply->type != REDIS_REPLY_STRING) return std::nullopt;
    return std::string(reply->str, reply->len);
  }

  bool set(std::string_view key, std::string_view value) {
    const std::array<std::string_view, 5> words{"SET", key, value, "PX", kLifetime};
    return command(words)->type == REDIS_REPLY_STATUS;
  }

  std::vector<std::optional<std::string>> get_many(const std::vector<std::string>& keys) {
    std::vector<std::string_view> words{"MGET"};
    words.insert(words.end(), keys.begin(), keys.end());
    const Reply reply = command(words);
    std::vector<std::optional<std::string>> values(reply->elements);
    for (std::size_t i = 0; i < reply->elements; ++i) {
      const redisReply& element = *reply->element[i];
      if (element.type == REDIS_REPLY_STRING) values[i].emplace(element.str, element.len);
    }
    return values;
  }

  bool set_many(const std::vector<std::pair<std::string, std::string>>& items) {
    for (const auto& [key, value] : items) {
      const std::array<std::string_view, 5> words{"SET", key, value, "PX", kLifetime};
      append(words);
    }
    bool good = true;
    for (std::size_t i = 0; i < items.size(); ++i) {
      good = next_reply()->type == REDIS_REPLY_STATUS && good;
    }
    return good;
  }

 private:
  template <class Words>
  void split(const Words& words) {
    texts_.clear();
    lengths_.clear();
    for (const std::string_view word : words) {
      texts_.push_back(word.data());
      lengths_.push_back(word.size());
    }
  }
  template <class Words>
  Reply command(const Words& words) {
    split(words);
    return checked(redisCommandArgv(context_, static_cast<int>(texts_.size()), texts_.data(),
                                    lengths_.data()));
  }
  template <class Words>
  void append(const Words& words) {
    split(words);
    redisAppendCommandArgv(context_, static_cast<int>(texts_.size()), texts_.data(),
                           lengths_.data());
  }
  Reply next_reply() {
    void* reply = nullptr;
    redisGetReply(context_, &reply);
    return checked(reply);
  }
  Reply checked(void* reply) const {
    if (reply == nullptr) give_up(std::string("hiredis: ") + context_->errstr);
    return Reply(static_cast<redisReply*>(reply));
  }

  redisContext* const context_;
  std::vector<const char*> texts_;
  std::vector<std::size_t> lengths_;
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

// Nanoseconds, by one clock or by two.
class Stopwatch {
 public:
  static Stopwatch elapsed() { return Stopwatch({CLOCK_MONOTONIC}); }
  static Stopwatch on_cpu(pid_t server) {
    clockid_t clock = 0;
    if (::clock_getcpuclockid(server, &clock) != 0) give_up("cannot read the server's CPU time");
    return Stopwatch({CLOCK_PROCESS_CPUTIME_ID, clock});
  }

  double now() const {
    double sum = 0;
    for (const clockid_t clock : clocks_) {
      timespec time{};
      ::clock_gettime(clock, &time);
      sum += static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
    }
    return sum;
  }

 private:
  explicit Stopwatch(std::vector<clockid_t> clocks) : clocks_(std::move(clocks)) {}
  std::vector<clockid_t> clocks_;
};

double microseconds_per_key(const Stopwatch& stopwatch, const Contest& contest,
                            const std::function<void(std::size_t)>& run, std::size_t first) {
  const double begin = stopwatch.now();
  for (std::size_t i = 0; i < contest.operations; ++i) run(first + i);
  const double took = stopwatch.now() - begin;
  return took / 1e3 / static_cast<double>(contest.operations * contest.keys_each);
}

bool report(const Stopwatch& stopwatch, const Contest& contest, std::size_t slices) {
  std::vector<double> ours;
  std::vector<double> theirs;
  std::vector<double> ratios;
  for (std::size_t slice = 0; slice < slices; ++slice) {
    const std::size_t first = slice * contest.operations;
    // Who goes first may have the warmer caches, or not.
    if (slice % 2 == 0) {
      ours.push_back(microseconds_per_key(stopwatch, contest, contest.ours, first));
      theirs.push_back(microseconds_per_key(stopwatch, contest, contest.theirs, first));
    } else {
      theirs.push_back(microseconds_per_key(stopwatch, contest, contest.theirs, first));
      ours.push_back(microseconds_per_key(stopwatch, contest, contest.ours, first));
    }
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
      std::vector<std::pair<std::string, std::string>> items;
      std::vector<std::pair<std::string, std::string>> final_items;
      for (std::size_t i = first; i < first + kMany; ++i) {
        items.emplace_back(keys_[i], value_);
        final_items.emplace_back(finals_[i], value_);
      }
      key_groups_.emplace_back(keys_.begin() + static_cast<std::ptrdiff_t>(first),
                               keys_.begin() + static_cast<std::ptrdiff_t>(first + kMany));
      final_groups_.emplace_back(finals_.begin() + static_cast<std::ptrdiff_t>(first),
                                 finals_.begin() + static_cast<std::ptrdiff_t>(first + kMany));
      item_groups_.push_back(std::move(items));
      final_item_groups_.push_back(std::move(final_items));
      if (!cache_.set_many(item_groups_.back()).empty()) give_up("set_many failed");
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
  const std::string& key(std::size_t i) const { return keys_[i % kKeys]; }
  const std::string& final_key(std::size_t i) const { return finals_[i % kKeys]; }

  static void expect(bool good) {
    if (!good) give_up("an operation had the wrong result");
  }

  std::vector<Contest> contests() {
    return {
        {name_ + " get", kSlice, 1, 1.0,
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
        {name_ + " get_many(100), per key", kBulkSlice, kMany, 1.1,
         [this](std::size_t i) {
           expect(cache_.get_many(key_groups_[i % key_groups_.size()]).back().has_value());
         },
         [this](std::size_t i) {
           expect(bare_.get_many(final_groups_[i % final_groups_.size()]).back().has_value());
         }},
        {name_ + " set_many(100), per key", kBulkSlice, kMany, 1.15,
         [this](std::size_t i) {
           expect(cache_.set_many(item_groups_[i % item_groups_.size()]).empty());
         },
         [this](std::size_t i) {
           expect(bare_.set_many(final_item_groups_[i % final_item_groups_.size()]));
         }},
    };
  }

  polycache::Cache& cache_;
  Bare& bare_;
  const std::string name_;
  const std::string value_;
  std::vector<std::string> keys_;
  std::vector<std::string> finals_;
  std::vector<std::vector<std::string>> key_groups_;
  std::vector<std::vector<std::string>> final_groups_;
  std::vector<std::vector<std::pair<std::string, std::string>>> item_groups_;
  std::vector<std::vector<std::pair<std::string, std::string>>> final_item_groups_;
  const std::vector<std::size_t> popular_ = popular_keys(20'000);
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "redis";
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

bool run_all(const Wishes& wishes) {
  const auto server = polycache::testing::Server::redis();
  polycache::Config config;
  config.caches = {{"socket", alias_at("unix://" + server->unix_socket())},
                   {"tcp", alias_at("redis://" + server->address())}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::redis::plugin}});
  Bare by_socket(redisConnectUnix(server->unix_socket().c_str()));
  Bare by_tcp(redisConnect("127.0.0.1", server->port()));

  const Stopwatch stopwatch = wishes.cpu ? Stopwatch::on_cpu(server->pid()) : Stopwatch::elapsed();
  std::printf("redis: ours against bare hiredis %d.%d.%d, microseconds%s, one CPU\n", HIREDIS_MAJOR,
              HIREDIS_MINOR, HIREDIS_PATCH, wishes.cpu ? " on the CPU" : "");
  std::printf("ratio: theirs / ours, median and quartiles of %zu pairs of slices\n\n",
              wishes.slices);
  std::printf("| %-34s | %8s | %8s | %-20s | %-4s | %-6s |\n", "operation", "ours", "hiredis",
              "ratio", "goal", "");
  std::printf(
      "|------------------------------------|---------:|---------:|----------------------|------|--"
      "------"
      "|\n");
  bool met = true;
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{1024}}) {
    const std::string size = bytes == 100 ? "100 B" : "1 KiB";
    met = Round(polycache::caches["socket"], by_socket, "unix " + size, bytes)
              .run(stopwatch, wishes) &&
          met;
    met =
        Round(polycache::caches["tcp"], by_tcp, "tcp " + size, bytes).run(stopwatch, wishes) && met;
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
      give_up("usage: redis [--quick] [--cpu] [--only TEXT]");
    }
  }
  try {
    pin_to_one_cpu();
    return run_all(wishes) ? 0 : 1;
  } catch (const std::exception& problem) {
    give_up(problem.what());
  }
}
