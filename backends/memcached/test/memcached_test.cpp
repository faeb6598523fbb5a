// The memcached store against real servers, and against peers that misbehave.

#include "polycache/backends/memcached.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/fork.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
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

const Ttl long_ttl = Ttl(1h);

std::optional<std::string> read(Backend& session, std::string_view key) {
  std::optional<std::string> result;
  session.get(key, [&](std::string_view value) { result = value; });
  return result;
}

bool store(Backend& session, std::string_view key, std::string_view value, Ttl ttl = long_ttl) {
  return session.put(key, value, ttl, PutMode::always);
}

bool add(Backend& session, std::string_view key, std::string_view value, Ttl ttl = long_ttl) {
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
  // With time enough for a bulk on a slow machine.
  static OptionMap options() {
    return {{"protocol", std::string(GetParam().protocol)}, {"timeout", std::string("30s")}};
  }
  static Store open(const Server& server, const Clock& clock = Clock::real()) {
    return Store({location(server)}, options(), clock);
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
  EXPECT_FALSE(store_->touch("nothing", long_ttl));
  EXPECT_FALSE(store_->incr("nothing", 1));
  EXPECT_FALSE(store_->contains("nothing", [](std::string_view) {}));
  EXPECT_FALSE(store_->put("nothing", "x", long_ttl, PutMode::if_present));
  EXPECT_FALSE(extension<CompareExtension>(*store_).erase_if_equal("nothing", ""));
  EXPECT_FALSE(extension<PopExtension>(*store_).pop("nothing", [](std::string_view) {}));
  EXPECT_FALSE(read_with_ttl(*store_, "nothing"));
  EXPECT_THAT(store_.warnings(), IsEmpty());
}

TEST_P(MemcachedWays, AddStoresOnlyIfAbsentAndReplacesOnlyIfPresent) {
  EXPECT_TRUE(add(*store_, "k", "first"));
  EXPECT_FALSE(add(*store_, "k", "second"));
  EXPECT_EQ(read(*store_, "k"), "first");
  EXPECT_TRUE(store_->put("k", "third", long_ttl, PutMode::if_present));
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
  EXPECT_FALSE(store_->touch("touch", long_ttl));
  stale("erase");
  EXPECT_FALSE(store_->erase("erase"));
  stale("incr");
  EXPECT_EQ(store_->incr("incr", 1), std::nullopt);
  stale("replace");
  EXPECT_FALSE(store_->put("replace", "x", long_ttl, PutMode::if_present));
  stale("compare");
  EXPECT_FALSE(extension<CompareExtension>(*store_).put_if_equal("compare", "7", "8", long_ttl));
  EXPECT_FALSE(extension<CompareExtension>(*store_).erase_if_equal("compare", "7"));
  EXPECT_FALSE(extension<PopExtension>(*store_).pop("compare", [](std::string_view) {}));
  stale("add");
  EXPECT_TRUE(add(*store_, "add", "new"));
  EXPECT_EQ(read(*store_, "add"), "new");
}

// The server keeps an entry a second or two beyond the deadline that get goes by.
TEST_P(MemcachedWays, EraseSaysFalseForAnEntryThatGetCallsGone) {
  const Store real = open(*server_);
  const std::vector<std::string> keys{"a", "b", "c"};
  for (const std::string& key : keys) ASSERT_TRUE(store(*real, key, "v", Ttl(1ms)));
  store(*real, "live", "v");
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (!read_many(*real, keys).empty() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1ms);
  }
  const std::vector<std::string_view> some{"b", "live", "c", "absent"};
  EXPECT_FALSE(real->erase("a"));
  EXPECT_EQ(real->erase_many(some), 1U);
  EXPECT_EQ(real->erase_many(some), 0U);
}

