// Which server a session asks: one, a primary or its replicas, or, by a topology that is made here,
// several that share the keys and move them, as those of a cluster do.

#include "topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/testing/manual_clock.h"
#include "server_error.h"
#include "session.h"
#include "shared.h"
#include "support/peer.h"
#include "support/server.h"

namespace polycache::redis {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ManualClock;
using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using ::testing::UnorderedElementsAre;
using Kind = BackendError::Kind;

std::shared_ptr<Shared> make_shared_part(const std::vector<std::string>& locations,
                                         const Clock& clock = Clock::real()) {
  const OptionMap options;
  const OptionReader reader("caches.test", locations, options);
  const auto no_sibling = [](std::string_view) -> std::shared_ptr<BackendFactory> {
    throw ConfigError("there is no other alias in this test");
  };
  const auto process_wide = [](std::string_view, FunctionRef<std::shared_ptr<void>()> make) {
    return make();
  };
  const BackendContext context{.alias = "test",
                               .clock = clock,
                               .key_head = "",
                               .inner = nullptr,
                               .sibling = no_sibling,
                               .report = [](const Warning&) {},
                               .process_wide = process_wide};
  return std::make_shared<Shared>(reader, context);
}

Deadline soon() { return deadline_after(5000ms); }

// --- The topologies of today ---

class ReplicaTopologyTest : public ::testing::Test {
 protected:
  const Server& server(std::size_t number) const { return *shared_->servers[number]; }
  const Server& asked(Purpose purpose, Deadline deadline = soon()) {
    return *topology_->server_for("k", purpose, deadline).server;
  }
  // Nothing listens there: the breaker opens.
  void take_down(std::size_t number) {
    std::size_t hint = 0;
    for (int i = 0; i < 5; ++i) {
      Server::Call call(*shared_->servers[number], hint, Purpose::read, soon());
      try {
        call.begin(Check::nothing);
        ADD_FAILURE() << "something listens on port 1";
      } catch (const BackendError& error) {
        call.failed(error);
      }
      clock_.advance(1300ms);
    }
    clock_.advance(-1300ms);
    ASSERT_TRUE(server(number).refuses(Purpose::read));
  }

  ManualClock clock_;
  const std::shared_ptr<Shared> shared_ =
      make_shared_part({"127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"}, clock_);
  const std::unique_ptr<Topology> topology_ = make_topology(shared_->servers, 0);
};

TEST_F(ReplicaTopologyTest, OnlyPlainReadsGoToReplicas) {
  EXPECT_EQ(&asked(Purpose::read), &server(1));
  for (const Purpose purpose : {Purpose::read_latest, Purpose::write, Purpose::erase}) {
    EXPECT_EQ(&asked(purpose), &server(0));
  }
  EXPECT_EQ(topology_->readers(), 3U);
  EXPECT_EQ(topology_->parts(), 1U);
}

TEST_F(ReplicaTopologyTest, SessionsAreDistributedOverTheReplicas) {
  for (std::size_t turn = 0; turn < 6; ++turn) {
    const auto topology = make_topology(shared_->servers, turn);
    EXPECT_EQ(topology->server_for("k", Purpose::read, soon()).server, &server(1 + turn % 2));
  }
}

TEST_F(ReplicaTopologyTest, ASessionThatLeavesAReplicaReturnsAfterTenSeconds) {
  const Deadline now = soon();
  topology_->switch_replica(now);
  EXPECT_EQ(&asked(Purpose::read, now), &server(2));
  topology_->switch_replica(now);
  EXPECT_EQ(&asked(Purpose::read, now), &server(0));
  EXPECT_EQ(&asked(Purpose::read, now + 9999ms), &server(0));
  EXPECT_EQ(&asked(Purpose::read, now + 10s), &server(1));
}

TEST_F(ReplicaTopologyTest, PlainReadsSkipServersThatAreKnownToBeDown) {
  take_down(1);
  EXPECT_EQ(&asked(Purpose::read), &server(2));
  EXPECT_TRUE(topology_->admits("k", Access::read));
  EXPECT_TRUE(topology_->admits("k", Access::write));
  EXPECT_TRUE(topology_->admits_all());
}

TEST_F(ReplicaTopologyTest, EveryServerIsVisitedAndOnePrimary) {
  std::vector<std::string> all;
  topology_->for_each([&](Place place) { all.push_back(place.server->name()); });
  EXPECT_THAT(all, ElementsAre("127.0.0.1:1", "127.0.0.2:1", "127.0.0.3:1"));
  std::vector<std::string> primaries;
  topology_->for_each_primary([&](Place place) { primaries.push_back(place.server->name()); });
  EXPECT_THAT(primaries, ElementsAre("127.0.0.1:1"));
}

TEST_F(ReplicaTopologyTest, IsNoCluster) { EXPECT_FALSE(topology_->moved(1, "127.0.0.9:1")); }

TEST(RedisSingleTopology, AsksOneServerForEverything) {
  const auto shared = make_shared_part({"127.0.0.1:1"});
  const auto topology = make_topology(shared->servers, 7);
  for (const Purpose purpose :
       {Purpose::read, Purpose::read_latest, Purpose::write, Purpose::erase}) {
    EXPECT_EQ(topology->server_for("k", purpose, soon()).server, shared->servers[0].get());
  }
  EXPECT_EQ(topology->readers(), 1U);
  EXPECT_FALSE(topology->moved(1, "127.0.0.9:1"));
  EXPECT_TRUE(topology->admits_all());
}

// --- Redirections ---

TEST(RedisRedirection, IsParsed) {
  const auto found = redirection_in("MOVED 3999 127.0.0.1:6381");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->slot, 3999);
  EXPECT_EQ(found->address, "127.0.0.1:6381");
  EXPECT_EQ(redirection_in("MOVED 0 [::1]:1")->address, "[::1]:1");
}

