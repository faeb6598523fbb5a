// Configurations that cannot work, or not as they were meant, as far as that can be known without
// a server.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/registry.h"

namespace polycache {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Environment environment(std::vector<std::string>* warnings = nullptr) {
  return {
      .on_warning =
          [warnings](const Warning& warning) {
            if (warnings == nullptr) return;
            warnings->push_back(std::string(warning.alias) + ": " + std::string(warning.message));
          },
      .linked_plugins = {&locmem::plugin, &memcached::plugin, &redis::plugin, &sqlite::plugin}};
}

std::string problem_of(CacheConfig cache) {
  try {
    const CacheRegistry registry(Config{.caches = {{"a", std::move(cache)}}}, environment());
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "none";
}

struct Case {
  CacheConfig cache;
  std::string problem;
};

TEST(RefusedConfig, WhatCannotWorkIsRefusedAtStart) {
  const std::string long_socket = "/" + std::string(107, 's');
  const std::vector<Case> cases{
      {{.backend = "locmem", .options = {{"max_bytes", std::int64_t{0}}}}, "options.max_bytes"},
      {{.backend = "locmem", .options = {{"max_entries", std::int64_t{0}}}}, "options.max_entries"},
      {{.backend = "locmem", .options = {{"cull_frequency", std::int64_t{3}}}}, "policy"},
      {{.backend = "locmem", .location = {"a", "b"}}, "one location"},
      {{.backend = "locmem", .timeout = std::chrono::seconds(-1)}, "must not be negative"},
      {{.backend = "memcached", .location = {"h:1", "h:1"}}, "h:1 is listed twice"},
      {{.backend = "memcached", .location = {"h:1", "h:1?weight=3"}}, "h:1 is listed twice"},
      {{.backend = "memcached", .location = {"h", "h:11211"}}, "h:11211 is listed twice"},
      {{.backend = "memcached", .location = {"h:1?weight=0"}}, "weight"},
      {{.backend = "memcached", .location = {"h:1?weight=-1"}}, "weight"},
      {{.backend = "memcached", .location = {"h:1/1"}}, "expected \"host:port\""},
      {{.backend = "memcached", .location = {"h:70000"}}, "expected \"host:port\""},
      {{.backend = "memcached", .location = {long_socket}}, "107 bytes"},
      {{.backend = "memcached", .options = {{"database", std::int64_t{1}}}}, "unknown option"},
      {{.backend = "memcached", .options = {{"timeout", std::string("0s")}}}, "options.timeout"},
      {{.backend = "memcached",
        .location = {"/run/m.sock"},
        .options = {{"protocol", std::string("binary")},
                    {"user", std::string("u")},
                    {"password", std::string("p")}}},
       "TCP only"},
      {{.backend = "memcached", .key_prefix = "a b"}, "key_prefix"},
      {{.backend = "memcached", .key_prefix = std::string(260, 'p')}, "no room for a key"},
      {{.backend = "redis", .location = {}}, "expected a server"},
      {{.backend = "redis", .location = {"h", "h:6379"}}, "h:6379 is listed twice"},
      {{.backend = "redis", .location = {"redis://h/1", "redis://i/2"}}, "different databases"},
      {{.backend = "redis", .location = {long_socket}}, "107 bytes"},
      {{.backend = "redis", .location = {"h:0"}}, "a port from 1"},
      {{.backend = "redis", .location = {"h"}, .options = {{"max_connections", std::int64_t{0}}}},
       "options.max_connections"},
      {{.backend = "redis",
        .location = {"h"},
        .options = {{"timeout", std::string("1s")}, {"connect_timeout", std::string("2s")}}},
       "options.connect_timeout"},
      {{.backend = "sqlite", .location = {"/no/such/folder/a.db"}}, "does not exist"},
      {{.backend = "sqlite", .location = {"/tmp"}}, "is a folder"},
      {{.backend = "sqlite",
        .location = {":memory:"},
        .options = {{"max_entries", std::int64_t{0}}}},
       "options.max_entries"},
      {{.backend = "locmem", .layers = {{.name = "no_such_layer"}}}, "no_such_layer"},
      {{.backend = "./no_such_plugin.so"}, "no_such_plugin.so"},
      {{.backend = "locmem", .key_function = "no_such_function"}, "no_such_function"},
  };
  for (const Case& wrong : cases) {
    EXPECT_THAT(problem_of(wrong.cache), AllOf(HasSubstr("caches.a"), HasSubstr(wrong.problem)))
        << wrong.cache.backend;
  }
}

TEST(RefusedConfig, AnSqliteFileInAFolderThatCannotBeWrittenToIsRefused) {
  std::string name = ::testing::TempDir() + "polycache-refused-XXXXXX";
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const CacheConfig cache{.backend = "sqlite", .location = {name + "/a.db"}};
  EXPECT_EQ(problem_of(cache), "none");
  std::filesystem::permissions(name, std::filesystem::perms(0555));
  const bool is_root = ::geteuid() == 0;  // who may write everywhere
  ASSERT_EQ(::seteuid(is_root ? 65534 : ::geteuid()), 0);
  const std::string problem = problem_of(cache);
  ASSERT_EQ(::seteuid(is_root ? 0 : ::geteuid()), 0);
  std::filesystem::remove_all(name);
  EXPECT_THAT(problem, HasSubstr("is not writable"));
}

TEST(RefusedConfig, ClearingAPrefixThatAnotherOneBeginsWithIsWarnedOf) {
  const auto warnings = [](const std::string& prefix, const std::string& location,
                           ClearScope clear = ClearScope::prefix) {
    std::vector<std::string> heard;
    const Config config{
        .caches = {{"shop",
                    {.backend = "locmem", .location = {"s"}, .key_prefix = "shop", .clear = clear}},
                   {"inner", {.backend = "locmem", .location = {location}, .key_prefix = prefix}}}};
    const CacheRegistry registry(config, environment(&heard));
    return heard;
  };
  EXPECT_THAT(
      warnings("shop:eu", "s"),
      ElementsAre(AllOf(HasSubstr("shop: clear() removes every key that begins with \"shop:\""),
                        HasSubstr("\"inner\" (prefix \"shop:eu\")"))));
  EXPECT_THAT(warnings("shop", "s"), IsEmpty()) << "they share their entries";
  EXPECT_THAT(warnings("shops", "s"), IsEmpty());
  EXPECT_THAT(warnings("eu:shop", "s"), IsEmpty());
  EXPECT_THAT(warnings("shop:eu", "another"), IsEmpty());
  EXPECT_THAT(warnings("shop:eu", "s", ClearScope::store), IsEmpty());
}

}  // namespace
}  // namespace polycache
