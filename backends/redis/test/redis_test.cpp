#include "polycache/backends/redis.h"

#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "endpoint.h"
#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "polycache/testing/test_context.h"
#include "support/peer.h"
#include "support/server.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::Server;
using Kind = BackendError::Kind;
using Time = std::chrono::steady_clock;

// A factory made of locations and options, with what it reported.
class Store {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {})
      : factory_(context_.make(redis::plugin, {std::move(location), std::move(options)})) {}

  std::unique_ptr<Backend> connect() { return factory_->connect(); }
  std::vector<std::string> warnings() const { return context_.warnings(); }

 private:
  testing::TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
};

template <class Extension>
Extension& extension(Backend& session) {
  return *static_cast<Extension*>(session.extension(Extension::id));
}

std::optional<std::string> get(Backend& session, std::string_view key) {
  std::optional<std::string> value;
  const bool hit = session.get(key, [&](std::string_view bytes) { value = bytes; });
  EXPECT_EQ(hit, value.has_value());
  return value;
}

std::optional<std::string> pop(Backend& session, std::string_view key) {
  std::optional<std::string> value;
  const bool hit =
      extension<PopExtension>(session).pop(key, [&](std::string_view bytes) { value = bytes; });
  EXPECT_EQ(hit, value.has_value());
  return value;
}

std::optional<Ttl> ttl(Backend& session, std::string_view key) {
  std::optional<Ttl> left;
  extension<TtlExtension>(session).get(key, [&](std::string_view, Ttl ttl) { left = ttl; });
  return left;
}

bool set(Backend& session, std::string_view key, std::string_view value, Ttl ttl = Ttl::forever()) {
  return session.put(key, value, ttl, PutMode::always);
}

// What kind of error an operation ends with, and that it ends within the limit.
template <class Operation>
std::optional<Kind> kind_of_error(Operation&& operation, Time::duration limit = 20s) {
  const auto begin = Time::now();
  std::optional<Kind> kind;
  try {
    operation();
  } catch (const BackendError& error) {
    kind = error.kind();
  }
  EXPECT_LT(Time::now() - begin, limit);
  return kind;
}

// After a failure no call reaches the server for a moment.
template <class Operation>
auto once_let_in(Operation&& operation) {
  const auto end = Time::now() + 60s;
  for (;;) {
    try {
      return operation();
    } catch (const BackendError& error) {
      const bool waits =
          std::string_view(error.what()).find("next attempt in") != std::string::npos;
      if (!waits || Time::now() > end) throw;
    }
    std::this_thread::sleep_for(5ms);
  }
}

std::string message_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const CacheError& error) {
    return error.what();
  }
  return "no error";
}

// What is wrong with a configuration.
std::string problem_of(std::vector<std::string> location, OptionMap options = {}) {
  return message_of([&] { Store(std::move(location), std::move(options)); });
}

// Speaks to the server past the store.
std::string command(const Server& server, const std::string& line) {
  const std::string program = "redis-cli -p " + std::to_string(server.port()) + " " + line;
  FILE* const pipe = ::popen(program.c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

class RedisTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server = Server::redis().release(); }
  static void TearDownTestSuite() { delete server; }

  void SetUp() override { session->clear(); }

  static Server* server;
  // Limits are for other tests: this one must not depend on how fast the machine is.
  Store store{{"redis://" + server->address() + "/1"}, {{"timeout", std::string("60s")}}};
  std::unique_ptr<Backend> session = store.connect();
};
Server* RedisTest::server = nullptr;

