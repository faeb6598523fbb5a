// Sessions, on the simplest store with a clock that the test moves, and with threads on locmem.

#include "polycache/sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/codec_json.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using ::testing::HasSubstr;

class SessionsTest : public ::testing::Test {
 protected:
  SessionsTest()
      : registry_({.caches = {{"default", {.backend = "memory", .timeout = 1s}},
                              {"nothing", {.backend = "dummy"}},
                              {"chaos", {.backend = "memory", .layers = {{"chaos", {}}}}},
                              {"real", {.backend = "locmem"}}}},
                  {.clock = &clock_,
                   .linked_plugins = {&testing::memory_store, &testing::chaos_layer, &dummy::plugin,
                                      &locmem::plugin}}),
        sessions_(on("default")) {}

  Sessions on(const std::string& cache, std::chrono::milliseconds longest = {}) {
    return Sessions({.cache = cache, .registry = &registry_, .longest_lifetime = longest});
  }
  // A saved session of Ada's.
  Session ada() {
    Session session = sessions_.create();
    session.data()["user"] = "ada";
    EXPECT_EQ(sessions_.save(session), SaveResult::saved);
    return session;
  }
  std::vector<std::string> stored_keys() {
    std::vector<std::string> keys;
    for (const EntryInfo& entry : registry_["default"].scan("*")) keys.push_back(entry.key);
    return keys;
  }

  testing::ManualClock clock_;
  CacheRegistry registry_;
  Sessions sessions_;
};

TEST_F(SessionsTest, WhatIsSavedIsLoaded) {
  Session session = sessions_.create();
  EXPECT_TRUE(session.is_new());
  EXPECT_TRUE(session.data().is_object());
  session.data() = {{"user", "ada"}, {"cart", {17, 18}}};
  EXPECT_EQ(sessions_.save(session), SaveResult::saved);
  EXPECT_FALSE(session.is_new());
  const std::optional<Session> loaded = sessions_.load(session.id());
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->data(), session.data());
  EXPECT_EQ(loaded->get<std::string>("user"), "ada");
  EXPECT_EQ(loaded->get<std::vector<int>>("cart"), (std::vector<int>{17, 18}));
  EXPECT_EQ(loaded->get<int>("user"), std::nullopt);
  EXPECT_EQ(loaded->get<int>("absent"), std::nullopt);
  EXPECT_EQ(loaded->created(), clock_.system_now());
}

TEST_F(SessionsTest, OnlyWhatChangedIsStored) {
  Session session = sessions_.create();
  EXPECT_EQ(sessions_.save(session), SaveResult::unchanged) << "an empty one needs no entry";
  EXPECT_TRUE(stored_keys().empty());
  session = ada();
  EXPECT_FALSE(session.is_changed());
  EXPECT_EQ(sessions_.save(session), SaveResult::unchanged);
  session.data()["user"] = "ada";
  EXPECT_EQ(sessions_.save(session), SaveResult::unchanged);
  session.data()["user"] = "grace";
  EXPECT_TRUE(session.is_changed());
  EXPECT_EQ(sessions_.save(session), SaveResult::saved);
  session.data().erase("user");
  EXPECT_EQ(sessions_.save(session), SaveResult::saved);
  EXPECT_EQ(sessions_.load(session.id())->data(), json::object());
}

TEST_F(SessionsTest, IdsAreLongDifferentAndNotTheKeysOfTheStore) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = sessions_.create().id();
    EXPECT_EQ(id.size(), 32U);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000U);
  const Session session = ada();
  ASSERT_EQ(stored_keys().size(), 1U);
  EXPECT_THAT(stored_keys()[0], HasSubstr("session:"));
  EXPECT_EQ(stored_keys()[0].find(session.id()), std::string::npos);
  EXPECT_EQ(registry_["default"].get(stored_keys()[0])->find(session.id()), std::string::npos);
}

