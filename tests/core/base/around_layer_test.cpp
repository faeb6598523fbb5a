// The layer kit: every call runs through one hook, and nothing of the store is hidden.

#include "polycache/author/around_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension_list.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/test_context.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const ManualClock& test_clock() {
  static const ManualClock clock;
  return clock;
}

// An ability that polycache does not define.
struct OwnExtension {
  static constexpr std::string_view id = "example.own/1";
};

// Offers every extension: those of the list, and one of its own.
class OffersAll final : public Layer,
                        public PaddedNumbersExtension,
                        public AdmissionExtension,
                        public HealthExtension,
                        public IdleExtension {
 public:
  using Layer::Layer;

  void* extension(std::string_view id) noexcept override {
    if (id == PaddedNumbersExtension::id) return static_cast<PaddedNumbersExtension*>(this);
    if (id == AdmissionExtension::id) return static_cast<AdmissionExtension*>(this);
    if (id == HealthExtension::id) return static_cast<HealthExtension*>(this);
    if (id == IdleExtension::id) return static_cast<IdleExtension*>(this);
    if (id == OwnExtension::id) return &own_;
    return inner().extension(id);
  }

  bool admits(std::string_view key, Access /*access*/) const noexcept override {
    return key != "down";
  }
  bool admits_all() const noexcept override { return false; }
  void check(FunctionRef<void(const HealthExtension::Server&)> sink) override {
    sink({.name = "server", .reachable = true});
  }
  void close_idle() noexcept override {}

 private:
  OwnExtension own_;
};

class OffersAllFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override {
    return std::make_unique<OffersAll>(std::make_unique<MemorySession>(store_, test_clock()));
  }
  StoreTraits traits() const noexcept override {
    return {.key_rules = KeyRules::strict, .breaks_circuits = true, .breaker = &breaker_};
  }
  void* extension(std::string_view id) noexcept override {
    return id == OwnExtension::id ? &own_ : nullptr;
  }
  const CircuitBreaker* breaker() const noexcept { return &breaker_; }

 private:
  CircuitBreaker breaker_{test_clock()};
  OwnExtension own_;
  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>();
};

// A layer whose hook is a function of the test.
using Around = std::function<StoreAnswer(const StoreCall&, StoreGo)>;
class TestLayer final : public AroundLayer {
 public:
  TestLayer(std::unique_ptr<Backend> inner, Transparency transparency, Around around)
      : AroundLayer(std::move(inner), transparency), around_(std::move(around)) {}
  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    return around_ ? around_(call, go) : AroundLayer::around(call, go);
  }

 private:
  Around around_;
};

class TestLayerFactory final : public AroundLayerFactory {
 public:
  TestLayerFactory(std::shared_ptr<BackendFactory> inner, Transparency transparency,
                   Around around = nullptr)
      : AroundLayerFactory(std::move(inner), transparency), around_(std::move(around)) {}

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<TestLayer>(std::move(session), transparency(), around_);
  }

 private:
  Around around_;
};

std::unique_ptr<Backend> session_with(Around around, Transparency transparency = {}) {
  return TestLayerFactory(std::make_shared<OffersAllFactory>(), transparency, std::move(around))
      .connect();
}

template <class Extension>
Extension& of(Backend& session) {
  return *static_cast<Extension*>(session.extension(Extension::id));
}

// Nothing of it is free again in a test.
constexpr rates::Rate hourly{RateAlgorithm::fixed_window, 3, std::chrono::hours(1)};