// One limit is for what the server does, not for what is done with its answers.
TEST_F(RedisTest, ASlowCallerIsNoFailureOfTheServer) {
  Store hurried({"redis://" + server->address() + "/1"}, {{"timeout", std::string("1s")}});
  const auto other = hurried.connect();
  std::vector<std::string> keys;
  for (int i = 0; i < 16; ++i) {
    keys.push_back("key" + std::to_string(i));
    ASSERT_TRUE(set(*other, keys.back(), std::string(200'000, 'v')));
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::size_t found = 0;
  other->get_many(views, [&](std::size_t, std::string_view) {
    ++found;
    std::this_thread::sleep_for(100ms);
  });
  EXPECT_EQ(found, 16U);
  extension<TtlExtension>(*other).get_many(views, [&](std::size_t, std::string_view, Ttl) {
    ++found;
    std::this_thread::sleep_for(100ms);
  });
  EXPECT_EQ(found, 32U);
}

// --- Values and lifetimes ---

TEST_F(RedisTest, KeepsAnyBytes) {
  const std::vector<std::string> values = {"", "v", std::string("a\0\r\n$5\r\n", 8),
                                           std::string(1 << 20, 'x'), std::string(300, '\xff')};
  for (const std::string& value : values) {
    EXPECT_TRUE(set(*session, "key", value));
    EXPECT_EQ(get(*session, "key"), value);
  }
  const std::string odd("k \r\n\0*[", 8);
  EXPECT_TRUE(set(*session, odd, "odd"));
  EXPECT_EQ(get(*session, odd), "odd");
  EXPECT_EQ(get(*session, "absent"), std::nullopt);
}

TEST_F(RedisTest, PutModesDecideByWhatIsThere) {
  EXPECT_FALSE(session->put("k", "v", Ttl::forever(), PutMode::if_present));
  EXPECT_TRUE(session->put("k", "1", Ttl(1min), PutMode::if_absent));
  EXPECT_FALSE(session->put("k", "2", Ttl(1min), PutMode::if_absent));
  EXPECT_TRUE(session->put("k", "3", Ttl(1min), PutMode::if_present));
  EXPECT_EQ(get(*session, "k"), "3");
}

TEST_F(RedisTest, LifetimesAreMillisecondsAndEnd) {
  set(*session, "short", "v", Ttl(5min));
  set(*session, "long", "v", Ttl(10min));
  set(*session, "ever", "v");
  set(*session, "longest", "v", Ttl(std::chrono::milliseconds::max() - 1ms));
  ASSERT_TRUE(ttl(*session, "short"));
  EXPECT_LE(ttl(*session, "short")->value(), 5min);
  EXPECT_GT(ttl(*session, "long")->value(), 9min);
  EXPECT_TRUE(ttl(*session, "ever")->is_forever());
  EXPECT_TRUE(get(*session, "longest"));
  set(*session, "short", "v", Ttl(80ms));
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(get(*session, "short"), std::nullopt);
  EXPECT_EQ(ttl(*session, "short"), std::nullopt);
  EXPECT_FALSE(session->erase("short"));
  EXPECT_FALSE(session->touch("short", Ttl(1min)));
}

TEST_F(RedisTest, TouchTellsWhetherThereWasAnEntry) {
  EXPECT_FALSE(session->touch("k", Ttl(1min)));
  EXPECT_FALSE(session->touch("k", Ttl::forever()));
  set(*session, "k", "v");
  EXPECT_TRUE(session->touch("k", Ttl::forever()));  // has no lifetime, and keeps none
  EXPECT_TRUE(session->touch("k", Ttl(1min)));
  EXPECT_FALSE(ttl(*session, "k")->is_forever());
  EXPECT_TRUE(session->touch("k", Ttl::forever()));
  EXPECT_TRUE(ttl(*session, "k")->is_forever());
}

TEST_F(RedisTest, ContainsShowsTheHeadOnly) {
  std::optional<std::string> head;
  const auto keep = [&](std::string_view bytes) { head = bytes; };
  EXPECT_FALSE(session->contains("k", keep));
  EXPECT_EQ(head, std::nullopt);
  set(*session, "k", "");
  EXPECT_TRUE(session->contains("k", keep));
  EXPECT_EQ(head, "");
  set(*session, "k", std::string(1000, 'x'));
  EXPECT_TRUE(session->contains("k", keep));
  EXPECT_EQ(head, std::string(64, 'x'));
}

// --- Bulk ---

TEST_F(RedisTest, BulkOperationsSpanBatches) {
  std::vector<std::string> names;
  for (int i = 0; i < 3000; ++i) names.push_back("key" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& name : names) items.push_back({name, name, Ttl(1min)});
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });

  std::vector<std::string_view> keys(names.begin(), names.end());
  keys.emplace_back("absent");
  keys.emplace_back(names[7]);
  std::map<std::size_t, std::string> found;
  session->get_many(keys, [&](std::size_t i, std::string_view value) { found[i] = value; });
  EXPECT_EQ(found.size(), 3001U);
  EXPECT_EQ(found[2999], "key2999");
  EXPECT_EQ(found[3001], "key7");

  std::size_t with_ttl = 0;
  extension<TtlExtension>(*session).get_many(keys,
                                             [&](std::size_t i, std::string_view value, Ttl left) {
                                               EXPECT_EQ(value, keys[i]);
                                               EXPECT_GT(left.value(), 50s);
                                               ++with_ttl;
                                             });
  EXPECT_EQ(with_ttl, 3001U);

  std::vector<std::size_t> failed;
  session->put_many(items, PutMode::if_absent, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_EQ(failed.size(), 3000U);
  EXPECT_EQ(session->erase_many(keys), 3000U);
  session->get_many({}, [](std::size_t, std::string_view) { FAIL(); });
  EXPECT_EQ(session->erase_many({}), 0U);
}

TEST_F(RedisTest, LargeValuesInBulk) {
  const std::string large(700'000, 'x');
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back("large" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& name : names) items.push_back({name, large, Ttl::forever()});
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  const std::vector<std::string_view> keys(names.begin(), names.end());
  std::size_t bytes = 0;
  session->get_many(keys, [&](std::size_t, std::string_view value) { bytes += value.size(); });
  EXPECT_EQ(bytes, 20 * large.size());
}

// --- Counters, compare, pop, prefixes ---

TEST_F(RedisTest, CountsStrictlyAndKeepsTheLifetime) {
  EXPECT_EQ(session->incr("n", 5), std::nullopt);
  EXPECT_EQ(get(*session, "n"), std::nullopt);
  set(*session, "n", "10", Ttl(1min));
  EXPECT_EQ(session->incr("n", 5), 15);
  EXPECT_EQ(session->incr("n", -20), -5);
  EXPECT_FALSE(ttl(*session, "n")->is_forever());
  set(*session, "n", "9007199254740993");  // beyond what a double holds
  EXPECT_EQ(session->incr("n", 2), 9007199254740995);
  set(*session, "n", "-9223372036854775807");
  EXPECT_EQ(session->incr("n", -1), INT64_MIN);
  set(*session, "n", "-1");
  EXPECT_THROW(session->incr("n", INT64_MIN), ValueError);
  EXPECT_EQ(get(*session, "n"), "-1");
}

TEST_F(RedisTest, WhatIsNoCounterStaysAsItIs) {
  for (const std::string value : {"", "-", "007", "-0", "+1", " 1", "1 ", "1.5",
                                  "9223372036854775808", "text", "100000000000000000000000000"}) {
    set(*session, "n", value);
    EXPECT_THROW(session->incr("n", 1), ValueError) << value;
    EXPECT_EQ(get(*session, "n"), value);
  }
  set(*session, "n", "9223372036854775807");
  EXPECT_THROW(session->incr("n", 1), ValueError);
  EXPECT_EQ(get(*session, "n"), "9223372036854775807");
}

TEST_F(RedisTest, ScriptsAreLoadedAgainAfterTheServerLostThem) {
  set(*session, "n", "1");
  EXPECT_EQ(session->incr("n", 1), 2);
  EXPECT_EQ(command(*server, "script flush"), "OK\n");
  EXPECT_EQ(session->incr("n", 1), 3);
  EXPECT_EQ(session->incr("n", 1), 4);
  // The second one was found by its name: EVAL was needed once.
  EXPECT_NE(command(*server, "info commandstats").find("cmdstat_eval:calls="), std::string::npos);
  EXPECT_NE(command(*server, "info memory").find("number_of_cached_scripts:1\r"),
            std::string::npos);
}

TEST_F(RedisTest, ComparesAndPuts) {
  auto& compare = extension<CompareExtension>(*session);
  EXPECT_FALSE(compare.put_if_equal("k", "", "v", std::nullopt));
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  set(*session, "k", "old", Ttl(1min));
  EXPECT_FALSE(compare.put_if_equal("k", "other", "new", std::nullopt));
  EXPECT_TRUE(compare.put_if_equal("k", "old", "new", std::nullopt));
  EXPECT_EQ(get(*session, "k"), "new");
  EXPECT_FALSE(ttl(*session, "k")->is_forever());
  EXPECT_TRUE(compare.put_if_equal("k", "new", "newer", Ttl::forever()));
  EXPECT_TRUE(ttl(*session, "k")->is_forever());
  EXPECT_TRUE(compare.put_if_equal("k", "newer", "newest", std::nullopt));
  EXPECT_TRUE(ttl(*session, "k")->is_forever());
  EXPECT_TRUE(compare.put_if_equal("k", "newest", "last", Ttl(5s)));
  EXPECT_LE(ttl(*session, "k")->value(), 5s);
  EXPECT_FALSE(compare.erase_if_equal("k", "newest"));
  EXPECT_TRUE(compare.erase_if_equal("k", "last"));
  EXPECT_FALSE(compare.erase_if_equal("k", "last"));
}

TEST_F(RedisTest, PopsOnce) {
  EXPECT_EQ(pop(*session, "k"), std::nullopt);
  set(*session, "k", "v", Ttl(1min));
  EXPECT_EQ(pop(*session, "k"), "v");
  EXPECT_EQ(pop(*session, "k"), std::nullopt);
}

TEST_F(RedisTest, ErasesByPrefixWithoutTakingItForAPattern) {
  for (int i = 0; i < 2500; ++i) set(*session, "shop*[1]:" + std::to_string(i), "v");
  set(*session, "shopX1:", "other");
  set(*session, "shop*", "other");
  EXPECT_EQ(extension<ErasePrefixExtension>(*session).erase_prefix("shop*[1]:"), 2500U);
  EXPECT_EQ(get(*session, "shopX1:"), "other");
  EXPECT_EQ(get(*session, "shop*"), "other");
  EXPECT_EQ(session->extension("polycache.none/1"), nullptr);
}

TEST_F(RedisTest, ClearsItsDatabaseOnly) {
  Store other({server->address()}, {{"database", std::int64_t{2}}});
  const auto second = other.connect();
  set(*second, "k", "other");
  set(*session, "k", "v");
  session->clear();
  EXPECT_EQ(get(*session, "k"), std::nullopt);
  EXPECT_EQ(get(*second, "k"), "other");
}

// To redis a list is something, to us it is nothing, for every operation alike.
void expect_a_list_to_be_absent(Backend& session, const Server& server) {
  const auto make_list = [&] {
    command(server, "-n 1 del k");
    command(server, "-n 1 rpush k a b");
  };
  auto& compare = extension<CompareExtension>(session);
  make_list();
  EXPECT_EQ(get(session, "k"), std::nullopt);
  EXPECT_FALSE(session.contains("k", [](std::string_view) { FAIL(); }));
  const std::vector<std::string_view> keys = {"k"};
  session.get_many(keys, [](std::size_t, std::string_view) { FAIL(); });
  EXPECT_EQ(ttl(session, "k"), std::nullopt);
  EXPECT_EQ(session.incr("k", 1), std::nullopt);
  EXPECT_FALSE(compare.erase_if_equal("k", "a"));
  EXPECT_FALSE(compare.put_if_equal("k", "a", "b", std::nullopt));
  EXPECT_FALSE(session.put("k", "v", Ttl(1min), PutMode::if_present));
  const std::vector<Item> items = {{"k", "v", Ttl(1min)}, {"l", "w", Ttl(1min)}};
  std::size_t failures = 0;
  session.put_many(items, PutMode::if_present, [&](std::size_t) { ++failures; });
  EXPECT_EQ(failures, 2U);
  EXPECT_FALSE(session.touch("k", Ttl::forever()));
  EXPECT_FALSE(session.touch("k", Ttl(1min)));
  EXPECT_EQ(command(server, "-n 1 llen k"), "2\n") << "it was left where it was";

  EXPECT_EQ(pop(session, "k"), std::nullopt);
  EXPECT_EQ(command(server, "-n 1 exists k"), "0\n") << "a pop removes it";
  make_list();
  EXPECT_TRUE(session.erase("k"));
  EXPECT_EQ(command(server, "-n 1 exists k"), "0\n");
  make_list();
  EXPECT_TRUE(session.put("k", "v", Ttl(1min), PutMode::if_absent));
  EXPECT_EQ(get(session, "k"), "v");
  EXPECT_FALSE(session.put("k", "w", Ttl(1min), PutMode::if_absent));
  make_list();
  session.put_many(items, PutMode::if_absent, [](std::size_t i) { ADD_FAILURE() << i; });
  EXPECT_EQ(get(session, "k"), "v");
  EXPECT_EQ(get(session, "l"), "w");
  session.erase("l");
  make_list();
  EXPECT_TRUE(set(session, "k", "v"));
  EXPECT_EQ(get(session, "k"), "v");
}

TEST_F(RedisTest, AListUnderOurKeyIsAbsentForEveryOperation) {
  expect_a_list_to_be_absent(*session, *server);
  const std::vector<std::string> warnings = store.warnings();
  EXPECT_EQ(warnings.size(), 12U) << "one for each operation that asked for it alone";
  EXPECT_NE(warnings.front().find("another type of redis"), std::string::npos) << warnings.front();
}

TEST_F(RedisTest, AListUnderOurKeyIsAbsentWithoutScriptsToo) {
  command(*server, "acl setuser plain on nopass '~*' +@all -evalsha -eval -getdel");
  Store plain({"redis://plain:any@" + server->address() + "/1"});
  expect_a_list_to_be_absent(*plain.connect(), *server);
}

TEST_F(RedisTest, OfManyAddsOverAListOneWins) {
  for (int round = 0; round < 20; ++round) {
    command(*server, "-n 1 rpush k a");
    std::atomic<int> added{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto own = store.connect();
        if (own->put("k", "v", Ttl(1min), PutMode::if_absent)) ++added;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(added, 1);
    session->erase("k");
  }
}

TEST_F(RedisTest, ASinkMayThrow) {
  set(*session, "a", "1");
  set(*session, "b", "2");
  struct Stop {};
  EXPECT_THROW(session->get("a", [](std::string_view) { throw Stop(); }), Stop);
  const std::vector<std::string_view> keys = {"a", "b"};
  EXPECT_THROW(session->get_many(keys, [](std::size_t, std::string_view) { throw Stop(); }), Stop);
  EXPECT_EQ(get(*session, "b"), "2");
}

TEST_F(RedisTest, TooLargeAValueIsRefusedAndTheOldOneGone) {
  Store small({server->address()}, {{"max_value_bytes", std::int64_t{1000}}});
  const auto limited = small.connect();
  const std::string large(1001, 'x');
  set(*limited, "a", "old");
  set(*limited, "b", "old");
  EXPECT_FALSE(set(*limited, "a", large));
  EXPECT_EQ(get(*limited, "a"), std::nullopt);
  const std::vector<Item> items = {{"b", large, Ttl::forever()}, {"c", "v", Ttl::forever()}};
  std::vector<std::size_t> failed;
  limited->put_many(items, PutMode::always, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_EQ(failed, std::vector<std::size_t>{0});
  EXPECT_EQ(get(*limited, "b"), std::nullopt);
  EXPECT_EQ(get(*limited, "c"), "v");
  EXPECT_FALSE(limited->put("c", large, Ttl::forever(), PutMode::if_absent));
  EXPECT_EQ(get(*limited, "c"), "v");
  EXPECT_EQ(small.warnings().size(), 3U);
  // A larger value of another client is not read into memory.
  command(*server, "setrange big 100000 x");
  EXPECT_EQ(kind_of_error([&] { get(*limited, "big"); }), Kind::protocol);
  EXPECT_EQ(get(*limited, "c"), "v");
  // Nor is one handed on that came whole.
  command(*server, "setrange medium 1000 x");
  EXPECT_EQ(kind_of_error([&] { get(*limited, "medium"); }), Kind::protocol);
  const std::vector<std::string_view> both = {"c", "medium"};
  EXPECT_EQ(kind_of_error([&] { limited->get_many(both, [](std::size_t, std::string_view) {}); }),
            Kind::protocol);
  std::vector<std::string> names(100, "c");
  names.back() = "medium";
  for (std::size_t i = 0; i < 99; ++i) {
    names[i] = "n" + std::to_string(i);
    set(*limited, names[i], std::string(1000, 'v'));
  }
  const std::vector<std::string_view> many(names.begin(), names.end());  // in several pieces
  EXPECT_EQ(kind_of_error([&] { limited->get_many(many, [](std::size_t, std::string_view) {}); }),
            Kind::protocol);
  EXPECT_EQ(get(*limited, "c"), "v");
}

TEST_F(RedisTest, MemoryOfALargeReplyIsGivenBackWithTheNext) {
  const auto in_use = [] {
    const struct mallinfo2 info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  set(*session, "large", std::string(20'000'000, 'v'));
  set(*session, "small", "v");
  const std::size_t before = in_use();
  std::size_t size = 0;
  ASSERT_TRUE(session->get("large", [&](std::string_view value) { size = value.size(); }));
  EXPECT_EQ(size, 20'000'000U);
  EXPECT_EQ(get(*session, "small"), "v");
  EXPECT_LT(in_use(), before + 2'000'000);
}

// --- Servers of several kinds ---

TEST(RedisServers, AFullServerRefusesAndTheOldValueIsGone) {
  const auto server = Server::redis({"--maxmemory-policy", "noeviction"});
  Store store({server->address()});
  const auto session = store.connect();
  set(*session, "a", "old");
  set(*session, "b", "old");
  set(*session, "n", "1");
  command(*server, "config set maxmemory 1");
  EXPECT_FALSE(set(*session, "a", "new"));
  const std::vector<Item> items = {{"b", "new", Ttl::forever()}};
  std::size_t failures = 0;
  session->put_many(items, PutMode::always, [&](std::size_t) { ++failures; });
  EXPECT_EQ(failures, 1U);
  EXPECT_EQ(store.warnings().size(), 2U);
  EXPECT_EQ(kind_of_error([&] { session->incr("n", 1); }), Kind::overloaded);
  EXPECT_EQ(get(*session, "a"), std::nullopt);
  EXPECT_EQ(get(*session, "b"), std::nullopt);
  EXPECT_EQ(get(*session, "n"), "1");
  command(*server, "config set maxmemory 0");
  EXPECT_TRUE(set(*session, "a", "new"));
}

TEST(RedisServers, UserAndPasswordAuthenticate) {
  const auto server = Server::redis({"--requirepass", "p@ss/word"});
  const std::string host = server->address();
  Store by_url({"redis://:p%40ss%2Fword@" + host + "/3"});
  EXPECT_TRUE(set(*by_url.connect(), "k", "v"));
  Store by_option({host}, {{"password", "p@ss/word"}, {"user", "default"}});
  EXPECT_EQ(get(*by_option.connect(), "k"), std::nullopt);
  Store by_socket({"unix://default:p%40ss%2Fword@" + server->unix_socket() + "?db=3"});
  EXPECT_EQ(get(*by_socket.connect(), "k"), "v");

  Store wrong({"redis://:s3cret@" + host});
  const auto session = wrong.connect();
  EXPECT_EQ(kind_of_error([&] { get(*session, "k"); }), Kind::denied);
  EXPECT_EQ(message_of([&] { get(*session, "k"); }).find("s3cret"), std::string::npos);
  Store none({host}, {{"password", ""}});
  EXPECT_NE(message_of([&] { get(*none.connect(), "k"); }).find("NOAUTH"), std::string::npos);
  EXPECT_EQ(kind_of_error([&] { get(*none.connect(), "k"); }), Kind::denied);
  EXPECT_EQ(kind_of_error([&] { none.connect()->clear(); }), Kind::denied);
}

TEST(RedisServers, ACommandThatIsDeniedOrMissing) {
  const auto server =
      Server::redis({"--rename-command", "GETDEL", "", "--rename-command", "FLUSHDB", "",
                     "--rename-command", "PSETEX", "", "--rename-command", "GETEX", ""});
  command(*server, "mset k v l v");
  Store store({server->address()});
  const auto session = store.connect();
  EXPECT_EQ(pop(*session, "k"), "v");  // by MULTI, GET and DEL
  EXPECT_EQ(pop(*session, "k"), std::nullopt);
  EXPECT_EQ(pop(*session, "l"), "v");
  EXPECT_EQ(kind_of_error([&] { session->clear(); }), Kind::denied);
  EXPECT_TRUE(set(*session, "k", "s3cret", Ttl(1min)));  // by SET
  EXPECT_FALSE(ttl(*session, "k")->is_forever());
  std::string renewed;
  const auto keep = [&](std::string_view value) { renewed = value; };
  auto& renew = extension<RenewExtension>(*session);
  for (int round = 0; round < 2; ++round) {
    renewed.clear();
    EXPECT_TRUE(renew.get("k", Ttl(1h), keep));  // by GET and PEXPIRE
    EXPECT_EQ(renewed, "s3cret");
    EXPECT_GT(ttl(*session, "k")->value(), 59min);
    EXPECT_TRUE(renew.get("k", Ttl::forever(), keep));
    EXPECT_TRUE(ttl(*session, "k")->is_forever());
    EXPECT_FALSE(renew.get("none", Ttl(1h), keep));
  }
  EXPECT_TRUE(store.warnings().empty()) << "a server that is old is no news";

  command(*server, "acl setuser reader on '>pw' '~*' +get");
  Store reader({"redis://reader:pw@" + server->address()});
  const auto limited = reader.connect();
  EXPECT_EQ(get(*limited, "k"), "s3cret");
  EXPECT_EQ(kind_of_error([&] { limited->erase("k"); }), Kind::denied);
  EXPECT_EQ(kind_of_error([&] { ttl(*limited, "k"); }), Kind::denied);
  const std::string refusal = message_of([&] { set(*limited, "k", "t0ken", Ttl(1min)); });
  EXPECT_NE(refusal.find("NOPERM"), std::string::npos) << refusal;
  EXPECT_EQ(refusal.find("t0ken"), std::string::npos) << refusal;
  EXPECT_EQ(refusal.find("reader"), std::string::npos) << refusal;
  EXPECT_EQ(get(*limited, "k"), "s3cret");
}

// Counting, comparing, popping and clearing by prefix, for a user who may not do them the usual
// way.
TEST(RedisServers, DeniedCommandsHaveASubstitute) {
  const auto server = Server::redis();
  command(*server,
          "acl setuser shop on nopass '~*' +@all -evalsha -eval -getdel -unlink -psetex -getex");
  Store store({"redis://shop:any@" + server->address()});
  const auto session = store.connect();
  auto& compare = extension<CompareExtension>(*session);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(session->incr("n", 5), std::nullopt);
    EXPECT_TRUE(set(*session, "n", "9007199254740993", Ttl(1min)));
    EXPECT_EQ(session->incr("n", 2), 9007199254740995);
    EXPECT_FALSE(ttl(*session, "n")->is_forever());
    EXPECT_TRUE(set(*session, "n", "9223372036854775807"));
    EXPECT_THROW(session->incr("n", 1), ValueError);
    EXPECT_TRUE(set(*session, "n", "007"));
    EXPECT_THROW(session->incr("n", 1), ValueError);
    EXPECT_EQ(get(*session, "n"), "007");

    EXPECT_FALSE(compare.put_if_equal("k", "", "v", std::nullopt));
    EXPECT_TRUE(set(*session, "k", "old", Ttl(1min)));
    EXPECT_FALSE(compare.put_if_equal("k", "other", "new", std::nullopt));
    EXPECT_TRUE(compare.put_if_equal("k", "old", "new", std::nullopt));
    EXPECT_FALSE(ttl(*session, "k")->is_forever());
    EXPECT_TRUE(compare.put_if_equal("k", "new", "newer", Ttl::forever()));
    EXPECT_TRUE(ttl(*session, "k")->is_forever());
    EXPECT_TRUE(compare.put_if_equal("k", "newer", "last", Ttl(5s)));
    EXPECT_LE(ttl(*session, "k")->value(), 5s);
    EXPECT_FALSE(compare.erase_if_equal("k", "newer"));
    EXPECT_TRUE(compare.erase_if_equal("k", "last"));
    EXPECT_FALSE(compare.erase_if_equal("k", "last"));

    EXPECT_TRUE(extension<RenewExtension>(*session).get("n", Ttl(5s), [](std::string_view) {}));
    EXPECT_LE(ttl(*session, "n")->value(), 5s);
    EXPECT_EQ(pop(*session, "n"), "007");
    EXPECT_EQ(pop(*session, "n"), std::nullopt);
    const std::vector<Item> items = {{"p:1", "1", Ttl(1min)}, {"p:2", "2", Ttl(1min)}};
    session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
    EXPECT_EQ(get(*session, "p:2"), "2");
    EXPECT_EQ(extension<ErasePrefixExtension>(*session).erase_prefix("p:"), 2U);

    command(*server, "rpush list a");
    EXPECT_EQ(session->incr("list", 1), std::nullopt);
    EXPECT_FALSE(compare.put_if_equal("list", "a", "b", std::nullopt));
    EXPECT_FALSE(compare.erase_if_equal("list", "a"));
    EXPECT_TRUE(session->erase("list"));
  }
  const std::vector<std::string> warnings = store.warnings();
  EXPECT_EQ(warnings.size(), 5U + 6U) << "one for each of them, and one for each look at the list";
  // The next transaction on the same connection is not disturbed by what was watched.
  EXPECT_TRUE(ttl(*session, "k") == std::nullopt);
}

TEST(RedisServers, CountingWithoutScriptsLosesNothing) {
  const auto server = Server::redis();
  command(*server, "acl setuser shop on nopass '~*' +@all -evalsha -eval");
  Store store({"redis://shop:any@" + server->address()}, {{"timeout", "30s"}});
  set(*store.connect(), "n", "0");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto session = store.connect();
      for (int i = 0; i < 100; ++i) EXPECT_TRUE(session->incr("n", 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(get(*store.connect(), "n"), "400");
}

TEST(RedisServers, AReplicaTakesNoWrites) {
  const auto server = Server::redis();
  const auto replica =
      Server::redis({"--replicaof", server->host() + " " + std::to_string(server->port())});
  Store store({replica->address()});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { set(*session, "k", "v"); }), Kind::read_only);
  command(*replica, "config set replica-read-only no");
  command(*replica, "set n 1");
  command(*replica, "config set replica-read-only yes");
  EXPECT_EQ(kind_of_error([&] { session->incr("n", 1); }), Kind::read_only);
  const std::vector<Item> items = {{"a", "1", Ttl::forever()}, {"b", "2", Ttl::forever()}};
  EXPECT_EQ(kind_of_error([&] { session->put_many(items, PutMode::always, [](std::size_t) {}); }),
            Kind::read_only);
  command(*replica, "replicaof no one");
  EXPECT_TRUE(set(*session, "k", "v"));
}

TEST(RedisServers, PlainReadsGoToTheReplicas) {
  const auto server = Server::redis();
  const auto other = Server::redis();  // holds other values, so that reads tell where they went
  Store store({server->address(), other->address()});
  const auto session = store.connect();
  command(*other, "mset k theirs n 100");
  set(*session, "k", "ours");
  set(*session, "n", "1");
  EXPECT_EQ(get(*session, "k"), "theirs");
  const std::vector<std::string_view> keys = {"k", "n"};
  std::map<std::size_t, std::string> found;
  session->get_many(keys, [&](std::size_t i, std::string_view value) { found[i] = value; });
  EXPECT_EQ(found[1], "100");
  command(*other, "del n");
  EXPECT_FALSE(session->contains("n", [](std::string_view) {}));
  EXPECT_EQ(session->incr("n", 1), 2);
  std::string read;
  extension<TtlExtension>(*session).get("k", [&](std::string_view value, Ttl) { read = value; });
  EXPECT_EQ(read, "ours");
  EXPECT_EQ(pop(*session, "k"), "ours");

  other->kill9();  // then the next location answers, at last the first
  EXPECT_EQ(get(*session, "n"), "2");
  EXPECT_TRUE(session->contains("n", [](std::string_view) {}));
  other->start();
  server->kill9();
  // The replica, started empty.
  EXPECT_EQ(once_let_in([&] { return get(*session, "n"); }), std::nullopt);
  EXPECT_EQ(kind_of_error([&] { set(*session, "n", "1"); }), Kind::unreachable);
}

TEST(RedisServers, TooManyClientsIsOverload) {
  const auto server = Server::redis({"--maxclients", "1"});
  Store store({server->address()});
  const auto first = store.connect();
  EXPECT_TRUE(set(*first, "k", "v"));
  EXPECT_EQ(get(*store.connect(), "k"), "v") << "by the same connection";
  Store other({server->address()});
  const auto second = other.connect();
  const auto kind = kind_of_error([&] { get(*second, "k"); });
  // Its farewell may be lost when it resets the connection.
  EXPECT_TRUE(kind == Kind::overloaded || kind == Kind::unreachable);
}

// --- Death and return ---

TEST(RedisFaults, NoServerIsATypedErrorAtOnce) {
  Store store({"127.0.0.1:" + std::to_string(testing::free_port())});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { get(*session, "k"); }), Kind::unreachable);
  Store no_socket({"unix:///nowhere/at/all.sock"});
  EXPECT_EQ(kind_of_error([&] { get(*no_socket.connect(), "k"); }), Kind::unreachable);
  Store no_name({"redis://no-such-host.invalid"});
  EXPECT_EQ(kind_of_error([&] { get(*no_name.connect(), "k"); }, 10s), Kind::unreachable);
}

TEST(RedisFaults, WorksAgainWhenTheServerIsBack) {
  const auto server = Server::redis();
  for (const std::string& location : {server->address(), "unix://" + server->unix_socket()}) {
    Store store({location});
    const auto session = store.connect();
    set(*session, "k", "v");
    server->kill9();
    EXPECT_EQ(kind_of_error([&] { get(*session, "k"); }), Kind::unreachable);
    EXPECT_EQ(kind_of_error([&] { set(*session, "k", "v"); }), Kind::unreachable);
    server->start();
    EXPECT_EQ(once_let_in([&] { return get(*session, "k"); }), std::nullopt);
    // The connection that is idle now dies unnoticed; what can be repeated is.
    server->kill9();
    server->start();
    EXPECT_EQ(get(*session, "k"), std::nullopt);
    server->kill9();
    server->start();
    EXPECT_TRUE(set(*session, "k", "v"));
    // What cannot be repeated looks before it sends.
    set(*session, "n", "1");
    command(*server, "client kill type normal");
    EXPECT_EQ(session->incr("n", 1), 2);
    command(*server, "client kill type normal");
    EXPECT_FALSE(session->put("n", "9", Ttl::forever(), PutMode::if_absent));
    command(*server, "client kill type normal");
    EXPECT_EQ(pop(*session, "n"), "2");
  }
}

TEST(RedisFaults, ALateAnswerIsNotTheNextOne) {
  const auto server = Server::redis();
  for (const std::string& location : {server->address(), "unix://" + server->unix_socket()}) {
    Store store({location}, {{"timeout", "1s"}});
    const auto session = store.connect();
    set(*session, "a", "first");
    set(*session, "b", "second");
    server->suspend();
    EXPECT_EQ(kind_of_error([&] { get(*session, "a"); }), Kind::timeout);
    EXPECT_EQ(kind_of_error([&] { set(*session, "c", "v"); }), Kind::timeout);
    server->resume();
    EXPECT_EQ(once_let_in([&] { return get(*session, "b"); }), "second");
    EXPECT_EQ(get(*session, "a"), "first");
  }
}

TEST(RedisFaults, AForksChildUsesAConnectionOfItsOwn) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  set(*session, "who", "parent");
  const std::string id = command(*server, "info clients");
  const pid_t child = ::fork();
  if (child == 0) {
    bool good = true;
    for (int i = 0; i < 200; ++i) good = good && get(*session, "who") == "parent";
    ::_exit(good && set(*session, "child", "was here") ? 0 : 1);
  }
  for (int i = 0; i < 200; ++i) EXPECT_EQ(get(*session, "child").value_or("was here"), "was here");
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(get(*session, "child"), "was here");
  EXPECT_NE(command(*server, "info stats").find("total_error_replies:0"), std::string::npos);
}

// --- Hostile answers ---

// A peer that answers everything with `reply`, in one piece, and then closes or waits.
std::unique_ptr<Peer> answering(std::string reply, bool close_after) {
  return std::make_unique<Peer>([=](int connection) {
    while (!peer_hears(connection).empty()) {
      if (!peer_says(connection, reply) || close_after) return;
    }
  });
}

TEST(RedisFaults, ForgedLengthsTakeNoMemory) {
  for (const std::string reply :
       {"$99999999999\r\nx", "$9223372036854775807\r\n", "$99999999999999999999999999",
        "*2147483647\r\n", "*99999999999\r\n", "*-7\r\n", "$-7\r\n", "$abc\r\n", ":1:\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        "HTTP/1.1 400 Bad\r\n", "~1\r\n+a\r\n", "(123\r\n", "\r\n\r\n"}) {
    const auto peer = answering(reply, false);
    Store store({peer->address()}, {{"timeout", "2s"}});
    const auto session = store.connect();
    EXPECT_EQ(kind_of_error([&] { get(*session, "k"); }), Kind::protocol) << reply;
    const std::vector<std::string_view> keys = {"a", "b"};
    Store other({peer->address()}, {{"timeout", "2s"}});
    const auto second = other.connect();
    EXPECT_EQ(kind_of_error([&] { second->get_many(keys, [](std::size_t, std::string_view) {}); }),
              Kind::protocol)
        << reply;
  }
}

TEST(RedisFaults, AnswersOfTheWrongTypeAreProtocolErrors) {
  for (const std::string reply : {"+OK\r\n", ":1\r\n", "*1\r\n$1\r\na\r\n", "*-1\r\n"}) {
    const auto peer = answering(reply, false);
    Store store({peer->address()});
    const auto session = store.connect();
    const std::vector<std::string_view> keys = {"a", "b"};
    EXPECT_EQ(kind_of_error([&] { session->get_many(keys, [](std::size_t, std::string_view) {}); }),
              Kind::protocol)
        << reply;
  }
  const auto peer = answering("$1\r\na\r\n", false);
  Store store({peer->address()});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { session->erase("k"); }), Kind::protocol);
  const auto once = [&](const auto& operation) {
    return kind_of_error([&] { once_let_in(operation); });
  };
  EXPECT_EQ(once([&] { return set(*session, "k", "v"); }), Kind::protocol);
  EXPECT_EQ(once([&] { return session->incr("k", 1); }), Kind::protocol);
}

TEST(RedisFaults, AnEndlessLineIsCutOff) {
  const Peer peer([](int connection) {
    const std::string piece(4096, 'x');
    peer_hears(connection);
    peer_says(connection, "+");
    while (peer_says(connection, piece)) {
    }
  });
  Store store({peer.address()}, {{"timeout", "5s"}});
  EXPECT_EQ(kind_of_error([&] { get(*store.connect(), "k"); }), Kind::protocol);
}

TEST(RedisFaults, ATruncatedAnswerIsNoValue) {
  const auto peer = answering("$10\r\nabc", true);
  Store store({peer->address()});
  bool called = false;
  EXPECT_EQ(
      kind_of_error([&] { store.connect()->get("k", [&](std::string_view) { called = true; }); }),
      Kind::unreachable);
  EXPECT_FALSE(called);
}

TEST(RedisFaults, OneByteAtATimeIsTheSameAnswer) {
  const Peer peer([](int connection) {
    while (!peer_hears(connection).empty()) {
      for (const char c : std::string_view("$5\r\nhello\r\n")) {
        peer_says(connection, {&c, 1});
        std::this_thread::sleep_for(2ms);
      }
    }
  });
  Store store({peer.address()});
  const auto session = store.connect();
  EXPECT_EQ(get(*session, "k"), "hello");
  EXPECT_EQ(get(*session, "k"), "hello");
}

TEST(RedisFaults, DribblingDoesNotStretchTheLimit) {
  const Peer peer([](int connection) {
    peer_hears(connection);
    peer_says(connection, "$1000\r\n");
    while (peer_says(connection, "x")) std::this_thread::sleep_for(20ms);
  });
  Store store({peer.address()}, {{"timeout", "200ms"}});
  EXPECT_EQ(kind_of_error([&] { get(*store.connect(), "k"); }, 15s), Kind::timeout)
      << "20 seconds' worth of bytes";
}

TEST(RedisFaults, UnrequestedBytesAreNotTheNextReply) {
  const auto peer = answering("$1\r\na\r\n$5\r\nextra\r\n", false);
  Store store({peer->address()});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { get(*session, "k"); }), Kind::protocol) << "which is the answer?";
  EXPECT_EQ(kind_of_error([&] { once_let_in([&] { return get(*session, "k"); }); }, 70s),
            Kind::protocol);
  EXPECT_EQ(peer->accepted(), 2) << "each on a connection of its own";
}

TEST(RedisFaults, WhatCannotBeRepeatedIsSentOnce) {
  std::atomic<int> heard = 0;
  const Peer peer([&](int connection) {
    if (!peer_hears(connection).empty()) ++heard;  // and closes without an answer
  });
  Store store({peer.address()});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { session->incr("n", 1); }), Kind::unreachable);
  EXPECT_EQ(
      kind_of_error([&] {
        once_let_in([&] { return session->put("n", "1", Ttl::forever(), PutMode::if_absent); });
      }),
      Kind::unreachable);
  EXPECT_EQ(heard, 2);
}

