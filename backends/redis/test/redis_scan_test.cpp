// Listing and erasing by pattern in redis, on real servers: what redis's own patterns and types
// would do otherwise, replicas, and what is sent.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/backends/redis.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "support/peer.h"
#include "support/server.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Server;
using testing::TestContext;

using Keys = std::multiset<std::string>;

class Store {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {})
      : factory_(context_.make(redis::plugin, {std::move(location), std::move(options)})),
        session_(factory_->connect()) {}

  Backend& session() { return *session_; }
  template <class Extension>
  Extension& of() {
    return *static_cast<Extension*>(session_->extension(Extension::id));
  }
  void put(const std::string& key, std::string_view value = "v", Ttl ttl = Ttl::forever()) {
    session_->put(key, value, ttl, PutMode::always);
  }
  Keys keys(std::string_view pattern, std::size_t at_most = 100) {
    Keys keys;
    std::string cursor;
    do {
      cursor = of<ScanExtension>().scan(
          pattern, cursor, at_most,
          [&](const ScanExtension::Listed& entry) { keys.emplace(entry.key); });
    } while (!cursor.empty());
    return keys;
  }
  std::size_t erase(std::string_view pattern) {
    return of<ErasePatternExtension>().erase_pattern(pattern);
  }
  std::vector<std::string> warnings() const { return context_.warnings(); }

 private:
  TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

void command(const Server& server, const std::string& arguments) {
  const std::string line =
      "redis-cli -p " + std::to_string(server.port()) + " " + arguments + " > /dev/null";
  ASSERT_EQ(std::system(line.c_str()), 0) << line;
}

TEST(RedisScan, MatchesAsEveryStoreDoesNotAsRedis) {
  const auto server = Server::redis();
  Store store({server->address()});
  for (const char* const key : {"x\xE0y", "xay", "x-y", "x^y", "x!y", "xy", "x]y", "x\\y"}) {
    store.put(key);
  }
  // redis compares signed bytes, and would exchange the ends of this range.
  EXPECT_EQ(store.keys("x[z-\xFF]y"), Keys{"x\xE0y"});
  EXPECT_EQ(store.keys("x[a-\xFF]y"), (Keys{"x\xE0y", "xay"}));
  EXPECT_EQ(store.keys("x[^a]y"), (Keys{"x\xE0y", "x-y", "x^y", "x!y", "x]y", "x\\y"}));
  EXPECT_EQ(store.keys("x[\\]\\\\]y"), (Keys{"x]y", "x\\y"}));
  EXPECT_EQ(store.keys("x[\\^-]y"), (Keys{"x^y", "x-y"}));
  EXPECT_EQ(store.keys("x\\\\y"), Keys{"x\\y"});
  EXPECT_EQ(store.keys("*x*y*"), store.keys("*"));
  EXPECT_EQ(store.keys("*x*y*z*"), Keys{});
}

TEST(RedisScan, ReportsSizeAndLifetime) {
  const auto server = Server::redis();
  Store store({server->address()});
  store.put("minute", "12345", Ttl(1min));
  store.put("never", "");
  std::size_t seen = 0;
  store.of<ScanExtension>().scan("*", "", 1000, [&](const ScanExtension::Listed& entry) {
    ++seen;
    EXPECT_EQ(entry.size, entry.key == "minute" ? 5U : 0U);
    ASSERT_TRUE(entry.left);
    EXPECT_EQ(entry.left->is_forever(), entry.key == "never");
  });
  EXPECT_EQ(seen, 2U);
}

TEST(RedisScan, NeitherListsNorErasesKeysOfOtherTypes) {
  const auto server = Server::redis();
  Store store({server->address()});
  store.put("k:string");
  command(*server, "rpush k:list a b");
  command(*server, "hset k:hash f v");
  command(*server, "sadd other:set m");
  EXPECT_EQ(store.keys("k:*"), Keys{"k:string"});
  EXPECT_EQ(store.erase("k:*"), 1U);
  EXPECT_EQ(store.keys("*"), Keys{});
  command(*server, "rename k:list k:kept && test $(redis-cli -p " + std::to_string(server->port()) +
                       " exists k:kept k:hash other:set) = 3");
  EXPECT_THAT(store.warnings(), IsEmpty());
}

