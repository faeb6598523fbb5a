// The requirements for every store, as a GoogleTest suite for authors of backends. Include it in
// one source file of a test program (in others too, if they define
// POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE before) and name the store to test:
//
//   #include "polycache/testing/backend_conformance.h"
//
//   using namespace polycache::testing;
//   INSTANTIATE_TEST_SUITE_P(
//       Files, BackendConformance,
//       ::testing::ValuesIn(conformance_cases({.name = "files",
//                                              .backend = "files",
//                                              .location = [] { return fresh_folder(); },
//                                              .plugin_path = {"build"}})),
//       case_name);
//
// Each case runs the whole suite through a registry: plainly, with a prefix, with another
// version, and with a key function. Quirks declare missing abilities of a store; the suite then
// asserts that the store reports them. A store that keeps nothing uses KeepsNothingConformance.
//
// An exception in a thread of a test fails the test. Threads first use the store in a child
// process; if that fails, tests that need threads fail without running. A test that hangs ends
// the program after StoreUnderTest::time_limit, with a message.

#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/extension.h"
#include "polycache/author/extension_list.h"
#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/shared_by_name.h"
#include "polycache/testing/watchdog.h"

namespace polycache::testing {

// Missing abilities and deviations of a store.
struct Quirks {
  // Its entries expire by a clock of its own (a server's): the suite waits in real time.
  bool own_clock = false;
  // How long after its deadline an entry may still be found. It never expires early.
  std::chrono::milliseconds lateness{4};
  // The unit of its lifetimes, to which they are rounded up.
  std::chrono::milliseconds granularity{1};
  // It rejects keys that memcached would reject (KeyRules::strict).
  bool strict_keys = false;
  // Other processes see the same entries.
  bool shared_between_processes = true;
  bool has_ttl = true;
  bool has_compare = true;
  bool has_erase_prefix = true;
  // It offers scan/1, so that it lists its keys, and erases by pattern.
  bool has_scan = true;
  // It offers renew/1, so that it reads an entry and gives it a new lifetime in one step.
  bool has_renew = true;
  // It offers tag_index/1: an index of the tags that its entries carry.
  bool has_tag_index = true;
  // Its factory offers maintenance/1.
  bool has_maintenance = true;
  // It has counters: an incr() of its own, or the default one over ttl and compare.
  bool has_counters = true;
  // The size of a value that it refuses; 0: it accepts all values of the suite.
  std::size_t refuses_value_of = 0;
};

struct StoreUnderTest {
  std::string name = {};     // of the case: letters and digits
  std::string backend = {};  // as in a configuration
  // Called for each test; returns the location of an empty store, or of one that may be
  // cleared.
  std::function<std::vector<std::string>()> location = [] { return std::vector<std::string>(); };
  OptionMap options = {};
  std::vector<LayerConfig> layers = {};  // around the store, to test layers; outermost first
  std::vector<std::filesystem::path> plugin_path = {};
  std::vector<const PluginDescriptor*> linked_plugins = {};
  Quirks quirks = {};
  // A longer test counts as hung: the program reports it and ends. 0: no limit (in a debugger).
  std::chrono::seconds time_limit{60};
};

enum class KeyVariant : unsigned char { plain, prefix, version, key_function };

struct ConformanceCase {
  StoreUnderTest store;
  KeyVariant variant;
};

// For GoogleTest's messages.
inline void PrintTo(const ConformanceCase& c, std::ostream* out) { *out << c.store.backend; }

inline std::vector<ConformanceCase> conformance_cases(const StoreUnderTest& store) {
  std::vector<ConformanceCase> cases;
  for (const KeyVariant variant :
       {KeyVariant::plain, KeyVariant::prefix, KeyVariant::version, KeyVariant::key_function}) {
    cases.push_back({store, variant});
  }
  return cases;
}

inline std::string case_name(const ::testing::TestParamInfo<ConformanceCase>& info) {
  static constexpr std::array<const char*, 4> names{"Plain", "Prefix", "Version2", "KeyFunction"};
  return info.param.store.name + names[static_cast<std::size_t>(info.param.variant)];
}

// Whether a value was read as it was written. A failure shows the first difference and a few bytes
// from there, not all of a large value.
inline ::testing::AssertionResult same_bytes(const std::optional<std::string>& read,
                                             std::string_view wanted) {
  if (read == wanted) return ::testing::AssertionSuccess();
  if (!read) return ::testing::AssertionFailure() << "a miss";
  const std::string_view bytes = *read;
  const auto at = static_cast<std::size_t>(
      std::mismatch(bytes.begin(), bytes.end(), wanted.begin(), wanted.end()).first -
      bytes.begin());
  return ::testing::AssertionFailure()
         << "read " << bytes.size() << " bytes, wanted " << wanted.size() << "; from byte " << at
         << " on " << quote(bytes.substr(at)) << ", wanted " << quote(wanted.substr(at));
}

// Threads wait here for one another, with a time limit, since one of them may have failed.
class Meeting {
 public:
  explicit Meeting(int count) noexcept : missing_(count) {}

  void arrive_and_wait() {
    --missing_;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (missing_ > 0) {
      if (std::chrono::steady_clock::now() > end) {
        throw std::runtime_error("the other threads of the test did not reach this point");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  std::atomic<int> missing_;
};

// The clock of a test. While it is restless, a thread that reads it pauses so that others run
// first. This exposes operations of a store that are two steps with a clock reading in between.
class RestlessClock final : public Clock {
 public:
  explicit RestlessClock(const Clock& clock) noexcept : clock_(clock) {}

  void set_restless(bool restless) noexcept { restless_ = restless; }

  std::chrono::steady_clock::time_point steady_now() const noexcept override {
    let_others_go_first();
    return clock_.steady_now();
  }
  std::chrono::system_clock::time_point system_now() const noexcept override {
    let_others_go_first();
    return clock_.system_now();
  }

 private:
  void let_others_go_first() const noexcept {
    if (restless_) std::this_thread::sleep_for(std::chrono::microseconds(20));
  }

  const Clock& clock_;
  std::atomic<bool> restless_{false};
};

// The ids under "polycache." that a store offered when it was asked for them, although
// extension_list.h lacks them: a transparent layer would not see their calls.
struct UnlistedExtensions {
  std::mutex mutex;
  std::set<std::string> ids;  // guarded by the mutex

  template <class List>
  void check(std::string_view id, const void* offered) {
    if (offered == nullptr || !id.starts_with("polycache.") || List::has(id)) return;
    const std::lock_guard lock(mutex);
    ids.emplace(id);
  }
};

class ListCheckLayer final : public AroundLayer {
 public:
  ListCheckLayer(std::unique_ptr<Backend> inner, std::shared_ptr<UnlistedExtensions> unlisted)
      : AroundLayer(std::move(inner)), unlisted_(std::move(unlisted)) {}

  void* extension(std::string_view id) noexcept override {
    void* const offered = AroundLayer::extension(id);
    unlisted_->check<SessionExtensions>(id, offered);
    return offered;
  }

 private:
  std::shared_ptr<UnlistedExtensions> unlisted_;
};

class ListCheckFactory final : public AroundLayerFactory {
 public:
  ListCheckFactory(std::shared_ptr<BackendFactory> inner,
                   std::shared_ptr<UnlistedExtensions> unlisted)
      : AroundLayerFactory(std::move(inner)), unlisted_(std::move(unlisted)) {}

  void* extension(std::string_view id) noexcept override {
    void* const offered = AroundLayerFactory::extension(id);
    unlisted_->check<FactoryExtensions>(id, offered);
    return offered;
  }

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<ListCheckLayer>(std::move(session), unlisted_);
  }

 private:
  std::shared_ptr<UnlistedExtensions> unlisted_;
};

inline constexpr PluginDescriptor list_check_layer = layer_plugin(
    "list_check", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<ListCheckFactory>(
          context.inner, shared_by_name<UnlistedExtensions>("", context.clock));
    });

// A store behind the alias "store" of a registry of its own, on a clock that the test moves.
class StoreFixture : public ::testing::TestWithParam<ConformanceCase> {
 protected:
  void SetUp() override {
    const ConformanceCase& c = GetParam();
    watchdog_.emplace(c.store.time_limit, "the test " + test_name());
    register_test_key_function();
    CacheConfig cache{
        .backend = c.store.backend,
        .location = c.store.location(),
        .on_error = {.read = ErrorPolicy::throw_error, .write = ErrorPolicy::throw_error},
        .layers = c.store.layers,
        .options = c.store.options};
    if (c.variant == KeyVariant::prefix) cache.key_prefix = "shop";
    if (c.variant == KeyVariant::version) cache.version = 2;
    if (c.variant == KeyVariant::key_function) {
      cache.key_prefix = "p";
      cache.key_function = "conformance";
    }
    config_.caches["store"] = cache;
    config_.plugin_path = c.store.plugin_path;
    registry_.emplace(config_, environment());
    store().clear();
    if (auto* const index = store().extension<TagIndexExtension>()) index->drop_index();
    warnings_.clear();
  }

  Environment environment() {
    return {.clock = clock_of_store(),
            .on_warning =
                [this](const Warning& warning) {
                  std::function<void(const Warning&)> also;
                  {
                    const std::lock_guard lock(mutex_);
                    warnings_.emplace_back(warning.kind, std::string(warning.message));
                    also = std::exchange(on_warning_, nullptr);
                  }
                  if (also) also(warning);
                },
            .linked_plugins = GetParam().store.linked_plugins};
  }

  // A key function that differs from the default one, and keeps keys distinct.
  static void register_test_key_function() {
    static std::once_flag once;
    std::call_once(once, [] {
      register_key_function("conformance", [](std::string& out, std::string_view key,
                                              std::string_view prefix, int version) {
        out.append(key).append("@").append(prefix).append(".").append(std::to_string(version));
      });
    });
  }

  const Quirks& quirks() const { return GetParam().store.quirks; }
  CacheRegistry& registry() { return *registry_; }
  Cache& store() { return registry()["store"]; }

  const Clock* clock_of_store() const {
    return quirks().own_clock ? &Clock::real() : static_cast<const Clock*>(&restless_clock_);
  }

  // A lifetime long enough to see the entry alive, short enough to wait for.
  std::chrono::milliseconds short_life() const {
    return quirks().own_clock ? std::max(std::chrono::milliseconds(200), quirks().granularity)
                              : std::max(std::chrono::milliseconds(1500), quirks().granularity);
  }

  void pass(std::chrono::milliseconds time) {
    if (quirks().own_clock) {
      std::this_thread::sleep_for(time);
    } else {
      clock_.advance(time);
    }
  }
  // Waits until entries with the lifetime short_life() have expired.
  void outlive() {
    pass(short_life() + quirks().lateness + std::chrono::milliseconds(quirks().own_clock ? 5 : 1));
  }

  std::size_t warnings_of(Warning::Kind kind) {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(warnings_.begin(), warnings_.end(),
                      [kind](const auto& warning) { return warning.first == kind; }));
  }

  // An exception of f fails the test, whatever thread it runs in. Returns whether f threw nothing.
  template <class F>
  static bool without_throwing(F&& f) noexcept {
    try {
      f();
      return true;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "a thread of the test threw: " << error.what();
    } catch (...) {  // a store may throw anything
      ADD_FAILURE() << "a thread of the test threw something that is not a std::exception";
    }
    return false;
  }