// --- One limit for one operation ---

// Answers each request with the next of the replies, each so much later than it was asked.
std::unique_ptr<Peer> answering_late(std::chrono::milliseconds pause,
                                     std::vector<std::string> replies) {
  return std::make_unique<Peer>([=](int connection) {
    for (const std::string& reply : replies) {
      if (peer_hears(connection).empty()) return;
      std::this_thread::sleep_for(pause);
      if (!peer_says(connection, reply)) return;
    }
    while (!peer_hears(connection).empty()) {
    }
  });
}

// Each step alone would end within the limit. Where the machine is slow, they end no earlier.
void expect_one_limit(std::vector<std::string> replies,
                      const std::function<void(Backend&)>& operation) {
  const auto peer = answering_late(300ms, std::move(replies));
  Store store({peer->address()}, {{"timeout", "500ms"}});
  const auto session = store.connect();
  EXPECT_EQ(kind_of_error([&] { operation(*session); }), Kind::timeout);
}

const std::string full_reply = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
const std::string denied_reply = "-NOPERM this user has no permissions to run the command\r\n";

TEST(RedisOneLimit, ARefusedSetAndItsErasureShareIt) {
  expect_one_limit({full_reply, ":1\r\n"}, [](Backend& s) { set(s, "k", "v"); });
  expect_one_limit({full_reply + full_reply, ":2\r\n"}, [](Backend& s) {
    const std::vector<Item> items = {{"a", "1", Ttl::forever()}, {"b", "2", Ttl::forever()}};
    s.put_many(items, PutMode::always, [](std::size_t) {});
  });
}

