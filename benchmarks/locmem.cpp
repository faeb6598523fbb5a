// The locmem store through caches["alias"] against the in-process caches of RocksDB and
// LevelDB, where they are installed, and against Django's locmem, where that is.
//
//   locmem [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Keys are written on the stack when they are needed: what is measured is how fast a cache
// finds an entry, not how fast the benchmark's own list of keys comes out of memory. Ours
// composes the final key, reads the clock, checks the lifetime and returns an owned
// std::string. The peers get final keys that are made already, know no lifetimes, and the
// value is copied out of their handle, as an interface that returns values must.
// HyperClockCache takes keys of 16 bytes only: a hash of the key, made here.
//
// Goals: L1 to L6 (docs/benchmarks.md).

#include <malloc.h>
#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
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

constexpr std::size_t bulk_keys = 100;  // keys of one bulk operation

// "shop:1:user:00000042": 20 bytes, what goals speak of. Ours is given what comes after
// the second colon. Eight digits at once: a division for each would take as long as a cache
// does to answer.
class Key {
 public:
  explicit Key(std::size_t i) noexcept {
    const std::uint64_t digits = eight_digits(i);
    std::memcpy(text_ + digits_at, &digits, sizeof digits);
  }
  std::string_view final() const noexcept { return {text_, sizeof text_}; }
  std::string_view user() const noexcept { return final().substr(prefix_bytes); }

 private:
  static constexpr std::size_t prefix_bytes = 7;
  static constexpr std::size_t digits_at = 12;

  // In halves of four digits, of two, of one, each in its part of one word, the first lowest.
  static std::uint64_t eight_digits(std::uint64_t i) noexcept {
    i = i / 10000 | i % 10000 << 32;
    const std::uint64_t hundreds = (i * 10486 >> 20) & 0x7f0000007f;
    i = hundreds | (i - 100 * hundreds) << 16;
    const std::uint64_t tens = (i * 103 >> 10) & 0x000f000f000f000f;
    return (tens | (i - 10 * tens) << 8) + 0x3030303030303030;
  }

  char text_[20] = {'s', 'h', 'o', 'p', ':', '1', ':', 'u', 's', 'e', 'r', ':'};
};

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