// Calls every function of a session and of its extensions once. The store has "k" before.
void call_everything(Backend& session) {
  const std::array<std::string_view, 2> keys{"k", "none"};
  const std::array<Item, 2> items{Item{"a", "1", Ttl(1s)}, Item{"k", "2", Ttl(2s)}};
  const auto ignore = [](std::string_view) {};
  session.get("k", ignore);
  session.contains("k", ignore);
  session.get_many(keys, [](std::size_t, std::string_view) {});
  session.put("n", "5", Ttl(1s), PutMode::always);
  session.put_many(items, PutMode::if_absent, [](std::size_t) {});
  session.touch("k", Ttl(3s));
  session.erase("a");
  session.erase_many(keys);
  session.incr("n", 2);
  of<TtlExtension>(session).get("n", [](std::string_view, Ttl) {});
  of<TtlExtension>(session).get_many(keys, [](std::size_t, std::string_view, Ttl) {});
  of<CompareExtension>(session).put_if_equal("n", "7", "8", Ttl(4s));
  of<CompareExtension>(session).erase_if_equal("n", "7");
  of<PopExtension>(session).pop("n", ignore);
  of<ErasePrefixExtension>(session).erase_prefix("x");
  of<HealthExtension>(session).check([](const HealthExtension::Server&) {});
  of<ScanExtension>(session).scan("z*", "", 10, [](const ScanExtension::Listed&) {});
  of<ErasePatternExtension>(session).erase_pattern("z*");
  session.put("k", "v", Ttl(1s), PutMode::always);
  of<RenewExtension>(session).get("k", Ttl(5s), ignore);
  of<TagIndexExtension>(session).create_index();
  const std::array<std::uint64_t, 1> versions{7};
  of<TagIndexExtension>(session).erase_tagged(versions);
  of<TagIndexExtension>(session).drop_index();
  auto& locks = of<LockExtension>(session);
  locks.take({.key = "l", .token = "t"}, 3s);
  locks.renew({.key = "l", .token = "t"}, 4s);
  locks.release({.key = "l", .token = "u"});
  locks.wait("l", 1ms);
  locks.keeping();
  auto& limits = of<LimitExtension>(session);
  limits.use({.key = "r", .rate = hourly, .cost = 3});
  limits.forget("r");
  auto& deques = of<DequeExtension>(session);
  const std::array<std::string_view, 2> values{"x", "y"};
  deques.push("q", DequeExtension::End::back, values, 5);
  deques.pop("q", DequeExtension::End::front, ignore);
  deques.at("q", -1, ignore);
  deques.list("q", 0, 9, ignore);
  deques.size("q");
  deques.rotate("q", 2);
  deques.erase_deque("q");
  deques.keeping();
  auto& indexes = of<IndexExtension>(session);
  const IndexExtension::Place index{.key = "i", .type = "t"};
  indexes.put(index, "a", "1", PutMode::if_absent, ignore);
  indexes.put(index, "a", "2", PutMode::if_absent, ignore);
  indexes.find(index, "a", ignore);
  indexes.list(index, {}, [](const IndexExtension::Entry&) {});
  indexes.take(index, IndexExtension::Side::first, [](const IndexExtension::Entry&) {});
  indexes.erase(index, "a", ignore);
  indexes.count(index);
  indexes.clear(index);
  indexes.keeping();
  session.clear();
}

std::string text_of(const StoreCall& call) {
  std::string text(call.name);
  text += call.access == Access::read ? " r" : " w";
  if (call.mode != PutMode::always) text += call.mode == PutMode::if_absent ? " new" : " old";
  for (std::size_t i = 0; i < call.size(); ++i) {
    text.append(" ").append(call.key(i));
    if (call.value(i)) text.append("=").append(*call.value(i));
    if (call.ttl(i) && !call.ttl(i)->is_forever())
      text.append("@").append(std::to_string(call.ttl(i)->value() / 1s));
  }
  if (call.expected) text.append(" if ").append(*call.expected);
  if (call.delta != 0) text += " by " + std::to_string(call.delta);
  return text + " ->";
}

std::string text_of(const StoreAnswer& answer) {
  return (answer.done ? " done" : "") +
         (answer.number ? " " + std::to_string(*answer.number) : std::string());
}

// Of the first lock of a store (lock_table.h).
std::string first_fence() {
  const auto now =
      std::chrono::floor<std::chrono::microseconds>(test_clock().system_now()).time_since_epoch();
  return std::to_string(now.count() + 1);
}

// Of a use of a limit.
std::string first_moment() {
  const auto now = test_clock().system_now().time_since_epoch();
  return std::to_string(now / std::chrono::microseconds(1));
}

