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
#include <atomic>
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
#include "polycache/author/deque_table.h"
#include "polycache/author/entry_tags.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/index_table.h"
#include "polycache/author/lock_table.h"
#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
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
    ++tag_stamp_;
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
      ++tag_stamp_;
    }
    const VersionWatch watch(*this, key, entry);
    return std::invoke(std::forward<F>(f), entries_, entry);
  }

  std::size_t erase_prefix(std::string_view prefix) {
    const std::lock_guard lock(mutex_);
    ++tag_stamp_;
    return std::erase_if(entries_,
                         [&](const auto& entry) { return entry.first.starts_with(prefix); });
  }

  // Removes the entries that `matches` accepts; returns how many of them `counts` accepts.
  template <class Matches, class Counts>
  std::size_t erase_if(Matches matches, Counts counts) {
    std::size_t count = 0;
    const std::lock_guard lock(mutex_);
    ++tag_stamp_;
    std::erase_if(entries_, [&](const auto& entry) {
      if (!matches(entry)) return false;
      count += counts(entry) ? 1 : 0;
      return true;
    });
    return count;
  }

  // Calls f(entry) for every entry, expired ones included, under the lock.
  template <class F>
  void visit(F f) {
    const std::lock_guard lock(mutex_);
    for (const auto& entry : entries_) f(entry);
  }

  // Copies of the next entries after a cursor; `next` becomes the cursor that follows, or empty.
  std::vector<std::pair<std::string, Entry>> page(std::string_view cursor, std::size_t at_most,
                                                  std::string& next) {
    std::vector<std::pair<std::string, Entry>> page;
    const std::lock_guard lock(mutex_);
    auto entry = cursor.empty() ? entries_.begin() : entries_.upper_bound(cursor.substr(1));
    for (; entry != entries_.end() && page.size() < at_most; ++entry) page.push_back(*entry);
    next = entry == entries_.end() || page.empty() ? "" : 'k' + page.back().first;
    return page;
  }

  std::uint64_t tag_stamp() const noexcept { return tag_stamp_; }

  bool has_tag_index() const noexcept { return has_tag_index_; }
  // All users of a store have one clock.
  LockTable& locks(const Clock& clock) {
    const std::lock_guard lock(mutex_);
    if (!locks_) locks_.emplace(clock);
    return *locks_;
  }

  DequeTable& deques() noexcept { return deques_; }
  IndexTable& indexes() noexcept { return indexes_; }

  // Returns whether there was one.
  bool set_tag_index(bool on) noexcept { return has_tag_index_.exchange(on); }

 private:
  using Entries = std::map<std::string, Entry, std::less<>>;

  // Changes the stamp if the entry is the version of a tag, and is removed or replaced meanwhile.
  // REQUIRES: the lock is held
  class VersionWatch {
   public:
    VersionWatch(MemoryStore& store, std::string_view key, Entries::const_iterator entry)
        : store_(store), key_(key) {
      if (entry == store.entries_.end()) return;
      if (is_tag_version(key, entry->second.value.size())) before_ = entry->second.value;
    }
    VersionWatch(const VersionWatch&) = delete;
    VersionWatch& operator=(const VersionWatch&) = delete;
    ~VersionWatch() {
      if (!before_) return;
      const auto now = store_.entries_.find(key_);
      if (now == store_.entries_.end() || now->second.value != *before_) ++store_.tag_stamp_;
    }

   private:
    MemoryStore& store_;
    const std::string_view key_;
    std::optional<std::string> before_;
  };

  std::atomic<bool> has_tag_index_{false};
  std::atomic<std::uint64_t> tag_stamp_{1};  // changed under the mutex
  std::mutex mutex_;
  // Guarded by the mutex.
  Entries entries_;
  std::optional<LockTable> locks_;
  DequeTable deques_;   // has a mutex of its own
  IndexTable indexes_;  // has a mutex of its own
};

