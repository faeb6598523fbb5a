// This header holds the fixture of the conformance suite: a store, its clock, and other threads.

#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/polycache.h"                 // IWYU pragma: export
#include "polycache/testing/conformance_case.h"  // IWYU pragma: export
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/shared_by_name.h"
#include "polycache/testing/watchdog.h"

namespace polycache::testing {

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

}  // namespace polycache::testing
