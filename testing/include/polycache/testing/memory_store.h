// The simplest store with all abilities of a stock store: a map and a mutex, exact to the
// millisecond, without limits. ScopedCaches replaces every store with it.
//
//   CacheRegistry registry({.caches = {{"default", {.backend = "memory"}}}},
//                          {.clock = &clock, .linked_plugins = {&testing::memory_store}});
//
// Aliases of one location and one clock share one store; it ends with the last of them.
// Option "keys": "portable" (the rules of most stores) or "strict" (those of memcached).

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/counter.h"
#include "polycache/author/extension.h"
#include "polycache/author/plugin.h"
#include "polycache/testing/shared_by_name.h"

namespace polycache::testing {

// The state that sessions share. Thread-safe.
class MemoryStore {
 public:
  struct Entry {
    std::string value;
    std::chrono::milliseconds deadline;  // by the clock; no_deadline: none
  };
  static constexpr auto no_deadline = std::chrono::milliseconds::max();

  void clear() {
    const std::lock_guard lock(mutex_);
    entries_.clear();
  }

  // Runs f(entries, live) under the lock; `live` is the entry of that key, or the end. An expired
  // entry is removed when it is looked up.
  template <class F>
  auto with(std::string_view key, const Clock& clock, F&& f) {
    const std::lock_guard lock(mutex_);
    auto entry = entries_.find(key);
    if (entry != entries_.end() &&
        entry->second.deadline <=
            std::chrono::floor<std::chrono::milliseconds>(clock.steady_now().time_since_epoch())) {
      entries_.erase(entry);
      entry = entries_.end();
    }
    return std::invoke(std::forward<F>(f), entries_, entry);
  }

  std::size_t erase_prefix(std::string_view prefix) {
    const std::lock_guard lock(mutex_);
    return std::erase_if(entries_,
                         [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_;  // guarded by the mutex
};

class MemorySession final : public Backend,
                            public TtlExtension,
                            public CompareExtension,
                            public PopExtension,
                            public ErasePrefixExtension {
 public:
  MemorySession(std::shared_ptr<MemoryStore> store, const Clock& clock) noexcept
      : store_(std::move(store)), clock_(clock) {}

  // Sinks are called outside the lock: they may use the store.
  bool get(std::string_view key, ValueSink sink) override {
    const std::optional<MemoryStore::Entry> entry = find(key);
    if (entry) sink(entry->value);
    return entry.has_value();
  }
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    return store_->with(key, clock_, [&](auto& entries, auto it) {
      if (mode == (it == entries.end() ? PutMode::if_present : PutMode::if_absent)) return false;
      entries.insert_or_assign(std::string(key),
                               MemoryStore::Entry{std::string(value), deadline(ttl)});
      return true;
    });
  }
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    std::string shown;
    const bool found = change(key, [&](MemoryStore::Entry& entry) {
      entry.deadline = deadline(ttl);
      shown = entry.value.substr(0, 64);
      return true;
    });
    if (found) head(shown);  // outside the lock
    return found;
  }
  bool erase(std::string_view key) override {
    return store_->with(key, clock_, [&](auto& entries, auto it) {
      if (it == entries.end()) return false;
      entries.erase(it);
      return true;
    });
  }
  void clear() override { store_->clear(); }
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override {
    std::optional<std::int64_t> sum;
    change(key, [&](MemoryStore::Entry& entry) {
      sum = add_to_counter(entry.value, delta);
      entry.value = std::to_string(*sum);
      return true;
    });
    return sum;
  }

  void* extension(std::string_view id) noexcept override {
    if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
    if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
    if (id == PopExtension::id) return static_cast<PopExtension*>(this);
    if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
    return nullptr;
  }

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override {
    const std::optional<MemoryStore::Entry> entry = find(key);
    if (entry) sink(entry->value, left(*entry));
    return entry.has_value();
  }
  using Backend::get_many;  // hidden by the overload below
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (const auto entry = find(keys[i])) sink(i, entry->value, left(*entry));
    }
  }
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override {
    return change(key, [&](MemoryStore::Entry& entry) {
      if (entry.value != expected) return false;
      entry.value = value;
      if (ttl) entry.deadline = deadline(*ttl);
      return true;
    });
  }
  bool erase_if_equal(std::string_view key, std::string_view expected) override {
    return store_->with(key, clock_, [&](auto& entries, auto it) {
      if (it == entries.end() || it->second.value != expected) return false;
      entries.erase(it);
      return true;
    });
  }
  bool pop(std::string_view key, ValueSink sink) override {
    std::string value;
    const bool found = store_->with(key, clock_, [&](auto& entries, auto it) {
      if (it == entries.end()) return false;
      value = std::move(it->second.value);
      entries.erase(it);
      return true;
    });
    if (found) sink(value);
    return found;
  }
  std::size_t erase_prefix(std::string_view prefix) override {
    return store_->erase_prefix(prefix);
  }

 private:
  std::optional<MemoryStore::Entry> find(std::string_view key) {
    return store_->with(key, clock_, [&](auto& entries, auto it) {
      return it == entries.end() ? std::nullopt : std::optional<MemoryStore::Entry>(it->second);
    });
  }
  template <class F>
  bool change(std::string_view key, F&& f) {
    return store_->with(
        key, clock_, [&](auto& entries, auto it) { return it != entries.end() && f(it->second); });
  }

  // Rounded up: an entry may live a fraction of a millisecond too long, never too short.
  std::chrono::milliseconds deadline(Ttl ttl) const {
    if (ttl.is_forever()) return MemoryStore::no_deadline;
    return ttl.value() +
           std::chrono::ceil<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch());
  }
  Ttl left(const MemoryStore::Entry& entry) const {
    if (entry.deadline == MemoryStore::no_deadline) return Ttl::forever();
    const auto left = entry.deadline - std::chrono::floor<std::chrono::milliseconds>(
                                           clock_.steady_now().time_since_epoch());
    return Ttl(std::max(left, std::chrono::milliseconds(1)));  // it was live a moment ago
  }

  std::shared_ptr<MemoryStore> store_;
  const Clock& clock_;
};

class MemoryStoreFactory final : public BackendFactory {
 public:
  MemoryStoreFactory(const OptionReader& options, const BackendContext& context)
      : clock_(context.clock),
        store_(shared_by_name<MemoryStore>(name_of(options.location()), context.clock)),
        rules_(options.choice("keys", {"portable", "strict"}, "portable") == "strict"
                   ? KeyRules::strict
                   : KeyRules::portable) {}

  std::unique_ptr<Backend> connect() override {
    return std::make_unique<MemorySession>(store_, clock_);
  }
  StoreTraits traits() const noexcept override { return {.key_rules = rules_}; }

  static std::string name_of(const std::vector<std::string>& location) {
    std::string name;
    for (const std::string& part : location) name.append(part).push_back('\n');
    return name;
  }

 private:
  const Clock& clock_;
  std::shared_ptr<MemoryStore> store_;
  KeyRules rules_;
};

inline constexpr PluginDescriptor memory_store =
    backend_plugin("memory", POLYCACHE_VERSION,
                   [](const OptionReader& options,
                      const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                     return std::make_unique<MemoryStoreFactory>(options, context);
                   });

}  // namespace polycache::testing