TEST(AroundLayer, SeesEveryCallAndItsAnswer) {
  std::vector<std::string> seen;
  std::vector<StoreOp> ops;
  const auto session = session_with([&](const StoreCall& call, StoreGo go) {
    std::string text = text_of(call);
    const StoreAnswer answer = go([&](const StoreItem& item) {
      text += " [" + std::to_string(item.index);
      if (item.value) text.append(" ").append(*item.value);
      if (item.left) text += "@" + std::to_string(item.left->value() / 1s);
      text += "]";
      call.deliver(item);
    });
    ops.push_back(call.op);
    seen.push_back(text + text_of(answer));
    return answer;
  });
  session->put("k", "v", Ttl(9s), PutMode::always);
  session->put("z", "zz", Ttl(9s), PutMode::always);
  seen.clear();
  ops.clear();
  call_everything(*session);
  EXPECT_THAT(
      seen,
      ElementsAre(
          "get r k -> [0 v] done", "contains r k -> [0 v] done", "get_many r k none -> [0 v]",
          "put w n=5@1 -> done", "put_many w new a=1@1 k=2@2 -> [1]", "touch w k@3 -> [0 v] done",
          "erase w a -> done", "erase_many w k none -> 1", "incr w n by 2 -> done 7",
          "get_with_ttl r n -> [0 7@1] done", "get_many_with_ttl r k none ->",
          "put_if_equal w n=8@4 if 7 -> done", "erase_if_equal w n if 7 ->",
          "pop w n -> [0 8] done", "erase_prefix w x -> 0", "check_health r ->",
          "scan r z* -> [0 z@9] 1", "erase_pattern w z* -> 1", "put w k=v@1 -> done",
          "get_and_renew w k@5 -> [0 v] done", "create_tag_index w -> done", "erase_tagged w -> 0",
          "drop_tag_index w -> done", "take_lock w l=t@3 -> done " + first_fence(),
          "renew_lock w l@4 if t -> done", "release_lock w l if u ->", "wait_for_lock r l ->",
          "use_limit w r by 3 -> done " + first_moment(), "forget_limit w r -> done",
          "push_back w q=x q=y by 5 -> done", "pop_front w q -> [0 x] done",
          "deque_at r q by -1 -> [0 y] done", "list_deque r q -> [0 y] 1", "deque_size r q -> 1",
          "rotate_deque w q by 2 ->", "erase_deque w q -> done",
          "put_in_index w new i=1 if a -> done", "put_in_index w new i=2 if a -> [0 1]",
          "find_in_index r i if a -> [0 1] done", "list_index r i -> [0 1]",
          "take_from_index w i -> [0 1] done", "erase_from_index w i if a ->",
          "count_index r i -> 0", "clear_index w i -> 0", "clear w ->"));
  std::sort(ops.begin(), ops.end());
  ops.erase(std::unique(ops.begin(), ops.end()), ops.end());
  for (std::size_t i = 0; i < ops.size(); ++i) EXPECT_EQ(static_cast<std::size_t>(ops[i]), i);
}