TEST(RedisOneLimit, ASubstituteForADeniedCommandSharesIt) {
  expect_one_limit({denied_reply, "+OK\r\n"}, [](Backend& s) { set(s, "k", "v", Ttl(1min)); });
  expect_one_limit({denied_reply, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*1\r\n$1\r\nv\r\n:1\r\n"},
                   [](Backend& s) { pop(s, "k"); });
  const std::string absent = "+OK\r\n$-1\r\n";
  expect_one_limit({denied_reply, absent, "+OK\r\n"}, [](Backend& s) { s.incr("k", 1); });
  expect_one_limit({denied_reply, absent, "+OK\r\n"}, [](Backend& s) {
    extension<CompareExtension>(s).put_if_equal("k", "a", "b", std::nullopt);
  });
  expect_one_limit({denied_reply, absent, "+OK\r\n"},
                   [](Backend& s) { extension<CompareExtension>(s).erase_if_equal("k", "a"); });
}

TEST(RedisOneLimit, WhatIsDoneAboutAListSharesIt) {
  const std::string list = "-WRONGTYPE Operation against a key\r\n";
  expect_one_limit({list, ":1\r\n"}, [](Backend& s) { pop(s, "k"); });
  expect_one_limit({"$-1\r\n", list, ":1\r\n", "+OK\r\n"},
                   [](Backend& s) { s.put("k", "v", Ttl(1min), PutMode::if_absent); });
}

TEST(RedisOneLimit, RefusedValuesOfABulkAreErasedInOneRoundTrip) {
  const auto server = Server::redis({"--maxmemory-policy", "noeviction"});
  Store store({server->address()});
  const auto session = store.connect();
  std::vector<std::string> keys;
  for (int i = 0; i < 60; ++i) keys.push_back("k" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, "old", Ttl::forever()});
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  command(*server, "config set maxmemory 1");
  std::size_t failures = 0;
  session->put_many(items, PutMode::always, [&](std::size_t) { ++failures; });
  EXPECT_EQ(failures, 60U);
  EXPECT_EQ(store.warnings().size(), 60U);
  EXPECT_EQ(command(*server, "dbsize"), "0\n") << "none left an older value behind";
  const std::string calls = command(*server, "info commandstats");
  EXPECT_NE(calls.find("cmdstat_del:calls=1,"), std::string::npos) << calls;
}

