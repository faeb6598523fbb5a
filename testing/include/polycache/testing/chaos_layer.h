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
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/clock.h"
#include "polycache/author/counter.h"
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

// The layer may answer without the store, and its failures occur above the store's own circuit
// breakers, so the core calls it and counts them.
inline constexpr Transparency chaos_transparency{.early_refusals = false};

class ChaosLayer final : public AroundLayer {
 public:
  // REQUIRES: inner and chaos are not null
  ChaosLayer(std::unique_ptr<Backend> inner, std::shared_ptr<Chaos> chaos)
      : AroundLayer(std::move(inner), chaos_transparency), chaos_(std::move(chaos)) {}

  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    const ChaosScope scope = call.access == Access::read ? ChaosScope::reads : ChaosScope::writes;
    const ChaosStep step = chaos_->next(scope, can_be_lost(call.op));
    if (step.act == ChaosAct::pass) return go(call.deliver);
    if (step.act == ChaosAct::lose) return pretend(call);
    if (step.act == ChaosAct::refuse) return refuse(call);
    if (step.act == ChaosAct::fail_after && call.access == Access::write) go(StoreCall::ignore);
    const std::string message = std::string(call.name) + " fails (" +
                                std::string(to_string(step.kind)) + "), as it was told to";
    if (call.op == StoreOp::check_health) throw BackendError(step.kind, "chaos", message);
    throw BackendError(step.kind, "", "chaos: " + message);
  }

 private:
  static bool can_be_lost(StoreOp op) noexcept {
    return op == StoreOp::put || op == StoreOp::put_many || op == StoreOp::put_if_equal ||
           op == StoreOp::touch || op == StoreOp::get_and_renew;
  }

  // Returns what the store would have answered.
  StoreAnswer pretend(const StoreCall& call) {
    bool done = true;
    if (call.op == StoreOp::touch) {
      done = inner().contains(call.key(0),
                              [&](std::string_view head) { call.deliver({.value = head}); });
    } else if (call.op == StoreOp::get_and_renew) {
      done = inner().get(call.key(0),
                         [&](std::string_view stored) { call.deliver({.value = stored}); });
    } else if (call.op == StoreOp::put_if_equal) {
      done = false;
      inner().get(call.key(0), [&](std::string_view stored) { done = stored == call.expected; });
    } else if (call.mode != PutMode::always) {
      for (std::size_t i = 0; i < call.size(); ++i) {
        if (is_there(call.key(i)) == (call.mode == PutMode::if_present)) continue;
        call.deliver({.index = i});
        done = false;
      }
    }
    return {.done = done};
  }

  // Leaves the state of a refusal.
  StoreAnswer refuse(const StoreCall& call) {
    for (std::size_t i = 0; i < call.items.size(); ++i) {
      if (call.mode == PutMode::always) inner().erase(call.key(i));
      call.deliver({.index = i});
    }
    return {};
  }

  bool is_there(std::string_view key) {
    return inner().contains(key, [](std::string_view) {});
  }

  std::shared_ptr<Chaos> chaos_;
};

class ChaosLayerFactory final : public AroundLayerFactory {
 public:
  // REQUIRES: inner and chaos are not null
  ChaosLayerFactory(std::shared_ptr<BackendFactory> inner, std::shared_ptr<Chaos> chaos)
      : AroundLayerFactory(std::move(inner), chaos_transparency), chaos_(std::move(chaos)) {}

  StoreTraits traits() const noexcept override {
    StoreTraits traits = AroundLayerFactory::traits();
    traits.breaks_circuits = false;
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

inline constexpr std::array<std::pair<std::string_view, ChaosAct>, 5> chaos_acts{
    {{"pass", ChaosAct::pass},
     {"fail", ChaosAct::fail},
     {"fail_after", ChaosAct::fail_after},
     {"lose", ChaosAct::lose},
     {"refuse", ChaosAct::refuse}}};

inline constexpr std::array backend_error_kinds{
    BackendError::Kind::unreachable, BackendError::Kind::timeout,    BackendError::Kind::protocol,
    BackendError::Kind::denied,      BackendError::Kind::overloaded, BackendError::Kind::read_only,
    BackendError::Kind::storage,     BackendError::Kind::unsupported};

inline std::optional<BackendError::Kind> backend_error_kind(std::string_view word) noexcept {
  for (const BackendError::Kind kind : backend_error_kinds) {
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
    const auto act = std::find_if(chaos_acts.begin(), chaos_acts.end(),
                                  [&](const auto& known) { return known.first == word; });
    if (act != chaos_acts.end()) {
      step_.act = act->second;
      return "";
    }
    if (const auto kind = backend_error_kind(word); kind && previous_.starts_with("fail")) {
      step_.kind = *kind;
      return "";
    }
    if (previous_.empty() && word.ends_with('x')) {
      const auto times = parse_counter(word.substr(0, word.size() - 1));
      if (times && *times > 0 && *times <= most_times) {
        times_ = static_cast<std::size_t>(*times);
        return "";
      }
    }
    return "expected pass, fail, fail_after, lose, refuse or delay, got " + quote(word);
  }

  static constexpr std::int64_t most_times = 1'000'000;

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
  static constexpr std::array setting_names{"fail",  "fail_after", "lose",       "refuse",
                                            "slow",  "delay",      "delay_most", "seed",
                                            "error", "only",       "script"};
  const auto chaos = Chaos::named(options.string("control", context.alias), context.clock);
  const bool has_settings = std::any_of(setting_names.begin(), setting_names.end(),
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
