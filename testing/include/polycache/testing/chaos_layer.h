// A layer that makes a store fail: by chance, reproducibly, or by a script. In a configuration:
//
//   "layers": [{"name": "chaos", "options": {"fail": 0.1, "error": "timeout", "seed": 7}}]
//
// or from a test, at run time:
//
//   auto chaos = testing::Chaos::named("default", clock);  // that of the alias "default"
//   chaos->set({.fail = 1});                               // the store is down
//   chaos->set({.script = {{.act = ChaosAct::lose}}});     // the next write is lost
//   chaos->off();                                          // works again
//
// The plugin is linked (Environment::linked_plugins = {&testing::chaos_layer}); ScopedCaches
// already puts it around every store, switched off. It hides no extension of the store; those
// that polycache does not define are passed on unchanged.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/author/clock.h"
#include "polycache/author/counter.h"
#include "polycache/author/extension.h"
#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/testing/shared_by_name.h"

namespace polycache::testing {

// The outcome of an operation. One that does not apply (to lose a read) acts as `pass`.
enum class ChaosAct : std::uint8_t {
  pass,
  fail,        // throws BackendError; nothing was done
  fail_after,  // throws BackendError; a write was done. A read fails as above
  lose,        // put, put_many, put_if_equal, touch: reports success, but does nothing
  refuse,      // the same operations: return false. A put without condition erases the older value
};

struct ChaosStep {
  ChaosAct act = ChaosAct::pass;
  BackendError::Kind kind = BackendError::Kind::unreachable;
  std::chrono::milliseconds delay{0};  // before it
};

enum class ChaosScope : std::uint8_t { all, reads, writes };  // erasing is writing

struct ChaosSettings {
  // The probability of each act, from 0 to 1; together at most 1. Drawn for each operation from
  // `seed` and the operation's number, so runs with one thread repeat exactly.
  double fail = 0;
  double fail_after = 0;
  double lose = 0;
  double refuse = 0;
  BackendError::Kind kind = BackendError::Kind::unreachable;

  // The probability of a delay, and its length, drawn uniformly from delay to delay_most (0: the
  // same as delay).
  double slow = 0;
  std::chrono::milliseconds delay{0};
  std::chrono::milliseconds delay_most{0};

  std::uint64_t seed = 1;
  ChaosScope only = ChaosScope::all;  // others pass, and are not counted

  // The outcomes of the first, second, ... operation; after the last one, chance decides.
  std::vector<ChaosStep> script = {};
};

namespace detail {

// Checks the settings; calls report(option, problem) for each problem.
inline void check_chaos(const ChaosSettings& settings,
                        FunctionRef<void(std::string_view, std::string_view)> report) {
  const std::array<std::pair<std::string_view, double>, 5> chances{
      {{"fail", settings.fail},
       {"fail_after", settings.fail_after},
       {"lose", settings.lose},
       {"refuse", settings.refuse},
       {"slow", settings.slow}}};
  for (const auto& [name, chance] : chances) {
    if (!(chance >= 0 && chance <= 1)) {
      report(name, "expected a probability from 0 to 1, got " + std::to_string(chance));
      return;
    }
  }
  if (settings.fail + settings.fail_after + settings.lose + settings.refuse > 1 + 1e-9) {
    report("fail", "fail, fail_after, lose and refuse are together more than 1; lower them");
  }
  if (settings.delay.count() < 0) report("delay", "is negative");
  if (settings.delay_most.count() != 0 && settings.delay_most < settings.delay) {
    report("delay_most", "is less than delay; leave it out, or raise it");
  }
  if (settings.slow > 0 && settings.delay.count() == 0 && settings.delay_most.count() == 0) {
    report("slow", "needs a delay; say how long");
  }
}

// Uniform in [0, 1); depends only on the two numbers (splitmix64).
inline double chaos_chance(std::uint64_t seed, std::uint64_t number) noexcept {
  std::uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ULL + number * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  x ^= x >> 31U;
  return static_cast<double>(x >> 11U) * 0x1.0p-53;
}

}  // namespace detail

// Settings and counts of the layers of one name. Thread-safe. Starts switched off.
class Chaos {
 public:
  struct Counts {
    std::uint64_t operations = 0;  // while switched on
    std::uint64_t failed = 0;
    std::uint64_t lost = 0;
    std::uint64_t refused = 0;
    std::uint64_t delayed = 0;
  };