// What each operation of the caller gives, as text.
std::vector<std::string> answers_of(Backend& session) {
  std::vector<std::string> all;
  std::string items;
  const auto note = [&](const std::string& result) {
    all.push_back(items + result);
    items.clear();
  };
  const auto sink = [&](std::string_view value) { items.append(value).append(" "); };
  const auto indexed = [&](std::size_t i, std::string_view value) {
    items.append(std::to_string(i)).append(value).append(" ");
  };
  const auto with_ttl = [&](std::string_view value, Ttl left) {
    items.append(value).append("@").append(std::to_string(left.value() / 1s)).append(" ");
  };
  const std::array<std::string_view, 2> keys{"none", "k"};
  const std::array<Item, 2> items_to_put{Item{"a", "1", Ttl(1s)}, Item{"k", "2", Ttl(2s)}};
  note(session.put("k", "v", Ttl(9s), PutMode::if_absent) ? "yes" : "no");
  note(session.put("k", "v", Ttl(9s), PutMode::if_absent) ? "yes" : "no");
  note(session.get("k", sink) ? "yes" : "no");
  note(session.contains("k", sink) ? "yes" : "no");
  note(session.touch("k", Ttl(8s), sink) ? "yes" : "no");
  session.get_many(keys, indexed);
  note("");
  session.put_many(items_to_put, PutMode::if_absent, [&](std::size_t i) { indexed(i, ""); });
  note("");
  note(std::to_string(session.incr("a", 4).value_or(-1)));
  note(std::to_string(session.incr("none", 4).value_or(-1)));
  note(of<TtlExtension>(session).get("k", with_ttl) ? "yes" : "no");
  of<TtlExtension>(session).get_many(keys, [&](std::size_t i, std::string_view value, Ttl left) {
    items += std::to_string(i);
    with_ttl(value, left);
  });
  note("");
  note(of<CompareExtension>(session).put_if_equal("k", "v", "w", std::nullopt) ? "yes" : "no");
  note(of<CompareExtension>(session).put_if_equal("k", "v", "w", Ttl(7s)) ? "yes" : "no");
  note(of<CompareExtension>(session).erase_if_equal("k", "v") ? "yes" : "no");
  note(of<PopExtension>(session).pop("k", sink) ? "yes" : "no");
  note(session.erase("k") ? "yes" : "no");
  session.put("k", "v", Ttl(9s), PutMode::always);
  note(std::to_string(session.erase_many(keys)));
  note(std::to_string(of<ErasePrefixExtension>(session).erase_prefix("a")));
  of<HealthExtension>(session).check([&](const HealthExtension::Server& server) {
    sink(server.name);
    note(server.reachable ? "yes" : "no");
  });
  session.put("k1", "value", Ttl(9s), PutMode::always);
  session.put("k2", "value", Ttl(9s), PutMode::always);
  const auto list = [&](std::string_view cursor) {
    return of<ScanExtension>(session).scan("k*", cursor, 1,
                                           [&](const ScanExtension::Listed& entry) {
                                             with_ttl(entry.key, entry.left.value_or(Ttl(1s)));
                                             items += std::to_string(entry.size);
                                           });
  };
  const std::string next = list("");
  list(next);
  note(" then " + next);
  note(std::to_string(of<ErasePatternExtension>(session).erase_pattern("k?")));
  session.put("k", "v", Ttl(9s), PutMode::always);
  note(of<RenewExtension>(session).get("k", Ttl(6s), sink) ? "yes" : "no");
  note(of<RenewExtension>(session).get("none", Ttl(6s), sink) ? "yes" : "no");
  of<TtlExtension>(session).get("k", with_ttl);
  note("");
  const std::array<std::uint64_t, 1> versions{7};
  TagIndexExtension& index = of<TagIndexExtension>(session);
  note(index.has_index() ? "yes" : "no");
  note(index.create_index() ? "yes" : "no");
  note(index.has_index() ? "yes" : "no");
  note(std::to_string(index.erase_tagged(versions)));
  note(index.drop_index() ? "yes" : "no");
  LockExtension& locks = of<LockExtension>(session);
  const auto taken = locks.take({.key = "l", .token = "t"}, 3s);
  note((taken.taken ? "yes " : "no ") + std::to_string(taken.fence));
  note(std::to_string(locks.take({.key = "l", .token = "u"}, 3s).wait / 1s));
  note(locks.renew({.key = "l", .token = "t"}, 4s) ? "yes" : "no");
  note(locks.wait("l", 1ms) ? "yes" : "no");
  note(locks.release({.key = "l", .token = "t"}) ? "yes" : "no");
  note(locks.release({.key = "l", .token = "t"}) ? "yes" : "no");
  note(locks.keeping() == LockExtension::Keeping::kept ? "kept" : "not kept");
  LimitExtension& limits = of<LimitExtension>(session);
  for (const std::int64_t cost : {2, 2}) {
    const auto used = limits.use({.key = "r", .rate = hourly, .cost = cost});
    items = used.before.substr(0, 1);
    note((used.allowed ? " yes " : " no ") + std::to_string(used.now));
  }
  note(limits.forget("r") ? "yes" : "no");
  DequeExtension& deques = of<DequeExtension>(session);
  const std::array<std::string_view, 2> values{"x", "y"};
  deques.push("q", DequeExtension::End::back, values, 0);
  note(deques.pop("q", DequeExtension::End::front, sink) ? "yes" : "no");
  note(deques.at("q", 0, sink) ? "yes" : "no");
  note(std::to_string(deques.list("q", 0, 9, sink)));
  note(std::to_string(deques.size("q")));
  deques.rotate("q", 1);
  note(deques.erase_deque("q") ? "yes" : "no");
  note(deques.keeping() == DequeExtension::Keeping::kept ? "kept" : "not kept");
  session.clear();
  return all;
}