  // Runs f(thread number) on several threads that start together.
  template <class F>
  void on_threads(int count, F f) {
    if (!survives_threads()) {
      ADD_FAILURE()
          << "not run: this store fails with several threads; see the failure of the first "
             "test that used them";
      return;
    }
    std::barrier start(count);
    std::vector<std::thread> threads;
    threads.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      threads.emplace_back([&start, &f, i] {
        start.arrive_and_wait();
        without_throwing([&] { f(i); });
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  static constexpr int most_rounds = 100;
  static constexpr int least_rounds = 20;
  using Winners = std::array<std::atomic<int>, most_rounds>;

  // The number of rounds in which not exactly one thread won.
  static std::ptrdiff_t unfair(const Winners& winners, int rounds) {
    return std::count_if(winners.begin(), winners.begin() + rounds,
                         [](const std::atomic<int>& won) { return won != 1; });
  }

  // Runs f(round, thread number) on four threads, which begin each round at the same moment. The
  // even rounds run at full speed, the odd ones under a restless clock. Returns the number of
  // rounds: most_rounds, or fewer on a slow machine.
  template <class F>
  int in_rounds(F f) {
    constexpr int count = 4;
    std::atomic<int> arrived{0};
    std::atomic<int> rounds{most_rounds};
    on_threads(count, [&](int i) {
      const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
      bool is_well = true;  // a thread that has thrown stops calling f
      for (int round = 0; round < rounds; ++round) {
        if (i == 0) {
          restless_clock_.set_restless(round % 2 != 0);
          const bool is_late = std::chrono::steady_clock::now() > end;
          if (is_late && round + 1 >= least_rounds) rounds = std::min(rounds.load(), round + 1);
        }
        ++arrived;
        while (arrived < (round + 1) * count) std::this_thread::yield();
        is_well = is_well && without_throwing([&] { f(round, i); });
      }
    });
    restless_clock_.set_restless(false);
    return rounds;
  }

  // Uses everything that may ask the store for an extension. Returns the ids under "polycache."
  // that the store offers and the core does not list.
  std::set<std::string> unlisted_extensions() {
    const auto unlisted = shared_by_name<UnlistedExtensions>("", *clock_of_store());
    Config config = config_;
    std::vector<LayerConfig>& layers = config.caches["store"].layers;
    layers.insert(layers.begin(), LayerConfig{.name = "list_check"});
    Environment checked = environment();
    checked.linked_plugins.push_back(&list_check_layer);
    {
      CacheRegistry checked_registry(config, checked);
      use_everything(checked_registry["store"]);
      checked_registry.health();
      // A version of an extension that the core does not know.
      Backend& session = checked_registry["store"].backend();
      for (const std::string_view id : SessionExtensions::ids) {
        for (int version = 1; version < 10; ++version) {
          session.extension(std::string(id.substr(0, id.find('/') + 1)) + std::to_string(version));
        }
      }
    }
    const std::lock_guard lock(unlisted->mutex);
    return unlisted->ids;
  }

  void use_everything(Cache& cache) {
    cache.set("k", "v");
    cache.add("k", "v");
    cache.touch("k");
    cache.get("k");
    cache.get("k", {.touch = std::chrono::hours(1)});
    cache.get_entry("k");
    cache.expire("k");
    cache.persist("k");
    cache.contains("k");
    cache.visit("k", [](std::string_view) {});
    cache.get_or_set("computed", "v");
    cache.set_many({{"a", 1}, {"b", 2}});
    cache.get_many({"a", "b"});
    cache.erase_many({"a", "b"});
    if (quirks().has_counters) cache.incr("n", 1, {.initial = 1});
    try {
      cache.incr_version("k");
    } catch (const KeyNotFound&) {  // the store keeps nothing
    }
    cache.pop("computed");
    cache.pop_entry("computed");
    cache.erase("k");
    if (can_scan()) {
      static_cast<void>(cache.scan("*"));
      cache.erase_pattern("*");
    }
    if (quirks().has_tag_index) {
      cache.create_tag_index();
      cache.set("tagged", "v", {.tags = {"posts"}});
      cache.erase_tag("posts");
      cache.drop_tag_index();
    }
    cache.clear();
  }

  // Whether the store has an entry of that key, live or not.
  bool is_stored(std::string_view key) {
    return store().backend().contains(store().final_key(key), [](std::string_view) {});
  }

  // Whether scan() is allowed: not with a key function that does not keep prefix and version.
  bool can_scan() const {
    return quirks().has_scan && GetParam().variant != KeyVariant::key_function;
  }

  // Runs f() in a child process. A child that hangs ends after half of the test's time limit.
  template <class F>
  pid_t start_child(F f) {
    const pid_t child = fork();
    if (child != 0) return child;
    Watchdog::start(std::chrono::milliseconds(GetParam().store.time_limit) / 2);
    bool good = false;
    try {
      good = f();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "a child process threw: %s\n", error.what());
    } catch (...) {  // a store may throw anything
      std::fprintf(stderr, "a child process threw something that is not a std::exception\n");
    }
    _exit(good ? 0 : 1);
  }

  // How a child process ended; empty if it succeeded.
  static std::string end_of_child(pid_t child) {
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return "there is no child process";
    if (WIFSIGNALED(status)) {
      const int number = WTERMSIG(status);
      return "the child process ended by signal " + std::to_string(number) + " (" +
             strsignal(number) + ")";
    }
    return WEXITSTATUS(status) == 0 ? "" : "the child process failed (see above)";
  }

  // Runs f(process number) in children; each must return true.
  template <class F>
  void in_processes(int count, F f) {
    std::vector<pid_t> children;
    for (int i = 0; i < count; ++i) {
      children.push_back(start_child([&] { return f(i); }));
    }
    for (const pid_t child : children) EXPECT_EQ(end_of_child(child), "");
  }

  // Whether several threads can use the store at all. Tried once for each store, in a child
  // process, which may crash.
  bool survives_threads() {
    static std::map<std::string, bool> known;
    const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
    const auto [answer, is_new] =
        known.try_emplace(test.test_suite_name() + ("/" + GetParam().store.name), false);
    if (!is_new) return answer->second;
    const std::string end = end_of_child(start_child([this] { return use_by_threads(); }));
    EXPECT_EQ(end, "") << "four threads used the store, each with its own session; protect what "
                          "sessions share by a lock";
    return answer->second = end.empty();
  }

  // Runs in a child process. Each thread has keys of its own, and a few that all threads change.
  bool use_by_threads() {
    store().set("try", "x");
    const bool keeps = store().contains("try");
    std::atomic<bool> good{true};
    const auto complain = [&](const char* what) {
      if (good.exchange(false)) std::fprintf(stderr, "%s\n", what);
    };
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        try {
          use_as_one_thread(i, keeps, complain);
        } catch (const std::exception& error) {
          complain(error.what());
        } catch (...) {  // a store may throw anything
          complain("a thread threw something that is not a std::exception");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    store().erase("try");
    return good;
  }

  // The common values are large, so that a thread is often in the middle of copying one. The
  // first turns use a restless clock: threads pause where the store reads the time.
  template <class Complain>
  void use_as_one_thread(int thread, bool keeps, Complain& complain) {
    constexpr std::size_t size = 60'000;
    std::set<std::string> keys;
    for (int n = 0; n < 100 || (n < 20'000 && !is_time_up()); ++n) {
      if (thread == 0) restless_clock_.set_restless(n < 50);
      const std::string own = "try" + std::to_string(thread) + "." + std::to_string(n % 100);
      const std::string common = "try" + std::to_string(n % 3);
      keys.insert({own, common});
      store().set(own, own + "=" + std::to_string(n));
      if (keeps && store().get(own) != own + "=" + std::to_string(n)) {
        complain("an entry of one thread was lost or changed while other threads wrote their own");
      }
      store().set(common, std::string(size, static_cast<char>('a' + (n + 5 * thread) % 20)));
      const auto value = store().get(common);
      if (value && (value->size() != size || *value != std::string(size, value->front()))) {
        complain("a value was read that no thread wrote: a mixture of several");
      }
      if (n % 2 == 0) store().erase(common);
    }
    store().erase_many(keys);
  }

  // Bytes of a stored entry that counts as absent (core/src/front/entry.h).
  struct NotLive {
    const char* what;
    std::string bytes;
    bool is_unreadable = false;
  };

  // A frame of format 1.
  static std::string frame(unsigned flags, std::int64_t created, std::int64_t fresh_until,
                           std::uint32_t stale_seconds, const std::string& fields,
                           const std::string& value) {
    std::string bytes("\xC1pc\x01");
    const auto number = [&](std::uint64_t n, int size) {
      for (; size > 0; --size, n >>= 8U) bytes.push_back(static_cast<char>(n & 0xffU));
    };
    number(flags, 1);
    number(32 + fields.size(), 3);
    number(static_cast<std::uint64_t>(created), 8);
    number(static_cast<std::uint64_t>(fresh_until), 8);
    number(0, 4);
    number(stale_seconds, 4);
    return bytes + fields + value;
  }

  std::int64_t milliseconds_now() const {
    return std::chrono::floor<std::chrono::milliseconds>(clock_of_store()->system_now())
        .time_since_epoch()
        .count();
  }

  // The field of one tag, whose version the store does not have.
  static std::string tags(const std::string& name) {
    const std::string content = static_cast<char>(name.size()) + name + "12345678";
    return std::string("\x81") + static_cast<char>(content.size()) + content;
  }

  std::vector<NotLive> entries_that_are_not_live() const {
    const std::int64_t now = milliseconds_now();
    const std::string skipped = "\x01\x50" + std::string(80, 'f');
    return {
        {"stale: its time is over, in its window", frame(0, now - 9000, now - 1, 3600, {}, "v")},
        {"stale: marked", frame(2, now, 0, 0, {}, "v")},
        {"stale: written by a clock that is ahead", frame(0, now + 60'000, 0, 0, {}, "v")},
        {"negative", frame(1, now, now + 3'600'000, 0, {}, {})},
        {"dead: its time is over", frame(0, now - 9000, now - 1, 0, {}, "v")},
        {"dead: a negative one whose time is over", frame(1, now - 9000, now - 1, 0, {}, {})},
        {"leased", frame(16, now, 0, 0, {}, {})},
        {"dead: a tag without a version", frame(4, 0, 0, 0, tags("posts"), "v")},
        {"dead: such a tag beyond what the head shows",
         frame(4, 0, 0, 0, skipped + tags("posts"), "v")},
        {"unreadable: tags that the flags do not announce", frame(0, 0, 0, 0, tags("posts"), "v"),
         true},
        {"unreadable: a newer format", "\xC1pc\x7F of a newer format", true},
        {"unreadable: cut", std::string("\xC1pc\x01", 4), true},
        {"unreadable: of the first draft", std::string("\xC1pc\x01\0\0\0\0v", 9), true},
        {"unreadable: a flag to come", frame(64, 0, 0, 0, {}, "v"), true},
        {"unreadable: a field that must be understood",
         frame(0, 0, 0, 0, std::string("\x80\0", 2), "v"), true},
        {"unreadable: such a field beyond what the head shows",
         frame(0, 0, 0, 0, skipped + std::string("\x80\0", 2), "v"), true},
    };
  }

  // Under the key "k", as an earlier get_or_set() has written it: a value that is 50 minutes old,
  // of a lifetime of an hour.
  void store_old(const std::string& value) {
    const std::int64_t now = milliseconds_now();
    store_bytes(frame(0, now - 50 * minute, now + 10 * minute, 3600, {}, value));
  }
  // The same, one whose time is over, in its stale window.
  void store_stale(const std::string& value) {
    const std::int64_t now = milliseconds_now();
    store_bytes(frame(0, now - 70 * minute, now - 10 * minute, 3600, {}, value));
  }
  void store_bytes(const std::string& bytes) {
    ASSERT_TRUE(store().backend().put(store().final_key("k"), bytes, Ttl(std::chrono::hours(1)),
                                      PutMode::always));
  }
  static constexpr std::int64_t minute = 60'000;
  // Two computations.
  static std::string fails() { throw std::runtime_error("the origin is down"); }
  static std::string computed() { return "computed"; }

  // Where the store keeps the version of a tag whose name needs no escapes.
  std::string tag_key(const std::string& tag) const {
    return config_.caches.find("store")->second.key_prefix + ":~t:" + tag;
  }
  bool loses_version(const std::string& tag) { return store().backend().erase(tag_key(tag)); }
  // How long the version of a tag lives; empty if there is none.
  std::optional<Ttl> life_of_version(const std::string& tag) {
    std::optional<Ttl> life;
    auto* const ttl = store().extension<TtlExtension>();
    if (ttl != nullptr) ttl->get(tag_key(tag), [&](std::string_view, Ttl left) { life = left; });
    return life;
  }

  // Runs in a child process. The time is long enough for a store without locks to fail, even on a
  // busy machine.
  static bool is_time_up() {
    const auto worked = std::chrono::milliseconds(1000 * std::clock() / CLOCKS_PER_SEC);
    static const auto begin = std::chrono::steady_clock::now();
    return worked > std::chrono::milliseconds(300) ||
           std::chrono::steady_clock::now() - begin > std::chrono::seconds(10);
  }

  static std::string test_name() {
    const ::testing::TestInfo& test = *::testing::UnitTest::GetInstance()->current_test_info();
    return std::string(test.test_suite_name()) + "." + test.name();
  }

  std::optional<Watchdog> watchdog_;  // first, so that it is destroyed after all others
  // These outlive the registry: a warning handler of a late session may still use them.
  ManualClock clock_;
  RestlessClock restless_clock_{clock_};
  std::mutex mutex_;  // guards warnings_
  std::vector<std::pair<Warning::Kind, std::string>> warnings_;
  std::function<void(const Warning&)> on_warning_;  // called once
  Config config_;
  std::optional<CacheRegistry> registry_;
};

class BackendConformance : public StoreFixture {};
class KeepsNothingConformance : public StoreFixture {};

// A program may instantiate one of the two suites only.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BackendConformance);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(KeepsNothingConformance);

// A type whose codec uses the cache that it is read through, and one whose codec throws.
struct Curious {
  std::string text;
};
struct Thrower {
  std::string text;
};
inline thread_local Cache* curious_about = nullptr;
inline void count_use(const char* key) {
  curious_about->set(key, curious_about->get<int>(key).value_or(0) + 1);
}

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""h;

}  // namespace polycache::testing

template <>
struct polycache::Codec<polycache::testing::Curious> {
  static std::string_view encode(const testing::Curious& value, std::string& scratch) {
    testing::count_use("curious:encoded");
    return scratch = "c" + value.text;
  }
  static std::optional<testing::Curious> decode(std::string_view bytes) {
    const std::string copy(bytes);
    testing::count_use("curious:decoded");
    testing::curious_about->set("curious:last", copy);
    if (!copy.starts_with('c') || bytes != copy) return std::nullopt;
    return testing::Curious{copy.substr(1)};
  }
};

template <>
struct polycache::Codec<polycache::testing::Thrower> {
  static std::string_view encode(const testing::Thrower& value, std::string& scratch) {
    if (value.text == "bad") throw std::runtime_error("will not encode");
    return scratch = value.text;
  }
  static std::optional<testing::Thrower> decode(std::string_view) {
    throw std::runtime_error("will not decode");
  }
};

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

// --- Values ---

TEST_P(BackendConformance, AnAbsentKeyIsAMissOfEveryOperation) {
  EXPECT_FALSE(store().get("absent"));
  EXPECT_FALSE(store().contains("absent"));
  EXPECT_FALSE(store().touch("absent", 1min));
  EXPECT_FALSE(store().erase("absent"));
  EXPECT_FALSE(store().pop("absent"));
  EXPECT_FALSE(store().visit("absent", [](std::string_view) { FAIL(); }));
  EXPECT_EQ(store().get("absent").value_or("fallback"), "fallback");
  EXPECT_THROW(store().incr_version("absent"), KeyNotFound);
  if (!quirks().has_counters) return;
  EXPECT_THROW(store().incr("absent"), KeyNotFound);
  EXPECT_THROW(store().decr("absent"), KeyNotFound);
}

TEST_P(BackendConformance, WhatIsSetIsRead) {
  EXPECT_TRUE(store().set("k", "value"));
  EXPECT_EQ(store().get("k"), "value");
  EXPECT_TRUE(store().contains("k"));
  EXPECT_TRUE(store().set("k", "other"));
  EXPECT_EQ(store().get("k"), "other");
  std::string seen;
  EXPECT_TRUE(store().visit("k", [&](std::string_view bytes) { seen = bytes; }));
  EXPECT_EQ(seen, "other");
}

TEST_P(BackendConformance, ValuesAreAnyBytes) {
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes += static_cast<char>(byte);
  const std::vector<std::string> values{
      "",        std::string(1, '\0'),     std::string("a\0b\0", 4), "\r\n", "END\r\n",
      all_bytes, std::string(100'000, 'x')};
  for (const std::string& value : values) {
    EXPECT_TRUE(store().set("k", value));
    EXPECT_TRUE(same_bytes(store().get("k"), value));
    EXPECT_TRUE(store().contains("k"));
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(store().add("k" + std::to_string(i), values[i]));
    EXPECT_TRUE(same_bytes(store().pop("k" + std::to_string(i)), values[i]));
  }
}

TEST_P(BackendConformance, AValueOfAMebibyteIsKept) {
  std::string value(std::size_t{1} << 20U, '\0');
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 31 + i / 251);
  ASSERT_TRUE(store().set("big", value));
  EXPECT_TRUE(same_bytes(store().get("big"), value));
  ASSERT_TRUE(
      store().set_many(std::map<std::string, std::string>{{"big", "s"}, {"b2", value}}).empty());
  const auto both = store().get_many({"big", "b2"});
  EXPECT_TRUE(same_bytes(both[0], "s"));
  EXPECT_TRUE(same_bytes(both[1], value));
}

TEST_P(BackendConformance, TheStoreKeepsCopies) {
  std::string key = store().final_key("k");
  std::string other = store().final_key("other");
  std::string value = "of the first";
  std::string more = "of the second";
  store().backend().put(key, value, Ttl(1min), PutMode::always);
  const std::array<Item, 1> items{Item{other, more, Ttl(1min)}};
  store().backend().put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  for (std::string* const text : {&key, &other, &value, &more}) text->assign(text->size(), '#');
  EXPECT_EQ(store().get("k"), "of the first");
  EXPECT_EQ(store().get("other"), "of the second");
}

TEST_P(BackendConformance, ARefusedValueIsNotStoredAndTheOlderOneIsGone) {
  if (quirks().refuses_value_of == 0) return;
  const std::string large(quirks().refuses_value_of, 'x');
  store().set("k", "old");
  EXPECT_FALSE(store().set("k", large));
  EXPECT_TRUE(same_bytes(store().get_or_set("k", "none"), "none"))
      << "an older value was still there";
  EXPECT_EQ(warnings_of(Warning::Kind::value_refused), 1U);
  EXPECT_FALSE(store().add("new", large));
  EXPECT_FALSE(store().contains("new"));
  EXPECT_FALSE(store().add("k", large));
  EXPECT_TRUE(same_bytes(store().get("k"), "none")) << "add() replaces nothing";
  const std::string key = store().final_key("k");
  EXPECT_FALSE(store().backend().put(key, large, Ttl(1min), PutMode::if_present));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old");
  EXPECT_EQ(store().set_many({{"k", large}, {"other", 1}}), std::vector<std::string>{"k"});
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(store().get<int>("other"), 1);
}

TEST_P(BackendConformance, ASinkIsCalledOnceForEachLiveEntry) {
  store().set_many({{"a", 1}, {"b", 2}});
  Backend& session = store().backend();
  const std::array<std::string, 3> keys{store().final_key("a"), store().final_key("absent"),
                                        store().final_key("b")};
  int calls = 0;
  const auto count = [&](std::string_view) { ++calls; };
  EXPECT_TRUE(session.get(keys[0], count));
  EXPECT_EQ(std::exchange(calls, 0), 1) << "get";
  EXPECT_TRUE(session.contains(keys[0], count));
  EXPECT_EQ(std::exchange(calls, 0), 1) << "contains";
  EXPECT_FALSE(session.get(keys[1], count));
  EXPECT_FALSE(session.contains(keys[1], count));
  EXPECT_EQ(calls, 0) << "an absent entry";

  const std::array<std::string_view, 4> asked{keys[0], keys[1], keys[2], keys[0]};
  const std::map<std::size_t, int> once{{0, 1}, {2, 1}, {3, 1}};
  std::map<std::size_t, int> answers;
  session.get_many(asked, [&](std::size_t i, std::string_view) { ++answers[i]; });
  EXPECT_EQ(answers, once) << "get_many";
  if (auto* const ttl = store().extension<TtlExtension>()) {
    EXPECT_TRUE(ttl->get(keys[0], [&](std::string_view, Ttl) { ++calls; }));
    EXPECT_EQ(std::exchange(calls, 0), 1) << "get with lifetimes";
    answers.clear();
    ttl->get_many(asked, [&](std::size_t i, std::string_view, Ttl) { ++answers[i]; });
    EXPECT_EQ(answers, once) << "get_many with lifetimes";
  }
  if (auto* const pop = store().extension<PopExtension>()) {
    EXPECT_TRUE(pop->pop(keys[0], count));
    EXPECT_EQ(calls, 1) << "pop";
    EXPECT_FALSE(pop->pop(keys[0], count));
    EXPECT_EQ(calls, 1) << "pop of an absent entry";
  }
}

TEST_P(BackendConformance, AValueStaysWhatItIsWhileASinkLooksAtIt) {
  for (const std::size_t size : {std::size_t{30}, std::size_t{5000}}) {
    const std::string value(size, 'a');
    store().set("k", value);
    store().visit("k", [&](std::string_view bytes) {
      store().set("k", std::string(2 * size, 'b'));
      store().erase("k");
      EXPECT_TRUE(same_bytes(std::string(bytes), value));
    });
    EXPECT_FALSE(store().contains("k"));
  }
}

TEST_P(BackendConformance, ValuesThatBeginLikeAFrameComeBack) {
  for (const std::string& value : {std::string("\xC1pc"), std::string("\xC1pc\x01\0\0\0\0", 8),
                                   std::string("\xC1pc\xFFrest")}) {
    EXPECT_TRUE(store().set("k", value));
    EXPECT_EQ(store().get("k"), value);
    EXPECT_TRUE(store().contains("k"));
    store().set_many(std::map<std::string, std::string>{{"m", value}});
    EXPECT_EQ(store().get_many({"m"})[0], value);
    EXPECT_EQ(store().pop("m"), value);
  }
}

TEST_P(BackendConformance, AnUnreadableEntryIsAMissAndReadingLeavesItThere) {
  const std::string newer("\xC1pc\x7F of a newer format");
  store().backend().put(store().final_key("k"), newer, Ttl(1min), PutMode::always);
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::entry_damaged), 1U);
  std::string raw;
  store().backend().get(store().final_key("k"), [&](std::string_view bytes) { raw = bytes; });
  EXPECT_EQ(raw, newer);
}

// For an entry that is stored but counts as absent, every operation behaves as for an absent key,
// except erase, which returns whether the store had one.
TEST_P(BackendConformance, AnEntryThatIsNotLiveIsAbsentForEveryOperation) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    SCOPED_TRACE(entry.what);
    const auto store_it = [&] {
      store().backend().put(store().final_key("k"), entry.bytes, Ttl(1min), PutMode::always);
    };
    store_it();
    EXPECT_FALSE(store().get("k"));
    EXPECT_FALSE(store().get_many({"k"})[0]);
    EXPECT_TRUE(store().get_many_map({"k"}).empty());
    EXPECT_FALSE(store().visit("k", [](std::string_view) {}));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_FALSE(store().touch("k", 1h));
    EXPECT_THROW(store().incr_version("k"), KeyNotFound);
    EXPECT_TRUE(store().add("none", 1, 0s)) << "like an absent key";
    EXPECT_TRUE(store().add("k", 1, 0s)) << "there is no live entry";
    EXPECT_TRUE(store().erase("k")) << "the store had an entry";
    EXPECT_FALSE(store().erase("k"));
    store_it();
    EXPECT_FALSE(store().pop("k"));
    EXPECT_FALSE(store().erase("k")) << "pop removed it";
    store_it();
    EXPECT_TRUE(store().add("k", "added"));
    EXPECT_EQ(store().get("k"), "added");
    EXPECT_FALSE(store().add("k", "again"));
    store_it();
    EXPECT_TRUE(store().set("k", "set"));
    EXPECT_EQ(store().get("k"), "set");
    store_it();
    EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "computed");
    EXPECT_EQ(store().get("k"), "computed");
    if (!quirks().has_counters) continue;
    store_it();
    EXPECT_THROW(store().incr("k"), KeyNotFound);
    EXPECT_EQ(store().incr("k", 2, {.initial = 40}), 42);
    EXPECT_EQ(store().get<int>("k"), 42);
    EXPECT_EQ(store().incr("k"), 43);
  }
}

TEST_P(BackendConformance, OnlyAnUnreadableEntryIsWarnedOf) {
  for (const NotLive& entry : entries_that_are_not_live()) {
    SCOPED_TRACE(entry.what);
    const std::size_t before = warnings_of(Warning::Kind::entry_damaged);
    store().backend().put(store().final_key("k"), entry.bytes, Ttl(1min), PutMode::always);
    EXPECT_FALSE(store().get("k"));
    EXPECT_EQ(warnings_of(Warning::Kind::entry_damaged) - before, entry.is_unreadable ? 1U : 0U);
  }
}

TEST_P(BackendConformance, AnEntryWithMetadataIsReadAsItsValue) {
  const std::int64_t now = milliseconds_now();
  const std::string fields = "\x01\x50" + std::string(80, 'f');  // extends beyond the head
  for (const std::string& framed :
       {frame(0, 0, 0, 0, {}, "value"), frame(0, now, now + 3'600'000, 60, {}, "value"),
        frame(0, now, 0, 0, fields, "value")}) {
    store().backend().put(store().final_key("k"), framed, Ttl(1min), PutMode::always);
    EXPECT_EQ(store().get("k"), "value");
    EXPECT_TRUE(store().contains("k"));
    EXPECT_TRUE(store().touch("k", 1h));
    EXPECT_FALSE(store().add("k", "other"));
    EXPECT_EQ(store().get_or_set("k", [] { return std::string("computed"); }), "value");
    if (quirks().has_counters) {
      EXPECT_THROW(store().incr("k"), ValueError);
    }
    EXPECT_EQ(store().pop("k"), "value");
  }
}

TEST_P(BackendConformance, TypesComeBackAsTheyWere) {
  store().set("bool", true);
  store().set("int", -42);
  store().set("big", std::numeric_limits<std::int64_t>::min());
  store().set("double", 0.1);
  store().set("bytes", std::vector<std::byte>{std::byte{0}, std::byte{255}});
  store().set("duration", 250ms);
  EXPECT_EQ(store().get<bool>("bool"), true);
  EXPECT_EQ(store().get<int>("int"), -42);
  EXPECT_EQ(store().get<std::int64_t>("big"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(store().get<double>("double"), 0.1);
  EXPECT_EQ(store().get<std::vector<std::byte>>("bytes")->size(), 2U);
  EXPECT_EQ(store().get<std::chrono::milliseconds>("duration"), 250ms);
}

TEST_P(BackendConformance, BytesOfAnotherTypeAreAMissAndAWarning) {
  store().set("k", "text");
  EXPECT_FALSE(store().get<int>("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 1U);
  EXPECT_EQ(store().get_many<int>({"k", "absent"})[0], std::nullopt);
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 2U);
  EXPECT_EQ(store().get("k"), "text");
  EXPECT_EQ(store().get_or_set("k", [] { return 5; }), 5);
  EXPECT_EQ(store().get<int>("k"), 5);
}

// --- add, erase, contains, pop ---

TEST_P(BackendConformance, AddStoresOnlyIfAbsent) {
  EXPECT_TRUE(store().add("k", "first"));
  EXPECT_FALSE(store().add("k", "second"));
  EXPECT_EQ(store().get("k"), "first");
  store().erase("k");
  EXPECT_TRUE(store().add("k", "third"));
  EXPECT_EQ(store().get("k"), "third");
}

TEST_P(BackendConformance, AddLeavesTheLifetimeOfALiveEntry) {
  store().set("k", "v", short_life());
  EXPECT_FALSE(store().add("k", "other", never));
  outlive();
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, EraseSaysWhetherThereWasALiveEntry) {
  store().set("k", "v");
  EXPECT_TRUE(store().erase("k"));
  EXPECT_FALSE(store().erase("k"));
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, PopReadsAndRemoves) {
  store().set("k", 7);
  EXPECT_EQ(store().pop<int>("k"), 7);
  EXPECT_FALSE(store().pop<int>("k"));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "text");
  EXPECT_FALSE(store().pop<int>("k"));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, IfPresentReplacesOnlyWhatIsThere) {
  Backend& session = store().backend();
  const std::string key = store().final_key("k");
  EXPECT_FALSE(session.put(key, "v", Ttl(1min), PutMode::if_present));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old");
  EXPECT_TRUE(session.put(key, "new", Ttl(1min), PutMode::if_present));
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_TRUE(session.put(key, "newer", Ttl(short_life()), PutMode::if_present));
  outlive();
  EXPECT_FALSE(store().contains("k")) << "the new lifetime applies";
}

TEST_P(BackendConformance, ContainsShowsTheHeadOfTheValue) {
  store().set("short", "abc");
  std::string value;
  for (int i = 0; i < 1000; ++i) value += std::to_string(i);
  store().set("long", value);
  std::string head;
  const auto take = [&](std::string_view bytes) { head = bytes; };
  EXPECT_TRUE(store().backend().contains(store().final_key("short"), take));
  EXPECT_EQ(head, "abc");
  EXPECT_TRUE(store().backend().contains(store().final_key("long"), take));
  EXPECT_GE(head.size(), 64U);
  EXPECT_TRUE(same_bytes(head, value.substr(0, head.size())));
}

TEST_P(BackendConformance, TouchShowsTheHeadOfTheValue) {
  store().set("short", "abc");
  std::string value;
  for (int i = 0; i < 1000; ++i) value += std::to_string(i);
  store().set("long", value);
  std::string head;
  int shown = 0;
  const auto take = [&](std::string_view bytes) {
    head = bytes;
    ++shown;
  };
  for (const Ttl ttl : {Ttl(1h), Ttl::forever()}) {
    EXPECT_TRUE(store().backend().touch(store().final_key("short"), ttl, take));
    EXPECT_EQ(head, "abc");
    EXPECT_TRUE(store().backend().touch(store().final_key("long"), ttl, take));
    EXPECT_GE(head.size(), 64U);
    EXPECT_TRUE(same_bytes(head, value.substr(0, head.size())));
    EXPECT_FALSE(store().backend().touch(store().final_key("absent"), ttl, take));
  }
  EXPECT_EQ(shown, 4) << "once for each live entry";
}

// --- Timeouts ---

TEST_P(BackendConformance, AnEntryLivesForItsTimeout) {
  store().set("k", "v", short_life());
  EXPECT_EQ(store().get("k"), "v");
  if (!quirks().own_clock) {
    pass(short_life() - 1ms);
    EXPECT_EQ(store().get("k"), "v") << "expired too early";
    pass(1ms + quirks().lateness);
  } else {
    outlive();
  }
  EXPECT_FALSE(store().get("k"));
}

TEST_P(BackendConformance, AnExpiredEntryIsAbsentForEveryOperation) {
  const auto expired = [&](std::string_view key) {
    store().set(key, 5, short_life());
    return std::string(key);
  };
  const std::vector<std::string> keys{
      expired("get"),  expired("contains"), expired("touch"),   expired("erase"),   expired("add"),
      expired("incr"), expired("pop"),      expired("version"), expired("present"), expired("gos")};
  for (const char* const key : {"read", "erased", "ttl", "equal"}) expired(key);
  outlive();
  EXPECT_FALSE(store().get_many({"read"})[0]);
  EXPECT_EQ(store().erase_many({"erased"}), 0U);
  if (auto* const ttl = store().extension<TtlExtension>()) {
    EXPECT_FALSE(ttl->get(store().final_key("ttl"), [](std::string_view, Ttl) { FAIL(); }));
  }
  if (auto* const compare = store().extension<CompareExtension>()) {
    EXPECT_FALSE(compare->put_if_equal(store().final_key("equal"), "5", "6", Ttl(1min)));
  }
  EXPECT_FALSE(store().get("get"));
  EXPECT_FALSE(store().contains("contains"));
  EXPECT_FALSE(store().touch("touch", 1min));
  EXPECT_FALSE(store().get("touch")) << "touch revived an expired entry";
  EXPECT_FALSE(store().erase("erase"));
  EXPECT_TRUE(store().add("add", 6));
  EXPECT_EQ(store().get<int>("add"), 6);
  if (quirks().has_counters) {
    EXPECT_THROW(store().incr("incr"), KeyNotFound);
  }
  EXPECT_FALSE(store().pop("pop"));
  EXPECT_THROW(store().incr_version("version"), KeyNotFound);
  EXPECT_FALSE(
      store().backend().put(store().final_key("present"), "v", Ttl(1min), PutMode::if_present));
  EXPECT_EQ(store().get_or_set("gos", [] { return 9; }), 9);
  store().erase_many({"add", "gos"});
  for (const auto& value : store().get_many<int>(keys)) EXPECT_FALSE(value);
  EXPECT_EQ(store().erase_many(keys), 0U);
}

TEST_P(BackendConformance, AnExpiredEntryIsNotCountedAsErased) {
  const std::vector<std::string> keys{"erase", "zero", "many", "more"};
  for (const std::string& key : keys) store().set(key, 5, short_life());
  store().set("live", 5);
  outlive();
  EXPECT_FALSE(store().erase("erase"));
  EXPECT_FALSE(store().touch("zero", 0s));
  EXPECT_EQ(store().erase_many({"many", "more", "live"}), 1U);
  for (const auto& value : store().get_many<int>(keys)) EXPECT_FALSE(value);
}

TEST_P(BackendConformance, AZeroOrNegativeTimeoutMeansErase) {
  for (const auto timeout : {0ms, -1ms, -3'600'000ms}) {
    store().set("k", "old");
    EXPECT_TRUE(store().set("k", "new", timeout));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_TRUE(store().add("k", "new", timeout));
    EXPECT_FALSE(store().contains("k"));
    store().set("k", "live");
    EXPECT_FALSE(store().add("k", "new", timeout));
    EXPECT_EQ(store().get("k"), "live");
    EXPECT_TRUE(store().touch("k", timeout));
    EXPECT_FALSE(store().contains("k"));
    EXPECT_FALSE(store().touch("k", timeout));
    store().set("k", "live");
    EXPECT_TRUE(store().set_many({{"k", "new"}}, timeout).empty());
    EXPECT_FALSE(store().contains("k"));
    EXPECT_EQ(store().get_or_set("k", "made", timeout), "made");
    EXPECT_FALSE(store().contains("k"));
  }
}

TEST_P(BackendConformance, NeverAndLongTimeoutsAreKept) {
  store().set("never", 1, never);
  store().set("month", 1, 24h * 30);
  store().set("more", 1, 24h * 31);
  store().set("years", 1, 24h * 365 * 20);
  store().set("max", 1, std::chrono::hours::max());
  const std::vector<std::string> keys{"never", "month", "more", "years", "max"};
  for (const std::string& key : keys) EXPECT_TRUE(store().contains(key)) << key;
  if (quirks().own_clock) return;
  pass(24h * 29);
  for (const std::string& key : keys) EXPECT_TRUE(store().contains(key)) << key << " after 29 days";
  pass(24h * 3);
  EXPECT_FALSE(store().contains("month"));
  EXPECT_FALSE(store().contains("more"));
  EXPECT_TRUE(store().contains("years"));
  EXPECT_TRUE(store().contains("never"));
}

TEST_P(BackendConformance, TheDefaultTimeoutIsTheAliass) {
  Config config = config_;
  config.caches["store"].timeout = short_life();
  registry().reconfigure(config);
  store().set("default", 1);
  store().set("own", 1, 10min);
  store().add("added", 1);
  store().set_many({{"many", 1}});
  store().get_or_set("made", 1);
  outlive();
  for (const char* key : {"default", "added", "many", "made"}) {
    EXPECT_FALSE(store().contains(key)) << key;
  }
  EXPECT_TRUE(store().contains("own"));
  config.caches["store"].timeout = never;
  registry().reconfigure(config);
  store().set("k", 1);
  outlive();
  EXPECT_TRUE(store().contains("k"));
  config.caches["store"].timeout = 0s;
  registry().reconfigure(config);
  EXPECT_TRUE(store().set("k", 1));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, AMomentIsATimeoutToo) {
  store().set("past", 1, clock_of_store()->system_now() - 1s);
  EXPECT_FALSE(store().contains("past"));
  store().set("k", 1, clock_of_store()->system_now() + short_life());
  EXPECT_TRUE(store().contains("k"));
  outlive();
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, SetGivesANewLifetime) {
  for (const char* const key : {"longer", "never", "many"}) store().set(key, 1, short_life());
  store().set("shorter", 1, never);
  EXPECT_TRUE(store().set("longer", 2, 10min));
  EXPECT_TRUE(store().set("never", 2, never));
  EXPECT_TRUE(store().set_many({{"many", 2}}, 10min).empty());
  EXPECT_TRUE(store().set("shorter", 2, short_life()));
  outlive();
  for (const char* const key : {"longer", "never", "many"}) EXPECT_EQ(store().get<int>(key), 2);
  EXPECT_FALSE(store().contains("shorter"));
}

TEST_P(BackendConformance, TouchGivesANewLifetime) {
  store().set("longer", 1, short_life());
  store().set("never", 1, short_life());
  store().set("shorter", 1, never);
  store().set("same", 1, never);
  EXPECT_TRUE(store().touch("longer", 10min));
  EXPECT_TRUE(store().touch("never", never));
  EXPECT_TRUE(store().touch("shorter", short_life()));
  EXPECT_TRUE(store().touch("same", never)) << "an entry that never expires is still an entry";
  outlive();
  EXPECT_TRUE(store().contains("longer"));
  EXPECT_TRUE(store().contains("never"));
  EXPECT_FALSE(store().contains("shorter"));
  EXPECT_TRUE(store().contains("same"));
  EXPECT_EQ(store().get<int>("longer"), 1);
}

// --- Counters ---

TEST_P(BackendConformance, CountersCountInBothDirections) {
  if (!quirks().has_counters) return;
  store().set("n", 1);
  EXPECT_EQ(store().incr("n"), 2);
  EXPECT_EQ(store().incr("n", 10), 12);
  EXPECT_EQ(store().decr("n"), 11);
  EXPECT_EQ(store().decr("n", 5), 6);
  EXPECT_EQ(store().incr("n", -10), -4);
  EXPECT_EQ(store().decr("n", -3), -1);
  EXPECT_EQ(store().incr("n", 0), -1);
  EXPECT_EQ(store().incr("n", 1), 0);
  EXPECT_EQ(store().decr("n", 100), -100);
  EXPECT_EQ(store().get<int>("n"), -100);
  EXPECT_EQ(store().get("n"), "-100");
}

TEST_P(BackendConformance, CountersHave64SignedBitsAndNeverWrap) {
  if (!quirks().has_counters) return;
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  constexpr auto least = std::numeric_limits<std::int64_t>::min();
  store().set("n", most - 1);
  EXPECT_EQ(store().incr("n"), most);
  EXPECT_THROW(store().incr("n"), ValueError);
  EXPECT_EQ(store().get<std::int64_t>("n"), most);
  EXPECT_EQ(store().incr("n", least), -1);
  EXPECT_EQ(store().incr("n", least + 1), least);
  EXPECT_THROW(store().decr("n"), ValueError);
  EXPECT_EQ(store().get<std::int64_t>("n"), least);
  EXPECT_THROW(store().decr("n", least), ValueError);
  store().set("n", (std::int64_t{1} << 53U) + 1);
  EXPECT_EQ(store().incr("n", std::int64_t{1} << 40U),
            (std::int64_t{1} << 53U) + 1 + (std::int64_t{1} << 40U));
}

TEST_P(BackendConformance, CountingAnotherValueIsAValueErrorAndKeepsIt) {
  if (!quirks().has_counters) return;
  for (const std::string& value :
       {std::string("text"), std::string(), std::string("007"), std::string("-0"),
        std::string("+1"), std::string(" 1"), std::string("1 "), std::string("1.5"),
        std::string("9223372036854775808"), std::string("18446744073709551615"),
        std::string("1\0", 2)}) {
    if (value == "1 " && store().extension<PaddedNumbersExtension>() != nullptr) continue;
    store().set("n", value);
    EXPECT_THROW(store().incr("n"), ValueError) << value;
    EXPECT_THROW(store().decr("n"), ValueError) << value;
    EXPECT_EQ(store().get("n"), value);
  }
}

TEST_P(BackendConformance, CountingKeepsTheLifetime) {
  if (!quirks().has_counters) return;
  store().set("short", 1, short_life());
  store().set("negative", -5, short_life());
  store().set("never", 1, never);
  store().incr("short");
  store().decr("short", 10);
  store().incr("negative", 2);
  store().incr("never");
  outlive();
  EXPECT_FALSE(store().contains("short"));
  EXPECT_FALSE(store().contains("negative"));
  EXPECT_EQ(store().get<int>("never"), 2);
}

TEST_P(BackendConformance, AnInitialValueStartsACounter) {
  if (!quirks().has_counters) return;
  EXPECT_EQ(store().incr("n", 5, {.initial = 100}), 105);
  EXPECT_EQ(store().incr("n", 5, {.initial = 100}), 110);
  EXPECT_EQ(store().decr("m", 5, {.initial = 0}), -5);
  EXPECT_EQ(store().incr("short", 1, {.timeout = short_life(), .initial = 0}), 1);
  EXPECT_EQ(store().incr("none", 1, {.timeout = 0s, .initial = 0}), 1);
  EXPECT_FALSE(store().contains("none"));
  EXPECT_THROW(store().incr("o", std::numeric_limits<std::int64_t>::max(), {.initial = 1}),
               ValueError);
  outlive();
  EXPECT_FALSE(store().contains("short"));
  EXPECT_EQ(store().get<int>("n"), 110);
}

TEST_P(BackendConformance, AStoreWithoutCountersSaysThatItCannotCount) {
  if (quirks().has_counters) return;
  store().set("n", 1);
  for (const char* const key : {"n", "absent"}) {
    try {
      store().incr(key);
      FAIL() << "the store can count; set has_counters to true";
    } catch (const BackendError& error) {
      EXPECT_EQ(error.kind(), BackendError::Kind::unsupported) << error.what();
    }
  }
  EXPECT_EQ(store().get<int>("n"), 1);
}

// --- Versions ---

TEST_P(BackendConformance, VersionsKeepEntriesApart) {
  const int own = store().version();
  store().set("k", "own");
  store().set("k", "seven", {.version = 7});
  store().set("k", "zero", {.version = 0});
  store().set("k", "minus", {.version = -1});
  EXPECT_EQ(store().get("k"), "own");
  EXPECT_EQ(store().get("k", {.version = own}), "own");
  EXPECT_EQ(store().get("k", {.version = 7}), "seven");
  EXPECT_EQ(store().get("k", {.version = 0}), "zero");
  EXPECT_EQ(store().get("k", {.version = -1}), "minus");
  EXPECT_FALSE(store().get("k", {.version = 8}));
  EXPECT_TRUE(store().erase("k", {.version = 7}));
  EXPECT_FALSE(store().contains("k", {.version = 7}));
  EXPECT_TRUE(store().contains("k"));
  EXPECT_EQ(store().get_many({"k"}, {.version = 0})[0], "zero");
  EXPECT_EQ(store().erase_many({"k"}, {.version = 0}), 1U);
}

TEST_P(BackendConformance, IncrVersionMovesAnEntry) {
  const int own = store().version();
  store().set("k", "v");
  store().set("k", "in the way", {.version = own + 1});
  EXPECT_EQ(store().incr_version("k"), own + 1);
  EXPECT_FALSE(store().get("k"));
  EXPECT_EQ(store().get("k", {.version = own + 1}), "v");
  EXPECT_EQ(store().incr_version("k", 5, {.version = own + 1}), own + 6);
  EXPECT_EQ(store().decr_version("k", 6, {.version = own + 6}), own);
  EXPECT_EQ(store().get("k"), "v");
  EXPECT_EQ(store().incr_version("k", 0), own);
  EXPECT_EQ(store().get("k"), "v");
  EXPECT_THROW(store().incr_version("k", std::numeric_limits<int>::max()), ValueError);
  EXPECT_EQ(store().get("k"), "v");
}

TEST_P(BackendConformance, IncrVersionKeepsTheLifetime) {
  store().set("short", "v", short_life());
  store().set("never", "v", never);
  const int version = store().incr_version("short");
  store().incr_version("never");
  EXPECT_TRUE(store().contains("short", {.version = version}));
  outlive();
  // If the store cannot report lifetimes, the moved entry gets the alias's: five minutes.
  EXPECT_EQ(store().contains("short", {.version = version}), !quirks().has_ttl);
  EXPECT_TRUE(store().contains("never", {.version = version}));
}

// --- Many at once ---

TEST_P(BackendConformance, GetManyAnswersInTheOrderOfTheKeys) {
  store().set_many({{"a", 1}, {"b", 2}, {"c", 3}});
  const std::vector<std::string> keys{"c", "absent", "a", "c", "b"};
  const auto values = store().get_many<int>(keys);
  const std::vector<std::optional<int>> wanted{3, std::nullopt, 1, 3, 2};
  EXPECT_EQ(values, wanted);
  const std::map<std::string, int, std::less<>> map{{"a", 1}, {"c", 3}};
  EXPECT_EQ(store().get_many_map<int>({"a", "c", "absent", "a"}), map);
  EXPECT_TRUE(store().get_many(std::vector<std::string>()).empty());
}

TEST_P(BackendConformance, SetManyStoresEverything) {
  EXPECT_TRUE(store().set_many({{"i", 1}, {"s", "text"}, {"e", ""}, {"d", 2.5}}).empty());
  EXPECT_EQ(store().get<int>("i"), 1);
  EXPECT_EQ(store().get("s"), "text");
  EXPECT_EQ(store().get("e"), "");
  EXPECT_EQ(store().get<double>("d"), 2.5);
  EXPECT_TRUE(store().set_many(std::map<std::string, int>{{"i", 5}}).empty());
  EXPECT_EQ(store().get<int>("i"), 5);
  EXPECT_TRUE(store().set_many(std::map<std::string, int>()).empty());
  EXPECT_TRUE(store().set_many({{"short", 1}}, short_life()).empty());
  outlive();
  EXPECT_FALSE(store().contains("short"));
}

TEST_P(BackendConformance, EraseManyCountsLiveEntries) {
  store().set_many({{"a", 1}, {"b", 2}, {"c", 3}});
  EXPECT_EQ(store().erase_many({"a", "absent", "b"}), 2U);
  EXPECT_EQ(store().erase_many({"a", "b"}), 0U);
  EXPECT_EQ(store().erase_many(std::vector<std::string>()), 0U);
  EXPECT_TRUE(store().contains("c"));
}

TEST_P(BackendConformance, PutManyNamesWhatWasNotStored) {
  Backend& session = store().backend();
  std::array<std::string, 4> keys;
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = store().final_key(std::to_string(i));
  const auto put_all = [&](std::span<const Item> items, PutMode mode) {
    std::vector<std::size_t> failures;
    session.put_many(items, mode, [&](std::size_t i) { failures.push_back(i); });
    std::sort(failures.begin(), failures.end());
    return failures;
  };
  using Failures = std::vector<std::size_t>;
  store().set("1", "old");
  const std::array<Item, 3> added{Item{keys[0], "new", Ttl(1min)}, Item{keys[1], "new", Ttl(1min)},
                                  Item{keys[2], "new", Ttl(1min)}};
  EXPECT_EQ(put_all(added, PutMode::if_absent), Failures{1});
  EXPECT_EQ(store().get("1"), "old");
  EXPECT_EQ(store().get("2"), "new");
  const std::array<Item, 2> replaced{Item{keys[3], "newer", Ttl(1min)},
                                     Item{keys[1], "newer", Ttl(1min)}};
  EXPECT_EQ(put_all(replaced, PutMode::if_present), Failures{0});
  EXPECT_FALSE(store().contains("3"));
  EXPECT_EQ(store().get("1"), "newer");
  const std::array<Item, 2> lives{Item{keys[0], "short", Ttl(short_life())},
                                  Item{keys[1], "long", Ttl::forever()}};
  EXPECT_EQ(put_all(lives, PutMode::always), Failures{});
  outlive();
  EXPECT_FALSE(store().contains("0")) << "each item has its own lifetime";
  EXPECT_EQ(store().get("1"), "long");
}

// --- One key twice in one bulk operation: as if the operations came one after another ---

TEST_P(BackendConformance, SetManyOfOneKeyTwiceKeepsTheLastValue) {
  store().set("k", "old");
  EXPECT_TRUE(store().set_many({{"k", "first"}, {"other", "o"}, {"k", "last"}}).empty());
  EXPECT_EQ(store().get("k"), "last");
  EXPECT_EQ(store().get("other"), "o");
  std::vector<std::pair<std::string, std::string>> items;  // of several batches and servers
  for (int i = 0; i < 3000; ++i) {
    items.emplace_back("k" + std::to_string(i % 100), std::to_string(i));
  }
  EXPECT_TRUE(store().set_many(items).empty());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(store().get<int>("k" + std::to_string(i)), 2900 + i);
  }
  EXPECT_TRUE(store().set_many({{"k", 1}, {"k", 2}}, 0s).empty());
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, PutManyOfOneKeyTwiceIsAsOneAfterAnother) {
  Backend& session = store().backend();
  std::array<std::string, 4> keys;
  for (std::size_t i = 0; i < keys.size(); ++i) keys[i] = store().final_key(std::to_string(i));
  const auto put_twice = [&](std::size_t key, Ttl first, Ttl second, PutMode mode) {
    const std::array<Item, 2> items{Item{keys[key], "first", first},
                                    Item{keys[key], "second", second}};
    std::set<std::size_t> failures;
    session.put_many(items, mode, [&](std::size_t i) { failures.insert(i); });
    return failures;
  };
  using Failures = std::set<std::size_t>;
  const Ttl brief(short_life());
  EXPECT_EQ(put_twice(0, brief, Ttl::forever(), PutMode::always), Failures{});
  EXPECT_EQ(put_twice(1, Ttl::forever(), brief, PutMode::always), Failures{});
  EXPECT_EQ(put_twice(2, Ttl::forever(), brief, PutMode::if_absent), Failures{1});
  EXPECT_EQ(put_twice(2, Ttl(1min), Ttl::forever(), PutMode::if_present), Failures{});
  EXPECT_EQ(put_twice(3, brief, brief, PutMode::if_present), (Failures{0, 1}));
  outlive();
  EXPECT_EQ(store().get("0"), "second");
  EXPECT_FALSE(store().contains("1"));
  EXPECT_EQ(store().get("2"), "second");
  EXPECT_FALSE(store().contains("3"));
}

TEST_P(BackendConformance, ARefusedValueInABulkWriteOfOneKeyTwiceIsAsOneAfterAnother) {
  if (quirks().refuses_value_of == 0) return;
  const std::string large(quirks().refuses_value_of, 'x');
  const auto is_large = [&](const std::string& value) { return value.size() == large.size(); };
  const std::vector<std::vector<std::string>> sequences{
      {large, "last"}, {"first", large}, {"first", large, "last"}, {large, "last", "other"}};
  for (const std::vector<std::string>& values : sequences) {
    store().set("k", "old");
    warnings_.clear();
    std::vector<std::pair<std::string, std::string>> items;
    for (const std::string& value : values) items.emplace_back("k", value);
    EXPECT_EQ(store().set_many(items), std::vector<std::string>{"k"});
    EXPECT_EQ(warnings_of(Warning::Kind::value_refused), 1U);
    const std::string& last = values.back();
    EXPECT_TRUE(same_bytes(store().get_or_set("k", "none"), is_large(last) ? "none" : last));
  }
  store().set("k", "old");
  EXPECT_EQ(store().set_many({{"k", large}, {"k", large}}), (std::vector<std::string>{"k", "k"}));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, EraseManyOfOneKeyTwiceCountsOne) {
  store().set_many({{"a", 1}, {"b", 2}});
  EXPECT_EQ(store().erase_many({"a", "absent", "b", "a", "absent", "a"}), 2U);
  std::map<std::string, int> items;
  std::vector<std::string> keys;  // of several batches and servers
  for (int i = 0; i < 3000; ++i) {
    keys.push_back("k" + std::to_string(i % 100));
    items[keys.back()] = i;
  }
  store().set_many(items);
  EXPECT_EQ(store().erase_many(keys), 100U);
}

TEST_P(BackendConformance, GetManyAnswersOneKeyAsOftenAsItIsAsked) {
  std::map<std::string, int, std::less<>> items;
  for (int i = 0; i < 100; ++i) items["k" + std::to_string(i)] = i;
  store().set_many(items);
  std::vector<std::string> keys;
  for (int i = 0; i < 3000; ++i) keys.push_back("k" + std::to_string(i % 101));
  const auto values = store().get_many<int>(keys);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const int number = static_cast<int>(i % 101);
    ASSERT_EQ(values[i], number < 100 ? std::optional(number) : std::nullopt) << keys[i];
  }
  EXPECT_EQ(store().get_many_map<int>(keys), items);
  auto* const ttl = store().extension<TtlExtension>();
  if (ttl == nullptr) return;
  const std::array<std::string, 2> final_keys{store().final_key("k1"), store().final_key("k2")};
  const std::array<std::string_view, 4> asked{final_keys[0], final_keys[1], final_keys[0],
                                              final_keys[0]};
  std::map<std::size_t, std::string> answers;
  ttl->get_many(asked, [&](std::size_t i, std::string_view value, Ttl) { answers[i] = value; });
  EXPECT_EQ(answers, (std::map<std::size_t, std::string>{{0, "1"}, {1, "2"}, {2, "1"}, {3, "1"}}));
}

TEST_P(BackendConformance, ThousandsAtOnce) {
  std::map<std::string, std::string> items;
  for (int i = 0; i < 3000; ++i) {
    items["key" + std::to_string(i)] = std::string(static_cast<std::size_t>(i % 300), 'v');
  }
  EXPECT_TRUE(store().set_many(items).empty());
  std::vector<std::string> keys;
  for (const auto& [key, value] : items) {
    keys.push_back(key);
    keys.push_back("absent-" + key);
  }
  const auto found = store().get_many_map(keys);
  EXPECT_EQ(found.size(), items.size());
  EXPECT_TRUE(std::equal(found.begin(), found.end(), items.begin()));
  EXPECT_EQ(store().erase_many(keys), items.size());
}

// --- clear, close ---

TEST_P(BackendConformance, ClearRemovesEverything) {
  store().set("k", 1);
  store().set("k", 1, {.version = 99});
  store().backend().put("foreign-key", "v", Ttl(1min), PutMode::always);
  std::map<std::string, int> many;
  for (int i = 0; i < 300; ++i) many["many" + std::to_string(i)] = i;
  store().set_many(many);
  std::vector<std::string> keys;
  for (const auto& [key, value] : many) keys.push_back(key);
  store().clear();
  EXPECT_TRUE(store().get_many_map<int>(keys).empty());
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().contains("k", {.version = 99}));
  EXPECT_FALSE(store().backend().contains("foreign-key", [](std::string_view) {}));
  store().set("k", 2);
  EXPECT_EQ(store().get<int>("k"), 2);
}

TEST_P(BackendConformance, ClearOfAPrefixLeavesTheOthers) {
  Config config = config_;
  config.caches["store"].clear = ClearScope::prefix;
  if (!quirks().has_erase_prefix || GetParam().variant == KeyVariant::key_function) {
    EXPECT_THROW(CacheRegistry(config, environment()), ConfigError);
    return;
  }
  config.caches["other"] = config.caches["store"];
  config.caches["other"].key_prefix = "other*prefix[a]";
  registry().reconfigure(config);
  for (const char* key : {"a", "b"}) {
    registry()["store"].set(key, 1);
    registry()["store"].set(key, 1, {.version = 5});
    registry()["other"].set(key, 2);
  }
  registry()["store"].clear();
  EXPECT_FALSE(registry()["store"].contains("a"));
  EXPECT_FALSE(registry()["store"].contains("b", {.version = 5}));
  EXPECT_EQ(registry()["other"].get<int>("b"), 2);
  registry()["store"].set("a", 3);
  registry()["other"].clear();
  EXPECT_FALSE(registry()["other"].contains("a"));
  EXPECT_EQ(registry()["store"].get<int>("a"), 3);
}

TEST_P(BackendConformance, AClosedCacheOpensAgain) {
  store().set("k", 1);
  store().close();
  store().close();
  EXPECT_EQ(store().get<int>("k"), 1);
  registry().close_all();
  EXPECT_EQ(store().get<int>("k"), 1);
}

// --- Keys ---

TEST_P(BackendConformance, KeysOf250BytesPassEverywhereWithoutAWarning) {
  const std::size_t overhead = store().final_key("").size();
  const std::string key(max_portable_key_bytes - overhead, 'k');
  EXPECT_TRUE(store().set(key, "v"));
  EXPECT_EQ(store().get(key), "v");
  EXPECT_TRUE(store().erase(key));
  const std::string utf8 = "\xE6\xB8\x85\xC2\xA0";
  EXPECT_TRUE(store().set(utf8, "v"));
  EXPECT_EQ(store().get(utf8), "v");
  EXPECT_TRUE(warnings_.empty());
}

TEST_P(BackendConformance, KeysThatMemcachedWouldRefuse) {
  const std::size_t overhead = store().final_key("").size();
  const std::string long_key(max_portable_key_bytes + 1 - overhead, 'k');
  const std::string both = std::string(300, 'k') + " ";
  const std::vector<std::string> bad{"with space", "tab\t", std::string("zero\0", 5), "\x7F",
                                     "line\r\nfeed"};
  if (quirks().strict_keys) {
    for (const std::string& key : bad) EXPECT_THROW(store().set(key, 1), InvalidKey);
    EXPECT_THROW(store().get(long_key), InvalidKey);
    EXPECT_THROW(store().get_many({"fine", "not fine"}), InvalidKey);
    EXPECT_THROW(store().set_many({{"fine", 1}, {"not fine", 1}}), InvalidKey);
    EXPECT_FALSE(store().contains("fine"));
    EXPECT_THROW(store().incr(both), InvalidKey);
    return;
  }
  for (const std::string& key : bad) {
    EXPECT_TRUE(store().set(key, key));
    EXPECT_EQ(store().get(key), key);
    EXPECT_TRUE(store().erase(key));
  }
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 3 * bad.size());
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 0U);
  EXPECT_TRUE(store().set(long_key, 1));
  EXPECT_EQ(store().get<int>(long_key), 1);
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 2U);
  warnings_.clear();
  store().get_or_set(both, [] { return 1; });
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 1U);
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 1U);
}

