// This header holds the cases of the conformance suite, and helpers of its fixture and tests.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <ostream>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/extension_list.h"
#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/polycache.h"
#include "polycache/testing/shared_by_name.h"

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
  // It offers tag_stamp/1, so that the core need not read versions of tags again. Few stores do.
  bool has_tag_stamps = false;
  // It offers index/1: ordered maps between all users of the store.
  bool has_indexes = true;
  // It offers lock/1: locks between all users of the store.
  bool has_locks = true;
  // Its locks have fences, which grow with each owner.
  bool has_fences = true;
  // It never removes a lock before its lease ends.
  bool keeps_locks = true;
  // It offers limit/1: rate limits in one step. Few stores do: others need nothing for them.
  bool has_limits = false;
  // It offers deque/1: deques that all users of the store share, and that it never evicts.
  bool has_deques = true;
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

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""h;

}  // namespace polycache::testing