  // The object that the layer's option "control" names (default: the alias), for registries with
  // that clock.
  static std::shared_ptr<Chaos> named(std::string_view name, const Clock& clock = Clock::real()) {
    return shared_by_name<Chaos>(name, clock);
  }

  // Replaces the settings, starts at the first step of the script, and switches on. Throws
  // ConfigError if the settings are inconsistent.
  void set(ChaosSettings settings) {
    detail::check_chaos(settings, [](std::string_view option, std::string_view problem) {
      throw ConfigError("chaos: " + std::string(option) + ": " + std::string(problem));
    });
    const std::lock_guard lock(mutex_);
    settings_ = std::move(settings);
    next_ = 0;
    on_ = true;
  }
  // Switch off and on; settings and position in the script are kept.
  void off() noexcept { on_ = false; }
  void on() noexcept { on_ = true; }
  bool is_on() const noexcept { return on_; }

  // Sets how a delay passes: by sleeping by default, or for example by a manual clock's
  // advance(). Called on the thread of the operation.
  void sleep_by(std::function<void(std::chrono::milliseconds)> sleeper) {
    const std::lock_guard lock(mutex_);
    sleeper_ = std::move(sleeper);
  }

  Counts counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

  // For the layer: the outcome of this operation. Sleeps if it is delayed.
  ChaosStep next(ChaosScope what, bool can_be_lost) {
    if (!on_) return {};
    ChaosStep step;
    std::function<void(std::chrono::milliseconds)> sleeper;
    {
      const std::lock_guard lock(mutex_);
      if (settings_.only != ChaosScope::all && settings_.only != what) return {};
      step = draw(next_++);
      const bool no_use = step.act == ChaosAct::lose || step.act == ChaosAct::refuse;
      if (no_use && !can_be_lost) step.act = ChaosAct::pass;
      count(step);
      sleeper = sleeper_;
    }
    if (step.delay.count() > 0) {
      sleeper ? sleeper(step.delay) : std::this_thread::sleep_for(step.delay);
    }
    return step;
  }

 private:
  // REQUIRES (both): the mutex is held
  ChaosStep draw(std::uint64_t number) const {
    if (number < settings_.script.size()) return settings_.script[number];
    ChaosStep step{.act = ChaosAct::pass, .kind = settings_.kind, .delay = {}};
    double chance = detail::chaos_chance(settings_.seed, 3 * number);
    const std::array<std::pair<ChaosAct, double>, 4> acts{
        {{ChaosAct::fail, settings_.fail},
         {ChaosAct::fail_after, settings_.fail_after},
         {ChaosAct::lose, settings_.lose},
         {ChaosAct::refuse, settings_.refuse}}};
    for (const auto& [act, likely] : acts) {
      if (chance < likely) {
        step.act = act;
        break;
      }
      chance -= likely;
    }
    if (detail::chaos_chance(settings_.seed, 3 * number + 1) < settings_.slow) {
      const double range = static_cast<double>(
          std::max(settings_.delay_most, settings_.delay).count() - settings_.delay.count());
      step.delay = settings_.delay +
                   std::chrono::milliseconds(
                       std::llround(range * detail::chaos_chance(settings_.seed, 3 * number + 2)));
    }
    return step;
  }
  void count(const ChaosStep& step) {
    ++counts_.operations;
    if (step.act == ChaosAct::fail || step.act == ChaosAct::fail_after) ++counts_.failed;
    if (step.act == ChaosAct::lose) ++counts_.lost;
    if (step.act == ChaosAct::refuse) ++counts_.refused;
    if (step.delay.count() > 0) ++counts_.delayed;
  }

