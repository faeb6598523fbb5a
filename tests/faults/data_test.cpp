// Unreadable bytes, codecs and warning handlers that throw: a miss or a value, never
// a crash, and nothing that stays behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/codec_binary.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace polycache {
namespace {

struct Stock {
  std::int32_t article = 0;
  std::string name;
  std::vector<std::uint16_t> shelves;
};

// Its codec throws when told to.
struct Moody {
  std::string text;
};
std::atomic<bool> decoder_throws{false};
std::atomic<bool> encoder_throws{false};

}  // namespace

template <>
struct Codec<Stock> : BinaryCodec<Stock> {};

template <>
struct Codec<Moody> {
  static std::string_view encode(const Moody& value, std::string&) {
    if (encoder_throws) throw std::runtime_error("the encoder is unwell");
    return value.text;
  }
  static std::optional<Moody> decode(std::string_view bytes) {
    if (decoder_throws) throw std::runtime_error("the decoder is unwell");
    return Moody{std::string(bytes)};
  }
};

namespace {

class Data : public ::testing::Test {
 protected:
  Data() {
    decoder_throws = false;
    encoder_throws = false;
  }

  Cache& cache() { return registry_["default"]; }

  // Past the front, as another program would.
  void put_raw(std::string_view key, std::string_view bytes) {
    cache().backend().put(cache().final_key(key), bytes, Ttl(1h), PutMode::always);
  }
  std::string raw(std::string_view key) {
    std::string bytes = "nothing";
    cache().backend().get(cache().final_key(key), [&](std::string_view b) { bytes = b; });
    return bytes;
  }

  std::vector<Warning::Kind> heard() {
    const std::lock_guard lock(mutex_);
    return std::exchange(heard_, {});
  }

  // Runs every operation that reads. Each returns a value, or misses and warns. A frame whose time
  // is over misses without a warning.
  template <class T>
  void expect_value_or_miss(std::string_view what) {
    heard();
    const bool found = cache().get<T>("k").has_value();
    const std::size_t warnings = heard().size();
    if (raw("k").starts_with("\xC1pc")) {
      EXPECT_LE(warnings, found ? 0U : 1U) << what;
    } else {
      EXPECT_EQ(warnings, found ? 0U : 1U) << what;
    }
    EXPECT_EQ(cache().get_many<T>({"k", "none"})[0].has_value(), found) << what;
    EXPECT_TRUE(!found || cache().contains("k")) << what;
    bool computed = false;
    cache().template get_or_set<T>("k", [&] {
      computed = true;
      return T();
    });
    EXPECT_EQ(computed, !found) << what;
    EXPECT_TRUE(cache().get<T>("k").has_value()) << what;  // healed
  }

  // The entry of `value` with every bit flipped, cut everywhere, and its halves swapped.
  template <class T>
  void damage_everywhere(const T& value) {
    ASSERT_TRUE(cache().set("k", value));
    const std::string good = raw("k");
    const auto try_bytes = [&](const std::string& bytes, const std::string& what) {
      put_raw("k", bytes);
      expect_value_or_miss<T>(what);
    };
    for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::string bytes = good;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
      try_bytes(bytes, "bit " + std::to_string(bit));
    }
    for (std::size_t size = 0; size < good.size(); ++size) {
      try_bytes(good.substr(0, size), "cut to " + std::to_string(size));
      try_bytes(good.substr(size) + good.substr(0, size), "swapped at " + std::to_string(size));
    }
    ASSERT_TRUE(cache().set("k", value));
    EXPECT_EQ(raw("k"), good);
  }

  testing::ManualClock clock_;
  std::mutex mutex_;  // guards heard_ and on_warning_
  std::vector<Warning::Kind> heard_;
  std::function<void(const Warning&)> on_warning_;
  CacheRegistry registry_{
      {.caches = {{"default", {.backend = "locmem", .location = {"data-faults"}}}}},
      {.clock = &clock_,
       .on_warning =
           [this](const Warning& warning) {
             std::function<void(const Warning&)> also;
             {
               const std::lock_guard lock(mutex_);
               heard_.push_back(warning.kind);
               also = on_warning_;
             }
             if (also) also(warning);
           },
       .linked_plugins = {&locmem::plugin}}};
};