TEST_P(BackendConformance, KeysAreBytesAndNothingIsSpecial) {
  std::vector<std::string> keys{
      "a",        "A",         "a:b",  "a%",   "a_",  "a*",      "a?",  "[a]",  "a'",  "a\"",
      "a\\",      "--a",       "1",    "01",   "1.0", "{a}b{c}", "1e3", "1000", "0x1", "\xC3\xA4",
      "\xC3\x84", "a\xCC\x88", "\xFF", "\xFE", "aa",  "../a",    "a/b", "/",    ".",   ".."};
  if (!quirks().strict_keys) {
    for (const char* const key : {"a ", " a", "a\n", "\ta", " ", "a\r\n"}) keys.emplace_back(key);
    for (const std::size_t length : {1U, 2U, 3U, 4U}) keys.emplace_back("\0\0a\0", length);
    for (const std::size_t length : {2U, 3U, 4U}) keys.emplace_back("a\0b\0", length);
    keys.emplace_back("a\0c", 3);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) store().set(keys[i], i);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(store().get<std::size_t>(keys[i]), i) << quote(keys[i]);
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_TRUE(store().erase(keys[i])) << quote(keys[i]) << ": another key removed it";
  }
}

TEST_P(BackendConformance, LongKeysThatDifferInOneByteAreDifferent) {
  const std::size_t overhead = store().final_key("").size();
  std::vector<std::size_t> lengths{max_portable_key_bytes};
  if (!quirks().strict_keys) lengths.insert(lengths.end(), {300, 1000});
  for (const std::size_t length : lengths) {
    const std::string plain(length - overhead, 'k');
    std::vector<std::string> keys{plain, plain.substr(1)};
    for (std::size_t at = 0; at < plain.size(); at = at < 16 ? at + 1 : at + at / 16) {
      keys.push_back(plain);
      keys.back()[at] = 'x';
    }
    keys.push_back(plain);
    keys.back().back() = 'y';
    for (std::size_t i = 0; i < keys.size(); ++i) store().set(keys[i], i);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      EXPECT_EQ(store().get<std::size_t>(keys[i]), i)
          << "of " << length << " bytes; another key took its place";
    }
  }
}

