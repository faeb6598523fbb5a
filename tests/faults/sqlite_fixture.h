// What the tests of SQLite under stress have in common: a folder, a file of ours in it, caches
// on it, and a look at the file from outside.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/sqlite.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/sqlite_file.h"

namespace polycache::testing {

// Closes what the thread that ends it has open, which would else be when the thread ends.
class ClosingRegistry : public CacheRegistry {
 public:
  using CacheRegistry::CacheRegistry;
  ~ClosingRegistry() { close_all(); }
};

// One file, and caches of all kinds on it.
class SqliteFixture : public ::testing::Test {
 protected:
  static constexpr std::chrono::seconds service_within{10};

  std::string path(const char* tail = "") const { return folder_.file("cache.db") + tail; }

  std::unique_ptr<BackendFactory> make(OptionMap options = {}) {
    return make_factory(sqlite::plugin, context_, {{path()}, std::move(options)});
  }

  // A registry with the alias "c" on the file, which counts its warnings in warned().
  std::unique_ptr<ClosingRegistry> make_registry(OptionMap options = {}, OnError on_error = {}) {
    Config config;
    config.caches["c"] = {.backend = "sqlite",
                          .location = {path()},
                          .timeout = never,
                          .on_error = on_error,
                          .options = std::move(options)};
    Environment environment;
    environment.clock = &clock_;
    environment.linked_plugins = {&sqlite::plugin};
    environment.on_warning = [this](const Warning& warning) {
      const std::lock_guard lock(mutex_);
      warned_.emplace_back(warning.kind, warning.message);
    };
    return std::make_unique<ClosingRegistry>(std::move(config), std::move(environment));
  }

  std::vector<std::pair<Warning::Kind, std::string>> warned() const {
    const std::lock_guard lock(mutex_);
    return warned_;
  }
  bool was_warned(Warning::Kind kind, std::string_view text = {}) const {
    for (const auto& [of, message] : warned()) {
      if (of == kind && message.find(text) != std::string::npos) return true;
    }
    return false;
  }

  // Whether the cache stores and finds again before long. Time passes for the cache as well,
  // so that it looks at its file, and tries again what it had given up for a while.
  bool serves(Cache& cache) {
    const auto deadline = std::chrono::steady_clock::now() + service_within;
    do {
      clock_.advance(std::chrono::milliseconds(200));
      if (cache.set("service", "yes") && cache.get("service") == "yes") return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    } while (std::chrono::steady_clock::now() < deadline);
    return false;
  }

  std::vector<std::string> moved_aside() const {
    std::vector<std::string> moved;
    for (const std::string& name : folder_.names()) {
      const bool database = !name.ends_with("-wal") && !name.ends_with("-shm");
      if (database && name.find(".damaged-") != std::string::npos) moved.push_back(name);
    }
    return moved;
  }

  // Spoils every page but the first, where our mark is.
  void damage() {
    std::string bytes = read_file(path());
    ASSERT_GT(bytes.size(), 8192U);
    std::fill(bytes.begin() + 4096, bytes.end(), '\x5a');
    write_file(path(), bytes);
  }

  std::string check_integrity() const { return Database(path()).text("PRAGMA integrity_check"); }

  SqliteFolder folder_;
  ManualClock clock_;
  TestContext context_{clock_};

 private:
  mutable std::mutex mutex_;  // guards what follows
  std::vector<std::pair<Warning::Kind, std::string>> warned_;
};

}  // namespace polycache::testing
