// The locmem store through caches["alias"] against the in-process caches of RocksDB and
// LevelDB, where they are installed, and against Django's locmem, where that is.
//
//   locmem [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Ours composes the final key, reads the clock, checks the lifetime and returns an owned
// std::string. The peers get final keys that are made already, know no lifetimes, and the
// value is copied out of their handle, as an interface that returns values must.
// HyperClockCache takes keys of 16 bytes only: a hash of the key, made here.
//
// Goals: L1 to L6 (docs/benchmarks.md).

#include <malloc.h>
#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "duel.h"
#include "locmem_peers.h"

namespace {

constexpr std::size_t kMany = 100;  // keys of one bulk operation

std::string user_key(std::size_t i) {
  char text[32];
  std::snprintf(text, sizeof text, "user:%08zu", i);
  return text;
}

// 20 bytes: what goals speak of.
std::string final_key(std::size_t i) { return "shop:1:" + user_key(i); }

polycache::CacheConfig alias_at(const char* location, std::size_t max_entries) {
  polycache::CacheConfig config;
  config.backend = "locmem";
  config.location = {location};
  config.key_prefix = "shop";
  config.options = {{"max_bytes", polycache::OptionValue(std::string("8GiB"))}};
  if (max_entries > 0) {
    config.options["max_entries"] = polycache::OptionValue(static_cast<std::int64_t>(max_entries));
  }
  return config;
}

void configure() {
  polycache::Config config;
  config.caches = {{"bench", alias_at("bench", 0)},
                   {"full 100k", alias_at("full 100k", 50'000)},
                   {"full 1M", alias_at("full 1M", 500'000)},
                   {"memory", alias_at("memory", 1'000'000)}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::locmem::plugin}});
}

// --- ours against one peer, on so many keys ---

struct Size {
  const char* name;
  std::size_t keys;
  std::size_t value_bytes;
};

// What is to be reached against this peer; empty: nothing.
struct Goals {
  std::optional<duel::Goal> get = {};
  std::optional<duel::Goal> get_2_threads = {};
  std::optional<duel::Goal> get_8_threads = {};
  std::optional<duel::Goal> get_many = {};
  std::optional<duel::Goal> set = {};
  std::optional<duel::Goal> set_evicting = {};
};

class Round {
 public:
  Round(Size size, const peers::Maker& make_peer) : size_(size), make_peer_(make_peer) {
    std::mt19937_64 random(1);
    for (std::size_t i = 0; i < size.keys; ++i) {
      user_keys_.push_back(user_key(i));
      final_keys_.push_back(final_key(i));
    }
    for (std::size_t i = 0; i < (std::size_t{1} << 20); ++i) order_.push_back(random() % size.keys);
    popular_ = duel::popular(size.keys, std::size_t{1} << 20);
    // Room for all of them: what a peer counts as overhead must not make it evict.
    peer_ = make_peer_(2 * size.keys * (size.value_bytes + 200));
    cache().clear();
    for (std::size_t i = 0; i < size.keys; ++i) {
      duel::expect(cache().set(user_keys_[i], value(i)));
      peer_->set(final_keys_[i], value(i));
    }
  }
  ~Round() { cache().clear(); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  void run(duel::Table& table, const Goals& goals) {
    reads(table, goals);
    bulk(table, goals);
    writes(table, goals);
    evictions(table, goals);
  }

 private:
  static polycache::Cache& cache() { return polycache::caches["bench"]; }
  std::size_t at(std::size_t i) const { return order_[i % order_.size()]; }
  const std::string& ours(std::size_t i) const { return user_keys_[at(i)]; }
  const std::string& theirs(std::size_t i) const { return final_keys_[at(i)]; }

  // Another one each time.
  const std::string& value(std::size_t i) {
    value_.resize(size_.value_bytes, 'v');
    std::memcpy(value_.data(), &i, sizeof i);
    return value_;
  }

  duel::Contest contest(const std::string& name, const std::optional<duel::Goal>& goal,
                        duel::Contender ours, duel::Contender theirs, std::size_t keys_each = 1) {
    return {.name = std::string(size_.name) + " " + name,
            .operations = 200'000 / keys_each,
            .keys_each = keys_each,
            .slices = 18,
            .goal = goal,
            .ours = std::move(ours),
            .theirs = std::move(theirs)};
  }

  void reads(duel::Table& table, const Goals& goals) {
    const auto get = [this](std::size_t i) {
      duel::expect(cache().get(ours(i))->size() == size_.value_bytes);
    };
    const auto peer_get = [this](std::size_t i) {
      duel::expect(peer_->get(theirs(i))->size() == size_.value_bytes);
    };
    table.add(contest("get, hit", goals.get, duel::each(get), duel::each(peer_get)));
    table.add(contest("get, hit, 2 threads", goals.get_2_threads,
                      duel::threads(2, [&] { return get; }),
                      duel::threads(2, [&] { return peer_get; })));
    table.add(contest("get, hit, 8 threads", goals.get_8_threads,
                      duel::threads(8, [&] { return get; }),
                      duel::threads(8, [&] { return peer_get; })));
    table.add(contest(
        "get, miss", {}, duel::each([](std::size_t) { duel::expect(!cache().get("nobody")); }),
        duel::each([this](std::size_t) { duel::expect(!peer_->get("shop:1:nobody")); })));
  }

  void bulk(duel::Table& table, const Goals& goals) {
    table.add(contest("get_many(100), a key", goals.get_many, duel::each([this](std::size_t n) {
                        std::vector<std::string_view> keys;
                        keys.reserve(kMany);
                        for (std::size_t i = n * kMany; i < (n + 1) * kMany; ++i)
                          keys.push_back(ours(i));
                        duel::expect(cache().get_many(keys).back().has_value());
                      }),
                      duel::each([this](std::size_t n) {
                        std::vector<std::optional<std::string>> values;
                        values.reserve(kMany);
                        for (std::size_t i = n * kMany; i < (n + 1) * kMany; ++i) {
                          values.push_back(peer_->get(theirs(i)));
                        }
                        duel::expect(values.back().has_value());
                      }),
                      kMany));
    table.add(contest("set_many(100), a key", {}, duel::each([this](std::size_t n) {
                        std::vector<std::pair<std::string_view, std::string_view>> items;
                        items.reserve(kMany);
                        for (std::size_t i = n * kMany; i < (n + 1) * kMany; ++i) {
                          items.emplace_back(ours(i), value(n));
                        }
                        duel::expect(cache().set_many(items).empty());
                      }),
                      duel::each([this](std::size_t n) {
                        for (std::size_t i = n * kMany; i < (n + 1) * kMany; ++i) {
                          peer_->set(theirs(i), value(n));
                        }
                      }),
                      kMany));
  }

  void writes(duel::Table& table, const Goals& goals) {
    table.add(contest("set, overwriting", goals.set, duel::each([this](std::size_t i) {
                        duel::expect(cache().set(ours(i), value(i)));
                      }),
                      duel::each([this](std::size_t i) { peer_->set(theirs(i), value(i)); })));
    table.add(contest("get:set 95:5, zipf", {}, duel::each([this](std::size_t i) {
                        const std::string& key = user_keys_[popular_[i % popular_.size()]];
                        if (i % 20 == 0) {
                          duel::expect(cache().set(key, value(i)));
                        } else {
                          duel::expect(cache().get(key).has_value());
                        }
                      }),
                      duel::each([this](std::size_t i) {
                        const std::string& key = final_keys_[popular_[i % popular_.size()]];
                        if (i % 20 == 0) {
                          peer_->set(key, value(i));
                        } else {
                          duel::expect(peer_->get(key).has_value());
                        }
                      })));
  }

  // All keys in turn, into stores of half as many: every set evicts.
  void evictions(duel::Table& table, const Goals& goals) {
    polycache::Cache& full = polycache::caches[size_.keys > 100'000 ? "full 1M" : "full 100k"];
    const auto peer = make_peer_(size_.keys / 2 * (size_.value_bytes + 50));
    for (std::size_t i = 0; i < size_.keys; ++i) {
      full.set(user_keys_[i], value(i));
      peer->set(final_keys_[i], value(i));
    }
    table.add(contest(
        "set, evicting", goals.set_evicting, duel::each([&](std::size_t i) {
          duel::expect(full.set(user_keys_[i % size_.keys], value(i)));
        }),
        duel::each([&](std::size_t i) { peer->set(final_keys_[i % size_.keys], value(i)); })));
    full.clear();
  }

  const Size size_;
  const peers::Maker& make_peer_;
  std::unique_ptr<peers::Peer> peer_;
  std::vector<std::string> user_keys_;
  std::vector<std::string> final_keys_;
  std::vector<std::size_t> order_;
  std::vector<std::size_t> popular_;
  std::string value_;
};

// --- what is no duel ---

std::size_t resident_bytes() {
  ::malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  statm >> total >> resident;
  return resident * 4096;
}

// A million entries of 20 + 100 bytes, after a million others went, so that the history of
// evictions is full, too.
void memory(const duel::Options& options, bool& met) {
  constexpr std::size_t kEntries = 1'000'000;
  duel::Table table(options, {.title = "locmem's memory", .theirs = "payload"});
  polycache::Cache& cache = polycache::caches["memory"];
  const std::size_t before = resident_bytes();
  const std::string value(100, 'v');
  for (std::size_t i = 0; i < 2 * kEntries; ++i) duel::expect(cache.set(user_key(i), value));
  const double taken = static_cast<double>(resident_bytes() - before);
  table.add_figure("memory an entry of 20 + 100 B", "B", taken / kEntries, 120,
                   duel::at_most("L6", 195));
  cache.clear();
  met = table.met() && met;
}

// Django's own locmem in its own process, beside ours on the same keys.
void django(const duel::Options& options, bool& met) {
  const auto theirs = peers::django_nanoseconds(options.quick ? 20'000 : 100'000);
  if (!theirs) {
    std::printf("\nDjango is not installed (python3-django): not compared\n");
    return;
  }
  duel::Table table(options, {.title = "locmem against Django's locmem",
                              .theirs = "Django",
                              .unit = duel::Unit::nanoseconds});
  constexpr std::size_t kKeys = 10'000;
  constexpr std::size_t kOperations = 1'000'000;
  polycache::Cache& cache = polycache::caches["bench"];
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < kKeys; ++i) keys.push_back(user_key(i));
  const std::string value(100, 'v');
  const duel::Stopwatch stopwatch(options);
  const double begin = stopwatch.now();
  for (std::size_t i = 0; i < kOperations; ++i) cache.set(keys[i * 7919 % kKeys], value);
  const double between = stopwatch.now();
  for (std::size_t i = 0; i < kOperations; ++i) duel::keep(cache.get(keys[i * 7919 % kKeys]));
  const double end = stopwatch.now();
  table.add_figure("get, hit", "ns", (end - between) / kOperations, theirs->get,
                   duel::at_least("L5", 35));
  table.add_figure("set, overwriting", "ns", (between - begin) / kOperations, theirs->set,
                   duel::at_least("L5", 40));
  cache.clear();
  met = table.met() && met;
}

struct Opponent {
  const char* name;
  const char* title;
  Goals at_100k;
  Goals at_1m;
};

std::vector<Opponent> opponents() {
  using duel::at_least;
  return {{.name = "RocksDB LRU",
           .title = "locmem against RocksDB's LRUCache",
           .at_100k = {.get = at_least("L1", 2.5),
                       .get_2_threads = at_least("L2", 6),
                       .get_8_threads = at_least("L2", 5),
                       .set = at_least("L4", 3.5),
                       .set_evicting = at_least("L4", 1.8)},
           .at_1m = {.get = at_least("L3", 3), .get_many = at_least("L3", 7)}},
          {.name = "HyperClock",
           .title = "locmem against RocksDB's HyperClockCache",
           .at_100k = {.get = at_least("L1", 2.0),
                       .get_2_threads = at_least("L2", 1.9),
                       .get_8_threads = at_least("L2", 1.8),
                       .set = at_least("L4", 2.4)},
           .at_1m = {.get = at_least("L3", 1.9)}},
          {.name = "LevelDB LRU",
           .title = "locmem against LevelDB's LRU cache",
           .at_100k = {.get = at_least("L1", 1.5)},
           .at_1m = {}}};
}

bool run_all(const duel::Options& options) {
  configure();
  bool met = true;
  memory(options, met);
  for (const Opponent& opponent : opponents()) {
    const peers::Maker make = peers::maker(opponent.name);
    if (!make) {
      std::printf("\n%s is not installed: not compared\n", opponent.name);
      continue;
    }
    duel::Table table(
        options,
        {.title = opponent.title, .theirs = opponent.name, .unit = duel::Unit::nanoseconds});
    Round({"100k x 100 B", 100'000, 100}, make).run(table, opponent.at_100k);
    Round({"1M x 100 B", 1'000'000, 100}, make).run(table, opponent.at_1m);
    Round({"100k x 1 KiB", 100'000, 1024}, make).run(table, {});
    met = table.met() && met;
  }
  django(options, met);
  return met;
}

}  // namespace

int main(int argc, char** argv) { return duel::run("locmem", argc, argv, run_all); }
