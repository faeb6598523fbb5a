// Replays request traces through the real locmem store and prints the share of hits of
// every policy, with those of LRU, of S3-FIFO as it was published, and of the optimum, which
// knows the future (Belady).
//
//   hit_ratio [--sqlite] [--entries 1000,5000] TRACE...
//
// With --sqlite it replays them through the sqlite store in memory, and prints the share of hits
// with the approximate order of eviction and with the exact one. Goal: within a point.
//
// A trace is a flat file of little-endian 64-bit keys, one a request. Without --entries, a
// store of 1 %, 5 %, 10 % and 25 % of the trace's distinct keys is tried.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <list>
#include <memory>
#include <queue>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/backends/sqlite.h"
#include "polycache/testing/test_context.h"

namespace {

using Trace = std::vector<std::uint64_t>;

constexpr const char* policies[] = {"s3-fifo", "lru", "fifo", "lfu", "django"};

Trace read_trace(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in || bytes.empty() || bytes.size() % sizeof(std::uint64_t) != 0) {
    throw std::runtime_error(file.string() + ": not a file of 64-bit keys; unpack it first");
  }
  static_assert(std::endian::native == std::endian::little);
  Trace trace(bytes.size() / sizeof(std::uint64_t));
  std::memcpy(trace.data(), bytes.data(), bytes.size());
  return trace;
}

std::size_t distinct(const Trace& trace) {
  return std::unordered_set<std::uint64_t>(trace.begin(), trace.end()).size();
}

// --- what the store is measured by ---

std::size_t lru_hits(const Trace& trace, std::size_t entries) {
  std::list<std::uint64_t> order;  // most recently used first
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> index;
  std::size_t hits = 0;
  for (const std::uint64_t key : trace) {
    if (const auto found = index.find(key); found != index.end()) {
      ++hits;
      order.splice(order.begin(), order, found->second);
      continue;
    }
    if (index.size() == entries) {
      index.erase(order.back());
      order.pop_back();
    }
    order.push_front(key);
    index.emplace(key, order.begin());
  }
  return hits;
}

// S3-FIFO as published (Yang et al., "FIFO queues are all you need for cache eviction", SOSP
// 2023): a small queue of a tenth, a main queue, a ghost queue as long as the main one, and
// counters up to three.
class PublishedS3Fifo {
 public:
  explicit PublishedS3Fifo(std::size_t entries)
      : entries_(entries), small_size_(std::max<std::size_t>(1, entries / 10)) {}

  bool request(std::uint64_t key) {
    if (const auto found = index_.find(key); found != index_.end()) {
      found->second->uses = std::min(3, found->second->uses + 1);
      return true;
    }
    while (index_.size() >= entries_) {
      if (small_.size() >= small_size_ || main_.empty()) {
        evict_from_small();
      } else {
        evict_from_main();
      }
    }
    Queue& queue = forget_ghost(key) ? main_ : small_;
    queue.push_front({key, 0});
    index_[key] = queue.begin();
    return false;
  }

 private:
  struct Place {
    std::uint64_t key;
    int uses;
  };
  using Queue = std::list<Place>;  // newest first

  void evict_from_main() {
    for (;;) {
      const auto oldest = std::prev(main_.end());
      if (oldest->uses == 0) {
        index_.erase(oldest->key);
        main_.erase(oldest);
        return;
      }
      --oldest->uses;
      main_.splice(main_.begin(), main_, oldest);
    }
  }

  void evict_from_small() {
    while (!small_.empty()) {
      const auto oldest = std::prev(small_.end());
      if (oldest->uses <= 1) {
        remember_ghost(oldest->key);
        index_.erase(oldest->key);
        small_.erase(oldest);
        return;
      }
      oldest->uses = 0;
      main_.splice(main_.begin(), small_, oldest);
      if (main_.size() > entries_ - small_size_) return evict_from_main();
    }
  }

  void remember_ghost(std::uint64_t key) {
    ghosts_.push_front(key);
    ghost_index_[key] = ghosts_.begin();
    if (ghosts_.size() <= entries_ - small_size_) return;
    ghost_index_.erase(ghosts_.back());
    ghosts_.pop_back();
  }