// --- Extensions ---

TEST_P(BackendConformance, TtlReportsTheRemainingLifetime) {
  auto* const ttl = store().extension<TtlExtension>();
  ASSERT_EQ(ttl != nullptr, quirks().has_ttl);
  if (ttl == nullptr) return;
  store().set("minute", "m", 1min);
  store().set("never", "n", never);
  std::optional<Ttl> left;
  std::string value;
  const auto take = [&](std::string_view bytes, Ttl remaining) {
    value = bytes;
    left = remaining;
  };
  EXPECT_FALSE(ttl->get(store().final_key("absent"), take));
  EXPECT_FALSE(left);
  ASSERT_TRUE(ttl->get(store().final_key("never"), take));
  EXPECT_EQ(value, "n");
  EXPECT_TRUE(left->is_forever());
  const std::chrono::milliseconds passed = quirks().own_clock ? 50ms : 20'000ms;
  pass(passed);
  ASSERT_TRUE(ttl->get(store().final_key("minute"), take));
  EXPECT_EQ(value, "m");
  ASSERT_FALSE(left->is_forever());
  const auto most = 1min + quirks().lateness + quirks().granularity;
  const auto least = quirks().own_clock ? 1s : 40s;  // in real time the machine may be slow
  EXPECT_GE(left->value(), least);
  EXPECT_LE(left->value(), most - passed) << "the remaining lifetime, not the one that was set";
  const std::array<std::string, 3> keys{store().final_key("minute"), store().final_key("absent"),
                                        store().final_key("never")};
  const std::array<std::string_view, 3> views{keys[0], keys[1], keys[2]};
  std::map<std::size_t, std::string> values;
  ttl->get_many(views, [&](std::size_t i, std::string_view bytes, Ttl remaining) {
    values[i] = bytes;
    EXPECT_EQ(remaining.is_forever(), i == 2);
    if (!remaining.is_forever()) {
      EXPECT_LE(remaining.value(), most - passed);
    }
  });
  EXPECT_EQ(values, (std::map<std::size_t, std::string>{{0, "m"}, {2, "n"}}));
}