TEST_F(RedisTest, ARefusedValueDoesNotTakeALaterOneOfItsKeyWithIt) {
  Store small({"redis://" + server->address() + "/1"}, {{"max_value_bytes", std::int64_t{1000}}});
  const auto limited = small.connect();
  const std::string large(1001, 'x');
  const std::vector<Item> items = {{"a", large, Ttl::forever()},
                                   {"a", "small", Ttl::forever()},
                                   {"b", "small", Ttl::forever()},
                                   {"b", large, Ttl::forever()}};
  limited->put_many(items, PutMode::always, [](std::size_t) {});
  EXPECT_EQ(get(*limited, "a"), "small");
  EXPECT_EQ(get(*limited, "b"), std::nullopt);
}

// --- Configuration ---

// A replica that lags behind for ever has the entry, and the version that its tag had.
TEST(RedisReplicas, NoVersionOfATagIsReadFromOne) {
  const auto server = Server::redis();
  const auto replica = Server::redis();
  const auto alias_at = [](std::vector<std::string> location) {
    return CacheConfig{.backend = "redis", .location = std::move(location), .key_prefix = "shop"};
  };
  CacheRegistry registry({.caches = {{"both", alias_at({server->address(), replica->address()})},
                                     {"first", alias_at({server->address()})},
                                     {"replica", alias_at({replica->address()})}}},
                         {.linked_plugins = {&redis::plugin}});
  Cache& both = registry["both"];
  both.set("k", "older", {.tags = "posts"});
  for (const std::string_view key : {"shop:1:k", "shop:~t:posts"}) {
    const auto stored = get(registry["first"].backend(), key);
    ASSERT_TRUE(stored) << key;
    set(registry["replica"].backend(), key, *stored);
  }
  EXPECT_EQ(both.get("k"), "older");
  EXPECT_EQ(registry["replica"].get("k"), "older");
  registry["first"].erase_tag("posts");
  EXPECT_EQ(both.get("k"), std::nullopt);
  EXPECT_EQ(both.get_many({"k"}).front(), std::nullopt);
  EXPECT_EQ(both.get_or_set("k", "newer", {.tags = "posts"}), "newer");
}