TEST_P(MemcachedWays, OneOfManyErasesReturnsTrue) {
  const Store real = open(*server_);
  for (int round = 0; round < 20; ++round) {
    store(*real, "k", "v");
    std::atomic<int> told{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        if (real.connect()->erase("k")) ++told;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(told, 1);
  }
}

TEST_P(MemcachedWays, ErasesMoreThanABufferHolds) {
  std::vector<std::string> keys;
  for (int i = 0; i < 5000; ++i) keys.push_back(std::string(200, 'k') + std::to_string(i));
  std::vector<Item> items;
  for (std::size_t i = 0; i < keys.size(); i += 2) items.push_back({keys[i], "v", long_ttl});
  store_->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  EXPECT_EQ(store_->erase_many(views), items.size());
  EXPECT_EQ(store_->erase_many(views), 0U);
}

TEST_P(MemcachedWays, ReportsTheRemainingLifetime) {
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
  for (const char* const text : {"", "abc", "1.5", "007", "-0", "+1", " 1", " ", "-1 ", "1 2",
                                 "1 x", "1\n", "18446744073709551615"}) {
    store(*store_, "n", text);
    EXPECT_THROW(store_->incr("n", 1), ValueError) << text;
    EXPECT_EQ(read(*store_, "n"), text);
  }
}

TEST_P(MemcachedWays, DigitsThatBlanksFollowAreACounter) {
  store(*store_, "n", "9 ");
  EXPECT_EQ(store_->incr("n", 0), 9);
  EXPECT_EQ(store_->incr("n", 3), 12);
  EXPECT_EQ(read(*store_, "n"), "12");
  store(*store_, "n", "0     ");
  EXPECT_EQ(store_->incr("n", -1), -1);
  store(*store_, "n", "007 ");
  EXPECT_THROW(store_->incr("n", 1), ValueError);
}

TEST_P(MemcachedWays, ComparesAndPops) {
  auto& compare = extension<CompareExtension>(*store_);
  store(*store_, "k", "a");
  EXPECT_FALSE(compare.put_if_equal("k", "b", "c", long_ttl));
  EXPECT_TRUE(compare.put_if_equal("k", "a", "", long_ttl));
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

// What is done with an item that was found does not change what was found.
TEST_P(MemcachedWays, AFoundValueIsWholeAfterWhatIsDoneWithIt) {
  for (const std::size_t size : {0U, 1U, 20U, 1000U, 16'384U, 65'500U, 300'000U, 1'000'000U}) {
    std::string value(size, '\0');
    for (std::size_t i = 0; i < size; ++i) value[i] = static_cast<char>(i * 131 + i / 251);
    ASSERT_TRUE(store(*store_, "k", value)) << size;
    EXPECT_TRUE(store_->touch("k", Ttl(2h))) << size;
    EXPECT_EQ(read(*store_, "k"), value) << size;
    std::string popped;
    EXPECT_TRUE(
        extension<PopExtension>(*store_).pop("k", [&](std::string_view found) { popped = found; }));
    EXPECT_EQ(popped, value) << size;
  }
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
  for (std::size_t i = 0; i < keys.size(); ++i) items.push_back({keys[i], values[i], long_ttl});
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

TEST_P(MemcachedWays, ASmallValueOverTheLimitAmongOthersIsRefusedAlone) {
  const Store limited({location(*server_)}, {{"protocol", std::string(GetParam().protocol)},
                                             {"max_value_bytes", std::string("1KiB")}});
  const std::string large(1025, 'x');
  const Item items[] = {{"p", large, long_ttl}, {"q", "1", long_ttl}, {"r", large, long_ttl}};
  std::vector<std::size_t> refused;
  limited->put_many(items, PutMode::always, [&](std::size_t i) { refused.push_back(i); });
  EXPECT_EQ(refused, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(read(*limited, "q"), "1");
  EXPECT_EQ(limited.warnings().size(), 2U);
}

TEST_P(MemcachedWays, ALaterItemOfTheSameKeyWins) {
  const std::string large(50'000, 'l');
  for (const auto& values : std::vector<std::vector<std::string>>{
           {"1", "2"}, {"1", large, "2"}, {large, "1", large}, {"1", "2", "1"}}) {
    std::vector<Item> items;
    for (const std::string& value : values) items.push_back({"k", value, long_ttl});
    items.push_back({"other", "o", long_ttl});
    store_->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
    EXPECT_EQ(read(*store_, "k"), values.back());
  }
}

TEST_P(MemcachedWays, StoresManyOfAnySize) {
  const std::vector<std::size_t> sizes{0,    1,    1000, 1023,   1024,   1025,   4096,
                                       8150, 8196, 8200, 16'383, 16'384, 16'385, 200'000};
  for (const std::size_t size : sizes) {
    const std::string value(size, 's');
    std::vector<std::string> keys;
    for (int i = 0; i < 30; ++i) keys.push_back("key" + std::to_string(i));
    std::vector<Item> items;
    for (const std::string& key : keys)
      items.push_back({key, value, Ttl(std::chrono::hours(2000))});
    store_->put_many(items, PutMode::always, [&](std::size_t i) { ADD_FAILURE() << size << i; });
    for (const auto& [key, found] : read_many(*store_, keys)) EXPECT_EQ(found, value) << key;
    EXPECT_EQ(read_many(*store_, keys).size(), keys.size());
    EXPECT_EQ(read_with_ttl(*store_, "key7")->second.value() / 1h, 2000);
  }
}

// A server that refuses when its memory is full, rather than to forget others.
TEST_P(MemcachedWays, TellsWhichOfManyFoundNoMemory) {
  const auto narrow = start({"-M", "-m", "2"});
  const Store store = open(*narrow);
  const std::string value(9000, 'x');
  std::vector<std::string> keys;
  for (int i = 0; i < 1000; ++i) keys.push_back("key" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, value, long_ttl});
  std::set<std::string> failed;
  store->put_many(items, PutMode::always, [&](std::size_t i) { failed.insert(keys[i]); });
  EXPECT_GT(failed.size(), 500U);
  const auto found = read_many(*store, keys);
  EXPECT_GT(found.size(), 10U);
  for (const std::string& key : keys) EXPECT_NE(found.count(key), failed.count(key)) << key;
  EXPECT_EQ(store.warnings().size(), failed.size());
}

TEST_P(MemcachedWays, AValueTheServerRefusesIsNotStoredAndTheOldOneIsGone) {
  const std::string large(2'000'000, 'x');
  store(*store_, "k", "old");
  EXPECT_FALSE(store(*store_, "k", large));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  EXPECT_THAT(store_.warnings(), ElementsAre(HasSubstr("too large")));

  EXPECT_FALSE(add(*store_, "k", large));
  store(*store_, "k", "old");
  EXPECT_FALSE(store_->put("k", large, long_ttl, PutMode::if_present));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
  store(*store_, "k", "old");
  EXPECT_FALSE(extension<CompareExtension>(*store_).put_if_equal("k", "old", large, long_ttl));
  EXPECT_EQ(read(*store_, "k"), std::nullopt);

  store(*store_, "second", "old");
  const std::vector<Item> items{
      {"first", "1", long_ttl}, {"second", large, long_ttl}, {"third", "3", long_ttl}};
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
    EXPECT_THROW(store_->touch(key, long_ttl), InvalidKey);
    EXPECT_THROW(store_->incr(key, 1), InvalidKey);
    EXPECT_THROW(read_many(*store_, {key}), InvalidKey);
  }
}

TEST_P(MemcachedWays, TakesEveryOtherByteInAKey) {
  for (std::size_t size = 1; size <= 17; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (const int byte : {0x00, 0x0A, 0x20, 0x21, 0x7E, 0x7F, 0x80, 0x9F, 0xA0, 0xFF}) {
        std::string key(size, 'k');
        key[at] = static_cast<char>(byte);
        if (byte <= 0x20 || byte == 0x7F) {
          EXPECT_THROW(read(*store_, key), InvalidKey) << size << " " << at << " " << byte;
        } else {
          EXPECT_EQ(read(*store_, key), std::nullopt) << size << " " << at << " " << byte;
        }
      }
    }
  }
  EXPECT_TRUE(store(*store_, "schl\xC3\xBCssel", "v"));
  EXPECT_EQ(read(*store_, "schl\xC3\xBCssel"), "v");
  EXPECT_THAT(read_many(*store_, {"a", "schl\xC3\xBCssel", "b"}), ::testing::SizeIs(1));
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
  EXPECT_THAT(failure_of([&] { read(*store_, "k"); })->what(), HasSubstr("so soon"));
  clock_.advance(1s);
  EXPECT_EQ(read(*store_, "k"), std::nullopt);
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
  const std::vector<Item> items{{"a", "1", long_ttl}, {"b", "2", long_ttl}};
  store_->put_many(items, PutMode::always, [](std::size_t i) { ADD_FAILURE() << i; });
  EXPECT_THAT(read_many(*store_, {"a", "b"}), ElementsAre(Pair("a", "1"), Pair("b", "2")));
}

// --- Several servers. ---

class MemcachedServers : public ::testing::Test {
 protected:
  // Fifty keys and the values that are stored under them.
  static std::map<std::string, std::string> fifty() {
    std::map<std::string, std::string> entries;
    for (int i = 0; i < 50; ++i) entries["key" + std::to_string(i)] = std::to_string(i);
    return entries;
  }
  static std::vector<std::string> keys_of(const std::map<std::string, std::string>& entries) {
    std::vector<std::string> keys;
    for (const auto& entry : entries) keys.push_back(entry.first);
    return keys;
  }

  std::unique_ptr<Server> first_ = Server::memcached();
  std::unique_ptr<Server> second_ = Server::memcached();
  Store both_{{first_->address(), second_->address()}};
};

// One limit is for what servers do, not for what is done with their answers.
TEST_F(MemcachedServers, ASlowCallerIsNoFailureOfAServer) {
  const Store hurried({first_->address(), second_->address()}, {{"timeout", std::string("1s")}});
  std::vector<std::string> keys;
  for (int i = 0; i < 24; ++i) {
    keys.push_back("key" + std::to_string(i));
    ASSERT_TRUE(store(*hurried, keys.back(), std::string(200'000, 'v')));
  }
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  std::size_t found = 0;
  hurried->get_many(views, [&](std::size_t, std::string_view) {
    ++found;
    std::this_thread::sleep_for(100ms);
  });
  EXPECT_EQ(found, 24U);
}

TEST_F(MemcachedServers, ShareTheKeys) {
  const auto entries = fifty();
  for (const auto& [key, value] : entries) store(*both_, key, value);
  EXPECT_EQ(read_many(*both_, keys_of(entries)), entries);
  const Store only_first({first_->address()});
  const auto of_first = read_many(*only_first, keys_of(entries));
  EXPECT_GT(of_first.size(), 5U);
  EXPECT_LT(of_first.size(), 45U);
  both_->clear();
  EXPECT_THAT(read_many(*both_, keys_of(entries)), IsEmpty());
}

TEST_F(MemcachedServers, AHeavierOneGetsMore) {
  const Store weighted({first_->address() + "?weight=9", second_->address() + "?weight=1"});
  const Store only_first({first_->address()});
  std::map<std::string, std::string> entries;
  for (int i = 0; i < 500; ++i) entries["weighted" + std::to_string(i)] = "v";
  for (const auto& [key, value] : entries) store(*weighted, key, value);
  EXPECT_GT(read_many(*only_first, keys_of(entries)).size(), 380U);
}

TEST_F(MemcachedServers, OneThatIsDownLosesItsKeysOnly) {
  ManualClock clock;
  const Store both({first_->address(), second_->address()}, {}, clock);
  const auto entries = fifty();
  for (const auto& [key, value] : entries) store(*both, key, value);
  const Store only_second({second_->address()}, {}, clock);
  const auto of_second = read_many(*only_second, keys_of(entries));
  first_->stop();

  std::map<std::string, std::string> delivered;
  std::vector<std::string> keys = keys_of(entries);
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  const auto error = failure_of([&] {
    both->get_many(views,
                   [&](std::size_t i, std::string_view value) { delivered[keys[i]] = value; });
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->server(), first_->address());
  EXPECT_EQ(delivered, of_second) << "what the others have is delivered";

  for (const auto& entry : entries) {
    const std::string& key = entry.first;
    const std::string& value = entry.second;
    if (of_second.count(key) == 1) {
      EXPECT_EQ(read(*both, key), value);
      EXPECT_TRUE(store(*both, key, "again"));
    } else {
      EXPECT_TRUE(failure_of([&] { read(*both, key); })) << "not moved to another server";
    }
  }

  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, "many", long_ttl});
  std::size_t not_stored = 0;
  EXPECT_TRUE(failure_of(
      [&] { both->put_many(items, PutMode::always, [&](std::size_t) { ++not_stored; }); }));
  EXPECT_EQ(not_stored, entries.size() - of_second.size());
  EXPECT_TRUE(failure_of([&] { both->erase_many(views); }));
  EXPECT_THAT(read_many(*only_second, keys), IsEmpty());

  first_->start();
  clock.advance(2s);  // the pause of the first server's breaker
  EXPECT_THAT(read_many(*both, keys), IsEmpty());
  for (const auto& [key, value] : entries) EXPECT_TRUE(store(*both, key, value));
  EXPECT_EQ(read_many(*both, keys), entries);
}

// --- Peers that misbehave. ---

// Listens on a free port and answers each line with what the script says: memcached's greeting
// to "version", then the script.
class Peer {
 public:
  using Script = std::function<std::string(const std::string& line)>;

  explicit Peer(Script script, std::string greeting = "VERSION 1.6.18\r\n",
                std::chrono::milliseconds pause = 0ms)
      : script_(std::move(script)), greeting_(std::move(greeting)), pause_(pause) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 10) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the peer cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  // From the next connection on, it hangs up after so many bytes.
  void lose_patience_after(std::size_t bytes) { patience_ = bytes; }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int connections() const { return connections_; }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) return;
      ++connections_;
      talk(connection);
      ::close(connection);
    }
  }

  void talk(int connection) {
    std::string received;
    std::size_t bytes = 0;
    for (char c = 0; bytes < patience_ && ::recv(connection, &c, 1, 0) == 1; ++bytes) {
      received += c;
      if (c != '\n') continue;
      if (!reply(connection, received == "version\r\n" ? greeting_ : script_(received))) return;
      received.clear();
    }
  }

  bool reply(int connection, const std::string& bytes) {
    if (bytes == "close") return false;
    if (pause_ == 0ms) {
      return ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL) >= 0;
    }
    for (const char c : bytes) {
      if (::send(connection, &c, 1, MSG_NOSIGNAL) < 0) return false;
      std::this_thread::sleep_for(pause_);
    }
    return true;
  }

  const Script script_;
  const std::string greeting_;
  const std::chrono::milliseconds pause_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  std::atomic<std::size_t> patience_{std::numeric_limits<std::size_t>::max()};
  std::thread thread_;
};