TEST(RedisScan, LeavesOtherDatabasesAlone) {
  const auto server = Server::redis();
  Store first({"redis://" + server->address() + "/1"});
  Store second({"redis://" + server->address() + "/2"});
  first.put("k");
  second.put("k");
  EXPECT_EQ(first.keys("*"), Keys{"k"});
  EXPECT_EQ(first.erase("*"), 1U);
  EXPECT_EQ(second.keys("*"), Keys{"k"});
}

TEST(RedisScan, ReadsThePrimaryAndNotAReplica) {
  const auto primary = Server::redis();
  const auto replica = Server::redis();  // has nothing, as one that lags behind
  Store store({primary->address(), replica->address()});
  for (int i = 0; i < 300; ++i) store.put("k" + std::to_string(i));
  EXPECT_EQ(store.keys("k*", 50).size(), 300U);
  EXPECT_EQ(store.erase("k*"), 300U);
}

TEST(RedisScan, FindsEveryKeyWhileOthersComeAndGo) {
  const auto server = Server::redis();
  Store store({server->address()});
  for (int i = 0; i < 2000; ++i) store.put("stays" + std::to_string(i));
  std::set<std::string> found;
  std::string cursor;
  int added = 0;
  do {
    cursor = store.of<ScanExtension>().scan(
        "stays*", cursor, 50,
        [&](const ScanExtension::Listed& entry) { found.emplace(entry.key); });
    // The server's table grows, and shrinks again.
    for (int i = 0; i < 200 && added < 8000; ++i) store.put("new" + std::to_string(added++));
    if (added == 8000) store.erase("new*");
  } while (!cursor.empty());
  EXPECT_EQ(found.size(), 2000U);
}

TEST(RedisScan, WorksWithoutUnlink) {
  const auto server = Server::redis({"--rename-command", "UNLINK", ""});
  Store store({server->address()});
  for (int i = 0; i < 10; ++i) store.put("k" + std::to_string(i));
  EXPECT_EQ(store.erase("k*"), 10U);
}

TEST(RedisScan, SaysThatAServerDeniesIt) {
  const auto server = Server::redis({"--rename-command", "SCAN", ""});
  Store store({server->address()});
  try {
    store.keys("*");
    ADD_FAILURE() << "it listed keys";
  } catch (const BackendError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the server refuses"));
  }
}

// What the server is asked for: no brackets, and no more than three stars.
TEST(RedisScan, SendsAPatternThatIsCheapForTheServer) {
  std::string heard;
  const testing::Peer peer([&](int connection) {
    for (;;) {
      const std::string request = testing::peer_hears(connection);
      if (request.empty()) return;
      heard += request;
      testing::peer_says(connection, "*2\r\n$1\r\n0\r\n*0\r\n");
    }
  });
  {
    Store store({peer.address()});
    EXPECT_EQ(store.keys("a[b-c]\\*\\[d*e*f[*]*g*h"), Keys{});
  }
  EXPECT_THAT(heard, HasSubstr("\r\na?\\*\\[d*e*f?*\r\n"));
  EXPECT_THAT(heard, HasSubstr("COUNT\r\n$3\r\n100\r\n"));
}

TEST(RedisScan, AReplyThatIsNoneOfScanIsAnError) {
  const std::vector<std::string> replies{
      "*2\r\n$1\r\nx\r\n*0\r\n", "*0\r\n", "+OK\r\n", ":1\r\n", "-ERR no\r\n", "$-1\r\n"};
  for (const std::string& reply : replies) {
    const testing::Peer peer([&](int connection) {
      while (!testing::peer_hears(connection).empty()) testing::peer_says(connection, reply);
    });
    Store store({peer.address()});
    EXPECT_THROW(store.keys("*"), BackendError) << reply;
  }
}

TEST(RedisScan, RefusesACursorOfAnotherStore) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto ignore = [](const ScanExtension::Listed&) {};
  for (const char* const cursor : {"x", "0", "0.", "0.x", "1.0", "0.1 MATCH", "-1.0"}) {
    EXPECT_THROW(store.of<ScanExtension>().scan("*", cursor, 10, ignore), ValueError) << cursor;
  }
}

}  // namespace
}  // namespace polycache
