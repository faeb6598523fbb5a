// Locks on real servers: messages of a release, eviction policies, and servers that deny commands.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/redis.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "support/message_of.h"
#include "support/server.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

using testing::message_of;
using testing::Server;
using Keeping = LockExtension::Keeping;
using Time = std::chrono::steady_clock;

constexpr std::string_view key = "shop:~k:{l.report}";

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

LockExtension& locks(Backend& session) {
  return *static_cast<LockExtension*>(session.extension(LockExtension::id));
}

bool take(Backend& session, std::string_view token, std::uint32_t permits = 1,
          std::chrono::milliseconds lease = 1min) {
  return locks(session).take({.key = key, .token = token, .permits = permits}, lease).taken;
}

bool release(Backend& session, std::string_view token, std::uint32_t permits = 1) {
  return locks(session).release({.key = key, .token = token, .permits = permits});
}

void command(const Server& server, const std::string& words) {
  const std::string call = "redis-cli -h " + server.host() + " -p " +
                           std::to_string(server.port()) + " " + words + " > /dev/null";
  ASSERT_EQ(std::system(call.c_str()), 0) << words;
}

TEST(RedisLocks, AReleaseWakesOneWhoWaits) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  ASSERT_TRUE(take(*session, "a"));
  Time::duration waited{};
  std::thread waiting([&] {
    const auto mine = store.connect();
    const auto begin = Time::now();
    EXPECT_TRUE(locks(*mine).wait(key, 60s));
    waited = Time::now() - begin;
    EXPECT_TRUE(take(*mine, "b"));
  });
  std::this_thread::sleep_for(50ms);
  EXPECT_TRUE(release(*session, "a"));
  waiting.join();
  EXPECT_LT(waited, 30s);
}

TEST(RedisLocks, AMessageWaitsForOneWhoComesLate) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  ASSERT_TRUE(take(*session, "a", 2));
  ASSERT_TRUE(take(*session, "b", 2));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(release(*session, "a", 2));
    EXPECT_TRUE(take(*session, "a", 2));
  }
  const auto begin = Time::now();
  EXPECT_TRUE(locks(*session).wait(key, 60s));
  EXPECT_TRUE(locks(*session).wait(key, 60s)) << "as many messages as permits";
  EXPECT_LT(Time::now() - begin, 30s);
  const auto then = Time::now();
  EXPECT_TRUE(locks(*session).wait(key, 100ms));
  EXPECT_GE(Time::now() - then, 90ms) << "but no more";
}

TEST(RedisLocks, ThoseWhoWaitDelayNoRelease) {
  const auto server = Server::redis();
  Store store({server->address()}, {{"max_connections", std::int64_t{1}}});
  const auto session = store.connect();
  ASSERT_TRUE(take(*session, "a"));
  std::thread waiting([&] { EXPECT_TRUE(locks(*store.connect()).wait(key, 60s)); });
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(locks(*session).wait(key, 60s)) << "there is no connection left to wait on";
  EXPECT_TRUE(release(*session, "a"));
  waiting.join();
}

TEST(RedisLocks, ALockHasNoLifetimeSoThatNoPolicyForThoseEvictsIt) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  ASSERT_TRUE(take(*session, "a"));
  command(*server, "ttl '" + std::string(key) + "' | grep -q '^-1$'");
  EXPECT_TRUE(release(*session, "a"));
}

TEST(RedisLocks, FencesGrowOverAServerThatWasEmptied) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  const auto first = locks(*session).take({.key = key, .token = "a"}, 1min);
  EXPECT_GT(first.fence, 1'000'000'000'000'000U);
  session->clear();
  std::this_thread::sleep_for(1ms);
  const auto second = locks(*session).take({.key = key, .token = "b"}, 1min);
  EXPECT_TRUE(second.taken) << "an emptied server has no locks";
  EXPECT_GT(second.fence, first.fence);
}

TEST(RedisLocks, LongLeasesAreKept) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  EXPECT_TRUE(take(*session, "a", 1, std::chrono::milliseconds::max()));
  const auto refused = locks(*session).take({.key = key, .token = "b"}, 1min);
  EXPECT_FALSE(refused.taken);
  EXPECT_GT(refused.wait, 24h * 365 * 99);
  EXPECT_TRUE(locks(*session).renew({.key = key, .token = "a"}, std::chrono::milliseconds::max()));
  EXPECT_TRUE(release(*session, "a"));
}

TEST(RedisLocks, TheServersPolicySaysWhetherItEvictsThem) {
  const auto server = Server::redis({"--maxmemory-policy", "allkeys-lru"});
  Store store({server->address()});
  EXPECT_EQ(locks(*store.connect()).keeping(), Keeping::may_evict);
  for (const char* const policy : {"volatile-lru", "noeviction"}) {
    command(*server, std::string("config set maxmemory-policy ") + policy);
    Store other({server->address()});
    EXPECT_EQ(locks(*other.connect()).keeping(), Keeping::kept) << policy;
    EXPECT_TRUE(other.warnings().empty());
  }
}

TEST(RedisLocks, AServerThatDeniesTheQuestionIsAWarning) {
  const auto server = Server::redis();
  command(*server, "acl setuser shop on nopass '~*' +@all -config");
  Store store({"redis://shop:any@" + server->address()});
  const auto session = store.connect();
  EXPECT_EQ(locks(*session).keeping(), Keeping::not_known);
  EXPECT_EQ(locks(*store.connect()).keeping(), Keeping::not_known);
  ASSERT_EQ(store.warnings().size(), 1U);
  EXPECT_NE(store.warnings().front().find("does not say whether it evicts locks"),
            std::string::npos)
      << store.warnings().front();
  EXPECT_TRUE(take(*session, "a"));
  EXPECT_TRUE(release(*session, "a"));
}

TEST(RedisLocks, AServerThatDeniesWaitingIsAskedAgainAndAgain) {
  const auto server = Server::redis();
  command(*server, "acl setuser shop on nopass '~*' +@all -blpop");
  Store store({"redis://shop:any@" + server->address()});
  const auto session = store.connect();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(locks(*session).wait(key, 60s));
  EXPECT_EQ(store.warnings().size(), 1U);
}

TEST(RedisLocks, AServerThatDeniesScriptsHasNoLocks) {
  const auto server = Server::redis();
  command(*server, "acl setuser shop on nopass '~*' +@all -evalsha -eval");
  Store store({"redis://shop:any@" + server->address()});
  const auto session = store.connect();
  for (int i = 0; i < 2; ++i) {
    const std::string message = message_of<BackendError>([&] { take(*session, "a"); });
    EXPECT_NE(message.find("locks need scripts"), std::string::npos) << message;
  }
}

TEST(RedisLocks, AServerThatIsDownIsAnErrorForThoseWhoWait) {
  const auto server = Server::redis();
  Store store({server->address()});
  const auto session = store.connect();
  ASSERT_TRUE(take(*session, "a"));
  std::thread waiting([&] {
    const auto mine = store.connect();
    EXPECT_THROW(locks(*mine).wait(key, 60s), BackendError);
  });
  std::this_thread::sleep_for(50ms);
  server->kill9();
  waiting.join();
  EXPECT_THROW(take(*session, "b"), BackendError);
}

}  // namespace
}  // namespace polycache
