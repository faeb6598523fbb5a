// The memcached store against real servers, and against peers that misbehave.

#include "polycache/backends/memcached.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../../core/testing/manual_clock.h"
#include "../../core/testing/test_context.h"
#include "polycache/error.h"
#include "polycache/extension.h"
#include "support/server.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ManualClock;
using ::testing::Pair;
using testing::Server;
using testing::TestContext;
using testing::TestOptions;

const Ttl kLong = Ttl(1h);

std::optional<std::string> read(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  session.get(key, [&](std::string_view value) { result = value; });
  return result;
}

bool store(Backend& session, std::string_view key, std::string_view value, Ttl ttl = kLong) {
  return session.put(key, value, ttl, PutMode::always);
}

bool add(Backend& session, std::string_view key, std::string_view value, Ttl ttl = kLong) {
  return session.put(key, value, ttl, PutMode::if_absent);
}

template <class Extension>
Extension& extension(Backend& session) {
  void* const found = session.extension(Extension::id);
  if (found == nullptr) throw std::logic_error("the extension is not there");
  return *static_cast<Extension*>(found);
}

// The value and what is left of its life.
std::optional<std::pair<std::string, Ttl>> read_with_ttl(Backend& session, std::string_view key) {
  std::optional<std::pair<std::string, Ttl>> result;
  extension<TtlExtension>(session).get(
      key, [&](std::string_view value, Ttl left) { result.emplace(value, left); });
  return result;
}

std::map<std::string, std::string> read_many(Backend& session,
                                             const std::vector<std::string>& keys) {
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::map<std::string, std::string> result;
  session.get_many(views, [&](std::size_t i, std::string_view value) { result[keys[i]] = value; });
  return result;
}

std::optional<BackendError> failure_of(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const BackendError& error) {
    return error;
  }
  return std::nullopt;
}

// A store over a server, and its sessions.
class Store {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {},
                 const Clock& clock = Clock::real())
      : context_(clock),
        factory_(make_factory(memcached::plugin, context_,
                              {.location = std::move(location), .options = std::move(options)})),
        session_(factory_->connect()) {}

  Backend& operator*() const noexcept { return *session_; }
  Backend* operator->() const noexcept { return session_.get(); }
  std::unique_ptr<Backend> connect() const { return factory_->connect(); }
  std::vector<std::string> warnings() const { return context_.warnings(); }

 private:
  TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

// --- What holds over every way of talking to a server. ---

struct Way {
  const char* name;
  bool unix_socket;
  const char* protocol;
};

class MemcachedWays : public ::testing::TestWithParam<Way> {
 protected:
  static std::unique_ptr<Server> start(std::vector<std::string> extra = {}) {
    return GetParam().unix_socket ? Server::memcached_on_socket(std::move(extra))
                                  : Server::memcached(std::move(extra));
  }
  static std::string location(const Server& server) {
    return GetParam().unix_socket ? "unix:" + server.unix_socket() : server.address();
  }
  static Store open(const Server& server, const Clock& clock = Clock::real()) {
    return Store({location(server)}, {{"protocol", std::string(GetParam().protocol)}}, clock);
  }

  std::unique_ptr<Server> server_ = start();
  ManualClock clock_;
  Store store_ = open(*server_, clock_);
};

INSTANTIATE_TEST_SUITE_P(All, MemcachedWays,
                         ::testing::Values(Way{"tcp_ascii", false, "ascii"},
                                           Way{"tcp_binary", false, "binary"},
                                           Way{"unix_ascii", true, "ascii"},
                                           Way{"unix_binary", true, "binary"}),
                         [](const auto& way) { return std::string(way.param.name); });