// --- Damaged entries ---

TEST_F(Data, AFrameThatWasDamagedAnywhereIsAMissOrAValue) {
  // A text that begins with the magic is framed.
  damage_everywhere(std::string("\xC1pc and more text"));
}

TEST_F(Data, AnEncodingThatWasDamagedAnywhereIsAMissOrAValue) {
  damage_everywhere(Stock{.article = 7, .name = "lamp", .shelves = {1, 2, 515}});
  damage_everywhere(std::int64_t{-1234567});
  damage_everywhere(2.5);
  damage_everywhere(std::chrono::milliseconds(1500));
}

TEST_F(Data, AnEntryOfANewerFormatIsAMissAndStaysUntilTheFunctionRuns) {
  const std::vector<std::pair<const char*, std::string>> newer{
      {"another format", std::string("\xC1pc\x02\0\x20\0\0", 8) + std::string(24, '\0') + "new"},
      {"a flag to come", std::string("\xC1pc\x01\x40\x20\0\0", 8) + std::string(24, '\0') + "new"},
      {"a field that must be understood",
       std::string("\xC1pc\x01\0\x23\0\0", 8) + std::string(24, '\0') + "\x80\x01x" + "new"},
      {"tags that cannot be read", std::string("\xC1pc\x01\x04\x25\0\0", 8) +
                                       std::string(24, '\0') + "\x81\x03\x05\x61\x62" + "new"},
  };
  for (const auto& [what, bytes] : newer) {
    SCOPED_TRACE(what);
    put_raw("k", bytes);
    heard();
    EXPECT_FALSE(cache().get<std::string>("k").has_value());
    EXPECT_THAT(heard(), ElementsAre(Warning::Kind::entry_damaged));
    EXPECT_FALSE(cache().contains("k"));
    EXPECT_FALSE(cache().get_many<std::string>({"k"})[0].has_value());
    EXPECT_THROW(cache().incr("k"), KeyNotFound);
    EXPECT_FALSE(cache().touch("k", 2h));
    EXPECT_EQ(raw("k"), bytes);
    // A function that fails leaves it, too; one that runs replaces it.
    const auto fails = []() -> std::string { throw std::runtime_error("no value today"); };
    EXPECT_THROW(cache().get_or_set("k", fails), std::runtime_error);
    EXPECT_EQ(raw("k"), bytes);
    EXPECT_EQ(cache().get_or_set("k", [] { return std::string("old"); }), "old");
    EXPECT_EQ(cache().get<std::string>("k"), "old");
    EXPECT_TRUE(cache().erase("k"));
  }
}

TEST_F(Data, BytesOfAnotherTypeAreAMissAndAWarning) {
  cache().set("k", "no number");
  heard();
  EXPECT_FALSE(cache().get<int>("k").has_value());
  EXPECT_FALSE(cache().get<Stock>("k").has_value());
  EXPECT_THAT(heard(),
              ElementsAre(Warning::Kind::undecodable_value, Warning::Kind::undecodable_value));
  EXPECT_EQ(cache().get<std::string>("k"), "no number");
  EXPECT_EQ(cache().get_or_set("k", [] { return 5; }), 5);
  EXPECT_EQ(cache().get<int>("k"), 5);
}

// --- Codecs that throw ---

