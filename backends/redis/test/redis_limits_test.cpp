// Rate limits on real servers: the script against the arithmetic of rates::use(), and servers that
// deny commands.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/redis.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "support/server.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

using testing::Server;

constexpr std::string_view key = "shop:~k:{r.api:ada}";

void command(const Server& server, const std::string& words) {
  const std::string call = "redis-cli -h " + server.host() + " -p " +
                           std::to_string(server.port()) + " " + words + " > /dev/null";
  ASSERT_EQ(std::system(call.c_str()), 0) << words;
}

class RedisLimits : public ::testing::Test {
 protected:
  void connect(const std::string& user = "") {
    context_.emplace();
    factory_ = context_->make(redis::plugin, {{"redis://" + user + server_->address()}, {}});
    session_ = factory_->connect();
  }

  LimitExtension::Used use(const rates::Rate& rate, std::int64_t cost) {
    auto* const limits = static_cast<LimitExtension*>(session_->extension(LimitExtension::id));
    return limits->use({.key = key, .rate = rate, .cost = cost});
  }
  std::string state() {
    std::string text;
    session_->get(key, [&](std::string_view value) { text = value; });
    return text;
  }

  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }

  rates::Rate any_rate() {
    rates::Rate rate;
    rate.algorithm = static_cast<RateAlgorithm>(below(3));
    // Short and long ones alike, and both ends.
    const std::uint64_t most = 1'000'000'000;
    rate.limit = static_cast<std::int64_t>(one_in(8) ? most : 1 + below(most >> below(30)));
    const std::chrono::milliseconds longest = 24h * 365 * 10;
    const auto count = static_cast<std::uint64_t>(longest.count());
    rate.period = one_in(8) ? longest : std::chrono::milliseconds(1 + below(count >> below(38)));
    return rate;
  }

  // Near `middle`, before or after, at all distances up to `reach`.
  std::int64_t near(std::int64_t middle, std::int64_t reach) {
    if (one_in(10)) return middle;
    const auto far =
        static_cast<std::int64_t>(below((static_cast<std::uint64_t>(reach) >> below(40)) + 1));
    return std::max<std::int64_t>(one_in(2) ? middle + far : middle - far, 0);
  }

  std::int64_t any_count(const rates::Rate& rate) {
    if (one_in(20)) return std::numeric_limits<std::int64_t>::max();
    return near(static_cast<std::int64_t>(below(static_cast<std::uint64_t>(rate.limit) + 1)),
                rate.limit / 2);
  }

  // What a key may say before a use: of earlier uses, of a clock that differs, of another limit or
  // algorithm, or nothing that makes sense.
  std::string any_state(const rates::Rate& rate, rates::Moment now) {
    const std::int64_t period = std::chrono::microseconds(rate.period).count();
    static const std::vector<std::string> damaged{
        "",        "b",       "b 1",    "b 1 x",  "b -1 0",  "b 99999999999999999999 0",
        "f 1 2 3", "s 1 2",   "json",   "b  1 2", "f 1 2 ",  "s 9007199254740992 1 1",
        "b 1e3 1", "f 0x1 1", "f -0 1", " f 1 1", "b 007 1", "f 9007199254740991 1",
        "s +1 1 1"};
    if (one_in(20)) return damaged[below(damaged.size())];
    const auto number = [](std::int64_t value) { return ' ' + std::to_string(value); };
    const auto algorithm = one_in(30) ? static_cast<RateAlgorithm>(below(3)) : rate.algorithm;
    switch (algorithm) {
      case RateAlgorithm::fixed_window:
        return "f" + number(near(one_in(2) ? now : now - period, 2 * period)) +
               number(any_count(rate));
      case RateAlgorithm::sliding_window: {
        const std::int64_t begin = now - now % period;
        const std::int64_t began = begin - period * (static_cast<std::int64_t>(below(4)) - 1);
        return "s" + number(one_in(10) ? near(begin, period) : began) + number(any_count(rate)) +
               number(any_count(rate));
      }
      case RateAlgorithm::token_bucket:
        break;
    }
    return "b" + number(near(one_in(2) ? now : now + period, 2 * period)) +
           number(one_in(20)
                      ? any_count(rate)
                      : static_cast<std::int64_t>(below(static_cast<std::uint64_t>(rate.limit))));
  }

  // Plants states and uses them; the server decides as the arithmetic does. Returns how many uses
  // were allowed.
  int compare(int uses) {
    int allowed = 0;
    for (int i = 0; i < uses; ++i) {
      const rates::Rate rate = any_rate();
      const rates::Moment now =
          std::chrono::system_clock::now().time_since_epoch() / std::chrono::microseconds(1);
      const std::string before = any_state(rate, now);
      session_->put(key, before, Ttl::forever(), PutMode::always);
      const auto cost = std::min(any_count(rate), rate.limit);
      const LimitExtension::Used used = use(rate, cost);
      const rates::Step step = rates::use(rate, before, used.now, cost);
      const std::string after = used.allowed && cost > 0 ? step.state : before;
      const std::string kept = state();
      // What was written may be over by now.
      const bool is_kept = kept == after || (kept.empty() && rates::life(rate) < 10min);
      const bool is_same = used.before == before && used.allowed == step.verdict.allowed &&
                           is_kept && used.now >= now - 60'000'000;
      EXPECT_TRUE(is_same) << "limit " << rate.limit << ", period " << rate.period.count()
                           << " ms, cost " << cost << ", \"" << before << "\" at " << used.now
                           << " became \"" << kept << "\", not \"" << after << '"';
      if (!is_same) break;
      allowed += used.allowed ? 1 : 0;
    }
    return allowed;
  }

  void compare_thousands() {
    constexpr int uses = 6000;
    const int allowed = compare(uses);
    RecordProperty("allowed", allowed);
    EXPECT_GT(allowed, uses / 5);
    EXPECT_LT(allowed, uses * 4 / 5) << "the states say too little";
  }

  const std::unique_ptr<Server> server_ = Server::redis();
  std::optional<testing::TestContext> context_;
  std::shared_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
  std::mt19937_64 random_{20261130};
};

