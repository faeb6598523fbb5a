// Saving a large locmem store: how long a dump takes, against a plain write and fsync of the same
// bytes, and how long it holds up the operations of another thread.
//
//   locmem_persist [--quick] [--only TEXT] [--rows FILE] [FOLDER]
//
// A million entries of 100 bytes (with --quick a hundred thousand), in the folder given or in a
// temporary one. Saves and plain writes take turns. Meanwhile another thread reads and writes
// entries at random, and notes how long its slowest operation takes: during the saves, and during
// the plain writes, when only the scheduler and the disk can hold it up.
//
// Goal: W1, a save takes at most three times a plain write.

#include <fcntl.h>
#include <polycache/author/backend.h>
#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "duel.h"
#include "support/server.h"

namespace {

using polycache::Cache;

constexpr std::size_t keys_of_run = 1'000'000;
constexpr std::size_t keys_of_quick_run = 100'000;
constexpr std::size_t rounds = 7;
constexpr std::size_t written_at_once = std::size_t{1} << 20U;

double milliseconds_of(const auto& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin)
      .count();
}

std::string key(std::size_t i) { return "user:profile:" + std::to_string(i); }

void fill(Cache& cache, std::size_t count) {
  constexpr std::size_t batch = 1000;
  const std::string value(100, 'v');
  std::vector<std::pair<std::string, std::string>> items;
  for (std::size_t i = 0; i < count; ++i) {
    items.emplace_back(key(i), value);
    if (items.size() == batch || i + 1 == count) {
      duel::expect(cache.set_many(items).empty());
      items.clear();
    }
  }
}

void write_plainly(const std::string& file, const std::string& bytes) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  duel::expect(descriptor >= 0);
  for (std::size_t at = 0; at < bytes.size(); at += written_at_once) {
    const std::size_t size = std::min(written_at_once, bytes.size() - at);
    duel::expect(::write(descriptor, bytes.data() + at, size) == static_cast<ssize_t>(size));
  }
  duel::expect(::fsync(descriptor) == 0);
  ::close(descriptor);
}

// The slowest operation of a thread, in microseconds, by what the main thread does meanwhile.
enum class Meanwhile : unsigned char { nothing, save, plain_write };

class Watcher {
 public:
  explicit Watcher(std::size_t keys) : thread_([this, keys] { watch(keys); }) {}
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() {
    stop_ = true;
    thread_.join();
  }
  void now(Meanwhile meanwhile) noexcept { meanwhile_ = meanwhile; }
  double slowest(Meanwhile during) const noexcept {
    return slowest_[static_cast<std::size_t>(during)];
  }

 private:
  void watch(std::size_t keys) {
    Cache& cache = polycache::caches["default"];
    const std::string value(100, 'w');
    std::size_t i = 0;
    while (!stop_) {
      i = (i * 6364136223846793005U + 1442695040888963407U) % keys;
      const std::string name = key(i);
      const Meanwhile during = meanwhile_;
      const double took = 1000 * milliseconds_of([&] {
                            if (i % 4 == 0) {
                              cache.set(name, value);
                            } else {
                              duel::keep(cache.contains(name));
                            }
                          });
      auto& slowest = slowest_[static_cast<std::size_t>(during)];
      if (during == meanwhile_ && took > slowest) slowest = took;
    }
  }

  std::atomic<bool> stop_{false};
  std::atomic<Meanwhile> meanwhile_{Meanwhile::nothing};
  std::atomic<double> slowest_[3] = {0, 0, 0};
  std::thread thread_;
};

double median(std::vector<double> numbers) {
  std::sort(numbers.begin(), numbers.end());
  return numbers[numbers.size() / 2];
}

void measure(duel::Table& table, std::size_t keys, const std::filesystem::path& folder) {
  Cache& cache = polycache::caches["default"];
  fill(cache, keys);
  const auto save = [&] { duel::expect(cache.maintenance().save() >= keys); };
  save();
  const std::string bytes(std::filesystem::file_size(folder / "dump"), 'b');
  const std::string plain_file = (folder / "plain").string();
  std::vector<double> saves;
  std::vector<double> plain_writes;
  std::vector<double> ratios;
  Watcher watcher(keys);
  for (std::size_t round = 0; round < rounds; ++round) {
    watcher.now(Meanwhile::save);
    saves.push_back(milliseconds_of(save));
    watcher.now(Meanwhile::plain_write);
    plain_writes.push_back(milliseconds_of([&] { write_plainly(plain_file, bytes); }));
    watcher.now(Meanwhile::nothing);
    ratios.push_back(saves.back() / plain_writes.back());
  }
  table.add_figure("save", "ms", median(saves), median(plain_writes));
  table.add_figure("save, times a plain write", "", median(ratios), {}, duel::at_most("W1", 3));
  table.add_figure("slowest operation meanwhile", "us", watcher.slowest(Meanwhile::save),
                   watcher.slowest(Meanwhile::plain_write));
}

}  // namespace

int main(int argc, char** argv) {
  return duel::run("locmem_persist", argc, argv, [](const duel::Options& options) {
    const std::size_t keys = options.quick ? keys_of_quick_run : keys_of_run;
    const polycache::testing::TemporaryFolder temporary;
    const std::filesystem::path folder =
        options.rest.empty() ? temporary.path() : std::filesystem::path(options.rest.front());
    polycache::Config config;
    config.caches["default"] = {.backend = "locmem",
                                .timeout = polycache::never,
                                .options = {{"max_bytes", std::string("1GiB")},
                                            {"persist", (folder / "dump").string()},
                                            {"persist_interval", std::int64_t{0}}}};
    polycache::configure(std::move(config),
                         {.on_warning = {}, .linked_plugins = {&polycache::locmem::plugin}});
    duel::Table table(
        options, {.title = "saving " + std::to_string(keys) + " entries", .theirs = "plain write"});
    measure(table, keys, folder);
    return table.met();
  });
}