TEST(RedisRedirection, OtherErrorsAreNone) {
  for (const char* const error :
       {"", "MOVED", "MOVED ", "MOVED x a:1", "MOVED -1 a:1", "MOVED 16384 a:1", "MOVED 1",
        "MOVED 1 ", "MOVED 99999999999999 a:1", "MOVEDX 1 a:1", "ASK 1 a:1", "ERR MOVED 1 a:1"}) {
    EXPECT_FALSE(redirection_in(error)) << error;
  }
}

// --- Sessions of servers that share the keys ---

// Keys that end in an even digit are one part, all others the second one. The servers of both are
// those of the alias, until a part moves to the third.
class SplitTopology final : public Topology {
 public:
  explicit SplitTopology(std::span<const std::unique_ptr<Server>> servers)
      : servers_(servers), hints_(servers.size()) {}

  std::size_t parts() const noexcept override { return 2; }
  std::size_t part_of(std::string_view key) const noexcept override {
    return !key.empty() && (key.back() - '0') % 2 == 0 ? 0 : 1;
  }
  Place server_for(std::string_view key, Purpose /*purpose*/,
                   Deadline /*deadline*/) noexcept override {
    return place(server_of_part_[part_of(key)]);
  }
  std::size_t readers() const noexcept override { return 1; }
  void switch_replica(Deadline /*deadline*/) noexcept override {}
  bool moved(int slot, std::string_view address) override {
    ++moves;
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if (servers_[i]->name() != address) continue;
      server_of_part_.at(static_cast<std::size_t>(slot)) = i;
      return true;
    }
    return false;
  }
  void for_each_primary(FunctionRef<void(Place)> visit) override {
    visit(place(0));
    visit(place(1));
  }
  void for_each(FunctionRef<void(Place)> visit) override { for_each_primary(visit); }
  bool admits(std::string_view /*key*/, Access /*access*/) const noexcept override { return true; }
  bool admits_all() const noexcept override { return true; }

  int moves = 0;

 private:
  Place place(std::size_t number) noexcept { return {servers_[number].get(), &hints_[number]}; }

  const std::span<const std::unique_ptr<Server>> servers_;
  std::vector<std::size_t> hints_;
  std::vector<std::size_t> server_of_part_{0, 1};
};

TEST(RedisParts, AreVisitedOneByOneWithThePlacesOfTheirElements) {
  const auto shared = make_shared_part({"127.0.0.1:1", "127.0.0.2:1"});
  const SplitTopology topology(shared->servers);
  const std::vector<std::string_view> keys{"1", "2", "3", "4", "2"};
  std::vector<std::string> seen;
  for_each_part(topology, std::span(keys), std::identity(), [&](auto part, auto index_of) {
    std::string text;
    for (std::size_t i = 0; i < part.size(); ++i) {
      text += std::string(part[i]) + "@" + std::to_string(index_of(i)) + " ";
    }
    seen.push_back(text);
  });
  EXPECT_THAT(seen, ElementsAre("2@1 4@3 2@4 ", "1@0 3@2 "));
}

class SplitSessionTest : public ::testing::Test {
 protected:
  static std::string location(const testing::Server& server) { return server.address(); }

  std::optional<std::string> get(std::string_view key) {
    std::optional<std::string> value;
    session_.get(key, [&](std::string_view bytes) { value = bytes; });
    return value;
  }
  // What one of the servers has.
  std::optional<std::string> at(const testing::Server& server, std::string_view key) {
    Session session(make_shared_part({location(server)}));
    std::optional<std::string> value;
    session.get(key, ValueSink([&](std::string_view bytes) { value = bytes; }));
    return value;
  }
  void put_six() {
    std::vector<Item> items;
    for (const std::string_view key : keys_) items.push_back({key, key, Ttl::forever()});
    session_.put_many(items, PutMode::always, [](std::size_t i) { ADD_FAILURE() << i; });
  }

  const std::vector<std::string_view> keys_{"k1", "k2", "k3", "k4", "k5", "k6"};
  const std::unique_ptr<testing::Server> even_ = testing::Server::redis();
  const std::unique_ptr<testing::Server> odd_ = testing::Server::redis();
  const std::shared_ptr<Shared> shared_ = make_shared_part({location(*even_), location(*odd_)});
  Session session_{shared_, std::make_unique<SplitTopology>(shared_->servers)};
};