  bool forget_ghost(std::uint64_t key) {
    const auto found = ghost_index_.find(key);
    if (found == ghost_index_.end()) return false;
    ghosts_.erase(found->second);
    ghost_index_.erase(found);
    return true;
  }

  const std::size_t entries_;
  const std::size_t small_size_;
  Queue small_;
  Queue main_;
  std::unordered_map<std::uint64_t, Queue::iterator> index_;
  std::list<std::uint64_t> ghosts_;
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> ghost_index_;
};

std::size_t published_s3_fifo_hits(const Trace& trace, std::size_t entries) {
  PublishedS3Fifo cache(entries);
  std::size_t hits = 0;
  for (const std::uint64_t key : trace) hits += cache.request(key) ? 1 : 0;
  return hits;
}

// Where each request's key is asked for next.
std::vector<std::size_t> next_uses(const Trace& trace) {
  std::vector<std::size_t> next(trace.size(), std::numeric_limits<std::size_t>::max());
  std::unordered_map<std::uint64_t, std::size_t> seen;
  for (std::size_t i = trace.size(); i-- > 0;) {
    const auto [it, first] = seen.try_emplace(trace[i], i);
    if (!first) next[i] = std::exchange(it->second, i);
  }
  return next;
}

// Keeps what is asked for soonest; what is asked for last of all is not even taken in.
std::size_t optimal_hits(const Trace& trace, std::size_t entries) {
  const std::vector<std::size_t> next = next_uses(trace);
  std::priority_queue<std::pair<std::size_t, std::uint64_t>> latest;  // some are out of date
  std::unordered_map<std::uint64_t, std::size_t> kept;                // key: its next use
  std::size_t hits = 0;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    const auto [it, missed] = kept.insert_or_assign(trace[i], next[i]);
    hits += missed ? 0 : 1;
    latest.emplace(next[i], trace[i]);
    while (kept.size() > entries) {
      const auto [use, key] = latest.top();
      latest.pop();
      if (const auto found = kept.find(key); found != kept.end() && found->second == use) {
        kept.erase(found);
      }
    }
  }
  return hits;
}

std::size_t hits_of(const Trace& trace, const polycache::PluginDescriptor& plugin,
                    const polycache::testing::TestOptions& options) {
  polycache::testing::TestContext context;
  const auto factory = polycache::testing::make_factory(plugin, context, options);
  const auto session = factory->connect();
  std::size_t hits = 0;
  for (const std::uint64_t key : trace) {
    char bytes[sizeof(key)];
    std::memcpy(bytes, &key, sizeof(key));
    const std::string_view view(bytes, sizeof(bytes));
    if (session->get(view, [](std::string_view) {})) {
      ++hits;
    } else {
      session->put(view, "", polycache::Ttl::forever(), polycache::PutMode::always);
    }
  }
  return hits;
}

std::size_t store_hits(const Trace& trace, std::size_t entries, const char* policy) {
  return hits_of(trace, polycache::locmem::plugin,
                 {.options = {{"policy", std::string(policy)},
                              {"max_entries", static_cast<std::int64_t>(entries)},
                              {"max_bytes", std::string("1TiB")}}});
}

std::size_t sqlite_hits(const Trace& trace, std::size_t entries, const char* order) {
  return hits_of(trace, polycache::sqlite::plugin,
                 {.location = {":memory:"},
                  .options = {{"max_entries", static_cast<std::int64_t>(entries)},
                              {"eviction_order", std::string(order)}}});
}

// --- the table ---

struct Sums {
  double closed = 0;
  double closed_as_published = 0;
  double worst = 0;
  int rows = 0;
};

void print_head() {
  std::printf("%-28s %9s %8s %8s %9s", "trace", "entries", "optimum", "LRU", "published");
  for (const char* policy : policies) std::printf(" %8s", policy);
  std::printf(" %10s\n", "gap closed");
}

