// What the tests of network stores have in common: one store under two aliases, one that goes
// on without it and one that throws, and ways to look at what an operation does.

#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/error.h"
#include "polycache/registry.h"

namespace polycache::testing {

// Within this time everything must be well again, on a machine that has other things to do.
constexpr std::chrono::seconds healed_within{60};

inline std::optional<BackendError> failure_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const BackendError& error) {
    return error;
  }
  return std::nullopt;
}

inline std::optional<BackendError::Kind> kind_of_failure(const std::function<void()>& operation) {
  const auto error = failure_of(operation);
  return error ? std::optional(error->kind()) : std::nullopt;
}

inline std::chrono::milliseconds time_of(const std::function<void()>& operation) {
  const auto begin = std::chrono::steady_clock::now();
  operation();
  return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
}

// Whether the condition holds within healed_within.
template <class Condition>
bool soon(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + healed_within;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// One store, under two aliases that share no connection: "open" goes on without it, "strict"
// throws. Warnings may be read from any thread.
class TwoPolicies {
 public:
  // `timeout` is the option of that name where `options` say nothing.
  TwoPolicies(const PluginDescriptor& plugin, std::vector<std::string> location, OptionMap options,
              std::string timeout, const Clock& clock)
      : registry_(config(plugin, std::move(location), std::move(options), std::move(timeout)),
                  environment(plugin, clock)) {}

  Cache& open() { return registry_["open"]; }
  Cache& strict() { return registry_["strict"]; }
  CacheHealth health(std::string_view alias) const {
    for (CacheHealth& health : registry_.health()) {
      if (health.alias == alias) return std::move(health);
    }
    throw std::logic_error("no such alias");
  }
  std::vector<std::string> warnings(Warning::Kind kind) {
    const std::lock_guard lock(heard_->mutex);
    std::vector<std::string> messages;
    for (const auto& [of_kind, message] : heard_->warnings) {
      if (of_kind == kind) messages.push_back(message);
    }
    return messages;
  }

 private:
  struct Heard {
    std::mutex mutex;
    std::vector<std::pair<Warning::Kind, std::string>> warnings;
  };

  static Config config(const PluginDescriptor& plugin, std::vector<std::string> location,
                       OptionMap options, std::string timeout) {
    options.try_emplace("timeout", std::move(timeout));
    const CacheConfig open{.backend = plugin.name, .location = location, .options = options};
    const CacheConfig strict{
        .backend = plugin.name,
        .location = std::move(location),
        .on_error = {.read = ErrorPolicy::throw_error, .write = ErrorPolicy::throw_error},
        .options = std::move(options)};
    return {.caches = {{"open", open}, {"strict", strict}}};
  }

  Environment environment(const PluginDescriptor& plugin, const Clock& clock) {
    return {.clock = &clock,
            .on_warning =
                [heard = heard_](const Warning& warning) {
                  const std::lock_guard lock(heard->mutex);
                  heard->warnings.emplace_back(warning.kind, std::string(warning.message));
                },
            .linked_plugins = {&plugin}};
  }

  std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  CacheRegistry registry_;
};

}  // namespace polycache::testing
