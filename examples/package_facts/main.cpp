// What does each package on this machine need, and which packages need it? Each answer takes a
// walk through the package database; this program keeps the answers in a cache and measures the
// gain, on every store that a configuration names:
//
//   package_facts --cache-config examples/caches.json --all
//   package_facts --cache-config examples/caches.json sqlite
//
// The exit status is 0 on success, and 1 on failure: a named alias does not work (with --all: no
// alias works), or a cache returned other facts than those stored.

#include <polycache/codec_binary.h>
#include <polycache/polycache.h>

#include <chrono>
#include <exception>
#include <filesystem>
#include <iomanip>
#include <iostream>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "arguments.h"
#include "facts.h"
#include "package_database.h"
#include "report.h"

// This line makes the struct cacheable.
template <>
struct polycache::Codec<package_facts::Facts> : polycache::BinaryCodec<package_facts::Facts> {};

namespace package_facts {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// No other run uses the same keys, so that the first pass meets an empty cache.
std::string make_run_name() {
  std::random_device random;
  std::ostringstream name;
  name << std::hex << std::setfill('0') << std::setw(8) << random() << std::setw(8) << random();
  return name.str();
}

struct Job {
  const PackageDatabase& database;
  std::vector<std::string> keys = {};  // one for each package
  std::vector<Facts> expected = {};    // computed without a cache
  Duration without_cache{};
};

Job make_job(const PackageDatabase& database) {
  Job job{.database = database};
  const std::string run = make_run_name();
  Progress progress("without a cache", database.packages().size());
  const auto start = steady_clock::now();
  for (const Package& package : database.packages()) {
    job.expected.push_back(find_facts(database, package));
    progress.show(job.expected.size());
  }
  job.without_cache = steady_clock::now() - start;
  for (const Package& package : database.packages())
    job.keys.push_back(polycache::key("package_facts", run, database.id(package)));
  return job;
}

class WrongFacts : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct Pass {
  Duration time{};
  std::size_t hits = 0;
  std::size_t misses = 0;
};

Pass run_pass(const Job& job, polycache::Cache& cache, const std::string& label) {
  const auto& packages = job.database.packages();
  Pass pass;
  std::vector<Facts> results;
  results.reserve(packages.size());
  Progress progress(label, packages.size());
  const auto start = steady_clock::now();
  for (std::size_t i = 0; i < packages.size(); ++i) {
    const auto compute = [&] {
      ++pass.misses;
      return find_facts(job.database, packages[i]);
    };
    results.push_back(cache.get_or_set(job.keys[i], compute, 10min));
    progress.show(i);
  }
  pass.time = steady_clock::now() - start;
  pass.hits = packages.size() - pass.misses;
  if (results != job.expected) throw WrongFacts("it gave back other facts than it was given");
  return pass;
}

Row measure(const Job& job, polycache::CacheRegistry& registry, const std::string& alias) {
  auto& cache = registry[alias];
  // Reads may continue without their store, depending on the configuration; erase() throws if the
  // store is down. It also opens the connection, which is not part of the measurement.
  cache.erase(job.keys.front());
  const Pass cold = run_pass(job, cache, alias + ", cold");
  const Pass warm = run_pass(job, cache, alias + ", warm");
  cache.erase_many(job.keys);
  return {.store = alias,
          .cold = cold.time,
          .warm = warm.time,
          .hits = cold.hits + warm.hits,
          .misses = cold.misses + warm.misses};
}

// The reason why an alias has no row, beginning with its name.
std::string explain(const std::string& alias, const std::exception& error) {
  const auto* failure = dynamic_cast<const polycache::BackendError*>(&error);
  const bool absent =
      failure != nullptr && failure->kind() == polycache::BackendError::Kind::unreachable;
  return alias + (absent ? ": not reachable: " : ": ") + error.what();
}

int compare_stores(const Arguments& arguments, const PackageDatabase& database,
                   polycache::CacheRegistry& registry) {
  const Job job = make_job(database);
  std::vector<Row> rows;
  bool wrong = false;
  for (const std::string& alias : arguments.aliases) {
    try {
      rows.push_back(measure(job, registry, alias));
    } catch (const WrongFacts& error) {
      wrong = true;
      std::cerr << alias << ": " << error.what() << '\n';
    } catch (const polycache::CacheError& error) {
      wrong = wrong || !arguments.all;
      std::cerr << explain(alias, error) << '\n';
    }
  }
  std::cout << "facts of " << database.packages().size() << " installed packages, from "
            << arguments.database.string() << '\n';
  print_table(std::cout, job.without_cache, rows);
  return wrong || rows.empty() ? 1 : 0;
}

int show_package(const Arguments& arguments, const PackageDatabase& database,
                 polycache::CacheRegistry& registry) {
  const Package* const package = database.find_by_id(arguments.show);
  if (package == nullptr)
    throw std::runtime_error("no package \"" + arguments.show + "\" is installed");
  // When the database changes, so does the key: no entry describes an older one.
  const auto changed = std::filesystem::last_write_time(arguments.database).time_since_epoch();
  const std::string key =
      polycache::key("package_facts", arguments.database.string(), changed.count(), arguments.show);
  const Facts facts = registry[arguments.aliases.front()].get_or_set(
      key, [&] { return find_facts(database, *package); });
  print_facts(std::cout, arguments.show, facts);
  return 0;
}

int run(const Arguments& arguments) {
  const auto database = PackageDatabase::from_file(arguments.database);
  // If a plugin was not built, only its alias fails.
  polycache::CacheRegistry registry(arguments.config, {.defer_errors = true});
  return arguments.show.empty() ? compare_stores(arguments, database, registry)
                                : show_package(arguments, database, registry);
}

}  // namespace
}  // namespace package_facts

int main(int argc, char** argv) {
  try {
    const auto arguments = package_facts::read_arguments(argc, argv, std::cout);
    return arguments ? package_facts::run(*arguments) : 0;
  } catch (const std::exception& error) {
    std::cerr << "package_facts: " << error.what() << '\n';
    return 1;
  }
}