TEST_F(Data, ADecoderThatThrowsIsAMissAndTheFunctionRuns) {
  cache().set("k", Moody{"stored"});
  std::string message;
  on_warning_ = [&](const Warning& warning) { message = warning.message; };
  decoder_throws = true;
  EXPECT_FALSE(cache().get<Moody>("k").has_value());
  EXPECT_THAT(heard(), ElementsAre(Warning::Kind::undecodable_value));
  EXPECT_THAT(message, HasSubstr("its codec threw: the decoder is unwell"));
  EXPECT_EQ(cache().get_or_set("k", [] { return Moody{"made"}; }).text, "made");
  decoder_throws = false;
  EXPECT_EQ(cache().get<Moody>("k")->text, "made");
}

TEST_F(Data, AnEncoderThatThrowsPreventsStoringButReturnsTheValue) {
  cache().set("k", Moody{"old"});
  encoder_throws = true;
  EXPECT_THROW(cache().set("k", Moody{"new"}), std::runtime_error);
  EXPECT_EQ(cache().get<Moody>("k")->text, "old");
  heard();
  EXPECT_EQ(cache().get_or_set("other", [] { return Moody{"made"}; }).text, "made");
  EXPECT_THAT(heard(), ElementsAre(Warning::Kind::other));
  EXPECT_FALSE(cache().contains("other"));
  encoder_throws = false;
  EXPECT_EQ(cache().get_or_set("other", [] { return Moody{"again"}; }).text, "again");
  EXPECT_EQ(cache().get<Moody>("other")->text, "again");
}

TEST_F(Data, WaitersForAValueThatCannotBeEncodedComputeIt) {
  encoder_throws = true;
  std::atomic<int> computed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      EXPECT_EQ(cache()
                    .get_or_set("k",
                                [&] {
                                  ++computed;
                                  return Moody{"made"};
                                })
                    .text,
                "made");
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(computed, 4);  // there were no bytes to hand over
}

// --- Handlers that throw ---

struct Enough : std::runtime_error {
  Enough() : std::runtime_error("the handler had enough") {}
};

// The exception reaches the caller of the operation, and the next operation finds everything
// as it should be.
class ThrowingHandler : public Data {
 protected:
  ThrowingHandler() {
    on_warning_ = [this](const Warning&) {
      if (throwing_) throw Enough();
    };
  }

  void expect_full_service() {
    throwing_ = false;
    EXPECT_TRUE(cache().set("healthy", 1));
    EXPECT_EQ(cache().incr("healthy"), 2);
    EXPECT_EQ(cache().get<int>("healthy"), 2);
    EXPECT_EQ(cache().get_or_set("k", [] { return 3; }), 3);
    EXPECT_EQ(cache().get<int>("k"), 3);
    throwing_ = true;
  }

  std::atomic<bool> throwing_{true};
};

TEST_F(ThrowingHandler, ReachesTheCallerOfEveryReadAndHarmsNothing) {
  for (const auto& read : std::vector<std::function<void()>>{
           [this] { cache().get<int>("k"); },
           [this] {
             cache().get_many<int>({"healthy", "k"});
           },
           [this] { cache().get_or_set("k", [] { return 4; }); },
           [this] { cache().pop<int>("k"); },
       }) {
    put_raw("k", "no number");
    EXPECT_THROW(read(), Enough);
    expect_full_service();
  }
}

TEST_F(ThrowingHandler, StopsAKeyBeforeAnythingIsStored) {
  EXPECT_THROW(cache().set("a key with blanks", 1), Enough);
  EXPECT_THROW(cache().get<int>("a key with blanks"), Enough);
  throwing_ = false;
  EXPECT_FALSE(cache().contains("a key with blanks"));
  expect_full_service();
}