Store open(const std::string& address, const std::string& timeout = "60s") {
  return Store({address}, {{"timeout", timeout}, {"max_value_bytes", std::string("1MiB")}});
}

BackendError::Kind kind_of_failure(const std::function<void()>& operation) {
  const auto error = failure_of(operation);
  if (!error) throw std::logic_error("it did not fail");
  return error->kind();
}

TEST(MemcachedPeer, ForgedRepliesAreProtocolErrors) {
  for (const std::string& reply : {
           std::string("VALUE k 0 99999999999\r\n"),
           std::string("VALUE k 0 4294967296\r\n"),
           std::string("VALUE k 0 9223372036854775807\r\n"),
           std::string("VALUE k 0 18446744073709551614\r\n"),
           std::string("VALUE k 0 18446744073709551615\r\nxxxx\r\nEND\r\n"),
           std::string("VALUE k 0 2000000\r\n"),
           "VALUE " + std::string(300, 'k') + " 0 1\r\nx\r\nEND\r\n",
           "VALUE " + std::string(400, 'k'),
           std::string("VALUE other 0 1\r\nx\r\nEND\r\n"),
           std::string("VALUE k 0 1\r\nx\r\nVALUE k 0 1\r\ny\r\nEND\r\n"),
           std::string("nonsense\r\n"),
           std::string("220 mail.example.org ESMTP\r\n"),
           std::string("-ERR unknown command\r\n"),
           std::string(1000, 'z'),
           std::string("ERROR\r\n"),
       }) {
    const Peer peer([&](const std::string&) { return reply; });
    const Store store = open(peer.address());
    EXPECT_EQ(kind_of_failure([&] { read(*store, "k"); }), BackendError::Kind::protocol) << reply;
    EXPECT_EQ(kind_of_failure([&] {
                read_many(*store, {"k", "l"});
              }),
              BackendError::Kind::protocol)
        << reply;
    EXPECT_EQ(peer.connections(), 2) << "a connection is not used after nonsense";
  }
}

