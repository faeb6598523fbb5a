// What must be survived with memcached only; server_faults_test has what all servers have in
// common, and memcached_servers_test.cpp is about several servers of one store.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "memcached_server.h"
#include "polycache/backends/memcached.h"
#include "polycache/error.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/registry.h"
#include "server_faults.h"
#include "support/gate.h"
#include "support/server.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

namespace polycache::testing {
namespace {

using Kind = BackendError::Kind;
using State = CircuitBreaker::State;

class MemcachedFaults : public ServerFixture {
 protected:
  MemcachedFaults() : ServerFixture(memcached_server) {}
};

// --- 3: comes back ---

// Neither before a breaker opens, while no connection to the other one is tried.
TEST_F(MemcachedFaults, OneServersSuccessIsNoRecoveryOfAnother) {
  const auto other = Server::memcached();
  other->kill9();
  TwoPolicies store = store_at({gate_.address(), other->address()});
  const auto hits = [&] {
    int found = 0;
    for (int i = 0; i < 20; ++i) {
      const std::string key = "key" + std::to_string(i);
      found += store.open().set(key, i) && store.open().get<int>(key) == i ? 1 : 0;
    }
    return found;
  };
  const int of_one = hits();
  EXPECT_GT(of_one, 0);
  EXPECT_LT(of_one, 20);
  EXPECT_EQ(store.health("open").breaker, State::closed);
  EXPECT_THAT(store.warnings(Warning::Kind::degraded), SizeIs(1));
  EXPECT_THAT(store.warnings(Warning::Kind::recovered), IsEmpty());

  other->start();
  clock_.advance(long_pause);
  EXPECT_EQ(hits(), 20);
  EXPECT_THAT(store.warnings(Warning::Kind::recovered), SizeIs(1));
}

// --- 6, 82: many, and far away ---

// One by one they would need ten times as long as an operation may take.
TEST_F(MemcachedFaults, ManyAreErasedOnADistantServerWithinOneLimit) {
  TwoPolicies store =
      store_in_real_time({gate_.address()}, {{"timeout", "10s"}, {"max_value_bytes", "1KiB"}});
  std::map<std::string, std::string> items;
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) {
    keys.push_back("k" + std::to_string(i));
    items[keys.back()] = "v";
  }
  EXPECT_THAT(store.strict().set_many(items), IsEmpty());
  gate_.set({.delay = 100ms});
  for (auto& item : items) item.second = std::string(2000, 'v');
  EXPECT_THAT(store.strict().set_many(items), SizeIs(1000));
  EXPECT_FALSE(store.strict().contains("k999")) << "what was refused left no older value";
  for (auto& item : items) item.second = "v";
  EXPECT_THAT(store.strict().set_many(items), IsEmpty());
  EXPECT_EQ(store.strict().erase_many(keys), 1000U);
  heal();
  expect_healed();
}

// What memcached makes of "10" that is counted down is "9 ".
TEST_F(MemcachedFaults, ANumberThatAnotherClientCountedDownIsThatNumber) {
  const Connected other(server_->port());
  const auto count_down = [&] {
    strict_.set("n", 10);
    EXPECT_EQ(other.ask("decr :1:n 1\r\n", "\r\n"), "9\r\n");
  };
  count_down();
  EXPECT_EQ(strict_.get<int>("n"), 9);
  EXPECT_EQ(strict_.get<double>("n"), 9.0);
  EXPECT_EQ(strict_.get_many<int>({"n", "absent"})[0], 9);
  EXPECT_EQ(strict_.get_or_set<int>("n", [] { return 1; }), 9);
  EXPECT_EQ(strict_.get("n"), "9 ") << "text is what is there";
  std::string seen;
  EXPECT_TRUE(strict_.visit("n", [&](std::string_view bytes) { seen = bytes; }));
  EXPECT_EQ(seen, "9 ");
  EXPECT_TRUE(strict_.contains("n"));
  EXPECT_FALSE(strict_.add("n", 1));
  EXPECT_EQ(strict_.decr("n"), 8);
  EXPECT_EQ(strict_.get("n"), "8");
  count_down();
  EXPECT_EQ(strict_.incr("n"), 10);
  count_down();
  EXPECT_EQ(strict_.incr_version("n"), 2);
  EXPECT_EQ(strict_.get<int>("n", {.version = 2}), 9);
  count_down();
  EXPECT_EQ(strict_.pop<int>("n"), 9);
  EXPECT_FALSE(strict_.contains("n"));
  EXPECT_THAT(store_.warnings(Warning::Kind::undecodable_value), IsEmpty());
  // Nothing else is taken for a number.
  for (const char* const text : {" 9", "9 9", "-9 ", "9 x", " ", "x ", "9\n"}) {
    strict_.set("n", text);
    EXPECT_FALSE(strict_.get<int>("n")) << text;
    EXPECT_THROW(strict_.incr("n"), ValueError) << text;
    EXPECT_EQ(strict_.get("n"), text);
  }
  expect_healed();
}

// --- 10: nonsense ---

TEST_F(MemcachedFaults, NonsenseIsNoReplyToAWrite) {
  strict_.set("k", "v", never);
  for (const std::string& reply :
       {std::string("nonsense\r\n"), std::string(100'000, 'z'), std::string("\0\0\0\0\r\n", 6),
        std::string("VALUE :1:k 0 99999999999\r\n"),
        "VALUE " + std::string(400, 'k') + " 0 1\r\nx\r\n"}) {
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_EQ(kind_of_failure([&] { strict_.set("k", "w"); }), Kind::protocol)
        << reply.substr(0, 40);
    gate_.set({.replacement = reply}, Gate::Reach::existing);
    EXPECT_NO_THROW(strict_.get("l")) << "on a fresh connection";
    heal();
  }
  // Replies of other commands, which would be honest ones elsewhere.
  const std::vector<std::function<void()>> writes{
      [&] { strict_.set("k", "w"); }, [&] { strict_.add("new", "w"); },
      [&] { strict_.touch("k", 1min); }, [&] { strict_.erase("k"); }, [&] { strict_.clear(); }};
  for (const char* const reply :
       {"END\r\nEND\r\n", "17\r\n", "STAT pid 1\r\nEND\r\n", "VALUE :1:x 0 1\r\nx\r\nEND\r\n"}) {
    for (const auto& write : writes) {
      const std::size_t connections = gate_.connections_ever();
      gate_.set({.replacement = reply}, Gate::Reach::existing);
      EXPECT_EQ(kind_of_failure(write), Kind::protocol) << reply;
      EXPECT_NO_THROW(strict_.get("l"));
      EXPECT_EQ(gate_.connections_ever(), connections + 1) << reply;
      heal();
    }
  }
  heal();
  expect_healed();
}

// --- 11: throttled ---

TEST_F(MemcachedFaults, ACounterThatIsRefusedIsNotTriedAgainAndAgain) {
  TwoPolicies small = store_at({gate_.address()}, {{"max_value_bytes", std::int64_t{1}}});
  EXPECT_EQ(kind_of_failure([&] { small.strict().incr("n", 1, {.initial = 100}); }), Kind::storage);
  EXPECT_LE(small.warnings(Warning::Kind::value_refused).size(), 3U);
  EXPECT_EQ(small.strict().incr("n", 1, {.initial = 1}), 2);
}

// --- 13: too many clients ---

TEST_F(MemcachedFaults, AServerThatIsFullIsNotStormed) {
  constexpr int places = 40;
  const auto narrow = Server::memcached({"-c", std::to_string(places), "-t", "1"});
  Gate gate(narrow->port());
  TwoPolicies late = store_at({gate.address()});
  {
    std::vector<std::unique_ptr<Connected>> others;
    for (int i = 0; i < places + 10; ++i) {
      others.push_back(std::make_unique<Connected>(narrow->port()));
      others.back()->ask("version\r\n", "\r\n");
    }
    const std::size_t before = gate.connections_ever();
    for (int i = 0; i < 500; ++i) EXPECT_FALSE(late.open().get("k"));
    EXPECT_LE(gate.connections_ever(), before + 2);
    EXPECT_TRUE(failure_of([&] { late.strict().get("k"); }));
  }
  EXPECT_TRUE(soon([&] {
    clock_.advance(long_pause);
    return late.open().set("k", 1);
  }));
  expect_full_service(late.open());
}

// --- 16: a wrong password ---

// Answers whether a password is right, as saslauthd does: four counted texts in, one out.
class PasswordCheck {
 public:
  explicit PasswordCheck(const std::filesystem::path& folder) : path_((folder / "mux").string()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 16) != 0) {
      throw std::runtime_error("cannot listen on " + path_);
    }
    thread_ = std::thread([this] { serve(); });
  }
  PasswordCheck(const PasswordCheck&) = delete;
  PasswordCheck& operator=(const PasswordCheck&) = delete;
  ~PasswordCheck() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  void accept_password(std::string password) {
    const std::lock_guard lock(mutex_);
    password_ = std::move(password);
  }
  int questions() const { return questions_; }