TEST(RedisConfiguration, UnderstandsLocations) {
  for (const char* location :
       {"redis://host", "redis://host:6380", "redis://host/3", "redis://host/", "redis://host?db=2",
        "redis://user:pw@host:1/1", "redis://:pw@[::1]:6379/0", "host", "host:6379", "[::1]:6379",
        "unix:///run/redis.sock", "unix:///run/redis.sock?db=2", "unix://u:p@/run/r.sock",
        "/run/redis.sock", "redis://u:%40%3a@host", "unix:/run/redis.sock", "my_service:6379",
        "/run/redis@main.sock", "unix:///run/a%2Cb.sock"}) {
    EXPECT_EQ(problem_of({location}), "no error") << location;
  }
}

TEST(RedisConfiguration, UnderstandsTheConnectionStringsOfAzure) {
  const redis::Endpoint azure = redis::parse_endpoint(
      "shop.redis.example.net:6380,password=aB+/c=d=,ssl=True,abortConnect=False");
  EXPECT_EQ(azure.name(), "shop.redis.example.net:6380");
  EXPECT_EQ(azure.password, "aB+/c=d=");
  EXPECT_EQ(azure.user, std::nullopt);
  EXPECT_TRUE(azure.wants_tls);
  const redis::Endpoint other =
      redis::parse_endpoint("host,port=6381, User=me,PASSWORD=@/?#,ssl=false,defaultDatabase=3");
  EXPECT_EQ(other.name(), "host:6381");
  EXPECT_EQ(other.user, "me");
  EXPECT_EQ(other.password, "@/?#");
  EXPECT_EQ(other.database, 3);
  EXPECT_FALSE(other.wants_tls);
  EXPECT_EQ(redis::parse_endpoint("[::1]:1,password=redis://x").name(), "[::1]:1");
  EXPECT_EQ(redis::parse_endpoint("[::1],port=2").name(), "[::1]:2");
}