TEST_F(SplitSessionTest, EveryKeyIsOnItsServer) {
  put_six();
  EXPECT_EQ(at(*even_, "k2"), "k2");
  EXPECT_EQ(at(*odd_, "k2"), std::nullopt);
  EXPECT_EQ(at(*even_, "k5"), std::nullopt);
  EXPECT_EQ(at(*odd_, "k5"), "k5");
  EXPECT_EQ(get("k2"), "k2");
  EXPECT_EQ(get("k5"), "k5");
}

TEST_F(SplitSessionTest, BulkReadsFindAllKeysAtTheirPlaces) {
  put_six();
  const std::vector<std::string_view> asked{"k6", "k7", "k1", "k4", "k3"};
  std::map<std::size_t, std::string> found;
  session_.get_many(
      asked, IndexedValueSink([&](std::size_t i, std::string_view value) { found[i] = value; }));
  EXPECT_EQ(found,
            (std::map<std::size_t, std::string>{{0, "k6"}, {2, "k1"}, {3, "k4"}, {4, "k3"}}));
  std::map<std::size_t, std::string> with_lifetimes;
  static_cast<TtlExtension&>(session_).get_many(
      asked, [&](std::size_t i, std::string_view value, Ttl) { with_lifetimes[i] = value; });
  EXPECT_EQ(with_lifetimes, found);
}

TEST_F(SplitSessionTest, ItemsThatAreNotStoredAreReportedAtTheirPlaces) {
  ASSERT_TRUE(session_.put("k3", "old", Ttl::forever(), PutMode::always));
  ASSERT_TRUE(session_.put("k4", "old", Ttl::forever(), PutMode::always));
  std::vector<Item> items;
  for (const std::string_view key : keys_) items.push_back({key, key, Ttl::forever()});
  std::vector<std::size_t> failed;
  session_.put_many(items, PutMode::if_absent, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_THAT(failed, UnorderedElementsAre(2U, 3U));
}

TEST_F(SplitSessionTest, BulkErasuresCountAllParts) {
  put_six();
  const std::vector<std::string_view> some{"k1", "k2", "k7", "k4"};
  EXPECT_EQ(session_.erase_many(some), 3U);
  EXPECT_EQ(get("k4"), std::nullopt);
  EXPECT_EQ(get("k3"), "k3");
}

TEST_F(SplitSessionTest, ClearingReachesEveryPrimary) {
  put_six();
  EXPECT_EQ(session_.erase_prefix("k"), 6U);
  put_six();
  session_.clear();
  EXPECT_EQ(get("k1"), std::nullopt);
  EXPECT_EQ(get("k2"), std::nullopt);
}

TEST_F(SplitSessionTest, AKeyThatHasMovedIsSoughtThereWithoutAFailure) {
  const Peer old([&](int connection) {
    while (!peer_hears(connection).empty()) {
      peer_says(connection, "-MOVED 1 " + odd_->address() + "\r\n");
    }
  });
  const auto shared = make_shared_part({even_->address(), old.address(), odd_->address()});
  auto topology = std::make_unique<SplitTopology>(shared->servers);
  SplitTopology& split = *topology;
  Session session(shared, std::move(topology));
  EXPECT_TRUE(session.put("k1", "v", Ttl::forever(), PutMode::always));
  EXPECT_EQ(split.moves, 1);
  EXPECT_EQ(at(*odd_, "k1"), "v");
  EXPECT_TRUE(session.erase("k1"));
  EXPECT_EQ(split.moves, 1);
  EXPECT_EQ(old.accepted(), 1);
  EXPECT_TRUE(shared->servers[1]->admits_all());
  EXPECT_TRUE(shared->servers[1]->breaker().calm());
}

TEST_F(SplitSessionTest, ServersThatNameOneAnotherAreAnError) {
  std::string first;
  std::string second;
  const auto names = [](const std::string& other) {
    return [&other](int connection) {
      while (!peer_hears(connection).empty()) {
        peer_says(connection, "-MOVED 1 " + other + "\r\n");
      }
    };
  };
  const Peer one(names(second));
  const Peer two(names(first));
  first = one.address();
  second = two.address();
  const auto shared = make_shared_part({even_->address(), first, second});
  Session session(shared, std::make_unique<SplitTopology>(shared->servers));
  try {
    session.put("k1", "v", Ttl::forever(), PutMode::always);
    ADD_FAILURE() << "no error";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), Kind::overloaded);
    EXPECT_THAT(error.what(), HasSubstr("name one another"));
  }
}

TEST(RedisSession, AServerOfAClusterIsAnErrorThatSaysWhatToDo) {
  const Peer peer([](int connection) {
    while (!peer_hears(connection).empty()) peer_says(connection, "-MOVED 1 127.0.0.1:1\r\n");
  });
  Session session(make_shared_part({peer.address()}));
  try {
    session.put("k1", "v", Ttl::forever(), PutMode::always);
    ADD_FAILURE() << "no error";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), Kind::storage);
    EXPECT_THAT(error.what(), HasSubstr("belongs to a cluster"));
  }
}

}  // namespace
}  // namespace polycache::redis