TEST_F(SessionsTest, AnUnknownIdIsNeverAdopted) {
  for (const std::string& id :
       {std::string(32, 'a'), std::string(), std::string("short"), std::string(32, 'A'),
        std::string(31, 'a'), std::string(33, 'a'), std::string(32, '\0'),
        std::string(100'000, 'a'), std::string(31, 'a') + "\n"}) {
    EXPECT_FALSE(sessions_.load(id));
    const Session session = sessions_.load_or_create(id);
    EXPECT_NE(session.id(), id);
    EXPECT_TRUE(session.is_new());
    EXPECT_FALSE(sessions_.erase(id));
  }
}

TEST_F(SessionsTest, ASessionEndsWhenItIsNotUsed) {
  const Session session = ada();
  for (int i = 0; i < 10; ++i) {
    clock_.advance(26min);
    ASSERT_TRUE(sessions_.load(session.id())) << i;
  }
  clock_.advance(30min);
  EXPECT_FALSE(sessions_.load(session.id()));
}

TEST_F(SessionsTest, SavingLengthensALife) {
  Session session = ada();
  clock_.advance(20min);
  session.data()["n"] = 1;
  EXPECT_EQ(sessions_.save(session), SaveResult::saved);
  clock_.advance(29min);
  EXPECT_TRUE(sessions_.load(session.id()));
}

TEST_F(SessionsTest, TheLongestLifetimeEndsAlsoASessionThatIsUsed) {
  const Sessions limited = on("default", 1h);
  Session session = limited.create();
  session.data()["user"] = "ada";
  limited.save(session);
  clock_.advance(25min);
  ASSERT_TRUE(limited.load(session.id()));
  clock_.advance(25min);
  EXPECT_EQ(limited.rotate(session), SaveResult::saved);
  ASSERT_TRUE(limited.load(session.id())) << "a new id does not end it";
  clock_.advance(10min);
  EXPECT_FALSE(limited.load(session.id())) << "and does not lengthen it";
  session.data()["n"] = 1;
  EXPECT_EQ(limited.save(session), SaveResult::gone);
  EXPECT_EQ(limited.rotate(session), SaveResult::gone);
  EXPECT_TRUE(stored_keys().empty());
}

TEST_F(SessionsTest, TheSecondOfTwoSaversIsTold) {
  const Session session = ada();
  Session first = *sessions_.load(session.id());
  Session second = *sessions_.load(session.id());
  first.data()["cart"] = 1;
  second.data()["cart"] = 2;
  EXPECT_EQ(sessions_.save(first), SaveResult::saved);
  EXPECT_EQ(sessions_.save(second), SaveResult::changed_elsewhere);
  EXPECT_EQ(sessions_.load(session.id())->get<int>("cart"), 1);
  EXPECT_EQ(sessions_.rotate(second), SaveResult::changed_elsewhere);
  EXPECT_EQ(second.id(), session.id());
  EXPECT_EQ(stored_keys().size(), 1U);
  // After a new look it may save.
  second = *sessions_.load(session.id());
  second.data()["cart"] = 2;
  EXPECT_EQ(sessions_.save(second), SaveResult::saved);
}

TEST_F(SessionsTest, ASessionThatIsGoneDoesNotComeBack) {
  Session session = ada();
  Session other = *sessions_.load(session.id());
  EXPECT_TRUE(sessions_.erase(session));
  EXPECT_FALSE(sessions_.erase(session));
  session.data()["n"] = 1;
  EXPECT_EQ(sessions_.save(session), SaveResult::gone);
  EXPECT_EQ(sessions_.rotate(other), SaveResult::gone);
  EXPECT_FALSE(sessions_.load(session.id()));
  EXPECT_TRUE(stored_keys().empty());
}

TEST_F(SessionsTest, ANewIdEndsTheOlderOne) {
  Session session = ada();
  const std::string older = session.id();
  session.data()["admin"] = true;
  EXPECT_EQ(sessions_.rotate(session), SaveResult::saved);
  EXPECT_NE(session.id(), older);
  EXPECT_FALSE(sessions_.load(older));
  EXPECT_EQ(sessions_.load(session.id())->data(), json({{"user", "ada"}, {"admin", true}}));
  EXPECT_FALSE(session.is_changed());
  session.data()["n"] = 1;
  EXPECT_EQ(sessions_.save(session), SaveResult::saved);
  EXPECT_EQ(stored_keys().size(), 1U);
  // One that was never saved gets one, too.
  Session fresh = sessions_.create();
  const std::string first = fresh.id();
  EXPECT_EQ(sessions_.rotate(fresh), SaveResult::unchanged);
  EXPECT_NE(fresh.id(), first);
  fresh.data()["n"] = 1;
  EXPECT_EQ(sessions_.rotate(fresh), SaveResult::saved);
  EXPECT_TRUE(sessions_.load(fresh.id()));
}

TEST_F(SessionsTest, AnEntryThatIsNoSessionIsNone) {
  const Session session = ada();
  const std::string key = stored_keys().at(0);
  for (const json& entry : {json(1), json::array(), json::object(), json({{"data", 1}}),
                            json({{"data", 1}, {"revision", "1"}, {"created", 0}}),
                            json({{"data", 1}, {"revision", 1}, {"created", 1.5}})}) {
    registry_["default"].set(key, entry, 1h);
    EXPECT_FALSE(sessions_.load(session.id())) << entry;
    Session mine = session;
    mine.data()["n"] = 1;
    EXPECT_EQ(sessions_.save(mine), SaveResult::gone) << entry;
    EXPECT_EQ(sessions_.rotate(mine), SaveResult::gone) << entry;
  }
}

TEST_F(SessionsTest, AStoreThatFailsEndsNoSession) {
  const Sessions fragile = on("chaos");
  Session session = fragile.create();
  session.data()["user"] = "ada";
  fragile.save(session);
  const std::string id = session.id();
  session.data()["n"] = 1;
  testing::Chaos::named("chaos", clock_)->set({.fail = 1});
  EXPECT_THROW(fragile.load(id), BackendError);
  EXPECT_THROW(fragile.load_or_create(id), BackendError);
  EXPECT_THROW(fragile.save(session), BackendError);
  EXPECT_THROW(fragile.rotate(session), BackendError);
  EXPECT_THROW(fragile.erase(session), BackendError);
  EXPECT_EQ(session.id(), id);
  EXPECT_TRUE(session.is_changed());
  testing::Chaos::named("chaos", clock_)->off();
  clock_.advance(1min);  // past the breaker's pause
  EXPECT_TRUE(fragile.load(id));
  EXPECT_EQ(fragile.save(session), SaveResult::saved);
}

TEST_F(SessionsTest, AStoreThatRefusesASessionIsNoSuccess) {
  const Sessions fragile = on("chaos");
  Session session = fragile.create();
  session.data()["user"] = "ada";
  testing::Chaos::named("chaos", clock_)->set({.refuse = 1});
  EXPECT_EQ(fragile.save(session), SaveResult::refused);
  EXPECT_TRUE(session.is_new());
  testing::Chaos::named("chaos", clock_)->off();
  EXPECT_EQ(fragile.save(session), SaveResult::saved);
  const std::string id = session.id();
  testing::Chaos::named("chaos", clock_)->set({.refuse = 1});
  EXPECT_EQ(fragile.rotate(session), SaveResult::refused);
  EXPECT_EQ(session.id(), id);
}

TEST_F(SessionsTest, AStoreThatKeepsNothingBeginsAnewEachTime) {
  const Sessions none = on("nothing");
  Session session = none.create();
  session.data()["user"] = "ada";
  EXPECT_EQ(none.save(session), SaveResult::saved);
  EXPECT_FALSE(none.load(session.id()));
}

TEST_F(SessionsTest, DataThatIsNoJsonIsRefusedAndNothingIsStored) {
  Session session = ada();
  session.data()["user"] = "\xff";
  EXPECT_THROW(sessions_.save(session), json::exception);
  EXPECT_EQ(sessions_.load(session.id())->get<std::string>("user"), "ada");
}

TEST_F(SessionsTest, OptionsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(Sessions({.name = ""}), ValueError);
  EXPECT_THROW(Sessions({.lifetime = 0s}), ValueError);
  EXPECT_THROW(Sessions({.longest_lifetime = -1s}), ValueError);
  EXPECT_EQ(name_of(SaveResult::changed_elsewhere), "changed_elsewhere");
}

// Each save counts once, and of many that rotate one session, one gets a new id.
TEST_F(SessionsTest, ThreadsLoseNoSaveAndShareNoId) {
  Cache& cache = registry_["real"];
  const Sessions shared(cache, {});
  Session session = shared.create();
  session.data()["n"] = 0;
  ASSERT_EQ(shared.save(session), SaveResult::saved);
  const std::string id = session.id();
  constexpr int threads = 8;
  constexpr int saves = 25;
  const auto on_threads = [&](auto f) {
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) all.emplace_back(f);
    for (std::thread& thread : all) thread.join();
  };
  on_threads([&] {
    const Sessions mine = on("real");
    for (int done = 0; done < saves;) {
      Session one = *mine.load(id);
      one.data()["n"] = *one.get<int>("n") + 1;
      if (mine.save(one) == SaveResult::saved) ++done;
    }
  });
  EXPECT_EQ(shared.load(id)->get<int>("n"), threads * saves);
  std::atomic<int> rotated{0};
  on_threads([&] {
    const Sessions mine = on("real");
    std::optional<Session> one = mine.load(id);
    if (one && mine.rotate(*one) == SaveResult::saved) ++rotated;
  });
  EXPECT_EQ(rotated, 1);
  EXPECT_FALSE(shared.load(id));
  std::size_t count = 0;
  for (const EntryInfo& entry : cache.scan("*")) count += entry.key.empty() ? 0 : 1;
  EXPECT_EQ(count, 1U);
}

TEST_F(SessionsTest, ANullPointerAsATextIsAnInvalidKey) {
  const char* const null = nullptr;
  EXPECT_THROW(sessions_.load(null), InvalidKey);
  EXPECT_THROW(sessions_.load_or_create(null), InvalidKey);
  EXPECT_THROW(sessions_.erase(null), InvalidKey);
  EXPECT_THROW(ada().get<std::string>(null), InvalidKey);
}

}  // namespace
}  // namespace polycache