TEST(RedisConfiguration, RefusesConnectionStringsWithMembersThatItDoesNotKnow) {
  const std::map<std::string, std::string> problems = {
      {"h:1,password=s3cret,syncTimeout=5", "its member syncTimeout is not known here"},
      {"h:1,password=s3cret,s3cret=5", "it has an unknown member; known are user"},
      {"h:1,password=s3,cret", "expected NAME=VALUE"},
      {"h:1,h2:1,password=s3cret", "several servers are a list"},
      {"h:1,port=2,password=s3cret", "two ports"},
      {"[::1]:1,port=2,password=s3cret", "two ports"},
      {"h:1,password=s3cret,Password=x", "a member twice"},
      {"h,ssl=s3cret", "expected true or false"},
      {"h,port=s3cret", "a port from 1"},
      {"h,defaultDatabase=s3cret", "number of a database"},
      {"h,", "expected NAME=VALUE"},
      {",password=s3cret", "names no host"},
      {"s3 cret,password=x", "the name or the address of a host"},
  };
  for (const auto& [location, problem] : problems) {
    const std::string message = problem_of({location});
    EXPECT_NE(message.find(problem), std::string::npos) << location << ": " << message;
    EXPECT_EQ(message.find("cret"), std::string::npos) << message;
  }
}

