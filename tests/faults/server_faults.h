// What the tests of faults of network stores begin with: a server, a gate in between that does
// harm, and the store under two policies. ServerFaults runs each test on every kind of server;
// a kind says what the servers differ in.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "over_tls.h"
#include "polycache/author/clock.h"
#include "polycache/author/plugin.h"
#include "polycache/cache.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "support/gate.h"
#include "support/server.h"
#include "two_policies.h"

namespace polycache::testing {

// Of the stores whose limits are looked at. All others have one that no machine misses.
constexpr std::chrono::milliseconds operation_timeout{500};
// An operation's limit, and what a machine may need that has other things to do.
constexpr std::chrono::milliseconds time_limit = operation_timeout + std::chrono::seconds(10);

// Longer than any pause between connections and than a breaker's first; than any pause at all.
constexpr std::chrono::milliseconds short_pause{1300};
constexpr std::chrono::milliseconds long_pause{40'000};

struct ServerKind {
  const char* name;  // of the store, too
  const PluginDescriptor& plugin;
  const char* scheme_of_tls;
  Service (*start)();
  // A regular expression for what an error says if connections are accepted and then end.
  const char* broken;
  // What a warning says of a value of 200,000 bytes that is over the limit.
  const char* too_large;
  // More than fits into the buffers of sockets, and less than the server refuses.
  std::size_t large_value;
  // All that the server says to a get of that final key.
  std::string (*reply_to_get)(std::string_view final_key, std::string_view value);
  // What is no reply to a get of the final key ":1:k".
  std::vector<std::string> (*nonsense)();
  // Numbers that the server says of itself. Asking may take a connection.
  std::int64_t (*connections_received)(const Server& server);
  std::int64_t (*connections_now)(const Server& server);
  std::int64_t (*values_stored)(const Server& server);
  // Removes all entries, past the store.
  void (*clear)(const Server& server);
};

// For ctest, whose names of tests must not change with addresses.
inline void PrintTo(const ServerKind* kind, std::ostream* stream) { *stream << kind->name; }

inline void expect_full_service(Cache& cache) {
  using std::chrono_literals::operator""min;
  EXPECT_TRUE(cache.set("full", "service"));
  EXPECT_EQ(cache.get("full"), "service");
  EXPECT_TRUE(cache.touch("full", 1min));
  EXPECT_TRUE(cache.erase("full"));
  EXPECT_TRUE(cache.add("full", 1));
  EXPECT_EQ(cache.incr("full"), 2);
  EXPECT_EQ(cache.pop<int>("full"), 2);
  EXPECT_TRUE(cache.set_many(std::map<std::string, std::string>{{"a", "1"}, {"b", "2"}}).empty());
  EXPECT_EQ(cache.get_many({"a", "b"})[1], "2");
  EXPECT_TRUE(cache.set("full", "service"));
  EXPECT_EQ(cache.erase_many({"a", "b", "full"}), 3U);
}

inline void expect_full_service(TwoPolicies& store) {
  expect_full_service(store.open());
  expect_full_service(store.strict());
}

// A server behind a gate; time stands still but for waiting for the server.
class ServerFixture : public ::testing::Test {
 protected:
  explicit ServerFixture(const ServerKind& kind) : kind_(kind) {}

  // Servers are as this run of the suite needs them (over_tls.h).
  TwoPolicies store_at(std::vector<std::string> location, OptionMap options = {}) {
    return store(std::move(location), std::move(options), clock_);
  }
  TwoPolicies store_in_real_time(std::vector<std::string> location, OptionMap options = {}) const {
    return store(std::move(location), std::move(options), Clock::real());
  }

  // Whatever pauses there are, they are over.
  void heal() {
    gate_.pass();
    clock_.advance(long_pause);
  }
  void expect_healed() { expect_full_service(store_); }

  // For a store whose limits a busy machine may miss.
  bool serves_soon(TwoPolicies& store) {
    return soon([&] {
      clock_.advance(long_pause);
      return serves(store.open()) && serves(store.strict());
    });
  }

  // The two ways to be dead: the port refuses connections, or they are accepted and end.
  struct Outage {
    std::function<void()> begin;
    std::function<void()> end;
    std::string reason;  // a regular expression for a part of what errors say
  };
  std::vector<Outage> outages() {
    return {{[&] { gate_.down(); }, [&] { gate_.pass(); }, "refused"},
            {[&] { server_->kill9(); }, [&] { server_->start(); }, kind_.broken}};
  }

  const ServerKind& kind_;
  Service service_ = kind_.start();
  std::unique_ptr<Server>& server_ = service_.server;
  Gate gate_{service_.port};
  ManualClock clock_;
  TwoPolicies store_ = store_at({gate_.address()});
  Cache& open_ = store_.open();
  Cache& strict_ = store_.strict();

 private:
  // Connecting may take the whole limit: a TLS handshake does on a busy machine.
  TwoPolicies store(std::vector<std::string> location, OptionMap options,
                    const Clock& clock) const {
    const OptionValue limit = options.try_emplace("timeout", "60s").first->second;
    options.try_emplace("connect_timeout", limit);
    return {kind_.plugin, as_run(kind_.scheme_of_tls, std::move(location)),
            as_run(std::move(options)), "60s", clock};
  }
  static bool serves(Cache& cache) {
    try {
      return cache.set("full", "service") && cache.get("full") == "service" && cache.erase("full");
    } catch (const BackendError&) {
      return false;
    }
  }
};

// Instantiated in server_faults_test.cpp, with the kinds of which this build has the store.
class ServerFaults : public ServerFixture, public ::testing::WithParamInterface<const ServerKind*> {
 protected:
  ServerFaults() : ServerFixture(*GetParam()) {}
};

}  // namespace polycache::testing