TEST_P(BackendConformance, CompareChangesOnlyWhatIsExpected) {
  auto* const compare = store().extension<CompareExtension>();
  ASSERT_EQ(compare != nullptr, quirks().has_compare);
  if (compare == nullptr) return;
  const std::string key = store().final_key("k");
  EXPECT_FALSE(compare->put_if_equal(key, "", "v", Ttl(1min)));
  EXPECT_FALSE(compare->erase_if_equal(key, ""));
  EXPECT_FALSE(store().contains("k"));
  store().set("k", "old", never);
  for (const std::string_view expected : {"other", "ol", "olds", "OLD", ""}) {
    EXPECT_FALSE(compare->put_if_equal(key, expected, "new", std::nullopt)) << expected;
    EXPECT_FALSE(compare->erase_if_equal(key, expected)) << expected;
  }
  EXPECT_EQ(store().get("k"), "old");
  store().set("k", "old", short_life());
  EXPECT_TRUE(compare->put_if_equal(key, "old", "new", std::nullopt));
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_FALSE(compare->erase_if_equal(key, "old"));
  EXPECT_TRUE(store().contains("k"));
  outlive();
  EXPECT_FALSE(store().contains("k")) << "without a ttl the lifetime does not change";
  EXPECT_FALSE(compare->put_if_equal(key, "new", "newer", Ttl(1min)));
  store().set("k", "old", short_life());
  EXPECT_TRUE(compare->put_if_equal(key, "old", "new", Ttl(10min)));
  outlive();
  EXPECT_EQ(store().get("k"), "new");
  EXPECT_TRUE(compare->put_if_equal(key, "new", std::string_view("a\0b", 3), Ttl::forever()));
  EXPECT_FALSE(compare->put_if_equal(key, std::string_view("a\0c", 3), "", Ttl::forever()));
  EXPECT_TRUE(compare->put_if_equal(key, std::string_view("a\0b", 3), "", Ttl::forever()));
  EXPECT_TRUE(compare->erase_if_equal(key, ""));
  EXPECT_FALSE(store().contains("k"));
}