TEST(AroundLayer, ThatOverridesNothingChangesNoAnswer) {
  const std::vector<std::string> expected = answers_of(*OffersAllFactory().connect());
  EXPECT_EQ(answers_of(*session_with(nullptr)), expected);
  EXPECT_THAT(expected,
              ElementsAre("yes", "no", "v yes", "v yes", "v yes", "1v ", "1 ", "5", "-1", "v@8 yes",
                          "1v@8 ", "yes", "no", "no", "w yes", "no", "1", "1", "server yes",
                          "k1@9 5k2@9 5 then kk1", "2", "v yes", "no", "v@6 ", "no", "yes", "yes",
                          "0", "yes", "yes " + first_fence(), "3", "yes", "no", "yes", "no", "kept",
                          " yes " + first_moment(), "f no " + first_moment(), "yes", "x yes",
                          "y yes", "y 1", "1", "yes", "kept"));
}

TEST(AroundLayer, OffersExactlyTheExtensionsOfTheStore) {
  const auto full = session_with(nullptr);
  for (const std::string_view id : SessionExtensions::ids) {
    EXPECT_NE(full->extension(id), nullptr) << id;
  }
  EXPECT_NE(full->extension(OwnExtension::id), nullptr);
  EXPECT_EQ(full->extension("polycache.no_such_thing/1"), nullptr);

  TestContext context;
  const std::shared_ptr<BackendFactory> memory = make_factory(memory_store, context);
  const auto some = TestLayerFactory(memory, {}).connect();
  for (const std::string_view id : SessionExtensions::ids) {
    EXPECT_EQ(some->extension(id) != nullptr, memory->connect()->extension(id) != nullptr) << id;
  }
}

TEST(AroundLayer, LetsTheStorePredictRefusalsUnlessItMustSeeThem) {
  const auto store = std::make_shared<OffersAllFactory>();
  TestLayerFactory open(store, {});
  EXPECT_FALSE(of<AdmissionExtension>(*open.connect()).admits("down", Access::read));
  EXPECT_TRUE(of<AdmissionExtension>(*open.connect()).admits("up", Access::read));
  EXPECT_EQ(open.traits().breaker, store->breaker());
  EXPECT_TRUE(open.traits().breaks_circuits);
  EXPECT_EQ(open.traits().key_rules, KeyRules::strict);

  TestLayerFactory seeing(store, {.early_refusals = false});
  EXPECT_EQ(seeing.connect()->extension(AdmissionExtension::id), nullptr);
  EXPECT_EQ(seeing.connect()->extension(TagStampExtension::id), nullptr) << "it omits reads";
  EXPECT_EQ(seeing.traits().breaker, nullptr);
  EXPECT_TRUE(seeing.traits().breaks_circuits);
  EXPECT_EQ(seeing.traits().key_rules, KeyRules::strict);
  EXPECT_NE(seeing.connect()->extension(OwnExtension::id), nullptr);
}

TEST(AroundLayer, PassesOnUnknownExtensionsOrHidesThem) {
  const auto store = std::make_shared<OffersAllFactory>();
  TestLayerFactory open(store, {});
  EXPECT_EQ(open.extension(OwnExtension::id), store->extension(OwnExtension::id));
  EXPECT_NE(open.extension(OwnExtension::id), nullptr);

  TestLayerFactory closed(store, {.unknown_extensions = false});
  EXPECT_EQ(closed.extension(OwnExtension::id), nullptr);
  EXPECT_EQ(closed.connect()->extension(OwnExtension::id), nullptr);
  EXPECT_NE(closed.connect()->extension(AdmissionExtension::id), nullptr);
  EXPECT_NE(closed.connect()->extension(TtlExtension::id), nullptr);
}

