// Loaders on stores with a clock and an executor that the test moves.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/loaders.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/manual_executor.h"
#include "polycache/testing/memory_store.h"
#include "support/message_of.h"

namespace polycache {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using namespace std::chrono_literals;

class LoadersTest : public ::testing::Test {
 protected:
  // "shared" is used by several processes, which registries stand for.
  Config config() {
    Config config;
    config.caches["default"] = {.backend = "locmem", .location = {"loaders"}};
    config.caches["shared"] = {.backend = "memory"};
    config.caches["failing"] = {
        .backend = "locmem", .layers = {{.name = "chaos", .options = {{"fail", std::int64_t{1}}}}}};
    config.plugin_path = {FUNCTION_LIBRARIES};
    config.allow_writable_plugins = true;
    return config;
  }
  Environment environment() {
    return {.clock = &clock_,
            .on_warning =
                [this](const Warning& warning) {
                  const std::lock_guard lock(mutex_);
                  warnings_.emplace_back(warning.message);
                },
            .executor = executor_,
            .linked_plugins = {&locmem::plugin, &testing::memory_store, &testing::chaos_layer}};
  }
  void SetUp() override {
    for (const char* const alias : {"default", "shared"}) registry_[alias].clear();
  }
  std::vector<std::string> take_warnings() {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }
  // A getter that counts.
  auto area() {
    return [this](std::int64_t width, std::int64_t height) {
      ++computed_;
      return width * height;
    };
  }

  testing::ManualClock clock_;
  std::shared_ptr<testing::ManualExecutor> executor_ = std::make_shared<testing::ManualExecutor>();
  std::mutex mutex_;
  std::vector<std::string> warnings_;
  CacheRegistry registry_{config(), environment()};
  Loaders loaders_{registry_};
  std::atomic<int> computed_{0};
};

}  // namespace polycache