TEST_P(BackendConformance, ErasePrefixRemovesExactlyThoseKeys) {
  auto* const erase = store().extension<ErasePrefixExtension>();
  ASSERT_EQ(erase != nullptr, quirks().has_erase_prefix);
  if (erase == nullptr) return;
  Backend& session = store().backend();
  const std::vector<std::string> keys{"p*:1", "p*:2", std::string("p*:\xFF\xFF"), "p*", "px:1",
                                      "P*:1", "q"};
  for (const std::string& key : keys) session.put(key, "v", Ttl::forever(), PutMode::always);
  EXPECT_EQ(erase->erase_prefix("p*:"), 3U);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    EXPECT_EQ(session.contains(keys[i], [](std::string_view) {}), i >= 3) << keys[i];
  }
  EXPECT_EQ(erase->erase_prefix("nothing"), 0U);
  for (const char* const key : {"a_%:1", "ab%:1", "a_b:1", "a_%:2"}) {
    session.put(key, "v", Ttl::forever(), PutMode::always);
  }
  EXPECT_EQ(erase->erase_prefix("a_%:"), 2U);
  for (const char* const key : {"ab%:1", "a_b:1"}) {
    EXPECT_TRUE(session.contains(key, [](std::string_view) {})) << key;
  }
}

TEST_P(BackendConformance, AnUnknownExtensionIsNull) {
  EXPECT_EQ(store().backend().extension("polycache.no-such-thing/1"), nullptr);
  EXPECT_EQ(store().backend().extension(""), nullptr);
}