TEST(AroundLayer, MayAnswerInPlaceOfTheStore) {
  const auto session = session_with([](const StoreCall& call, StoreGo) {
    call.deliver(
        {.index = call.size() == 0 ? 0 : call.size() - 1, .value = "own", .left = Ttl(2s)});
    return StoreAnswer{.done = true, .number = 3};
  });
  EXPECT_THAT(
      answers_of(*session),
      ElementsAre("yes", "yes", "own yes", "own yes", "own yes", "1own ", "1 ", "3", "3",
                  "own@2 yes", "1own@2 ", "yes", "yes", "yes", "own yes", "yes", "3", "3",
                  "own@2 0own@2 0 then ", "3", "own yes", "own yes", "own@2 ", "no", "yes", "no",
                  "3", "yes", "yes 3", "0", "yes", "yes", "yes", "yes", "kept", " yes 3", " yes 3",
                  "yes", "own yes", "own yes", "own 3", "3", "yes", "kept"));
}

// Not to be listed is what a layer may decide for each entry.
TEST(AroundLayer, MayLeaveOutEntriesOfAScan) {
  const auto session = session_with([](const StoreCall& call, StoreGo go) {
    return go([&](const StoreItem& item) {
      if (call.op != StoreOp::scan || item.value != "hidden") call.deliver(item);
    });
  });
  session->put("hidden", "12", Ttl(9s), PutMode::always);
  session->put("shown", "123", Ttl::forever(), PutMode::always);
  std::vector<std::string> listed;
  of<ScanExtension>(*session).scan("*", "", 10, [&](const ScanExtension::Listed& entry) {
    EXPECT_EQ(entry.size, 3U);
    EXPECT_TRUE(entry.left && entry.left->is_forever());
    listed.emplace_back(entry.key);
  });
  EXPECT_THAT(listed, ElementsAre("shown"));
}

TEST(AroundLayer, MayThrowBeforeAndAfterTheCall) {
  bool after = false;
  const auto session = session_with([&](const StoreCall& call, StoreGo go) -> StoreAnswer {
    if (after) go(StoreCall::ignore);
    throw BackendError(BackendError::Kind::timeout, "", std::string(call.name) + " is too slow");
  });
  EXPECT_THROW(session->put("k", "v", Ttl(1s), PutMode::always), BackendError);
  after = true;
  EXPECT_THROW(session->put("k", "v", Ttl(1s), PutMode::always), BackendError);
  int items = 0;
  EXPECT_THROW(session->get("k", [&](std::string_view) { ++items; }), BackendError);
  EXPECT_THROW(of<PopExtension>(*session).pop("k", [&](std::string_view) { ++items; }),
               BackendError);
  EXPECT_EQ(items, 0);
}

TEST(AroundLayer, TurnsAFailureAroundAHealthCheckIntoAServer) {
  std::string server;
  const auto session = session_with([&](const StoreCall&, StoreGo) -> StoreAnswer {
    throw BackendError(BackendError::Kind::timeout, server, "too slow");
  });
  std::vector<std::string> names;
  const auto check = [&] {
    of<HealthExtension>(*session).check([&](const HealthExtension::Server& found) {
      EXPECT_FALSE(found.reachable);
      EXPECT_THAT(found.error, HasSubstr("too slow"));
      names.emplace_back(found.name);
    });
  };
  check();
  server = "limiter";
  check();
  EXPECT_THAT(names, ElementsAre("layer", "limiter"));
}

// A plain Layer stays what it was: extensions would bypass it.
TEST(AroundLayer, IsTheOnlyLayerThatOffersExtensionsByItself) {
  Layer layer(OffersAllFactory().connect());
  for (const std::string_view id : SessionExtensions::ids) {
    const bool passes = id == HealthExtension::id || id == IdleExtension::id;
    EXPECT_EQ(layer.extension(id) != nullptr, passes) << id;
  }
}

TEST(ExtensionList, NamesEachIdOnce) {
  std::vector<std::string_view> ids(SessionExtensions::ids.begin(), SessionExtensions::ids.end());
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
  EXPECT_TRUE(SessionExtensions::has("polycache.ttl/1"));
  EXPECT_FALSE(SessionExtensions::has("polycache.ttl/2"));
  EXPECT_FALSE(SessionExtensions::has(""));
  EXPECT_FALSE(FactoryExtensions::has("polycache.ttl/1"));
  EXPECT_TRUE(FactoryExtensions::has("polycache.maintenance/1"));
}

}  // namespace
}  // namespace polycache::testing