class MemorySession final : public Backend,
                            public TtlExtension,
                            public CompareExtension,
                            public PopExtension,
                            public ErasePrefixExtension,
                            public ScanExtension,
                            public ErasePatternExtension,
                            public RenewExtension,
                            public TagIndexExtension,
                            public TagStampExtension,
                            public LockExtension,
                            public LimitExtension,
                            public DequeExtension,
                            public IndexExtension {
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
    if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
    if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
    if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
    if (id == TagIndexExtension::id) return static_cast<TagIndexExtension*>(this);
    if (id == TagStampExtension::id) return static_cast<TagStampExtension*>(this);
    if (id == LockExtension::id) return static_cast<LockExtension*>(this);
    if (id == LimitExtension::id) return static_cast<LimitExtension*>(this);
    if (id == DequeExtension::id) return static_cast<DequeExtension*>(this);
    if (id == IndexExtension::id) return static_cast<IndexExtension*>(this);
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
  bool get(std::string_view key, Ttl ttl, ValueSink sink) override {
    std::string value;
    const bool found = change(key, [&](MemoryStore::Entry& entry) {
      entry.deadline = deadline(ttl);
      value = entry.value;
      return true;
    });
    if (found) sink(value);
    return found;
  }
  std::size_t erase_prefix(std::string_view prefix) override {
    return store_->erase_prefix(prefix);
  }
  // In the order of the keys: the cursor is 'k' and the last key of the page.
  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const Listed&)> sink) override {
    const Glob glob(pattern);
    if (!cursor.empty() && cursor.front() != 'k') {
      throw ValueError("the cursor " + quote(cursor) + " is none of this store");
    }
    std::string next;
    for (const auto& [key, entry] : store_->page(cursor, at_most, next)) {
      if (is_over(entry) || !glob.matches(key)) continue;
      sink({.key = key, .size = entry.value.size(), .left = left(entry)});
    }
    return next;
  }
  std::size_t erase_pattern(std::string_view pattern) override {
    const Glob glob(pattern);
    return store_->erase_if([&](const auto& entry) { return glob.matches(entry.first); },
                            [&](const auto& entry) { return !is_over(entry.second); });
  }
  // Without an index in fact: every entry is looked at.
  bool has_index() override { return store_->has_tag_index(); }
  bool create_index() override { return !store_->set_tag_index(true); }
  bool drop_index() override { return store_->set_tag_index(false); }
  std::size_t erase_tagged(std::span<const std::uint64_t> versions) override {
    if (!store_->has_tag_index()) return 0;
    const auto carries_one = [&](const auto& entry) {
      bool carries = false;
      visit_tag_versions(entry.second.value, [&](std::uint64_t version) {
        carries = carries || std::find(versions.begin(), versions.end(), version) != versions.end();
      });
      return carries;
    };
    return store_->erase_if(carries_one, [&](const auto& entry) { return !is_over(entry.second); });
  }
  std::uint64_t tag_stamp() override { return store_->tag_stamp(); }
  Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
    return store_->locks(clock_).take(claim, lease);
  }
  bool renew(const Claim& claim, std::chrono::milliseconds lease) override {
    return store_->locks(clock_).renew(claim, lease);
  }
  bool release(const Claim& claim) override { return store_->locks(clock_).release(claim); }
  bool wait(std::string_view, std::chrono::milliseconds) override { return false; }
  Used use(const Use& use) override {
    Used used{.now = clock_.system_now().time_since_epoch() / std::chrono::microseconds(1)};
    store_->with(use.key, clock_, [&](auto& entries, auto it) {
      if (it != entries.end()) used.before = it->second.value;
      rates::Step step = rates::use(use.rate, used.before, used.now, use.cost);
      used.allowed = step.verdict.allowed;
      if (used.allowed && use.cost > 0) {
        entries.insert_or_assign(
            std::string(use.key),
            MemoryStore::Entry{std::move(step.state), deadline(Ttl(rates::life(use.rate)))});
      }
      return true;
    });
    return used;
  }
  bool forget(std::string_view key) override { return erase(key); }
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override {
    store_->deques().push(key, end, values, most);
  }
  bool pop(std::string_view key, End end, ValueSink sink) override {
    return store_->deques().pop(key, end, sink);
  }
  bool at(std::string_view key, std::int64_t place, ValueSink sink) override {
    return store_->deques().at(key, place, sink);
  }
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override {
    return store_->deques().list(key, from, at_most, sink);
  }
  std::uint64_t size(std::string_view key) override { return store_->deques().size(key); }
  void rotate(std::string_view key, std::int64_t steps) override {
    store_->deques().rotate(key, steps);
  }
  bool erase_deque(std::string_view key) override { return store_->deques().erase_deque(key); }
  // LockExtension, DequeExtension
  LockExtension::Keeping keeping() override { return LockExtension::Keeping::kept; }
  bool find(const Place& place, std::string_view key, ValueSink sink) override {
    return store_->indexes().find(place, key, sink);
  }
  Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
          ValueSink sink) override {
    return store_->indexes().put(place, key, value, mode, sink);
  }
  bool erase(const Place& place, std::string_view key, ValueSink sink) override {
    return store_->indexes().erase(place, key, sink);
  }
  bool take(const Place& place, Side side, EntrySink sink) override {
    return store_->indexes().take(place, side, sink);
  }
  bool list(const Place& place, const Range& range, EntrySink sink) override {
    return store_->indexes().list(place, range, sink);
  }
  std::uint64_t count(const Place& place) override { return store_->indexes().count(place); }
  std::uint64_t clear(const Place& place) override { return store_->indexes().clear(place); }

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

  bool is_over(const MemoryStore::Entry& entry) const {
    return entry.deadline <=
           std::chrono::floor<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch());
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

class MemoryStoreFactory final : public BackendFactory, private MaintenanceExtension {
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
  void* extension(std::string_view asked) noexcept override {
    return asked == MaintenanceExtension::id ? static_cast<MaintenanceExtension*>(this) : nullptr;
  }

  static std::string name_of(const std::vector<std::string>& location) {
    std::string name;
    for (const std::string& part : location) name.append(part).push_back('\n');
    return name;
  }

 private:
  std::size_t expire() override {
    return store_->erase_if([&](const auto& entry) { return is_over(entry.second); },
                            [](const auto&) { return true; });
  }
  std::size_t cull() override { return 0; }  // there is no limit
  std::optional<std::uint64_t> volume() override {
    std::uint64_t bytes = 0;
    store_->visit(
        [&](const auto& entry) { bytes += entry.first.size() + entry.second.value.size(); });
    return bytes;
  }
  Counts counts() override {
    std::uint64_t all = 0;
    std::uint64_t expired = 0;
    std::uint64_t forever = 0;
    store_->visit([&](const auto& entry) {
      ++all;
      if (is_over(entry.second)) ++expired;
      if (entry.second.deadline == MemoryStore::no_deadline) ++forever;
    });
    return {.total = all, .expired = expired, .unexpired = all - expired, .forever = forever};
  }
  bool is_over(const MemoryStore::Entry& entry) const {
    return entry.deadline <=
           std::chrono::floor<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch());
  }

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