 private:
  static std::string read_text(int connection) {
    std::array<unsigned char, 2> size{};
    if (::recv(connection, size.data(), size.size(), MSG_WAITALL) != 2) return {};
    std::string text(static_cast<std::size_t>(size[0] * 256 + size[1]), '\0');
    if (!text.empty()) ::recv(connection, text.data(), text.size(), MSG_WAITALL);
    return text;
  }
  void serve() {
    for (;;) {
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      read_text(connection);  // the user
      const std::string password = read_text(connection);
      read_text(connection);
      read_text(connection);
      ++questions_;
      const std::lock_guard lock(mutex_);
      const std::string answer = std::string("\0\2", 2) + (password == password_ ? "OK" : "NO");
      ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(connection);
    }
  }

  const std::string path_;
  int listener_ = -1;
  std::atomic<int> questions_{0};
  std::mutex mutex_;
  std::string password_ = "secret-one";
  std::thread thread_;
};

TEST_F(MemcachedFaults, AWrongPasswordIsDeniedAndNotTriedAgainAndAgain) {
  const TemporaryFolder folder;
  std::ofstream(folder.path() / "memcached.conf")
      << "mech_list: plain\npwcheck_method: saslauthd\nsaslauthd_path: "
      << (folder.path() / "mux").string() << "\n";
  PasswordCheck check(folder.path());
  ::setenv("SASL_CONF_PATH", folder.path().c_str(), 1);
  const auto server = Server::memcached({"-S"});
  ::unsetenv("SASL_CONF_PATH");
  Gate gate(server->port());
  TwoPolicies store = store_at({gate.address()}, {{"protocol", std::string("binary")},
                                                  {"user", std::string("the-user")},
                                                  {"password", std::string("secret-one")},
                                                  {"timeout", std::string("5s")}});
  expect_full_service(store.open());

  check.accept_password("secret-two");  // revoked; connections that are there stay
  expect_full_service(store.open());
  gate.reset_connections();
  const int questions = check.questions();
  const auto error = failure_of([&] { store.strict().get("k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::denied);
  EXPECT_THAT(error->what(),
              AllOf(HasSubstr("password"), Not(HasSubstr("secret")), Not(HasSubstr("the-user"))));
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(store.open().get("k"));
    EXPECT_EQ(kind_of_failure([&] { store.strict().get("k"); }), Kind::denied);
  }
  EXPECT_LE(check.questions(), questions + 2) << "one for each alias";
  EXPECT_THAT(store.warnings(Warning::Kind::breaker_opened), IsEmpty());

  check.accept_password("secret-one");
  clock_.advance(long_pause);
  expect_full_service(store);
}

// --- 30: refused values ---

TEST_F(MemcachedFaults, AValueTheServerRefusesIsFalseAndTheOlderOneIsGone) {
  const auto narrow = Server::memcached({"-M", "-m", "2"});
  TwoPolicies store = store_at({narrow->address()});
  for (Cache* const cache : {&store.open(), &store.strict()}) {
    ASSERT_TRUE(cache->set("k", "old"));
    EXPECT_FALSE(cache->set("k", std::string(2'000'000, 'x'))) << "too large, under both policies";
    EXPECT_FALSE(cache->get("k"));
  }
  // No memory left: this server drops no connection.
  ASSERT_TRUE(store.strict().set("kept", std::string(10'000, 'a')));
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    refused += store.strict().set("fill" + std::to_string(i), std::string(10'000, 'f')) ? 0 : 1;
  }
  EXPECT_GT(refused, 0);
  EXPECT_EQ(store.strict().get("kept")->size(), 10'000U) << "reads go on";
  EXPECT_FALSE(store.open().set("kept", std::string(10'001, 'b')));
  EXPECT_FALSE(store.open().get("kept"));
  EXPECT_THAT(store.warnings(Warning::Kind::value_refused),
              Contains(HasSubstr("older one is gone")).Times(Ge(4)));
  store.strict().clear();
  expect_full_service(store.open());
}

// --- 32: keys that would be commands ---

TEST_F(MemcachedFaults, AKeyThatCannotBeSentIsRefusedBeforeAnythingIsSent) {
  for (const std::string& key :
       {std::string("with blank"), std::string(260, 'k'), std::string("a\r\nflush_all\r\n")}) {
    for (Cache* const cache : {&open_, &strict_}) {
      EXPECT_THROW(cache->get(key), InvalidKey);
      EXPECT_THROW(cache->set(key, 1), InvalidKey);
      EXPECT_THROW(cache->add(key, 1), InvalidKey);
      EXPECT_THROW(cache->erase(key), InvalidKey);
      EXPECT_THROW(cache->get_many({"k", key}), InvalidKey);
      EXPECT_THROW(cache->incr(key), InvalidKey);
    }
  }
  EXPECT_EQ(gate_.bytes_to_server(), 0U);
  expect_healed();
}

// --- The pool: 13, 42, 68 ---

// Other threads of the parent are in the middle of an operation, and hold all connections.
// --- 68 and the pool ---

// The threads may never return: no more connections stay open than the remaining sessions need.
TEST_F(MemcachedFaults, ThreadsThatEndTogetherLeaveFewConnections) {
  open_.get("k");
  std::vector<std::thread> threads;
  for (int i = 0; i < 16; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) store_.open().get("k");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(soon([&] { return gate_.connections() <= 2; })) << gate_.connections();
  expect_healed();
}

// --- Configuration ---

TEST(MemcachedFaultsConfig, LimitsThatMakeNoSenseAreRefusedByName) {
  const auto problem = [](OptionMap options) -> std::string {
    try {
      const CacheRegistry registry(
          {.caches = {{"shop", {.backend = "memcached", .options = std::move(options)}}}},
          {.linked_plugins = {&memcached::plugin}});
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  };
  const std::vector<std::pair<std::string, OptionValue>> wrong{
      {"timeout", std::int64_t{0}},
      {"timeout", std::string("-1s")},
      {"connect_timeout", std::int64_t{0}},
      {"connect_timeout", std::string("-5ms")},
      {"idle_timeout", std::int64_t{0}},
      {"max_connections", std::int64_t{0}},
      {"max_connections", std::int64_t{-3}},
      {"max_value_bytes", std::int64_t{0}},
      {"max_connections", std::string("many")}};
  for (const auto& [name, value] : wrong) {
    EXPECT_THAT(problem({{name, value}}), HasSubstr("shop.options." + name));
  }
  EXPECT_THAT(problem({{"connect_timeout", std::string("2s")}, {"timeout", std::string("1s")}}),
              AllOf(HasSubstr("shop.options.connect_timeout"), HasSubstr("longer")));
  EXPECT_EQ(problem({{"connect_timeout", std::string("1s")}, {"timeout", std::string("1s")}}), "");
  EXPECT_EQ(problem({{"timeout", std::string("100ms")}}), "") << "below the other's default";
}

}  // namespace
}  // namespace polycache::testing
