// Limits that make no sense, of every store: zero, negative, beyond what can be counted, or a
// part that is larger than the whole.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/registry.h"

namespace polycache {
namespace {

using ::testing::HasSubstr;

struct Limit {
  std::string backend;
  std::string option;
  std::vector<OptionValue> wrong;
  OptionMap others = {};  // that go with it
};

const OptionValue zero = std::int64_t{0};
const OptionValue negative = std::int64_t{-1};
const OptionValue no_time = std::string("0s");
const OptionValue negative_time = std::string("-1s");
const OptionValue for_ever = std::string("100000d");  // 273 years, beyond nanoseconds in 64 bits
const OptionValue huge = std::string("8000000GiB");

std::vector<Limit> limits() {
  std::vector<Limit> limits{
      {"locmem", "max_bytes", {zero, negative}},
      {"locmem", "max_entries", {zero, negative}},
      {"locmem", "cull_frequency", {negative}, {{"policy", std::string("django")}}},
      {"sqlite", "max_entries", {zero, negative}},
      {"sqlite", "size_limit", {zero, negative}},
      {"sqlite", "cull_limit", {negative}},
      {"sqlite", "busy_timeout", {zero, negative, no_time, negative_time, for_ever}},
      {"sqlite", "page_cache", {zero, negative, huge}},
      {"sqlite", "wal_autocheckpoint", {zero, negative}},
      {"sqlite", "max_value_bytes", {zero, negative, huge}},
  };
  for (const std::string backend : {"memcached", "redis"}) {
    for (const std::string option : {"timeout", "connect_timeout", "idle_timeout"}) {
      limits.push_back({backend, option, {zero, negative, no_time, negative_time, for_ever}});
    }
    limits.push_back({backend, "max_connections", {zero, negative, std::int64_t{1'000'000'000}}});
    limits.push_back({backend, "max_value_bytes", {zero, negative}});
    limits.push_back({backend, "connect_timeout", {std::string("2s")}});  // than 1 s, the default
    limits.push_back({backend,
                      "connect_timeout",
                      {std::string("2s"), std::int64_t{2}},
                      {{"timeout", std::string("1500ms")}}});
  }
  return limits;
}

// What a registry with that alias says, or nothing.
std::string problem_of(const std::string& backend, OptionMap options) {
  CacheConfig shop{.backend = backend, .options = std::move(options)};
  if (backend == "sqlite") shop.location = {":memory:limits"};
  if (backend == "redis") shop.location = {"127.0.0.1:6379"};
  try {
    const CacheRegistry registry(
        {.caches = {{"shop", std::move(shop)}}},
        {.linked_plugins = {&locmem::plugin, &sqlite::plugin, &memcached::plugin, &redis::plugin}});
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Limits, ThatMakeNoSenseAreErrorsThatNameAliasAndOption) {
  for (const Limit& limit : limits()) {
    EXPECT_EQ(problem_of(limit.backend, limit.others), "");
    for (const OptionValue& value : limit.wrong) {
      OptionMap options = limit.others;
      options[limit.option] = value;
      EXPECT_THAT(problem_of(limit.backend, std::move(options)),
                  HasSubstr("caches.shop.options." + limit.option + ": "))
          << limit.backend;
    }
  }
}

TEST(Limits, AreAllReportedAtOnce) {
  const std::string problem = problem_of(
      "redis", {{"timeout", no_time}, {"idle_timeout", negative}, {"max_connections", zero}});
  for (const std::string option : {"timeout", "idle_timeout", "max_connections"}) {
    EXPECT_THAT(problem, HasSubstr("caches.shop.options." + option + ": "));
  }
}

TEST(Limits, OfTheAliasItselfAreNoExceptions) {
  for (const char* const text :
       {R"({"caches": {"shop": {"backend": "locmem", "timeout": -1}}})",
        R"({"caches": {"shop": {"backend": "locmem", "timeout": "-5m"}}})",
        R"({"caches": {"shop": {"backend": "locmem", "timeout": -0.5}}})"}) {
    try {
      Config::from_json(text);
      FAIL() << text;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("caches.shop.timeout")) << text;
    }
  }
}

}  // namespace
}  // namespace polycache