double percent_of(const Trace& trace, std::size_t hits) {
  return 100.0 * static_cast<double>(hits) / static_cast<double>(trace.size());
}

void print_orders(const std::string& name, const Trace& trace, std::size_t entries, Sums& sums) {
  const double approximate = percent_of(trace, sqlite_hits(trace, entries, "approximate"));
  const double exact = percent_of(trace, sqlite_hits(trace, entries, "exact"));
  std::printf("%-28s %9zu %11.2f %8.2f %11.2f\n", name.c_str(), entries, approximate, exact,
              approximate - exact);
  std::fflush(stdout);
  sums.worst = std::min(sums.worst, approximate - exact);
}

void print_row(const std::string& name, const Trace& trace, std::size_t entries, Sums& sums) {
  const auto percent = [&](std::size_t hits) { return percent_of(trace, hits); };
  const double optimum = percent(optimal_hits(trace, entries));
  const double lru = percent(lru_hits(trace, entries));
  const double published = percent(published_s3_fifo_hits(trace, entries));
  std::printf("%-28s %9zu %8.2f %8.2f %9.2f", name.c_str(), entries, optimum, lru, published);
  double first = 0;
  for (const char* policy : policies) {
    const double ours = percent(store_hits(trace, entries, policy));
    if (policy == policies[0]) first = ours;
    std::printf(" %8.2f", ours);
  }
  sums.worst = std::min(sums.worst, first - lru);
  if (optimum - lru < 1) {  // a gap so small says nothing about who closes it
    std::printf(" %10s\n", "-");
    return;
  }
  const double closed = 100.0 * (first - lru) / (optimum - lru);
  std::printf(" %9.1f%%\n", closed);
  sums.closed += closed;
  sums.closed_as_published += 100.0 * (published - lru) / (optimum - lru);
  ++sums.rows;
}

std::vector<std::size_t> parse_sizes(const std::string& list) {
  std::vector<std::size_t> sizes;
  for (std::size_t at = 0; at < list.size();) {
    std::size_t used = 0;
    sizes.push_back(std::stoul(list.substr(at), &used));
    at += used + 1;
  }
  return sizes;
}

std::vector<std::size_t> usual_sizes(const Trace& trace) {
  std::vector<std::size_t> sizes;
  for (const std::size_t part : {100u, 20u, 10u, 4u}) {
    sizes.push_back(std::max<std::size_t>(distinct(trace) / part, 2));
  }
  return sizes;
}

int run(const std::vector<std::string>& arguments) {
  std::vector<std::size_t> sizes;
  std::vector<std::filesystem::path> files;
  bool of_sqlite = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--entries" && i + 1 < arguments.size()) {
      sizes = parse_sizes(arguments[++i]);
    } else if (arguments[i] == "--sqlite") {
      of_sqlite = true;
    } else {
      files.emplace_back(arguments[i]);
    }
  }
  if (files.empty()) {
    std::fputs("usage: hit_ratio [--sqlite] [--entries 1000,5000] TRACE...\n", stderr);
    return 2;
  }
  Sums sums;
  if (of_sqlite) {
    std::printf("%-28s %9s %11s %8s %11s\n", "trace", "entries", "approximate", "exact",
                "difference");
  } else {
    print_head();
  }
  for (const auto& file : files) {
    const Trace trace = read_trace(file);
    for (const std::size_t entries : sizes.empty() ? usual_sizes(trace) : sizes) {
      (of_sqlite ? print_orders : print_row)(file.filename().string(), trace, entries, sums);
    }
  }
  if (of_sqlite) std::printf("at worst %.2f points below the exact order\n", -sums.worst);
  if (sums.rows > 0) {
    std::printf(
        "%s closes %.1f%% of the gap from LRU to the optimum, on average of %d rows where "
        "it is a point or more; at worst it is %.2f points below LRU; S3-FIFO as published "
        "closes %.1f%%\n",
        policies[0], sums.closed / sums.rows, sums.rows, -sums.worst,
        sums.closed_as_published / sums.rows);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "hit_ratio: %s\n", error.what());
    return 1;
  }
}