// Add the extension to extension_list.h, or name it without "polycache.".
TEST_P(BackendConformance, OffersNoExtensionThatTheListLacks) {
  EXPECT_EQ(unlisted_extensions(), std::set<std::string>());
}

// --- get_or_set ---

TEST_P(BackendConformance, GetOrSetComputesOnce) {
  int computed = 0;
  const auto make = [&] { return ++computed; };
  EXPECT_EQ(store().get_or_set("k", make), 1);
  EXPECT_EQ(store().get_or_set("k", make), 1);
  EXPECT_EQ(store().get<int>("k"), 1);
  EXPECT_EQ(store().get_or_set("text", "value"), "value");
  EXPECT_EQ(store().get_or_set<std::int64_t>("k", 99), 1);
  store().get_or_set("short", 5, short_life());
  outlive();
  EXPECT_FALSE(store().contains("short"));
}

TEST_P(BackendConformance, GetOrSetLetsExceptionsThroughAndStoresNothing) {
  EXPECT_THROW(store().get_or_set("k", []() -> int { throw std::out_of_range("no"); }),
               std::out_of_range);
  EXPECT_FALSE(store().contains("k"));
  EXPECT_EQ(store().get_or_set("k", [] { return 3; }), 3);
}

TEST_P(BackendConformance, ThirtyTwoThreadsComputeOnce) {
  constexpr int threads = 32;
  std::atomic<int> computed{0};
  std::atomic<int> right{0};
  on_threads(threads, [&](int) {
    const int value = store().get_or_set("k", [&] {
      // Long enough for all threads to call: each has missed and joined, or will find the value.
      std::this_thread::sleep_for(20ms);
      return ++computed;
    });
    right += value == 1 ? 1 : 0;
  });
  EXPECT_EQ(computed, 1);
  EXPECT_EQ(right, threads);
}