TEST(RedisConfiguration, TakesNothingForAHostThatIsNone) {
  for (const char* location : {"a;b",
                               "a,b",
                               "a b",
                               " host:6379",
                               "host:6379 ",
                               "host=a",
                               "a&b",
                               "\"a\"",
                               "'a'",
                               "a\\b",
                               "a\n",
                               "-a",
                               "123456",
                               "redis://123456",
                               "redis://a b",
                               "redis://a,b",
                               "redis://a%20b:1",
                               "redis://%5B::1%5D",
                               "unix:/a;b",
                               "unix:///a,b",
                               "/a?b=c",
                               "/a b",
                               "//a",
                               "a..b"}) {
    EXPECT_NE(problem_of({location}).find("cannot be understood"), std::string::npos) << location;
  }
  EXPECT_NE(problem_of({"h", "a b", "c"}).find("location 2 of 3 cannot be understood"),
            std::string::npos);
}

TEST(RedisConfiguration, RefusesWhatIsWrong) {
  const std::map<std::string, std::string> problems = {
      {"http://host", "unknown scheme"},
      {"redis://", "names no host"},
      {"redis://host:0", "a port from 1"},
      {"redis://host:70000", "a port from 1"},
      {"redis://host:x", "a port from 1"},
      {"redis://host/x", "number of a database"},
      {"redis://host/-1", "number of a"},
      {"redis://host/1?db=2", "two databases"},
      {"redis://host?ssl=1", "unknown param"},
      {"redis://::1:6379", "in brackets"},
      {"redis://[::1", "no ']'"},
      {"redis://u:%4@host", "hexadecimal"},
      {"redis://u:%00@host", "zero byte"},
      {"redis://u:a/b@host", "%2F"},
      {"redis://u:a@b/c@host", "%2F"},
      {"unix://run/redis.sock", "begin with '/'"},
      {"host/1", "expected host:port"},
      {"user:pw@host", "expected host:port"},
      {"redis://user@host", "without a password"},
      {"unix:///" + std::string(110, 'x'), "longer than 107"},
  };
  for (const auto& [location, problem] : problems) {
    const std::string message = problem_of({location});
    EXPECT_NE(message.find(problem), std::string::npos) << location << ": " << message;
    EXPECT_NE(message.find("caches.test.location"), std::string::npos) << message;
  }
  EXPECT_NE(problem_of({}).find("expected a server"), std::string::npos);
}

TEST(RedisConfiguration, SaysEverythingOnce) {
  EXPECT_NE(problem_of({"redis://:a@host"}, {{"password", "b"}}).find("say it once"),
            std::string::npos);
  EXPECT_NE(problem_of({"redis://u:a@host"}, {{"user", "b"}}).find("say it once"),
            std::string::npos);
  EXPECT_NE(problem_of({"redis://host/1"}, {{"database", std::int64_t{1}}}).find("say it once"),
            std::string::npos);
  EXPECT_EQ(problem_of({"redis://u@host"}, {{"password", "b"}}), "no error");
  EXPECT_EQ(problem_of({"redis://:a@host"}, {{"password", ""}, {"user", ""}}), "no error");
  EXPECT_NE(problem_of({"redis://u:@host"}).find("without a password"), std::string::npos);
  EXPECT_NE(problem_of({"host"}, {{"timeout", "0s"}}), "no error");
  EXPECT_NE(problem_of({"host"}, {{"max_value_bytes", std::int64_t{0}}}), "no error");
  EXPECT_NE(problem_of({"host"}, {{"tiemout", "1s"}}).find("timeout"), std::string::npos);
}

TEST(RedisConfiguration, LimitsThatMakeNoSenseAreNamed) {
  const auto refuses = [](const std::string& option, OptionMap options) {
    const std::string problem = problem_of({"host"}, std::move(options));
    EXPECT_EQ(problem.find("caches.test.options." + option + ": "), 0U) << problem;
  };
  for (const char* option : {"timeout", "connect_timeout", "idle_timeout"}) {
    refuses(option, {{option, "0s"}});
    refuses(option, {{option, "-1s"}});
    refuses(option, {{option, "100000d"}});
  }
  refuses("max_connections", {{"max_connections", std::int64_t{0}}});
  refuses("max_connections", {{"max_connections", std::int64_t{-1}}});
  refuses("max_connections", {{"max_connections", std::int64_t{1'000'000'000}}});
  refuses("connect_timeout", {{"connect_timeout", "2s"}, {"timeout", "1s"}});
  EXPECT_EQ(problem_of({"host"}, {{"connect_timeout", "1s"}, {"timeout", "1s"}}), "no error");
  EXPECT_EQ(problem_of({"host"}, {{"timeout", "100ms"}}), "no error") << "the default bends";
  EXPECT_EQ(problem_of({"host"}, {{"max_connections", std::int64_t{1}}, {"idle_timeout", "1s"}}),
            "no error");
}

TEST(RedisConfiguration, ShowsNoSecret) {
  for (const char* location :
       {"redis://user:s3cret@host:x", "redis://u:s3/s3cret@host", "redis://u:p@s3/s3cret@h",
        "http://u:s3cret@host", "unix://u:s3cret@run", "u:s3cret@host"}) {
    EXPECT_EQ(problem_of({location}).find("s3cret"), std::string::npos) << location;
  }
  EXPECT_EQ(problem_of({"redis://:a@host"}, {{"password", "s3cret"}}).find("s3cret"),
            std::string::npos);
}

}  // namespace
}  // namespace polycache
