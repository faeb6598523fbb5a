// A long run: threads use every store at once while its servers are killed and started again
// and a layer makes operations fail. Every value that is read is compared with what may be
// there; the longest call, the errors and the memory are watched.
//
//   soak --seconds 600 --threads 4 --restart-every 5
//
// Exit status 1 if a value was wrong, a call took longer than its limit and 200 ms, memory
// grew, or a store did not come back.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/program_options.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/registry.h"
#include "polycache/testing/chaos_layer.h"
#include "support/server.h"

using namespace std::chrono_literals;
using polycache::BackendError;
using polycache::Cache;
using polycache::CacheRegistry;
using polycache::testing::Server;
using polycache::testing::TemporaryFolder;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::chrono::milliseconds operation_limit{1000};  // of an operation, in every store
constexpr std::chrono::milliseconds grace{200};
constexpr int key_count = 200;  // of each thread and store

struct Settings {
  int seconds = 600;
  int threads = 4;
  int restart_every = 5;
  double chaos = 0.01;
  std::uint64_t seed = 1;
  std::vector<std::string> stores;
};

// --- values that tell where they come from ---

std::string make_value(const std::string& key, std::uint64_t version) {
  std::string value = key + '#' + std::to_string(version) + '#';
  std::uint64_t x = std::hash<std::string>()(value) | 1U;
  const std::size_t size = value.size() + (version % 50 == 0 ? 20'000 : version % 300);
  while (value.size() < size) {
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
    value += static_cast<char>(x & 0xffU);
  }
  return value;
}

// The version that a value tells, if it is whole and this key's.
std::optional<std::uint64_t> version_of(const std::string& key, const std::string& value) {
  const std::size_t begin = key.size() + 1;
  const std::size_t end = value.find('#', begin);
  if (!value.starts_with(key + '#') || end == std::string::npos) return std::nullopt;
  const std::uint64_t version = std::strtoull(value.c_str() + begin, nullptr, 10);
  if (value != make_value(key, version)) return std::nullopt;
  return version;
}

// --- what is counted ---

struct Tally {
  std::atomic<std::uint64_t> operations{0};
  std::atomic<std::uint64_t> hits{0};
  std::atomic<std::uint64_t> misses{0};
  std::array<std::atomic<std::uint64_t>, 8> errors{};  // by BackendError::Kind
  std::atomic<std::uint64_t> wrong{0};
  std::atomic<std::int64_t> longest_us{0};
  std::atomic<std::uint64_t> too_long{0};
  std::atomic<std::int64_t> last_success_us{0};

  std::mutex mutex;
  std::vector<std::string> examples;  // of what was wrong

  void complain(const std::string& what) {
    ++wrong;
    const std::lock_guard lock(mutex);
    if (examples.size() < 5) examples.push_back(what);
  }
};

struct Store {
  std::string alias;
  bool forgets = false;  // may lose what it was given: it is restarted, or evicts
  Tally tally;
  std::unique_ptr<Server> server;  // null for embedded ones
  int restarts = 0;
  std::vector<std::chrono::milliseconds> recoveries;
};

std::int64_t microseconds_now() {
  return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
      .count();
}

// --- one thread and one store ---

// What may be found under a key. Only its owner writes it.
struct Known {
  std::set<std::uint64_t> versions;  // one of these,
  std::set<std::uint64_t> late;      // or of these, whose writes may still arrive,
  bool maybe_absent = true;          // or nothing
};

class Worker {
 public:
  Worker(Store& store, Cache& cache, int number, std::uint64_t seed)
      : store_(store), cache_(cache), name_("t" + std::to_string(number)), random_(seed) {}

  void step() {
    const std::uint64_t dice = random_() % 100;
    if (dice < 55) {
      get();
    } else if (dice < 75) {
      set();
    } else if (dice < 82) {
      erase();
    } else if (dice < 88) {
      get_many();
    } else if (dice < 92) {
      get_or_set();
    } else {
      count();
    }
  }

 private:
  std::string pick() { return name_ + ":k" + std::to_string(random_() % key_count); }

  // Runs one operation; returns the kind of its failure.
  template <class F>
  std::optional<BackendError::Kind> attempt(F&& f) {
    Tally& tally = store_.tally;
    const auto begin = Clock::now();
    std::optional<BackendError::Kind> failure;
    try {
      f();
    } catch (const BackendError& error) {
      failure = error.kind();
      ++tally.errors.at(static_cast<std::size_t>(error.kind()));
    }
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    ++tally.operations;
    if (!failure) tally.last_success_us = microseconds_now();
    std::int64_t longest = tally.longest_us;
    while (took.count() > longest &&
           !tally.longest_us.compare_exchange_weak(longest, took.count())) {
    }
    if (took > operation_limit + grace) ++tally.too_long;
    return failure;
  }

  void check(const std::string& key, const std::optional<std::string>& value) {
    const Known& known = known_[key];
    if (!value) {
      ++store_.tally.misses;
      if (!known.maybe_absent && !store_.forgets) store_.tally.complain(key + " is gone");
      return;
    }
    ++store_.tally.hits;
    const auto version = version_of(key, *value);
    if (!version) {
      store_.tally.complain(key + " has a value of " + std::to_string(value->size()) +
                            " bytes that is not its own");
    } else if (!known.versions.contains(*version) && !known.late.contains(*version)) {
      store_.tally.complain(key + " has version " + std::to_string(*version) +
                            ", which was replaced or erased");
    }
  }

  void get() {
    const std::string key = pick();
    std::optional<std::string> value;
    if (!attempt([&] { value = cache_.get(key); })) check(key, value);
  }

  void get_many() {
    std::vector<std::string> keys;
    for (int i = 0; i < 20; ++i) keys.push_back(pick());
    std::vector<std::optional<std::string>> values;
    if (attempt([&] { values = cache_.get_many(keys); })) return;
    for (std::size_t i = 0; i < keys.size(); ++i) check(keys[i], values[i]);
  }

  void set() {
    const std::string key = pick();
    const std::uint64_t version = ++last_version_;
    bool stored = false;
    const auto failure =
        attempt([&] { stored = cache_.set(key, make_value(key, version), polycache::never); });
    Known& known = known_[key];
    if (failure) {
      known.versions.insert(version);
      known.maybe_absent = true;  // what is refused takes the older value with it
      if (*failure == BackendError::Kind::timeout) known.late.insert(version);
    } else if (stored) {
      known.versions = {version};
      known.maybe_absent = false;
    } else {
      known.versions.clear();
      known.maybe_absent = true;
    }
  }

  void erase() {
    const std::string key = pick();
    const auto failure = attempt([&] { cache_.erase(key); });
    Known& known = known_[key];
    known.maybe_absent = true;
    if (!failure) known.versions.clear();
  }

  void get_or_set() {
    const std::string key = pick();
    const std::uint64_t version = ++last_version_;
    bool computed = false;
    std::string value;
    const auto failure = attempt([&] {
      value = cache_.get_or_set(key,
                                [&] {
                                  computed = true;
                                  return make_value(key, version);
                                },
                                {.timeout = polycache::never});
    });
    Known& known = known_[key];
    if (computed) {
      known.versions.insert(version);
      known.maybe_absent = true;
      if (failure) known.late.insert(version);
    }
    if (!failure) check(key, value);
  }

  void count() {
    const std::string key = name_ + ":n";
    std::int64_t value = 0;
    const auto failure =
        attempt([&] { value = cache_.incr(key, 1, {.timeout = polycache::never, .initial = 0}); });
    if (failure) {
      ++unsure_;
      return;
    }
    const bool goes_on = value > counter_ && value <= counter_ + 1 + unsure_;
    const bool began_anew = (store_.forgets || counter_ == 0) && value >= 1 && value <= 1 + unsure_;
    if (!goes_on && !began_anew) {
      store_.tally.complain(key + " was " + std::to_string(counter_) + " and is " +
                            std::to_string(value));
    }
    counter_ = value;
    unsure_ = 0;
  }

  Store& store_;
  Cache& cache_;
  const std::string name_;
  std::mt19937_64 random_;
  std::map<std::string, Known> known_;
  std::uint64_t last_version_ = 0;
  std::int64_t counter_ = 0;
  std::int64_t unsure_ = 0;  // increments that may or may not have happened
};

// --- the whole ---

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long pages = 0;
  long resident = 0;
  file >> pages >> resident;
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

polycache::CacheConfig configuration(const Settings& settings, const std::string& backend,
                                     std::vector<std::string> location) {
  using polycache::ErrorPolicy;
  polycache::CacheConfig config;
  config.backend = backend;
  config.location = std::move(location);
  config.on_error = {.read = ErrorPolicy::throw_error, .write = ErrorPolicy::throw_error};
  if (settings.chaos > 0) {
    config.layers = {{"chaos",
                      {{"fail", settings.chaos},
                       {"fail_after", settings.chaos},
                       {"slow", settings.chaos},
                       {"delay", std::string("1ms")},
                       {"seed", static_cast<std::int64_t>(settings.seed)}}}};
  }
  if (backend == "redis" || backend == "memcached") {
    config.options = {{"timeout", std::string("1s")}, {"connect_timeout", std::string("500ms")}};
  } else if (backend == "sqlite") {
    config.options = {{"busy_timeout", std::string("1s")}};
  }
  return config;
}

class Soak {
 public:
  explicit Soak(Settings settings) : settings_(std::move(settings)) {
    polycache::Config config;
    for (const std::string& name : settings_.stores) {
      auto& store = *stores_.emplace_back(std::make_unique<Store>());
      store.alias = name;
      std::vector<std::string> location;
      if (name == "redis") store.server = Server::redis();
      if (name == "memcached") store.server = Server::memcached();
      if (name == "sqlite") location = {(folder_.path() / "soak.db").string()};
      if (name == "redis") location = {"redis://" + store.server->address()};
      if (name == "memcached") location = {store.server->address()};
      store.forgets = store.server != nullptr;
      config.caches[name] = configuration(settings_, name, location);
    }
    registry_.emplace(
        std::move(config),
        polycache::Environment{
            .on_warning = [this](const polycache::Warning& warning) { count(warning); },
            .linked_plugins = {&polycache::locmem::plugin, &polycache::sqlite::plugin,
                               &polycache::memcached::plugin, &polycache::redis::plugin,
                               &polycache::testing::chaos_layer}});
  }

  bool run() {
    memory_at_start_ = resident_kib();
    std::vector<std::thread> threads;
    for (int t = 0; t < settings_.threads; ++t) threads.emplace_back([this, t] { work(t); });
    const auto begin = Clock::now();
    const auto end = begin + std::chrono::seconds(settings_.seconds);
    auto next_restart = begin + std::chrono::seconds(settings_.restart_every);
    const auto warm = begin + (end - begin) / 4;  // until every table has its size
    while (Clock::now() < end) {
      std::this_thread::sleep_for(50ms);
      if (memory_when_warm_ == 0 && Clock::now() >= warm) memory_when_warm_ = resident_kib();
      if (settings_.restart_every > 0 && Clock::now() >= next_restart) {
        restart_one();
        next_restart = Clock::now() + std::chrono::seconds(settings_.restart_every);
      }
    }
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    memory_at_end_ = resident_kib();
    return report();
  }

 private:
  void work(int number) {
    std::vector<std::unique_ptr<Worker>> workers;
    std::uint64_t seed = settings_.seed * 1000 + static_cast<std::uint64_t>(number);
    for (const auto& store : stores_) {
      workers.push_back(
          std::make_unique<Worker>(*store, (*registry_)[store->alias], number, seed++));
    }
    while (!stop_) {
      for (const auto& worker : workers) worker->step();
    }
  }

  // Kills one server, starts it again, and waits until an operation succeeds.
  void restart_one() {
    for (std::size_t tried = 0; tried < stores_.size(); ++tried) {
      Store& store = *stores_[next_++ % stores_.size()];
      if (!store.server) continue;
      store.server->kill9();
      std::this_thread::sleep_for(std::chrono::milliseconds(100 + 300 * (store.restarts % 8)));
      store.server->start();
      ++store.restarts;
      const std::int64_t back = microseconds_now();
      const auto patience = Clock::now() + 40s;
      while (store.tally.last_success_us < back && Clock::now() < patience) {
        std::this_thread::sleep_for(1ms);
      }
      if (store.tally.last_success_us < back) {
        store.tally.complain("it did not come back within 40 s");
      } else {
        store.recoveries.push_back(
            std::chrono::milliseconds((store.tally.last_success_us - back) / 1000));
      }
      return;
    }
  }

  void count(const polycache::Warning& warning) {
    const std::lock_guard lock(mutex_);
    ++warnings_[std::string(polycache::to_string(warning.kind))];
  }

  bool report() {
    bool good = true;
    std::cout << settings_.threads << " threads, " << settings_.seconds << " s, a restart every "
              << settings_.restart_every << " s, chaos " << settings_.chaos << ", seed "
              << settings_.seed << "\n\n";
    std::cout << "store        operations       hits     misses  wrong  longest  too long  restarts"
                 "  back after (median, most)\n";
    for (const auto& store : stores_) good &= report(*store);
    std::cout << "\nwarnings:";
    for (const auto& [kind, times] : warnings_) std::cout << ' ' << kind << ' ' << times;
    const bool grew = memory_at_end_ > memory_when_warm_ + memory_when_warm_ / 10 + 8 * 1024;
    std::cout << "\nmemory: " << memory_at_start_ / 1024 << " MiB at the start, "
              << memory_when_warm_ / 1024 << " MiB after a quarter of the time, "
              << memory_at_end_ / 1024 << " MiB at the end" << (grew ? ": it GREW" : "") << '\n'
              << (good && !grew ? "all is well\n" : "NOT well\n");
    return good && !grew;
  }

  static bool report(Store& store) {
    Tally& tally = store.tally;
    std::cout << std::left << std::setw(11) << store.alias << std::right << std::setw(12)
              << tally.operations << std::setw(11) << tally.hits << std::setw(11) << tally.misses
              << std::setw(7) << tally.wrong << std::setw(6) << tally.longest_us / 1000 << " ms"
              << std::setw(10) << tally.too_long << std::setw(10) << store.restarts;
    if (!store.recoveries.empty()) {
      std::sort(store.recoveries.begin(), store.recoveries.end());
      std::cout << "  " << store.recoveries[store.recoveries.size() / 2].count() << " ms, "
                << store.recoveries.back().count() << " ms";
    }
    std::cout << "\n  errors:";
    for (std::size_t kind = 0; kind < tally.errors.size(); ++kind) {
      if (tally.errors.at(kind) == 0) continue;
      std::cout << ' ' << to_string(static_cast<BackendError::Kind>(kind)) << ' '
                << tally.errors.at(kind);
    }
    std::cout << '\n';
    for (const std::string& example : tally.examples) std::cout << "  WRONG: " << example << '\n';
    return tally.wrong == 0 && tally.too_long == 0;
  }

  const Settings settings_;
  TemporaryFolder folder_;
  std::vector<std::unique_ptr<Store>> stores_;
  std::optional<CacheRegistry> registry_;
  std::atomic<bool> stop_{false};
  std::size_t next_ = 0;
  long memory_at_start_ = 0;
  long memory_when_warm_ = 0;
  long memory_at_end_ = 0;
  std::mutex mutex_;
  std::map<std::string, std::uint64_t> warnings_;
};

Settings read_arguments(int argc, char** argv) {
  namespace po = boost::program_options;
  Settings settings;
  std::string stores;
  po::options_description options("soak: all stores under load while their servers die");
  options.add_options()("help", "this text")(
      "seconds", po::value(&settings.seconds)->default_value(settings.seconds), "how long")(
      "threads", po::value(&settings.threads)->default_value(settings.threads), "how many")(
      "restart-every", po::value(&settings.restart_every)->default_value(settings.restart_every),
      "seconds between restarts of a server; 0: none")(
      "chaos", po::value(&settings.chaos)->default_value(settings.chaos),
      "how likely an operation fails, fails after it was done, or is delayed, each; 0: no layer")(
      "seed", po::value(&settings.seed)->default_value(settings.seed), "of all that is drawn")(
      "stores", po::value(&stores)->default_value("locmem,sqlite,memcached,redis"), "which");
  po::variables_map given;
  po::store(po::parse_command_line(argc, argv, options), given);
  po::notify(given);
  if (given.contains("help")) {
    std::cout << options;
    std::exit(0);
  }
  std::istringstream words(stores);
  for (std::string word; std::getline(words, word, ',');) settings.stores.push_back(word);
  if (settings.seconds < 1 || settings.threads < 1 || settings.restart_every < 0) {
    throw std::runtime_error("seconds and threads are at least 1, restart-every is at least 0");
  }
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Soak(read_arguments(argc, argv)).run() ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "soak: " << error.what() << '\n';
    return 2;
  }
}