TEST_P(BackendConformance, AThrowingOwnerWakesTheNext) {
  std::atomic<int> tries{0};
  std::atomic<int> thrown{0};
  std::atomic<int> right{0};
  on_threads(8, [&](int) {
    try {
      right += store().get_or_set("k", [&] {
        if (tries.fetch_add(1) == 0) {
          std::this_thread::sleep_for(10ms);
          throw std::runtime_error("the first one fails");
        }
        return 7;
      }) == 7;
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 1);
  EXPECT_EQ(right, 7);
  EXPECT_EQ(tries, 2);
}

TEST_P(BackendConformance, ComputationsThatNeedEachOtherEnd) {
  // Both threads are inside their first computation before either requests the other's key.
  Meeting inside(2);
  on_threads(2, [&](int i) {
    const std::string first = i == 0 ? "a" : "b";
    const std::string second = i == 0 ? "b" : "a";
    const int value = store().get_or_set(first, [&] {
      inside.arrive_and_wait();
      return 1 + store().get_or_set(second, [] { return 1; });
    });
    // 1 if the other thread's inner computation of the same key was stored first.
    EXPECT_TRUE(value == 1 || value == 2) << value;
  });
}

TEST_P(BackendConformance, AKeyInsideItsOwnComputationIsAnError) {
  try {
    store().get_or_set("self", [&] { return store().get_or_set("self", [] { return 1; }); });
    FAIL() << "did not throw";
  } catch (const CacheError& error) {
    EXPECT_NE(std::string(error.what()).find("self"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(store().contains("self"));
}

// --- User code that uses the same cache during an operation ---

TEST_P(BackendConformance, CodecsMayUseTheCacheTheyServe) {
  curious_about = &store();
  EXPECT_TRUE(store().set("k", Curious{"x"}));
  EXPECT_EQ(store().get<Curious>("k")->text, "x");
  EXPECT_EQ(store().get<int>("curious:encoded"), 1);
  EXPECT_EQ(store().get<int>("curious:decoded"), 1);
  EXPECT_EQ(store().get("curious:last"), "cx");
  store().set_many({{"k1", Curious{"1"}}, {"k2", Curious{"2"}}});
  const auto both = store().get_many<Curious>({"k1", "k2"});
  EXPECT_EQ(both[0]->text + both[1]->text, "12");
  EXPECT_EQ(store().get_or_set("k3", [] { return Curious{"3"}; }).text, "3");
  EXPECT_EQ(store().pop<Curious>("k3")->text, "3");
  curious_about = nullptr;
}

TEST_P(BackendConformance, ACodecThatThrowsIsAMissOrReachesTheCaller) {
  EXPECT_THROW(store().set("k", Thrower{"bad"}), std::runtime_error);
  EXPECT_THROW(store().set_many({{"a", 1}, {"k", Thrower{"bad"}}}), std::runtime_error);
  EXPECT_FALSE(store().contains("a"));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_TRUE(store().set("k", Thrower{"good"}));
  EXPECT_FALSE(store().get<Thrower>("k"));
  EXPECT_EQ(warnings_of(Warning::Kind::undecodable_value), 1U);
  EXPECT_EQ(store().get_or_set("new", [] { return Thrower{"bad"}; }).text, "bad");
  EXPECT_FALSE(store().contains("new"));
  EXPECT_EQ(store().get("k"), "good");
  EXPECT_THROW(store().visit("k", [](std::string_view) { throw std::out_of_range("mine"); }),
               std::out_of_range);
  EXPECT_EQ(store().get("k"), "good");
}

TEST_P(BackendConformance, HandlersMayUseTheCacheAndThrow) {
  store().set("k", "text");
  on_warning_ = [this](const Warning&) {
    registry()["store"].set("handled", 1);
    throw std::domain_error("a warning is a failure here");
  };
  EXPECT_THROW(store().get<int>("k"), std::domain_error);
  EXPECT_EQ(store().get<int>("handled"), 1);
  EXPECT_EQ(store().get("k"), "text");
}

TEST_P(BackendConformance, ComputationsMayUseTheCache) {
  const int value = store().get_or_set("outer", [&] {
    store().set("inside", 1);
    return store().get_or_set("inner", [&] { return *store().get<int>("inside") + 1; }) + 1;
  });
  EXPECT_EQ(value, 3);
  EXPECT_EQ(store().get<int>("outer"), 3);
  EXPECT_EQ(store().get<int>("inner"), 2);
}

// --- Threads and processes ---

TEST_P(BackendConformance, ThreadsHaveCachesOfTheirOwnAndOneStore) {
  Cache* const mine = &store();
  store().set("k", "shared");
  on_threads(2, [&](int) {
    EXPECT_NE(&store(), mine);
    EXPECT_EQ(&store(), &store());
    EXPECT_EQ(store().get("k"), "shared");
  });
}

TEST_P(BackendConformance, NoIncrementIsLostBetweenThreads) {
  if (!quirks().has_counters) return;
  store().set("n", 0);
  const int rounds = in_rounds([&](int, int i) { store().incr("n", i % 2 == 0 ? 3 : -1); });
  EXPECT_EQ(store().get<int>("n"), 4 * rounds);
  on_threads(4, [&](int) {
    for (int n = 0; n < 25; ++n) store().incr("fresh", 1, {.initial = 0});
  });
  EXPECT_EQ(store().get<int>("fresh"), 100);
}

TEST_P(BackendConformance, WhatOneSessionWritesAnotherReadsAtOnce) {
  EXPECT_TRUE(store().set("k", "first"));
  EXPECT_EQ(store().get("k"), "first");
  on_threads(1, [&](int) { store().set("k", "second"); });
  EXPECT_EQ(store().get("k"), "second");
  on_threads(1, [&](int) { EXPECT_TRUE(store().erase("k")); });
  EXPECT_FALSE(store().get("k"));
  EXPECT_FALSE(store().contains("k"));
  on_threads(1, [&](int) { EXPECT_TRUE(store().add("k", "third")); });
  EXPECT_FALSE(store().add("k", "fourth"));
  EXPECT_EQ(store().get_many({"k"})[0], "third");
  on_threads(1, [&](int) { store().clear(); });
  EXPECT_FALSE(store().get("k"));
}

// If a store checks first and stores in a second step, two threads win sooner or later.
TEST_P(BackendConformance, OneOfManyAddsWins) {
  const std::string large(100'000, 'x');  // takes a while to store
  Winners winners{};
  const int rounds = in_rounds([&](int round, int i) {
    const std::string key = "k" + std::to_string(round);
    const bool is_new = round % 4 == 0 ? store().add(key, large) : store().add(key, i);
    winners[static_cast<std::size_t>(round)] += is_new ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "put(if_absent) is not atomic";
}

TEST_P(BackendConformance, OneOfManyErasesAndPopsWins) {
  std::map<std::string, int> items;
  for (int round = 0; round < most_rounds; ++round) items["k" + std::to_string(round)] = round;
  store().set_many(items);
  Winners winners{};
  const int rounds = in_rounds([&](int round, int) {
    const std::string key = "k" + std::to_string(round);
    const bool mine = round % 4 < 2 ? store().erase(key) : store().pop(key).has_value();
    winners[static_cast<std::size_t>(round)] += mine ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "erase or pop is not atomic";
}

TEST_P(BackendConformance, OneOfManyComparesWins) {
  if (!quirks().has_compare) return;
  std::map<std::string, int> items;
  for (int round = 0; round < most_rounds; ++round) items["k" + std::to_string(round)] = 0;
  store().set_many(items);
  Winners winners{};
  const int rounds = in_rounds([&](int round, int i) {
    const std::string key = store().final_key("k" + std::to_string(round));
    auto* const compare = store().extension<CompareExtension>();
    const bool mine = round % 4 < 2
                          ? compare->put_if_equal(key, "0", std::to_string(i + 1), Ttl(1min))
                          : compare->erase_if_equal(key, "0");
    winners[static_cast<std::size_t>(round)] += mine ? 1 : 0;
  });
  EXPECT_EQ(unfair(winners, rounds), 0) << "comparing and changing is not atomic";
}

TEST_P(BackendConformance, ProcessesShareWhatIsSharedAndForkIsSafe) {
  store().set("n", 0);
  store().set("before", "fork");
  constexpr int processes = 3;
  constexpr int times = 50;
  const auto count = [&] {
    if (quirks().has_counters) store().incr("n");
  };
  in_processes(processes, [&](int child) {
    // If the store is not shared, a child has a copy or an empty store.
    const std::optional<std::string> before = store().get("before");
    if (before != "fork" && (before || quirks().shared_between_processes)) return false;
    if (!quirks().shared_between_processes) store().set("n", 0);
    for (int i = 0; i < times; ++i) count();
    store().set("child:" + std::to_string(child), child);
    const int value = store().get_or_set("made:" + std::to_string(getpid()), [] { return 4; });
    return value == 4;
  });
  // The parent's session was open all the time and still works.
  EXPECT_EQ(store().get("before"), "fork");
  const bool shared = quirks().shared_between_processes;
  for (int child = 0; child < processes; ++child) {
    EXPECT_EQ(store().get<int>("child:" + std::to_string(child)),
              shared ? std::optional(child) : std::nullopt);
  }
  if (!quirks().has_counters) return;
  EXPECT_EQ(store().get<int>("n"), shared ? processes * times : 0);
  EXPECT_EQ(store().incr("n"), shared ? processes * times + 1 : 1);
}

// --- Against a model ---

TEST_P(BackendConformance, BehavesLikeAMap) {
  struct Entry {
    std::string value;
    std::optional<std::chrono::milliseconds> deadline;
  };
  std::map<std::string, Entry> model;
  std::chrono::milliseconds now{0};
  std::mt19937 random(20'240'607);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const bool timed = !quirks().own_clock;
  // Steps of time and lifetimes never come within the store's lateness of each other.
  const auto unit = std::max(std::chrono::milliseconds(10'000), quirks().lateness * 5);
  const auto live = [&](const std::string& key) -> Entry* {
    const auto it = model.find(key);
    if (it == model.end()) return nullptr;
    if (it->second.deadline && *it->second.deadline <= now) return nullptr;
    return &it->second;
  };
  for (int step = 0; step < 1500; ++step) {
    const std::string key = "key" + std::to_string(below(12));
    const std::string value = below(2) == 0 ? std::to_string(static_cast<int>(below(50)) - 25)
                                            : std::string(below(40), static_cast<char>(below(256)));
    std::optional<std::chrono::milliseconds> life;
    if (timed && below(2) == 0) life = unit * static_cast<int>(1 + below(6));
    const Timeout timeout = life ? Timeout(*life) : never;
    const auto deadline = life ? std::optional(now + *life) : std::nullopt;
    SCOPED_TRACE("step " + std::to_string(step) + " on " + key);
    switch (below(11)) {
      case 0:
      case 1:
        ASSERT_TRUE(store().set(key, value, timeout));
        model[key] = {value, deadline};
        break;
      case 2: {
        const bool free = live(key) == nullptr;
        ASSERT_EQ(store().add(key, value, timeout), free);
        if (free) model[key] = {value, deadline};
        break;
      }
      case 3: {
        const Entry* const entry = live(key);
        ASSERT_EQ(store().get(key), entry ? std::optional(entry->value) : std::nullopt);
        ASSERT_EQ(store().contains(key), entry != nullptr);
        break;
      }
      case 4:
        ASSERT_EQ(store().erase(key), live(key) != nullptr);
        model.erase(key);
        break;
      case 5: {
        Entry* const entry = live(key);
        ASSERT_EQ(store().touch(key, timeout), entry != nullptr);
        if (entry != nullptr) entry->deadline = deadline;
        break;
      }
      case 6: {
        Entry* const entry = live(key);
        ASSERT_EQ(store().pop(key), entry ? std::optional(entry->value) : std::nullopt);
        model.erase(key);
        break;
      }
      case 7: {
        if (!quirks().has_counters) break;
        Entry* const entry = live(key);
        const auto delta = static_cast<std::int64_t>(below(100)) - 50;
        try {
          const std::int64_t sum = store().incr(key, delta);
          ASSERT_NE(entry, nullptr);
          ASSERT_EQ(std::to_string(sum - delta), entry->value);
          entry->value = std::to_string(sum);
        } catch (const KeyNotFound&) {
          ASSERT_EQ(entry, nullptr);
        } catch (const ValueError&) {
          ASSERT_NE(entry, nullptr);
        }
        break;
      }
      case 8: {
        std::vector<std::string> keys;
        for (int i = 0; i < 12; ++i) keys.push_back("key" + std::to_string(i));
        const auto values = store().get_many(keys);
        for (std::size_t i = 0; i < keys.size(); ++i) {
          const Entry* const entry = live(keys[i]);
          ASSERT_EQ(values[i], entry ? std::optional(entry->value) : std::nullopt) << keys[i];
        }
        break;
      }
      case 9: {
        const std::map<std::string, std::string> items{{key, value}, {"key3", "three"}};
        ASSERT_TRUE(store().set_many(items, timeout).empty());
        for (const auto& [k, v] : items) model[k] = {v, deadline};
        break;
      }
      default:
        if (timed) {
          const auto step_of_time =
              unit * static_cast<int>(1 + below(3)) + quirks().lateness + quirks().granularity;
          pass(step_of_time);
          // In the model an entry expires late by as much as the store may, but the time is
          // always farther than that from a deadline, before or after it.
          now += step_of_time;
          for (auto& [k, entry] : model) {
            if (entry.deadline && *entry.deadline > now - unit / 4 &&
                *entry.deadline < now + unit / 4) {
              store().erase(k);
              entry.deadline = std::chrono::milliseconds(0);
            }
          }
        }
    }
  }
}

// --- A store that keeps nothing ---

TEST_P(KeepsNothingConformance, EverythingIsAMissAndNothingFails) {
  EXPECT_TRUE(store().set("k", "v"));
  EXPECT_FALSE(store().get("k"));
  EXPECT_TRUE(store().add("k", "v"));
  EXPECT_TRUE(store().add("k", "v"));
  EXPECT_TRUE(store().add("k", "v", 0s));
  EXPECT_TRUE(store().set("k", "v", -1s));
  EXPECT_FALSE(store().contains("k"));
  EXPECT_FALSE(store().touch("k"));
  EXPECT_FALSE(store().touch("k", 0s));
  EXPECT_FALSE(store().erase("k"));
  EXPECT_FALSE(store().pop("k"));
  EXPECT_TRUE(store().set_many({{"a", 1}, {"b", "x"}}).empty());
  EXPECT_TRUE(store().get_many_map({"a", "b"}).empty());
  EXPECT_TRUE(store().set_many({{"a", 1}, {"a", 2}}).empty());
  EXPECT_EQ(store().get_many({"a", "a"}), std::vector<std::optional<std::string>>(2));
  EXPECT_EQ(store().erase_many({"a", "b", "a"}), 0U);
  EXPECT_THROW(store().incr_version("k"), KeyNotFound);
  if (quirks().has_counters) {
    EXPECT_THROW(store().incr("n"), KeyNotFound);
    EXPECT_THROW(store().decr("n"), KeyNotFound);
    EXPECT_EQ(store().incr("n", 2, {.initial = 3}), 5);
  }
  store().clear();
  store().close();
}

TEST_P(KeepsNothingConformance, OffersNoExtensionThatTheListLacks) {
  EXPECT_EQ(unlisted_extensions(), std::set<std::string>());
}

TEST_P(KeepsNothingConformance, KeysAreValidated) {
  store().get("a space");
  store().set(std::string(300, 'k'), 1);
  EXPECT_EQ(warnings_of(Warning::Kind::key_bad_byte), 1U);
  EXPECT_EQ(warnings_of(Warning::Kind::key_too_long), 1U);
}

TEST_P(KeepsNothingConformance, GetOrSetComputesEachTime) {
  int computed = 0;
  EXPECT_EQ(store().get_or_set("k", [&] { return ++computed; }), 1);
  EXPECT_EQ(store().get_or_set("k", [&] { return ++computed; }), 2);
}

TEST_P(KeepsNothingConformance, ThreadsThatAskTogetherComputeOnce) {
  constexpr int threads = 32;
  std::atomic<int> computed{0};
  std::atomic<int> asking{0};
  on_threads(threads, [&](int) {
    ++asking;
    EXPECT_EQ(store().get_or_set("k",
                                 [&] {
                                   while (asking < threads) std::this_thread::yield();
                                   std::this_thread::sleep_for(1s);  // they join the flight
                                   return ++computed;
                                 }),
              1);
  });
  EXPECT_EQ(computed, 1);
}

TEST_P(KeepsNothingConformance, ComputationsThatNeedEachOtherEnd) {
  Meeting inside(2);
  on_threads(2, [&](int i) {
    const std::string first = i == 0 ? "a" : "b";
    const std::string second = i == 0 ? "b" : "a";
    EXPECT_EQ(store().get_or_set(first,
                                 [&] {
                                   inside.arrive_and_wait();
                                   return 1 + store().get_or_set(second, [] { return 1; });
                                 }),
              2);
  });
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing

#include "polycache/testing/entry_conformance.h"
#include "polycache/testing/load_conformance.h"
#include "polycache/testing/maintenance_conformance.h"
#include "polycache/testing/scan_conformance.h"
#include "polycache/testing/tag_conformance.h"
#include "polycache/testing/tag_index_conformance.h"