  std::atomic<bool> on_{false};
  mutable std::mutex mutex_;  // guards the members below
  ChaosSettings settings_;
  std::uint64_t next_ = 0;
  Counts counts_;
  std::function<void(std::chrono::milliseconds)> sleeper_;
};

class ChaosLayer final : public Layer,
                         public TtlExtension,
                         public CompareExtension,
                         public PopExtension,
                         public ErasePrefixExtension,
                         public HealthExtension {
 public:
  // REQUIRES: inner and chaos are not null
  ChaosLayer(std::unique_ptr<Backend> inner, std::shared_ptr<Chaos> chaos)
      : Layer(std::move(inner)), chaos_(std::move(chaos)) {}

  bool get(std::string_view key, ValueSink sink) override {
    read("get");
    return inner().get(key, sink);
  }
  bool contains(std::string_view key, ValueSink head) override {
    read("contains");
    return inner().contains(key, head);
  }
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override {
    read("get_many");
    inner().get_many(keys, sink);
  }

  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    return losable(
        "put", [&] { return inner().put(key, value, ttl, mode); },
        [&] { return mode == PutMode::always || is_there(key) == (mode == PutMode::if_present); },
        [&] {
          if (mode == PutMode::always) inner().erase(key);
        });
  }
  void put_many(std::span<const polycache::Item> items, PutMode mode,
                IndexSink on_failure) override {
    const auto fail_where = [&](auto&& fails) {
      for (std::size_t i = 0; i < items.size(); ++i) {
        if (fails(items[i])) on_failure(i);
      }
    };
    losable(
        "put_many",
        [&] {
          inner().put_many(items, mode, on_failure);
          return true;
        },
        [&] {
          if (mode == PutMode::always) return true;
          fail_where([&](const polycache::Item& item) {
            return is_there(item.key) != (mode == PutMode::if_present);
          });
          return true;
        },
        [&] {
          fail_where([&](const polycache::Item& item) {
            if (mode == PutMode::always) inner().erase(item.key);
            return true;
          });
        });
  }
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    return losable(
        "touch", [&] { return inner().touch(key, ttl, head); }, [&] { return is_there(key); },
        [] {});
  }

  bool erase(std::string_view key) override {
    return written("erase", [&] { return inner().erase(key); });
  }
  std::size_t erase_many(std::span<const std::string_view> keys) override {
    return written("erase_many", [&] { return inner().erase_many(keys); });
  }
  void clear() override {
    written("clear", [&] {
      inner().clear();
      return true;
    });
  }
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override {
    return written("incr", [&] { return inner().incr(key, delta); });
  }

  void* extension(std::string_view id) noexcept override {
    void* const of_store = inner().extension(id);
    if (of_store == nullptr) return nullptr;
    if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
    if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
    if (id == PopExtension::id) return static_cast<PopExtension*>(this);
    if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
    if (id == HealthExtension::id) return static_cast<HealthExtension*>(this);
    if (id == AdmissionExtension::id) return nullptr;  // it may answer without the store
    return of_store;
  }

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override {
    read("get_with_ttl");
    return of_inner<TtlExtension>().get(key, sink);
  }
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override {
    read("get_many_with_ttl");
    of_inner<TtlExtension>().get_many(keys, sink);
  }
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override {
    return losable(
        "put_if_equal",
        [&] { return of_inner<CompareExtension>().put_if_equal(key, expected, value, ttl); },
        [&] {
          bool equal = false;
          inner().get(key, [&](std::string_view stored) { equal = stored == expected; });
          return equal;
        },
        [] {});
  }
  bool erase_if_equal(std::string_view key, std::string_view expected) override {
    return written("erase_if_equal",
                   [&] { return of_inner<CompareExtension>().erase_if_equal(key, expected); });
  }
  // With fail_after the entry is gone, and no caller has received its value.
  bool pop(std::string_view key, ValueSink sink) override {
    std::string value;
    const bool found = written("pop", [&] {
      return of_inner<PopExtension>().pop(key, [&](std::string_view stored) { value = stored; });
    });
    if (found) sink(value);
    return found;
  }
  std::size_t erase_prefix(std::string_view prefix) override {
    return written("erase_prefix",
                   [&] { return of_inner<ErasePrefixExtension>().erase_prefix(prefix); });
  }
  void check(FunctionRef<void(const HealthExtension::Server&)> sink) override {
    try {
      read("the question after its health");
    } catch (const BackendError& error) {
      return sink({.name = "chaos", .reachable = false, .error = error.what()});
    }
    of_inner<HealthExtension>().check(sink);
  }

 private:
  [[noreturn]] static void fail(const char* operation, BackendError::Kind kind) {
    const std::string why = " fails (" + std::string(to_string(kind)) + "), as it was told to";
    throw BackendError(kind, "", std::string("chaos: ") + operation + why);
  }

  void read(const char* operation) {
    const ChaosStep step = chaos_->next(ChaosScope::reads, false);
    if (step.act != ChaosAct::pass) fail(operation, step.kind);
  }

  template <class Write>
  std::invoke_result_t<Write&> written(const char* operation, Write&& write) {
    const ChaosStep step = chaos_->next(ChaosScope::writes, false);
    if (step.act == ChaosAct::fail) fail(operation, step.kind);
    const auto result = write();
    if (step.act == ChaosAct::fail_after) fail(operation, step.kind);
    return result;
  }

  // `pretend` returns what write() would have returned; `refuse` leaves the state of a refusal.
  template <class Write, class Pretend, class Refuse>
  bool losable(const char* operation, Write&& write, Pretend&& pretend, Refuse&& refuse) {
    const ChaosStep step = chaos_->next(ChaosScope::writes, true);
    switch (step.act) {
      case ChaosAct::fail:
        fail(operation, step.kind);
      case ChaosAct::lose:
        return pretend();
      case ChaosAct::refuse:
        refuse();
        return false;
      case ChaosAct::fail_after:
        write();
        fail(operation, step.kind);
      case ChaosAct::pass:
        break;
    }
    return write();
  }

  bool is_there(std::string_view key) {
    return inner().contains(key, [](std::string_view) {});
  }

  // REQUIRES: extension() has returned it, so the store has it.
  template <class Extension>
  Extension& of_inner() noexcept {
    return *static_cast<Extension*>(inner().extension(Extension::id));
  }

  std::shared_ptr<Chaos> chaos_;
};