// Filling the caches takes longer than most contests: not for those that are left out.
bool wanted(const duel::Options& options, const std::string& operation) {
  return operation.find(options.only) != std::string::npos;
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
    for (std::size_t i = 0; i < (std::size_t{1} << 20); ++i) order_.push_back(random() % size.keys);
    popular_ = duel::popular(size.keys, std::size_t{1} << 20);
    // Room for all of them: what a peer counts as overhead must not make it evict.
    peer_ = make_peer_(2 * size.keys * (size.value_bytes + 200));
    cache().clear();
    for (std::size_t i = 0; i < size.keys; ++i) {
      duel::expect(cache().set(Key(i).user(), value(i)));
      peer_->set(Key(i).final(), value(i));
    }
  }
  ~Round() { cache().clear(); }
  Round(const Round&) = delete;
  Round& operator=(const Round&) = delete;

  static void run(const duel::Options& options, Size size, const peers::Maker& make_peer,
                  duel::Table& table, const Goals& goals) {
    const auto is_wanted = [&](const char* operation) {
      return wanted(options, std::string(size.name) + " " + operation);
    };
    if (std::any_of(std::begin(operation_names), std::end(operation_names), is_wanted)) {
      Round(size, make_peer).run(table, goals, is_wanted(evicting_set));
    }
  }

 private:
  static constexpr const char* evicting_set = "set, evicting";
  static constexpr const char* operation_names[] = {
      "get, hit",         "get, hit, 2 threads",  "get, hit, 8 threads",
      "get, miss",        "get_many(100), a key", "set_many(100), a key",
      "set, overwriting", "get:set 95:5, zipf",   evicting_set};

  void run(duel::Table& table, const Goals& goals, bool evicting) {
    reads(table, goals);
    bulk(table, goals);
    writes(table, goals);
    if (evicting) evictions(table, goals);
  }

  static polycache::Cache& cache() { return polycache::caches["bench"]; }
  std::size_t at(std::size_t i) const { return order_[i % order_.size()]; }
  Key key(std::size_t i) const { return Key(at(i)); }
  Key popular_key(std::size_t i) const { return Key(popular_[i % popular_.size()]); }

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
      duel::expect(cache().get(key(i).user())->size() == size_.value_bytes);
    };
    const auto peer_get = [this](std::size_t i) {
      duel::expect(peer_->get(key(i).final())->size() == size_.value_bytes);
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
                        std::vector<Key> keys;
                        std::vector<std::string_view> views;
                        keys.reserve(bulk_keys);
                        views.reserve(bulk_keys);
                        for (std::size_t i = n * bulk_keys; i < (n + 1) * bulk_keys; ++i) {
                          views.push_back(keys.emplace_back(at(i)).user());
                        }
                        duel::expect(cache().get_many(views).back().has_value());
                      }),
                      duel::each([this](std::size_t n) {
                        std::vector<std::optional<std::string>> values;
                        values.reserve(bulk_keys);
                        for (std::size_t i = n * bulk_keys; i < (n + 1) * bulk_keys; ++i) {
                          values.push_back(peer_->get(key(i).final()));
                        }
                        duel::expect(values.back().has_value());
                      }),
                      bulk_keys));
    table.add(contest("set_many(100), a key", {}, duel::each([this](std::size_t n) {
                        std::vector<std::pair<std::string_view, std::string_view>> items;
                        std::vector<Key> keys;
                        keys.reserve(bulk_keys);
                        items.reserve(bulk_keys);
                        for (std::size_t i = n * bulk_keys; i < (n + 1) * bulk_keys; ++i) {
                          items.emplace_back(keys.emplace_back(at(i)).user(), value(n));
                        }
                        duel::expect(cache().set_many(items).empty());
                      }),
                      duel::each([this](std::size_t n) {
                        for (std::size_t i = n * bulk_keys; i < (n + 1) * bulk_keys; ++i) {
                          peer_->set(key(i).final(), value(n));
                        }
                      }),
                      bulk_keys));
  }

  void writes(duel::Table& table, const Goals& goals) {
    table.add(contest("set, overwriting", goals.set, duel::each([this](std::size_t i) {
                        duel::expect(cache().set(key(i).user(), value(i)));
                      }),
                      duel::each([this](std::size_t i) { peer_->set(key(i).final(), value(i)); })));
    table.add(contest("get:set 95:5, zipf", {}, duel::each([this](std::size_t i) {
                        if (i % 20 == 0) {
                          duel::expect(cache().set(popular_key(i).user(), value(i)));
                        } else {
                          duel::expect(cache().get(popular_key(i).user()).has_value());
                        }
                      }),
                      duel::each([this](std::size_t i) {
                        if (i % 20 == 0) {
                          peer_->set(popular_key(i).final(), value(i));
                        } else {
                          duel::expect(peer_->get(popular_key(i).final()).has_value());
                        }
                      })));
  }

  // All keys in turn, into stores of half as many: every set evicts.
  void evictions(duel::Table& table, const Goals& goals) {
    polycache::Cache& full = polycache::caches[size_.keys > 100'000 ? "full 1M" : "full 100k"];
    const auto peer = make_peer_(size_.keys / 2 * (size_.value_bytes + 50));
    for (std::size_t i = 0; i < size_.keys; ++i) {
      full.set(Key(i).user(), value(i));
      peer->set(Key(i).final(), value(i));
    }
    table.add(contest(
        evicting_set, goals.set_evicting, duel::each([&](std::size_t i) {
          duel::expect(full.set(Key(i % size_.keys).user(), value(i)));
        }),
        duel::each([&](std::size_t i) { peer->set(Key(i % size_.keys).final(), value(i)); })));
    full.clear();
  }

  const Size size_;
  const peers::Maker& make_peer_;
  std::unique_ptr<peers::Peer> peer_;
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
  constexpr const char* row_name = "memory an entry of 20 + 100 B";
  if (!wanted(options, row_name)) return;
  constexpr std::size_t entry_count = 1'000'000;
  duel::Table table(options, {.title = "locmem's memory", .theirs = "payload"});
  polycache::Cache& cache = polycache::caches["memory"];
  const std::size_t before = resident_bytes();
  const std::string value(100, 'v');
  for (std::size_t i = 0; i < 2 * entry_count; ++i) duel::expect(cache.set(Key(i).user(), value));
  const double taken = static_cast<double>(resident_bytes() - before);
  table.add_figure(row_name, "B", taken / entry_count, 120, duel::at_most("L6", 195));
  cache.clear();
  met = table.met() && met;
}

// Django's own locmem in its own process, on the same keys as ours.
void django(const duel::Options& options, bool& met) {
  if (!wanted(options, "get, hit") && !wanted(options, "set, overwriting")) return;
  const auto theirs = peers::django_nanoseconds(options.quick ? 20'000 : 100'000);
  if (!theirs) {
    std::printf("\nDjango is not installed (python3-django): not compared\n");
    return;
  }
  duel::Table table(options, {.title = "locmem against Django's locmem",
                              .theirs = "Django",
                              .unit = duel::Unit::nanoseconds});
  constexpr std::size_t key_count = 10'000;
  constexpr std::size_t operation_count = 1'000'000;
  polycache::Cache& cache = polycache::caches["bench"];
  const std::string value(100, 'v');
  const duel::Stopwatch stopwatch(options);
  const double begin = stopwatch.now();
  for (std::size_t i = 0; i < operation_count; ++i)
    cache.set(Key(i * 7919 % key_count).user(), value);
  const double between = stopwatch.now();
  for (std::size_t i = 0; i < operation_count; ++i)
    duel::keep(cache.get(Key(i * 7919 % key_count).user()));
  const double end = stopwatch.now();
  table.add_figure("get, hit", "ns", (end - between) / operation_count, theirs->get,
                   duel::at_least("L5", 35));
  table.add_figure("set, overwriting", "ns", (between - begin) / operation_count, theirs->set,
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
    Round::run(options, {"100k x 100 B", 100'000, 100}, make, table, opponent.at_100k);
    Round::run(options, {"1M x 100 B", 1'000'000, 100}, make, table, opponent.at_1m);
    Round::run(options, {"100k x 1 KiB", 100'000, 1024}, make, table, {});
    met = table.met() && met;
  }
  django(options, met);
  return met;
}

}  // namespace

int main(int argc, char** argv) { return duel::run("locmem", argc, argv, run_all); }
