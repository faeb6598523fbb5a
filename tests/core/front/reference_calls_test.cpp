// Every call that users of the caches we learned from write, as C++ spells it. Comments
// give the original.

#include <gtest/gtest.h>

#include <chrono>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;
using polycache::never;

namespace {

class ReferenceCalls : public ::testing::Test {
 protected:
  polycache::testing::ManualClock clock;
  polycache::CacheRegistry registry{
      {.caches = {{"default", {.backend = "locmem", .location = {"reference"}}},
                  {"myalias", {.backend = "locmem", .location = {"my"}}}}},
      {.clock = &clock, .linked_plugins = {&polycache::locmem::plugin}}};
  polycache::Cache& cache = registry["default"];
};

TEST_F(ReferenceCalls, AccessingTheCache) {
  // cache1 = caches['myalias']; cache2 = caches['myalias']; cache1 is cache2
  auto& cache1 = registry["myalias"];
  auto& cache2 = registry["myalias"];
  EXPECT_EQ(&cache1, &cache2);
  // caches['nope']  # raises
  EXPECT_THROW(registry["nope"], polycache::ConfigError);
}

TEST_F(ReferenceCalls, BasicUsage) {
  // cache.set('my_key', 'hello, world!', 30); cache.get('my_key')
  cache.set("my_key", "hello, world!", 30s);
  EXPECT_EQ(cache.get("my_key"), "hello, world!");
  cache.set("my_key", "hello, world!", {.timeout = 30s});
  // Wait 30 seconds for 'my_key' to expire…
  clock.advance(30s);
  EXPECT_EQ(cache.get("my_key"), std::nullopt);
  // cache.get('my_key', 'has expired')
  EXPECT_EQ(cache.get("my_key").value_or("has expired"), "has expired");
  // cache.set('my_key', 'forever', None); cache.set('my_key', 'not at all', 0)
  cache.set("my_key", "forever", never);
  clock.advance(1000h);
  EXPECT_TRUE(cache.contains("my_key"));
  cache.set("my_key", "not at all", 0s);
  EXPECT_FALSE(cache.contains("my_key"));
}

TEST_F(ReferenceCalls, Add) {
  // cache.set('add_key', 'Initial value'); cache.add('add_key', 'New value')
  cache.set("add_key", "Initial value");
  EXPECT_FALSE(cache.add("add_key", "New value"));
  EXPECT_EQ(cache.get("add_key"), "Initial value");
  EXPECT_TRUE(cache.add("new_key", 1, 5min));
}

TEST_F(ReferenceCalls, ManyAtOnce) {
  // cache.set('a', 1) …; cache.get_many(['a', 'b', 'c'])
  cache.set("a", 1);
  cache.set("b", 2);
  cache.set("c", 3);
  const std::map<std::string, int, std::less<>> abc{{"a", 1}, {"b", 2}, {"c", 3}};
  EXPECT_EQ(cache.get_many_map<int>({"a", "b", "c"}), abc);
  // cache.set_many({'a': 1, 'b': 2, 'c': 3})
  EXPECT_TRUE(cache.set_many({{"a", 1}, {"b", 2}, {"c", 3}}).empty());
  EXPECT_TRUE(cache.set_many({{"a", 1}, {"text", "of another type"}}, 5min).empty());
  EXPECT_TRUE(cache.set_many(abc).empty());
  EXPECT_TRUE(cache.set_many(abc, {.timeout = never, .version = 2}).empty());
  EXPECT_TRUE(cache.set_many(std::unordered_map<std::string, double>{{"pi", 3.14}}).empty());
  EXPECT_TRUE(
      cache.set_many(std::vector<std::pair<std::string_view, const char*>>{{"v", "w"}}).empty());
  EXPECT_EQ(cache.get_many(std::vector<std::string>{"a", "nope"})[0], "1");
  EXPECT_EQ(cache.get_many(std::list<const char*>{"a", "nope"})[1], std::nullopt);
  const std::string_view views[] = {"a", "b"};
  EXPECT_EQ(cache.get_many<int>(views).size(), 2U);
  // cache.delete_many(['a', 'b', 'c'])
  EXPECT_EQ(cache.erase_many({"a", "b", "c"}), 3U);
  EXPECT_EQ(cache.erase_many(std::vector<std::string>{"a", "text"}), 1U);
}

TEST_F(ReferenceCalls, DeleteAndClear) {
  cache.set("a", 1);
  // cache.delete('a'); cache.clear(); cache.close()
  EXPECT_TRUE(cache.erase("a"));
  cache.clear();
  cache.close();
}

TEST_F(ReferenceCalls, Counting) {
  // cache.set('num', 1); cache.incr('num'); cache.incr('num', 10); cache.decr('num') …
  cache.set("num", 1);
  EXPECT_EQ(cache.incr("num"), 2);
  EXPECT_EQ(cache.incr("num", 10), 12);
  EXPECT_EQ(cache.decr("num"), 11);
  EXPECT_EQ(cache.decr("num", 5), 6);
  // cache.incr('nope')  # ValueError
  EXPECT_THROW(cache.incr("nope"), polycache::ValueError);
  // cache.incr('views', 1, default=0)
  EXPECT_EQ(cache.incr("views", 1, {.initial = 0}), 1);
}

TEST_F(ReferenceCalls, Versions) {
  // cache.set('my_key', 'hello world!', version=2); cache.get('my_key', version=2)
  cache.set("my_key", "hello world!", {.version = 2});
  EXPECT_EQ(cache.get("my_key"), std::nullopt);
  EXPECT_EQ(cache.get("my_key", {.version = 2}), "hello world!");
  // cache.incr_version('my_key')
  EXPECT_EQ(cache.incr_version("my_key", 1, {.version = 2}), 3);
  EXPECT_EQ(cache.get("my_key", {.version = 2}), std::nullopt);
  EXPECT_EQ(cache.get("my_key", {.version = 3}), "hello world!");
  EXPECT_EQ(cache.decr_version("my_key", 1, {.version = 3}), 2);
  // make_key(key, key_prefix, version)
  EXPECT_EQ(cache.final_key("my_key"), ":1:my_key");
}

TEST_F(ReferenceCalls, KeyFunctions) {
  // KEY_FUNCTION: def make_key(key, key_prefix, version): return ':'.join(…)
  polycache::register_key_function("joined_with_dashes", [](std::string& out, std::string_view key,
                                                            std::string_view prefix, int version) {
    out.append(prefix).append("-");
    out.append(std::to_string(version)).append("-").append(key);
  });
  polycache::CacheRegistry own({.caches = {{"default",
                                            {.backend = "locmem",
                                             .key_prefix = "p",
                                             .key_function = "joined_with_dashes"}}}},
                               {.linked_plugins = {&polycache::locmem::plugin}});
  EXPECT_EQ(own["default"].final_key("k"), "p-1-k");
}

TEST_F(ReferenceCalls, CachedItems) {
  // cached.set(value, expiration=60 | timedelta(hours=1) | datetime(…) | None)
  cache.set("my-cache-key", "a value", 60s);
  cache.set("my-cache-key", "a value", 1h);
  cache.set("my-cache-key", "a value", clock.system_now() + 24h);
  cache.set("my-cache-key", "a value", std::chrono::sys_days(std::chrono::year(2100) / 12 / 31));
  cache.set("my-cache-key", "a value", never);
  // cached.exists(); cached.value; deleted = cached.delete()
  EXPECT_TRUE(cache.contains("my-cache-key"));
  EXPECT_EQ(cache.get("my-cache-key").value(), "a value");
  EXPECT_TRUE(cache.erase("my-cache-key"));
}

TEST_F(ReferenceCalls, DiskCacheCalls) {
  // cache.touch('k', expire=10); cache.pop('k'); cache.set('user_count', 1250, timeout=300)
  cache.set("user_count", 1250, 300s);
  EXPECT_TRUE(cache.touch("user_count"));
  EXPECT_TRUE(cache.touch("user_count", 10s));
  EXPECT_TRUE(cache.touch("user_count", {.timeout = never}));
  EXPECT_EQ(cache.pop<int>("user_count"), 1250);
  EXPECT_TRUE(cache.set("temp", true));
  EXPECT_EQ(cache.get<bool>("temp"), true);
  // file handle = cache.read(key)
  std::size_t size = 0;
  EXPECT_TRUE(cache.visit("temp", [&](std::string_view bytes) { size = bytes.size(); }));
  EXPECT_EQ(size, 1U);
}

TEST_F(ReferenceCalls, GetOrSet) {
  const auto get_all_foo_list = [] { return std::string("foos"); };
  // get_or_set('all_foos', get_all_foo_list, 100000)
  EXPECT_EQ(cache.get_or_set("all_foos", get_all_foo_list, 100000s), "foos");
  EXPECT_EQ(cache.get_or_set("all_foos", "a value"), "foos");
  EXPECT_EQ(cache.get_or_set("n", 5, never), 5);
  EXPECT_EQ(cache.get_or_set<std::int64_t>("n", [] { return 6; }, {.version = 1}), 5);
  EXPECT_EQ(cache.get_or_set("c", [] { return "literal"; }), "literal");
}

TEST_F(ReferenceCalls, KeysOfParts) {
  // 'user:profile:{user_id}'.format(user_id=…)
  EXPECT_EQ(polycache::key("user:profile", 123), "user:profile:123");
  EXPECT_EQ(polycache::key("articles", "news", 2), "articles:news:2");
  cache.set(polycache::key("user:profile", 123), "profile");
  EXPECT_EQ(cache.get(polycache::key("user:profile", 123)), "profile");
}

TEST_F(ReferenceCalls, KeysAreNeitherNullNorZero) {
  static_assert(!std::is_constructible_v<polycache::KeyView, std::nullptr_t>);
  static_assert(!std::is_constructible_v<polycache::KeyView, int>);
  static_assert(std::is_constructible_v<polycache::KeyView, const char*>);
  static_assert(std::is_constructible_v<polycache::KeyView, std::string>);
}

// What set('k', None), get(None) and key('a', None) become when the null is a pointer
// that no caller read.
TEST_F(ReferenceCalls, ANullPointerAsAKeyIsAnInvalidKey) {
  const char* const null = nullptr;
  char* const mutable_null = nullptr;
  using polycache::InvalidKey;
  EXPECT_THROW(cache.set(null, "v"), InvalidKey);
  EXPECT_THROW(cache.get(null), InvalidKey);
  EXPECT_THROW(cache.get(mutable_null), InvalidKey);
  EXPECT_THROW(cache.erase(null), InvalidKey);
  EXPECT_THROW(cache.get_or_set(null, 1), InvalidKey);
  EXPECT_THROW(cache.incr(null), InvalidKey);
  EXPECT_THROW(cache.get_many({"a", null}), InvalidKey);
  EXPECT_THROW(cache.get_many(std::vector<const char*>{"a", null}), InvalidKey);
  EXPECT_THROW(cache.erase_many(std::list<const char*>{null}), InvalidKey);
  EXPECT_THROW(cache.set_many({{"a", 1}, {null, 1}}), InvalidKey);
  EXPECT_THROW(cache.set_many(std::map<const char*, int>{{null, 1}}), InvalidKey);
  EXPECT_THROW(polycache::key(null), InvalidKey);
  EXPECT_THROW(polycache::key("a", null), InvalidKey);
  EXPECT_THROW(polycache::key("a", mutable_null, 1), InvalidKey);
  EXPECT_EQ(cache.get("a"), std::nullopt) << "nothing was stored";
}

TEST_F(ReferenceCalls, ANullPointerAsAValueIsAValueError) {
  const char* const null = nullptr;
  using polycache::ValueError;
  EXPECT_THROW(cache.set("k", null), ValueError);
  EXPECT_THROW(cache.add("k", null), ValueError);
  EXPECT_THROW(cache.set_many({{"a", 1}, {"k", null}}), ValueError);
  EXPECT_THROW(cache.set_many(std::map<std::string, const char*>{{"k", null}}), ValueError);
  EXPECT_THROW(cache.get_or_set("k", null), ValueError);
  EXPECT_THROW(cache.get_or_set("k", [null] { return null; }), ValueError);
  EXPECT_THROW(cache.get_or_set<std::string>("k", [null] { return null; }), ValueError);
  std::string scratch;
  EXPECT_THROW(polycache::encode_value(null, scratch), ValueError);
  EXPECT_EQ(cache.get_many({"a", "k"}), (std::vector<std::optional<std::string>>(2)));
}

TEST_F(ReferenceCalls, ANullPointerAsAnAliasOrAConfigurationIsAConfigError) {
  const char* const null = nullptr;
  using polycache::ConfigError;
  EXPECT_THROW(registry[null], ConfigError);
  EXPECT_THROW(registry.open(null), ConfigError);
  EXPECT_THROW(static_cast<void>(registry.contains(null)), ConfigError);
  EXPECT_THROW(polycache::caches[null], ConfigError);
  EXPECT_THROW(polycache::Config::from_json(null), ConfigError);
  EXPECT_THROW(polycache::Config::from_file(null), ConfigError);
  EXPECT_THROW(polycache::Config().apply(null), ConfigError);
  EXPECT_THROW(polycache::register_key_function(null, polycache::default_key_function),
               ConfigError);
}

// incr('num', 1.9) would have added 1, incr('num', 2**64 - 1) taken 1 off.
TEST_F(ReferenceCalls, WholeNumbersOfEveryWidthThatFitsAreCounted) {
  EXPECT_EQ(cache.incr("n", std::uint8_t{200}, {.initial = 0}), 200);
  EXPECT_EQ(cache.incr("n", short{-1}), 199);
  EXPECT_EQ(cache.incr("n", 4'000'000'000U), 4'000'000'199);
  EXPECT_EQ(cache.decr("n", 4'000'000'000L, {.version = 1, .initial = 7U}), 199);
  static_assert(sizeof(polycache::KeyOptions) == sizeof(std::optional<int>));
  EXPECT_EQ(polycache::ReadOptions{.version = 2U}.version, 2);
  EXPECT_EQ(polycache::ReadOptions().version, std::nullopt);
}

// cache.incr('flag') after cache.set('flag', True), and after cache.set('n', 5.0)
TEST_F(ReferenceCalls, BoolsAndWholeFloatsCountAsTheIntegersTheyAreStoredAs) {
  cache.set("flag", true);
  EXPECT_EQ(cache.incr("flag"), 2);
  cache.set("n", 5.0);
  EXPECT_EQ(cache.incr("n"), 6);
  cache.set("half", 5.5);
  EXPECT_THROW(cache.incr("half"), polycache::ValueError);
}

}  // namespace