class ChaosLayerFactory final : public LayerFactory {
 public:
  // REQUIRES: inner and chaos are not null
  ChaosLayerFactory(std::shared_ptr<BackendFactory> inner, std::shared_ptr<Chaos> chaos)
      : LayerFactory(std::move(inner)), chaos_(std::move(chaos)) {}

  // Injected failures occur above the store's own circuit breakers, so the core counts them.
  StoreTraits traits() const noexcept override {
    StoreTraits traits = LayerFactory::traits();
    traits.breaks_circuits = false;
    traits.breaker = nullptr;
    return traits;
  }

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<ChaosLayer>(std::move(session), chaos_);
  }

 private:
  std::shared_ptr<Chaos> chaos_;
};

namespace detail {

inline constexpr std::array<std::pair<std::string_view, ChaosAct>, 5> kChaosActs{
    {{"pass", ChaosAct::pass},
     {"fail", ChaosAct::fail},
     {"fail_after", ChaosAct::fail_after},
     {"lose", ChaosAct::lose},
     {"refuse", ChaosAct::refuse}}};

inline constexpr std::array kBackendErrorKinds{
    BackendError::Kind::unreachable, BackendError::Kind::timeout,    BackendError::Kind::protocol,
    BackendError::Kind::denied,      BackendError::Kind::overloaded, BackendError::Kind::read_only,
    BackendError::Kind::storage,     BackendError::Kind::unsupported};

inline std::optional<BackendError::Kind> backend_error_kind(std::string_view word) noexcept {
  for (const BackendError::Kind kind : kBackendErrorKinds) {
    if (to_string(kind) == word) return kind;
  }
  return std::nullopt;
}

// One step of a script in words: "pass", "fail timeout", "delay 50ms", "delay 50ms lose",
// "20x fail".
class ChaosStepReader {
 public:
  explicit ChaosStepReader(BackendError::Kind kind) noexcept { step_.kind = kind; }

  // Adds the steps to the script. Returns the problem of the text, or "".
  std::string read(std::string_view text, std::vector<ChaosStep>& script) {
    while (!text.empty()) {
      const std::size_t blank = std::min(text.find(' '), text.size());
      const std::string_view word = text.substr(0, blank);
      text.remove_prefix(std::min(blank + 1, text.size()));
      if (word.empty()) continue;
      const std::string problem = read_word(word);
      if (!problem.empty()) return problem;
      previous_ = word;
    }
    if (previous_.empty()) return "a step is empty";
    if (previous_ == "delay") return "\"delay\" needs a duration, such as \"delay 50ms\"";
    script.insert(script.end(), times_, step_);
    return "";
  }