TEST(MemcachedPeer, ForgedKeyLengthsOfTheBinaryProtocolDoNoHarm) {
  // A header that promises a key of 65535 bytes, and sends it.
  const auto header = [](unsigned char opcode, unsigned key, unsigned extras, unsigned body) {
    const std::array<unsigned char, 24> bytes{0x81,
                                              opcode,
                                              static_cast<unsigned char>(key >> 8),
                                              static_cast<unsigned char>(key),
                                              static_cast<unsigned char>(extras),
                                              0,
                                              0,
                                              0,
                                              static_cast<unsigned char>(body >> 24),
                                              static_cast<unsigned char>(body >> 16),
                                              static_cast<unsigned char>(body >> 8),
                                              static_cast<unsigned char>(body)};
    return std::string(bytes.begin(), bytes.end());
  };
  const std::string forged =
      header(0x0d, 65535, 4, 65535 + 4) + std::string(65539, '\xff') + header(0x0a, 0, 0, 0);
  // No line ends in this protocol: the peer answers everything with the version, then that.
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ASSERT_EQ(::bind(listener, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::thread peer([&] {
    const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    std::array<char, 4096> buffer;
    ::recv(connection, buffer.data(), buffer.size(), 0);
    const std::string version = header(0x0b, 0, 0, 6) + "1.6.18";
    ::send(connection, version.data(), version.size(), MSG_NOSIGNAL);
    ::recv(connection, buffer.data(), buffer.size(), 0);
    ::send(connection, forged.data(), forged.size(), MSG_NOSIGNAL);
    ::recv(connection, buffer.data(), buffer.size(), 0);
    ::close(connection);
  });
  const Store store({"127.0.0.1:" + std::to_string(ntohs(address.sin_port))},
                    {{"protocol", std::string("binary")}, {"timeout", std::string("60s")}});
  EXPECT_EQ(kind_of_failure([&] { read(*store, "k"); }), BackendError::Kind::protocol);
  peer.join();
  ::close(listener);
}

TEST(MemcachedPeer, AnotherProtocolIsDetected) {
  for (const std::string& greeting : {
           std::string("220 mail.example.org ESMTP\r\n"),
           std::string("-ERR unknown command `version`\r\n"),
           std::string("HTTP/1.1 400 Bad Request\r\n\r\n"),
           std::string("END\r\n"),
           std::string("OK\r\n"),
           std::string("VERSION x\r\n"),
       }) {
    const Peer peer([](const std::string&) { return "close"; }, greeting);
    const Store store = open(peer.address());
    EXPECT_EQ(kind_of_failure([&] { polycache::store(*store, "k", "v"); }),
              BackendError::Kind::protocol)
        << greeting;
  }
  const Peer full([](const std::string&) { return "close"; },
                  "ERROR Too many open connections\r\n");
  const Store store = open(full.address());
  EXPECT_EQ(kind_of_failure([&] { polycache::store(*store, "k", "v"); }),
            BackendError::Kind::overloaded);
}

TEST(MemcachedPeer, ATruncatedReplyIsNoValue) {
  for (const std::string& reply : {std::string("VALUE k 0 10\r\nabc"), std::string("VALUE k 0"),
                                   std::string("VALUE k 0 1\r\nx\r\n")}) {
    bool closing = false;
    const Peer peer([&](const std::string&) {
      return std::exchange(closing, !closing) ? std::string("close") : reply;
    });
    const Store store = open(peer.address(), "200ms");
    EXPECT_TRUE(failure_of([&] { read(*store, "k"); })) << reply;
  }
}

TEST(MemcachedPeer, APeerThatHangsUpInTheMiddleOfARequestIsUnreachable) {
  const std::string value(5000, 'v');
  std::vector<std::string> keys;
  for (int i = 0; i < 500; ++i) keys.push_back(std::string(150, 'k') + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& key : keys) items.push_back({key, value, long_ttl});
  for (const std::size_t patience : std::vector<std::size_t>{9, 10, 100, 8196, 20'000, 60'000}) {
    Peer peer([](const std::string& line) {
      return line.starts_with("get") ? std::string("END\r\n") : std::string();
    });
    const Store store({peer.address()}, {{"timeout", std::string("10s")}});
    EXPECT_EQ(read(*store, "k"), std::nullopt);
    peer.lose_patience_after(patience);
    for (const auto& operation : std::vector<std::function<void()>>{
             [&] { store->put_many(items, PutMode::always, [](std::size_t) {}); },
             [&] { read_many(*store, keys); },
             [&] { polycache::store(*store, "k", std::string(500'000, 'v')); },
             [&] { add(*store, "k", std::string(500'000, 'v')); }}) {
      const auto error = failure_of(operation);
      ASSERT_TRUE(error) << patience;
      EXPECT_NE(error->kind(), BackendError::Kind::protocol) << patience << error->what();
    }
  }
}

TEST(MemcachedPeer, ADribbledReplyIsTheSameReply) {
  const Peer peer([](const std::string&) { return "VALUE k 0 5\r\nhello\r\nEND\r\n"; },
                  "VERSION 1.6.18\r\n", 2ms);
  const Store store = open(peer.address());
  EXPECT_EQ(read(*store, "k"), "hello");
  EXPECT_EQ(read(*store, "k"), "hello");
}

TEST(MemcachedPeer, ALateReplyIsNotTheAnswerToTheNextQuestion) {
  std::atomic<int> questions{0};
  std::atomic<bool> may_answer{false};
  const Peer peer([&](const std::string& line) -> std::string {
    if (questions++ == 0) {
      while (!may_answer) std::this_thread::sleep_for(1ms);
      return "VALUE a 0 4\r\nlate\r\nEND\r\n";
    }
    return line == "get b\r\n" ? "VALUE b 0 4\r\ngood\r\nEND\r\n" : "END\r\n";
  });
  const Store store({peer.address()}, {{"timeout", std::string("2s")}});
  EXPECT_EQ(kind_of_failure([&] { read(*store, "a"); }), BackendError::Kind::timeout);
  may_answer = true;
  std::this_thread::sleep_for(100ms);  // that it has answered by now is likely
  EXPECT_EQ(read(*store, "b"), "good");
  EXPECT_EQ(peer.connections(), 2);
}

TEST(MemcachedPeer, AHungServerCostsOneTimeLimit) {
  const auto server = Server::memcached();
  ManualClock clock;
  const Store store({server->address()}, {{"timeout", std::string("3s")}}, clock);
  polycache::store(*store, "k", "v");
  server->suspend();
  for (const auto& operation : std::vector<std::function<void()>>{
           [&] { read(*store, "k"); }, [&] { polycache::store(*store, "k", "v"); },
           [&] {
             read_many(*store, {"k", "l"});
           },
           [&] { store->incr("k", 1); }, [&] { add(*store, "k", "v"); }}) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(kind_of_failure(operation), BackendError::Kind::timeout);
    // Not two. A process that waits for a processor may be 2.9 s late.
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 5900ms);
    clock.advance(2s);  // it may be connected to again
  }
  server->resume();
  EXPECT_EQ(read(*store, "k"), "v");
}

TEST(MemcachedPeer, WhatIsNotThereIsUnreachableOnce) {
  const Store store({"127.0.0.1:" + std::to_string(testing::free_port())});
  const auto error = failure_of([&] { read(*store, "k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), BackendError::Kind::unreachable);
  EXPECT_THAT(error->what(), HasSubstr("no connection"));
  const Store nowhere({"/nonexistent/memcached.sock"});
  EXPECT_EQ(kind_of_failure([&] { polycache::store(*nowhere, "k", "v"); }),
            BackendError::Kind::unreachable);
  const Store unnamed({"no-such-host.invalid"});
  EXPECT_TRUE(failure_of([&] { read(*unnamed, "k"); }));
}

// The counters must not be sent twice: one restart, no more than one more.
TEST(MemcachedPeer, AnAddThatMayHaveHappenedIsNotRepeated) {
  std::atomic<int> adds{0};
  const Peer peer([&](const std::string& line) -> std::string {
    if (line.starts_with("get")) return "END\r\n";
    ++adds;
    return "close";
  });
  const Store store = open(peer.address());
  EXPECT_EQ(read(*store, "k"), std::nullopt);
  EXPECT_EQ(kind_of_failure([&] { add(*store, "k", ""); }), BackendError::Kind::unreachable);
  EXPECT_EQ(adds, 1);
}

// What breaks between the two steps of a touch is done once more, from the beginning.
TEST(MemcachedPeer, ATouchIsRepeatedAsAWhole) {
  std::atomic<int> swaps{0};
  const Peer peer([&](const std::string& line) -> std::string {
    if (line.starts_with("gets")) return "VALUE k 0 0 7\r\n\r\nEND\r\n";
    if (line.starts_with("get")) return "END\r\n";
    if (line.starts_with("cas")) return ++swaps == 1 ? "close" : "STORED\r\n";
    return "";  // the value's line
  });
  const Store store = open(peer.address());
  EXPECT_EQ(read(*store, "other"), std::nullopt);
  EXPECT_TRUE(store->touch("k", long_ttl));
  EXPECT_EQ(swaps, 2);
  EXPECT_EQ(peer.connections(), 2);
}

TEST(MemcachedPeer, ACompareThatMayHaveHappenedIsNotRepeated) {
  std::atomic<int> swaps{0};
  const Peer peer([&](const std::string& line) -> std::string {
    if (line.starts_with("gets")) return "VALUE k 0 1 7\r\n1\r\nEND\r\n";
    if (line.starts_with("get")) return "END\r\n";
    if (!line.starts_with("cas")) return "";
    ++swaps;
    return "close";
  });
  const Store store = open(peer.address());
  EXPECT_EQ(read(*store, "other"), std::nullopt);
  EXPECT_EQ(kind_of_failure([&] { store->incr("k", 1); }), BackendError::Kind::unreachable);
  EXPECT_EQ(kind_of_failure(
                [&] { extension<CompareExtension>(*store).put_if_equal("k", "1", "2", long_ttl); }),
            BackendError::Kind::unreachable);
  EXPECT_EQ(swaps, 2);
}

TEST(MemcachedPeer, AnErasureLooksAtTheFlagsInTheSameRequest) {
  struct Case {
    std::string item;
    std::string deletion;
    bool was_there;
  };
  // 1073741824 is a deadline in 2004.
  for (const auto& [item, deletion, was_there] : std::vector<Case>{
           {"HD f4294967295\r\n", "DELETED\r\n", true},
           {"HD f0\r\n", "DELETED\r\n", true},
           {"HD f0 W Z\r\n", "DELETED\r\n", true},
           {"OK f0\r\n", "DELETED\r\n", true},
           {"HD f1073741824\r\n", "DELETED\r\n", false},
           {"HD f0\r\n", "NOT_FOUND\r\n", false},
           {"EN\r\n", "DELETED\r\n", true},
           {"EN\r\n", "NOT_FOUND\r\n", false},
       }) {
    const Peer peer([&item = item, &deletion = deletion](const std::string& line) -> std::string {
      return line == "mg k f\r\n" ? item : line == "delete k\r\n" ? deletion : "ERROR\r\n";
    });
    const Store store({peer.address()}, {{"timeout", std::string("10s")}});
    EXPECT_EQ(store->erase("k"), was_there) << item << deletion;
    const std::vector<std::string_view> keys{"k", "k"};
    EXPECT_EQ(store->erase_many(keys), was_there ? 2U : 0U) << item << deletion;
  }
}

TEST(MemcachedPeer, AnOldServersEntriesAreReadAsTheyAreErased) {
  for (const char* const version : {"1.4.15", "1.5.22", "1.6.9", "1.6", "1", "0.5.0"}) {
    for (const auto& [item, was_there] : std::map<std::string, bool>{
             {"VALUE k 4294967295 5\r\nhello\r\nEND\r\n", true},
             {"VALUE k 1073741824 0\r\n\r\nEND\r\n", false},
             {"END\r\n", true},
         }) {
      const Peer peer(
          [&, item = item](const std::string& line) -> std::string {
            return line == "get k\r\n"      ? item
                   : line == "delete k\r\n" ? "DELETED\r\n"
                                            : "ERROR\r\n";
          },
          "VERSION " + std::string(version) + "\r\n");
      const Store store({peer.address()}, {{"timeout", std::string("10s")}});
      EXPECT_EQ(store->erase("k"), was_there) << version << item;
      const std::vector<std::string_view> keys{"k", "k"};
      EXPECT_EQ(store->erase_many(keys), was_there ? 2U : 0U) << version << item;
    }
  }
}

// --- Credentials. ---

std::string config_problem(std::vector<std::string> location, OptionMap options = {}) {
  try {
    const Store store(std::move(location), std::move(options));
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(MemcachedConfig, SaslNeedsTheBinaryProtocol) {
  const OptionMap credentials{{"user", std::string("u")}, {"password", std::string("secret")}};
  const std::string problem = config_problem({"localhost"}, credentials);
  EXPECT_THAT(problem, HasSubstr("binary"));
  EXPECT_THAT(problem, ::testing::Not(HasSubstr("secret")));
  OptionMap binary = credentials;
  binary["protocol"] = std::string("binary");
  EXPECT_EQ(config_problem({"localhost"}, binary), "");
  EXPECT_THAT(config_problem({"unix:/tmp/x"}, binary), HasSubstr("TCP only"));
  binary.erase("password");
  EXPECT_THAT(config_problem({"localhost"}, binary), HasSubstr("go together"));
}

TEST(MemcachedConfig, ReadsLocations) {
  for (const char* const good :
       {"localhost", "localhost:11211", "10.0.0.1:1", "[::1]", "[::1]:11211", "/tmp/m.sock",
        "unix:/tmp/m.sock", "unix:/tmp/m.sock?weight=3", "localhost:1?weight=1000"}) {
    EXPECT_EQ(config_problem({good}), "") << good;
  }
  for (const char* const bad :
       {"", "localhost:", "localhost:0", "localhost:65536", "localhost:port", ":11211", "::1",
        "[::1", "[]:1", "a,b", "a;b", "a b", "unix:relative", "unix:", "localhost?weight=0",
        "localhost?weight=1001", "localhost?weight=", "localhost?colour=red"}) {
    EXPECT_THAT(config_problem({bad}), HasSubstr("location")) << bad;
  }
  EXPECT_NE(config_problem({"/" + std::string(200, 'p')}), "");
  EXPECT_THAT(config_problem({"user:secret@host:1"}), ::testing::Not(HasSubstr("secret")));
  EXPECT_EQ(config_problem({}), "");
}

TEST(MemcachedConfig, RefusesWrongOptions) {
  EXPECT_NE(config_problem({}, {{"protocol", std::string("meta")}}), "");
  EXPECT_NE(config_problem({}, {{"timeout", std::string("soon")}}), "");
  EXPECT_NE(config_problem({}, {{"timeout", std::string("30d")}}), "");
  EXPECT_NE(config_problem({}, {{"max_value_bytes", std::string("2GiB")}}), "");
  EXPECT_NE(config_problem({}, {{"max_value_bytes", std::int64_t{0}}}), "");
  EXPECT_NE(config_problem({}, {{"tmeout", std::string("1s")}}), "");
}

TEST(MemcachedConfig, AServerThatWantsCredentialsDeniesTheOthers) {
  const testing::TemporaryFolder folder;
  const std::string users = (folder.path() / "users").string();
  std::ofstream(users) << "user:password\n";  // newer servers refuse a file without any
  const auto server = Server::memcached({"-Y", users});
  const Store store({server->address()});
  EXPECT_EQ(kind_of_failure([&] { read(*store, "k"); }), BackendError::Kind::denied);
}

TEST(MemcachedConfig, KeyRulesAreStrictUnlessTheDeriverSaysOtherwise) {
  TestContext context;
  const auto factory = make_factory(memcached::plugin, context);
  EXPECT_EQ(factory->traits().key_rules, KeyRules::strict);
}

// --- Many at once. ---

TEST(MemcachedConcurrency, CountersLoseNothing) {
  const auto server = Server::memcached();
  const Store store({server->address()});
  polycache::store(*store, "up", "0");
  polycache::store(*store, "mixed", "0", Ttl::forever());
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto session = store.connect();
      for (int i = 0; i < 100; ++i) {
        session->incr("up", 3);
        session->incr("mixed", i % 2 == 0 ? 5 : -6);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(read(*store, "up"), "1200");
  EXPECT_EQ(read(*store, "mixed"), "-200");
}

TEST(MemcachedConcurrency, OneOfSeveralAddsAndOneOfSeveralPops) {
  const auto server = Server::memcached();
  const Store store({server->address()});
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> added{0};
    std::atomic<int> popped{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto session = store.connect();
        if (add(*session, "k", "v")) ++added;
      });
    }
    for (std::thread& thread : threads) thread.join();
    threads.clear();
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        const auto session = store.connect();
        if (extension<PopExtension>(*session).pop("k", [](std::string_view) {})) ++popped;
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(added, 1);
    EXPECT_EQ(popped, 1);
  }
}

// --- Forks. ---

// What the child does; 0 if it was content.
int in_child(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST(MemcachedFork, AChildOpensItsOwnConnectionAndLeavesTheParents) {
  const auto server = Server::memcached();
  for (const char* const protocol : {"ascii", "binary"}) {
    const Store store({server->address()}, {{"protocol", std::string(protocol)}});
    auto inherited = store.connect();
    polycache::store(*store, "k", "parent");
    polycache::store(*inherited, "l", "parent");
    EXPECT_EQ(in_child([&] {
                if (read(*store, "k") != "parent") return false;
                inherited.reset();  // unused in the child: no goodbye on the parent's connection
                return polycache::store(*store, "k", "child");
              }),
              0);
    EXPECT_EQ(read(*store, "k"), "child");
    EXPECT_EQ(read(*inherited, "l"), "parent");
  }
}

// How many sockets this process has open.
std::ptrdiff_t open_sockets() {
  const std::filesystem::directory_iterator descriptors("/proc/self/fd");
  return std::count_if(begin(descriptors), end(descriptors), [](const auto& descriptor) {
    std::error_code gone;
    return std::filesystem::read_symlink(descriptor, gone).string().starts_with("socket:");
  });
}

TEST(MemcachedFork, AChildClosesWhatItInherited) {
  const auto server = Server::memcached();
  const Store store({server->address()});
  polycache::store(*store, "k", "v");
  const std::ptrdiff_t before = open_sockets();
  EXPECT_EQ(in_child([&] { return read(*store, "k") == "v" && open_sockets() == before; }), 0);
  EXPECT_EQ(read(*store, "k"), "v");
}

TEST(MemcachedFork, CountersOfSeveralProcessesLoseNothing) {
  const auto server = Server::memcached();
  const Store store({server->address()});
  polycache::store(*store, "n", "0");
  std::vector<pid_t> children;
  for (int p = 0; p < 3; ++p) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (int i = 0; i < 60; ++i) store->incr("n", i % 3 == 0 ? -1 : 1);
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(read(*store, "n"), "60");
}

}  // namespace
}  // namespace polycache