TEST_P(MemcachedWays, KeepsEveryByte) {
  std::string bytes(256, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i);
  for (const std::string& value : {std::string(), std::string("one"), bytes,
                                   std::string("a\r\nEND\r\n"), std::string(900'000, 'x')}) {
    EXPECT_TRUE(store(*store_, "key", value));
    EXPECT_EQ(read(*store_, "key"), value);
  }
}

TEST_P(MemcachedWays, AbsentIsAbsent) {
  EXPECT_EQ(read(*store_, "nothing"), std::nullopt);
  EXPECT_FALSE(store_->erase("nothing"));
  EXPECT_FALSE(store_->touch("nothing", kLong));
  EXPECT_FALSE(store_->incr("nothing", 1));
  EXPECT_FALSE(store_->contains("nothing", [](std::string_view) {}));
  EXPECT_FALSE(store_->put("nothing", "x", kLong, PutMode::if_present));
  EXPECT_FALSE(extension<CompareExtension>(*store_).erase_if_equal("nothing", ""));
  EXPECT_FALSE(extension<PopExtension>(*store_).pop("nothing", [](std::string_view) {}));
  EXPECT_FALSE(read_with_ttl(*store_, "nothing"));
  EXPECT_THAT(store_.warnings(), IsEmpty());
}

TEST_P(MemcachedWays, AddStoresOnlyIfAbsentAndReplacesOnlyIfPresent) {
  EXPECT_TRUE(add(*store_, "k", "first"));
  EXPECT_FALSE(add(*store_, "k", "second"));
  EXPECT_EQ(read(*store_, "k"), "first");
  EXPECT_TRUE(store_->put("k", "third", kLong, PutMode::if_present));
  EXPECT_EQ(read(*store_, "k"), "third");
  EXPECT_TRUE(store_->erase("k"));
  EXPECT_FALSE(store_->erase("k"));
  EXPECT_TRUE(add(*store_, "k", "fourth"));
}

TEST_P(MemcachedWays, ExpiresByTheInjectedClockOnEveryOperation) {
  const auto stale = [&](const char* key) {
    store(*store_, key, "7", Ttl(10s));
    clock_.advance(9999ms);
    EXPECT_EQ(read(*store_, key), "7") << "never early";
    clock_.advance(1001ms);
  };
  stale("get");
  EXPECT_EQ(read(*store_, "get"), std::nullopt);
  EXPECT_THAT(read_many(*store_, {"get"}), IsEmpty());
  EXPECT_FALSE(read_with_ttl(*store_, "get"));
  stale("contains");
  EXPECT_FALSE(store_->contains("contains", [](std::string_view) {}));
  stale("touch");
  EXPECT_FALSE(store_->touch("touch", kLong));
  stale("erase");
  EXPECT_FALSE(store_->erase("erase"));
  stale("incr");
  EXPECT_EQ(store_->incr("incr", 1), std::nullopt);
  stale("replace");
  EXPECT_FALSE(store_->put("replace", "x", kLong, PutMode::if_present));
  stale("compare");
  EXPECT_FALSE(extension<CompareExtension>(*store_).put_if_equal("compare", "7", "8", kLong));
  EXPECT_FALSE(extension<CompareExtension>(*store_).erase_if_equal("compare", "7"));
  EXPECT_FALSE(extension<PopExtension>(*store_).pop("compare", [](std::string_view) {}));
  stale("add");
  EXPECT_TRUE(add(*store_, "add", "new"));
  EXPECT_EQ(read(*store_, "add"), "new");
}

TEST_P(MemcachedWays, TellsWhatIsLeftOfALife) {
  store(*store_, "k", "v", Ttl(100s));
  clock_.advance(40s);
  const auto found = read_with_ttl(*store_, "k");
  ASSERT_TRUE(found);
  EXPECT_GE(found->second.value(), 60s);
  EXPECT_LT(found->second.value(), 61s);

  store(*store_, "forever", "v", Ttl::forever());
  EXPECT_TRUE(read_with_ttl(*store_, "forever")->second.is_forever());
  store(*store_, "beyond", "v", Ttl(std::chrono::hours(24 * 365 * 100)));
  EXPECT_TRUE(read_with_ttl(*store_, "beyond")->second.is_forever());
  store(*store_, "most", "v", Ttl(std::chrono::milliseconds::max() - 1ms));
  EXPECT_TRUE(read_with_ttl(*store_, "most")->second.is_forever());

  // Longer than 30 days, where memcached wants a moment; and beyond 2038.
  for (const auto days : {31, 400, 365 * 30}) {
    const auto life = std::chrono::hours(24 * days);
    ASSERT_TRUE(store(*store_, "long", "v", Ttl(life))) << days;
    const auto left = read_with_ttl(*store_, "long");
    ASSERT_TRUE(left) << days;
    EXPECT_GE(left->second.value(), life) << days;
    EXPECT_LE(left->second.value(), life + 1s) << days;
  }
}

TEST_P(MemcachedWays, LifetimesAreKeptOverCountingAndComparing) {
  const auto expect_left = [&](std::chrono::seconds least) {
    const auto found = read_with_ttl(*store_, "n");
    ASSERT_TRUE(found);
    EXPECT_GE(found->second.value(), least);
    EXPECT_LE(found->second.value(), least + 1s);
  };
  store(*store_, "n", "10", Ttl(1000s));
  clock_.advance(100s);
  EXPECT_EQ(store_->incr("n", 5), 15);
  expect_left(900s);
  EXPECT_EQ(store_->incr("n", -20), -5);
  expect_left(900s);
  EXPECT_TRUE(extension<CompareExtension>(*store_).put_if_equal("n", "-5", "other", std::nullopt));
  expect_left(900s);
  EXPECT_TRUE(extension<CompareExtension>(*store_).put_if_equal("n", "other", "x", Ttl(50s)));
  expect_left(50s);
  EXPECT_TRUE(store_->touch("n", Ttl(2000s)));
  expect_left(2000s);
  EXPECT_EQ(read(*store_, "n"), "x");
  EXPECT_TRUE(store_->touch("n", Ttl::forever()));
  EXPECT_TRUE(read_with_ttl(*store_, "n")->second.is_forever());
}

TEST_P(MemcachedWays, CountsWithSignsAndNeverWraps) {
  store(*store_, "n", "5");
  EXPECT_EQ(store_->incr("n", 7), 12);
  EXPECT_EQ(store_->incr("n", -3), 9);
  EXPECT_EQ(read(*store_, "n"), "9") << "without the blanks that memcached pads with";
  EXPECT_EQ(store_->incr("n", -10), -1);
  EXPECT_EQ(store_->incr("n", 0), -1);
  EXPECT_EQ(store_->incr("n", 3), 2);
  EXPECT_EQ(store_->incr("n", 5'000'000'000), 5'000'000'002) << "more than 32 bits";
  store(*store_, "n", "9223372036854775806");
  EXPECT_EQ(store_->incr("n", 1), 9'223'372'036'854'775'807);
  EXPECT_THROW(store_->incr("n", 1), ValueError);
  EXPECT_EQ(read(*store_, "n"), "9223372036854775807");
  store(*store_, "n", "-9223372036854775808");
  EXPECT_THROW(store_->incr("n", -1), ValueError);
  EXPECT_EQ(read(*store_, "n"), "-9223372036854775808");
  for (const char* const text :
       {"", "abc", "1.5", "007", "-0", "+1", " 1", "1 ", "18446744073709551615"}) {
    store(*store_, "n", text);
    EXPECT_THROW(store_->incr("n", 1), ValueError) << text;
    EXPECT_EQ(read(*store_, "n"), text);
  }
}

TEST_P(MemcachedWays, ComparesAndPops) {
  auto& compare = extension<CompareExtension>(*store_);
  store(*store_, "k", "a");
  EXPECT_FALSE(compare.put_if_equal("k", "b", "c", kLong));
  EXPECT_TRUE(compare.put_if_equal("k", "a", "", kLong));
  EXPECT_EQ(read(*store_, "k"), "");
  EXPECT_FALSE(compare.erase_if_equal("k", "a"));
  EXPECT_TRUE(compare.erase_if_equal("k", ""));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  EXPECT_TRUE(add(*store_, "k", "again")) << "an item erased by its version is gone for add too";

  std::string popped;
  EXPECT_TRUE(
      extension<PopExtension>(*store_).pop("k", [&](std::string_view value) { popped = value; }));
  EXPECT_EQ(popped, "again");
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
}

TEST_P(MemcachedWays, ReadsManyInAnyNumber) {
  std::vector<std::string> keys;
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 2500; ++i) {
    keys.push_back("key" + std::to_string(i));
    if (i % 3 == 0) continue;
    expected[keys.back()] = std::string(static_cast<std::size_t>(i % 50), 'v');
    store(*store_, keys.back(), expected[keys.back()]);
  }
  EXPECT_EQ(read_many(*store_, keys), expected);
  EXPECT_THAT(read_many(*store_, {}), IsEmpty());
  EXPECT_EQ(read(*store_, "key1"), "v") << "the connection is in step";
}

TEST_P(MemcachedWays, AnswersDuplicatesEach) {
  store(*store_, "a", "1");
  const std::vector<std::string_view> keys{"a", "b", "a"};
  std::vector<std::size_t> answered;
  store_->get_many(keys, [&](std::size_t i, std::string_view) { answered.push_back(i); });
  EXPECT_THAT(answered, ElementsAre(0, 2));
}

TEST_P(MemcachedWays, StoresAndErasesMany) {
  const std::string large(100'000, 'l');
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (int i = 0; i < 250; ++i) {
    keys.push_back("key" + std::to_string(i));
    values.push_back(i % 50 == 7 ? large : std::string(static_cast<std::size_t>(10 * i), 'v'));
  }
  std::vector<Item> items;
  for (std::size_t i = 0; i < keys.size(); ++i) items.push_back({keys[i], values[i], kLong});
  const auto nothing_fails = [](std::size_t i) { ADD_FAILURE() << i << " was not stored"; };
  store_->put_many(items, PutMode::always, nothing_fails);
  for (std::size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(read(*store_, keys[i]), values[i]) << i;

  std::vector<std::size_t> not_added;
  EXPECT_TRUE(store_->erase("key3"));
  store_->put_many(items, PutMode::if_absent, [&](std::size_t i) { not_added.push_back(i); });
  EXPECT_EQ(not_added.size(), items.size() - 1);

  const std::vector<std::string_view> views(keys.begin(), keys.end());
  EXPECT_EQ(store_->erase_many(views), keys.size());
  EXPECT_EQ(store_->erase_many(views), 0U);
}

TEST_P(MemcachedWays, ALaterItemOfTheSameKeyWins) {
  const std::vector<Item> items{{"k", "1", kLong}, {"k", "2", kLong}};
  store_->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  EXPECT_EQ(read(*store_, "k"), "2");
}

TEST_P(MemcachedWays, AValueTheServerRefusesIsNotStoredAndTheOldOneIsGone) {
  const std::string large(2'000'000, 'x');
  store(*store_, "k", "old");
  EXPECT_FALSE(store(*store_, "k", large));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  EXPECT_THAT(store_.warnings(), ElementsAre(HasSubstr("too large")));

  EXPECT_FALSE(add(*store_, "k", large));
  store(*store_, "k", "old");
  EXPECT_FALSE(store_->put("k", large, kLong, PutMode::if_present));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  store(*store_, "k", "old");
  EXPECT_FALSE(extension<CompareExtension>(*store_).put_if_equal("k", "old", large, kLong));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);

  store(*store_, "second", "old");
  const std::vector<Item> items{
      {"first", "1", kLong}, {"second", large, kLong}, {"third", "3", kLong}};
  std::vector<std::size_t> failed;
  store_->put_many(items, PutMode::always, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_THAT(failed, ElementsAre(1));
  EXPECT_THAT(read_many(*store_, {"first", "second", "third"}),
              ElementsAre(Pair("first", "1"), Pair("third", "3")));
  EXPECT_EQ(store_.warnings().size(), 5U);
}

TEST_P(MemcachedWays, ALargerItemLimitIsUsed) {
  const auto roomy = start({"-I", "8m", "-m", "256"});
  const Store store = open(*roomy);
  const std::string large(5'000'000, 'x');
  EXPECT_TRUE(polycache::store(*store, "k", large));
  EXPECT_EQ(read(*store, "k"), large);
  EXPECT_THAT(read_many(*store, {"k"}), ElementsAre(Pair("k", large)));
}

TEST_P(MemcachedWays, ShowsTheHeadOfAValue) {
  store(*store_, "k", std::string(1000, 'h'));
  std::string head;
  EXPECT_TRUE(store_->contains("k", [&](std::string_view bytes) { head = bytes; }));
  EXPECT_EQ(head, std::string(64, 'h'));
  store(*store_, "k", "short");
  store_->contains("k", [&](std::string_view bytes) { head = bytes; });
  EXPECT_EQ(head, "short");
}

TEST_P(MemcachedWays, ClearsEverything) {
  for (const char* const key : {"a", "b", "c"}) store(*store_, key, "v");
  store_->clear();
  EXPECT_THAT(read_many(*store_, {"a", "b", "c"}), IsEmpty());
  EXPECT_TRUE(store(*store_, "a", "new"));
  EXPECT_EQ(read(*store_, "a"), "new");
}

TEST_P(MemcachedWays, TakesKeysOf250BytesAndNoWorse) {
  const std::string longest(250, 'k');
  EXPECT_TRUE(store(*store_, longest, "v"));
  EXPECT_EQ(read(*store_, longest), "v");
}

TEST_P(MemcachedWays, NeverSendsAKeyThatWouldBeACommand) {
  for (const std::string& key :
       {std::string(251, 'k'), std::string("a b"), std::string("a\r\nflush_all"),
        std::string("a\0b", 3), std::string("\x7f"), std::string()}) {
    EXPECT_THROW(read(*store_, key), InvalidKey);
    EXPECT_THROW(store(*store_, key, "v"), InvalidKey);
    EXPECT_THROW(add(*store_, key, "v"), InvalidKey);
    EXPECT_THROW(store_->erase(key), InvalidKey);
    EXPECT_THROW(store_->touch(key, kLong), InvalidKey);
    EXPECT_THROW(store_->incr(key, 1), InvalidKey);
    EXPECT_THROW(read_many(*store_, {key}), InvalidKey);
  }
}

TEST_P(MemcachedWays, WorksAgainWhenTheServerIsBack) {
  store(*store_, "k", "v");
  server_->stop();
  const auto error = failure_of([&] { read(*store_, "k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), BackendError::Kind::unreachable);
  EXPECT_EQ(error->server(), GetParam().unix_socket ? server_->unix_socket() : server_->address());
  EXPECT_TRUE(failure_of([&] { store(*store_, "k", "v"); }));
  EXPECT_TRUE(failure_of([&] { store_->erase("k"); }));
  EXPECT_TRUE(failure_of([&] { read_many(*store_, {"k"}); }));
  server_->start();
  EXPECT_EQ(read(*store_, "k"), std::nullopt) << "and at once";
  EXPECT_TRUE(store(*store_, "k", "new"));
  EXPECT_EQ(read(*store_, "k"), "new");
}

TEST_P(MemcachedWays, ARestartInBetweenIsNotNoticed) {
  store(*store_, "k", "v");
  const auto restart = [&] {
    server_->kill9();
    server_->start();
  };
  restart();
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  restart();
  EXPECT_TRUE(store(*store_, "k", "v"));
  restart();
  EXPECT_FALSE(store_->erase("k"));
  restart();
  EXPECT_THAT(read_many(*store_, {"k", "l"}), IsEmpty());
  restart();
  EXPECT_NO_THROW(store_->clear());
  restart();
  EXPECT_FALSE(store_->incr("k", 1)) << "it looks before it counts";
  restart();
  const std::vector<Item> items{{"a", "1", kLong}, {"b", "2", kLong}};
  store_->put_many(items, PutMode::always, [](std::size_t i) { ADD_FAILURE() << i; });
  EXPECT_THAT(read_many(*store_, {"a", "b"}), ElementsAre(Pair("a", "1"), Pair("b", "2")));
}

}  // namespace
}  // namespace polycache