 private:
  std::string read_word(std::string_view word) {
    if (previous_ == "delay") {
      const auto delay = parse_duration(word);
      if (!delay || delay->count() < 0) return "expected a duration, got " + quote(word);
      step_.delay = *delay;
      return "";
    }
    if (word == "delay") return "";
    const auto act = std::find_if(kChaosActs.begin(), kChaosActs.end(),
                                  [&](const auto& known) { return known.first == word; });
    if (act != kChaosActs.end()) {
      step_.act = act->second;
      return "";
    }
    if (const auto kind = backend_error_kind(word); kind && previous_.starts_with("fail")) {
      step_.kind = *kind;
      return "";
    }
    if (previous_.empty() && word.ends_with('x')) {
      const auto times = parse_counter(word.substr(0, word.size() - 1));
      if (times && *times > 0 && *times <= kMostTimes) {
        times_ = static_cast<std::size_t>(*times);
        return "";
      }
    }
    return "expected pass, fail, fail_after, lose, refuse or delay, got " + quote(word);
  }

  static constexpr std::int64_t kMostTimes = 1'000'000;

  ChaosStep step_;
  std::size_t times_ = 1;
  std::string_view previous_;
};

// Empty if the settings are inconsistent; the problem is then reported.
inline std::optional<ChaosSettings> read_chaos_settings(const OptionReader& options) {
  ChaosSettings settings;
  settings.fail = options.number("fail", 0);
  settings.fail_after = options.number("fail_after", 0);
  settings.lose = options.number("lose", 0);
  settings.refuse = options.number("refuse", 0);
  settings.slow = options.number("slow", 0);
  settings.delay = options.duration("delay", std::chrono::milliseconds(0));
  settings.delay_most = options.duration("delay_most", std::chrono::milliseconds(0));
  settings.seed = static_cast<std::uint64_t>(options.integer("seed", 1, 0));
  const std::string kind = options.choice("error",
                                          {"unreachable", "timeout", "protocol", "denied",
                                           "overloaded", "read_only", "storage", "unsupported"},
                                          "unreachable");
  settings.kind = *backend_error_kind(kind);
  const std::string only = options.choice("only", {"all", "reads", "writes"}, "all");
  settings.only = only == "reads"    ? ChaosScope::reads
                  : only == "writes" ? ChaosScope::writes
                                     : ChaosScope::all;
  bool good = true;
  const auto reject = [&](std::string_view option, std::string_view problem) {
    options.reject(option, problem);
    good = false;
  };
  for (const std::string& step : options.strings("script")) {
    const std::string problem = ChaosStepReader(settings.kind).read(step, settings.script);
    if (!problem.empty()) reject("script", problem);
  }
  check_chaos(settings, reject);
  return good ? std::optional(std::move(settings)) : std::nullopt;
}

inline std::unique_ptr<BackendFactory> create_chaos_layer(const OptionReader& options,
                                                          const BackendContext& context) {
  static constexpr std::array kSettings{"fail",  "fail_after", "lose",       "refuse",
                                        "slow",  "delay",      "delay_most", "seed",
                                        "error", "only",       "script"};
  const auto chaos = Chaos::named(options.string("control", context.alias), context.clock);
  const bool has_settings = std::any_of(kSettings.begin(), kSettings.end(),
                                        [&](const char* name) { return options.has(name); });
  std::optional<ChaosSettings> settings = read_chaos_settings(options);
  const bool on = options.boolean("on", has_settings);
  if (has_settings && settings) {
    chaos->set(std::move(*settings));
    if (!on) chaos->off();
  } else if (options.has("on")) {
    on ? chaos->on() : chaos->off();
  }
  return std::make_unique<ChaosLayerFactory>(context.inner, chaos);
}

}  // namespace detail

// Options, all of them optional: the members of ChaosSettings ("error" is its kind), "on", and
// "control", the name for Chaos::named(). The script is a list of steps such as "pass",
// "fail timeout", "delay 50ms", "delay 50ms lose", "20x fail". Without any, the layer waits for
// Chaos::set().
inline constexpr PluginDescriptor chaos_layer =
    layer_plugin("chaos", POLYCACHE_VERSION, detail::create_chaos_layer);

}  // namespace polycache::testing