TEST_F(ThrowingHandler, ReleasesWaitersForTheComputation) {
  encoder_throws = true;  // the computing thread is warned, and the handler throws
  std::atomic<int> thrown{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      try {
        cache().get_or_set("k", [] { return Moody{"made"}; });
      } catch (const Enough&) {
        ++thrown;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();  // far below the 30 s that they would wait
  EXPECT_EQ(thrown, 4);
  encoder_throws = false;
  expect_full_service();
}

TEST_F(ThrowingHandler, OfManyThreadsHarmsNoOperation) {
  put_raw("bad", "no number");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const std::string mine = "mine" + std::to_string(i);
      for (int round = 0; round < 200; ++round) {
        EXPECT_THROW(cache().get<int>("bad"), Enough);
        EXPECT_TRUE(cache().set(mine, round));
        EXPECT_EQ(cache().get<int>(mine), round);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  expect_full_service();
}

TEST_F(ThrowingHandler, MayUseTheCacheThatWarned) {
  on_warning_ = [this](const Warning&) {
    cache().set("from_the_handler", 1);
    if (throwing_) throw Enough();
  };
  put_raw("k", "no number");
  EXPECT_THROW(cache().get<int>("k"), Enough);
  EXPECT_EQ(cache().get<int>("from_the_handler"), 1);
  expect_full_service();
}

// A store that reports and fails on command, from within operations and outside of them.
std::atomic<bool> store_fails{false};
std::function<void(const Warning&)> report_of_the_store;

class Reporting final : public Backend {
 public:
  bool get(std::string_view, ValueSink sink) override {
    if (store_fails) throw BackendError(BackendError::Kind::unreachable, "h:1", "refused");
    sink("7");
    return true;
  }
  bool put(std::string_view, std::string_view, Ttl, PutMode) override {
    report_of_the_store({.kind = Warning::Kind::value_refused, .message = "too large"});
    report_of_the_store({.kind = Warning::Kind::other, .message = "and something else"});
    return false;
  }
  bool touch(std::string_view, Ttl, ValueSink) override { return true; }
  bool erase(std::string_view) override { return true; }
  void clear() override {}
};

class ReportingFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<Reporting>(); }
};

constexpr PluginDescriptor reporting = backend_plugin(
    "reporting", "1.0",
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      report_of_the_store = context.report;
      return std::make_unique<ReportingFactory>();
    });

class ThrowingHandlerOfAStore : public ::testing::Test {
 protected:
  ThrowingHandlerOfAStore() { store_fails = false; }
  ~ThrowingHandlerOfAStore() override { report_of_the_store = nullptr; }

  Cache& cache() { return registry_["default"]; }

  bool throwing_ = true;
  std::vector<Warning::Kind> heard_;
  testing::ManualClock clock_;
  CacheRegistry registry_{{.caches = {{"default", {.backend = "reporting"}}}},
                          {.clock = &clock_,
                           .on_warning =
                               [this](const Warning& warning) {
                                 heard_.push_back(warning.kind);
                                 if (throwing_) throw Enough();
                               },
                           .linked_plugins = {&reporting}}};
};

TEST_F(ThrowingHandlerOfAStore, WhatAStoreReportsByItselfNeverThrows) {
  EXPECT_NO_THROW(report_of_the_store({.message = "in the background"}));
  EXPECT_THAT(heard_, ElementsAre(Warning::Kind::other));
}

TEST_F(ThrowingHandlerOfAStore, WhatAStoreReportsInAnOperationIsDeliveredAfterIt) {
  EXPECT_THROW(cache().set("k", 1), Enough);
  throwing_ = false;
  heard_.clear();
  EXPECT_FALSE(cache().set("k", 1));
  EXPECT_THAT(heard_, ElementsAre(Warning::Kind::value_refused, Warning::Kind::other));
  EXPECT_EQ(cache().get<int>("k"), 7);
}

TEST_F(ThrowingHandlerOfAStore, ThatIsDownIsUsedAgainWhenItIsUp) {
  store_fails = true;
  EXPECT_THROW(cache().get<int>("k"), Enough);      // "continuing without the store"
  EXPECT_FALSE(cache().get<int>("k").has_value());  // told once
  store_fails = false;
  EXPECT_THROW(cache().get<int>("k"), Enough);  // "the store answers again"
  EXPECT_EQ(cache().get<int>("k"), 7);
}

}  // namespace
}  // namespace polycache