TEST_F(RedisLimits, TheScriptDecidesAsTheArithmeticDoes) {
  connect();
  compare_thousands();
  EXPECT_TRUE(context_->warnings().empty());
}

TEST_F(RedisLimits, WithoutScriptsTheArithmeticIsTheSame) {
  command(*server_, "acl setuser shop on nopass '~*' +@all -evalsha -eval");
  connect("shop:x@");
  compare_thousands();
  EXPECT_EQ(context_->warnings().size(), 1U) << "of the scripts";
}

TEST_F(RedisLimits, WhereTheTimeIsDeniedThatOfTheProgramCounts) {
  command(*server_, "acl setuser shop on nopass '~*' +@all -time");
  connect("shop:x@");
  compare_thousands();
  EXPECT_TRUE(context_->warnings().empty());
}

TEST_F(RedisLimits, AStateGoesWhenItSaysNothingAnyMore) {
  connect();
  for (const RateAlgorithm algorithm :
       {RateAlgorithm::token_bucket, RateAlgorithm::fixed_window, RateAlgorithm::sliding_window}) {
    const rates::Rate rate{algorithm, 2, 1h};
    session_->erase(key);
    EXPECT_TRUE(use(rate, 1).allowed);
    auto* const ttl = static_cast<TtlExtension*>(session_->extension(TtlExtension::id));
    Ttl left = Ttl::forever();
    ttl->get(key, [&](std::string_view, Ttl found) { left = found; });
    ASSERT_FALSE(left.is_forever());
    EXPECT_LE(left.value(), rates::life(rate) + 1ms);
    EXPECT_GT(left.value(), rates::life(rate) - 10min);
  }
}

TEST_F(RedisLimits, AScriptThatTheServerForgotIsSentAgain) {
  connect();
  const rates::Rate rate{RateAlgorithm::fixed_window, 2, 1h};
  EXPECT_TRUE(use(rate, 1).allowed);
  command(*server_, "script flush");
  EXPECT_TRUE(use(rate, 1).allowed);
  EXPECT_FALSE(use(rate, 1).allowed);
}

}  // namespace
}  // namespace polycache
