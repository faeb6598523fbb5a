#include "store.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <limits>
#include <new>
#include <string>
#include <thread>
#include <utility>

#include "polycache/author/counter.h"
#include "polycache/error.h"

namespace polycache::locmem {
namespace {

// Enough shards that threads seldom contend; few enough that each holds enough entries for its
// eviction policy to work as on the whole store, and that what reads need of all shards stays in
// the first-level cache. Small stores, and the policy django, which counts, have one shard and an
// exact order.
std::size_t shard_count(const Settings& settings) {
  constexpr std::uint64_t entries_in_shard = 1024;
  constexpr std::uint64_t typical_entry = 256;
  constexpr std::uint64_t shards_per_cpu = 32;
  if (settings.policy == Policy::django) return 1;
  const std::uint64_t cpus = std::thread::hardware_concurrency();
  const std::uint64_t most = std::clamp<std::uint64_t>(shards_per_cpu * cpus, 64, 256);
  const std::uint64_t entries = std::min(settings.max_entries, settings.max_bytes / typical_entry);
  return std::bit_floor(std::clamp<std::uint64_t>(entries / entries_in_shard, 1, most));
}

std::int64_t charge(std::string_view key, std::size_t value_size) noexcept {
  return static_cast<std::int64_t>(Entry::charge(key.size(), value_size));
}

bool would_store(PutMode mode, bool there) noexcept {
  return mode == PutMode::always || there == (mode == PutMode::if_present);
}

}  // namespace

Store::Shards::Shards(std::size_t most)
    : first_(static_cast<Element*>(
          ::operator new(most * sizeof(Element), std::align_val_t(alignof(Element))))) {}

Store::Shards::~Shards() {
  while (size_ > 0) first_[--size_].~Element();
  ::operator delete(static_cast<void*>(first_), std::align_val_t(alignof(Element)));
}

Store::Store(const Settings& settings, const Clock& clock, ForkGuard& fork_guard)
    : settings_(settings),
      clock_(clock),
      fork_guard_(fork_guard),
      budget_(settings.max_entries, settings.max_bytes),
      shards_(shard_count(settings)),
      locks_(clock) {
  const std::size_t count = shard_count(settings);
  while (shards_.size() < count) shards_.add(settings_, count, hash_, clock_, pages_, tag_stamp_);
  shard_shift_ = 63 - static_cast<unsigned>(std::countr_zero(count));
  fork_guard_.add(*this);
}

Store::~Store() { fork_guard_.remove(*this); }

// --- reading ---

// Read before a lock is taken.
DeadlineClock::Nanoseconds Store::horizon() const noexcept {
  return has_lifetimes_.load(std::memory_order_relaxed) ? clock_.horizon()
                                                        : DeadlineClock::no_deadline;
}

// The bucket is loaded while the time is read and the lock is taken.
std::uint64_t Store::hash_and_prefetch(std::string_view key) noexcept {
  const std::uint64_t hash = hash_(key);
  shard_of(hash).prefetch(hash);
  return hash;
}

// Inlined into each caller, since the remaining work is shorter than a call.
[[gnu::always_inline]] inline bool Store::read(std::uint64_t hash, std::string_view key,
                                               Purpose purpose, DeadlineClock::Nanoseconds horizon,
                                               Snapshot& snapshot) noexcept {
  Shard& shard = shard_of(hash);
  {
    const std::lock_guard lock(shard.lock());
    Entry* const entry = shard.look(hash, key);
    if (entry == nullptr) return false;
    if (clock_.is_live(entry->deadline, horizon)) [[likely]] {
      if (purpose == Purpose::look) {
        snapshot.take_head(*entry);
        return true;
      }
      shard.use(*entry);
      snapshot.take(*entry);
      return true;
    }
  }
  remove_expired(hash, key);
  return false;
}

void Store::remove_expired(std::uint64_t hash, std::string_view key) noexcept {
  Shard& shard = shard_of(hash);
  OperationScope operation(budget_, listener());
  const std::lock_guard lock(shard.lock());
  shard.find(hash, key, operation);
}

bool Store::get(std::string_view key, ValueSink sink) {
  Snapshot snapshot;
  const std::uint64_t hash = hash_and_prefetch(key);
  if (!read(hash, key, Purpose::use, horizon(), snapshot)) return false;
  sink(snapshot.bytes());
  return true;
}

bool Store::get_with_ttl(std::string_view key, TtlSink sink) {
  Snapshot snapshot;
  const std::uint64_t hash = hash_and_prefetch(key);
  if (!read(hash, key, Purpose::use, horizon(), snapshot)) return false;
  sink(snapshot.bytes(), clock_.left(snapshot.deadline()));
  return true;
}

bool Store::contains(std::string_view key, ValueSink head) {
  Snapshot snapshot;
  const std::uint64_t hash = hash_and_prefetch(key);
  if (!read(hash, key, Purpose::look, horizon(), snapshot)) return false;
  head(snapshot.bytes());
  return true;
}

// A large store's memory has high latency, but many loads run in parallel: all buckets of a batch
// are prefetched first, then all entries, and the first has arrived when it is read.
template <class Deliver>
void Store::read_many(std::span<const std::string_view> keys, Deliver deliver) {
  constexpr std::size_t batch_keys = 32;
  Snapshot snapshot;
  std::uint64_t hashes[batch_keys];
  for (std::size_t start = 0; start < keys.size(); start += batch_keys) {
    const std::size_t count = std::min(batch_keys, keys.size() - start);
    const auto horizon = this->horizon();
    for (std::size_t i = 0; i < count; ++i) {
      hashes[i] = hash_and_prefetch(keys[start + i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      Shard& shard = shard_of(hashes[i]);
      const std::lock_guard lock(shard.lock());
      shard.prefetch_entry(hashes[i]);
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (read(hashes[i], keys[start + i], Purpose::use, horizon, snapshot)) {
        deliver(start + i, snapshot);
      }
    }
  }
}

void Store::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  read_many(keys, [&](std::size_t i, const Snapshot& found) { sink(i, found.bytes()); });
}

void Store::get_many_with_ttl(std::span<const std::string_view> keys, IndexedTtlSink sink) {
  read_many(keys, [&](std::size_t i, const Snapshot& found) {
    sink(i, found.bytes(), clock_.left(found.deadline()));
  });
}

// --- writing ---

bool Store::fits(std::string_view key, std::size_t value_size) const noexcept {
  return key.size() <= Entry::max_key && value_size <= Entry::max_value &&
         Entry::charge(key.size(), value_size) <= settings_.max_bytes;
}

DeadlineClock::Nanoseconds Store::deadline(DeadlineClock::Nanoseconds now, Ttl ttl) noexcept {
  const auto deadline = DeadlineClock::deadline(now, ttl);
  if (deadline != DeadlineClock::no_deadline && !has_lifetimes_.load(std::memory_order_relaxed)) {
    has_lifetimes_.store(true, std::memory_order_relaxed);
  }
  return deadline;
}

// Throws std::bad_alloc.
Write Store::begin(std::string_view key, std::string_view value, Ttl ttl) {
  const std::uint64_t hash = hash_and_prefetch(key);
  // A lifetime starts exactly now; otherwise the time only serves to find expired entries.
  const std::int64_t now = ttl.is_forever() ? clock_.recent() : clock_.now();
  return {key, hash, make_value(value), deadline(now, ttl), now};
}

// Throws std::bad_alloc if memory is short even after other entries were evicted for the value.
NewValue Store::make_value(std::string_view value) {
  try {
    return NewValue(value);
  } catch (const std::bad_alloc&) {
    give_up_some(static_cast<std::int64_t>(value.size()));
  }
  return NewValue(value);
}

void Store::give_up_some(std::int64_t bytes) noexcept {
  OperationScope operation(budget_, listener());
  std::size_t empty = 0;
  while (operation.room().bytes < bytes && empty < shards_.size()) {
    const std::size_t next = next_to_give_.fetch_add(1, std::memory_order_relaxed);
    Shard& shard = shards_[next & (shards_.size() - 1)];
    const std::lock_guard lock(shard.lock());
    empty = shard.evict_one(operation) ? 0 : empty + 1;
  }
}

// Calls attempt(shard, found, operation) under the lock until it needs no room elsewhere.
template <class Attempt>
PutResult Store::change(Write& write, Attempt attempt) {
  Shard& shard = shard_of(write.hash);
  OperationScope operation(budget_, listener());
  for (;;) {
    sweep_elsewhere(shard, write.now, operation);
    {
      const std::lock_guard lock(shard.lock());
      shard.sweep(write.now, 1, operation);
      const PutResult result = attempt(shard, shard.find(write, operation), operation);
      if (result != PutResult::no_room) {
        shard.tidy();
        return result;
      }
    }
    make_room_elsewhere({1, charge(write.key, write.value.bytes.size())}, operation);
  }
}

// A value that cannot be stored removes the older one, if it would have replaced it.
template <class Condition>
PutResult Store::refuse(std::string_view key, Condition condition) {
  const std::uint64_t hash = hash_(key);
  Shard& shard = shard_of(hash);
  OperationScope operation(budget_, listener());
  const std::lock_guard lock(shard.lock());
  Entry* const found = shard.find(hash, key, operation);
  if (!condition(found)) return PutResult::not_stored;
  if (found != nullptr) shard.remove(hash, *found, Removal::replaced, operation);
  return PutResult::refused;
}

// Holds one lock at a time. The operation keeps what it has obtained, so this terminates, and in a
// full store each shard gives a little.
void Store::make_room_elsewhere(const Amount& amount, OperationScope& operation) noexcept {
  operation.take_elsewhere();
  for (std::size_t n = 0; n < shards_.size() && !operation.cover(amount); ++n) {
    const std::size_t next = next_to_give_.fetch_add(1, std::memory_order_relaxed);
    Shard& shard = shards_[next & (shards_.size() - 1)];
    const std::lock_guard lock(shard.lock());
    shard.evict_one(operation);
  }
}

// Writes to other shards also sweep those that are not written to.
void Store::sweep_elsewhere(const Shard& own, std::int64_t now,
                            OperationScope& operation) noexcept {
  constexpr std::uint32_t writes_per_visit = 16;
  constexpr std::size_t buckets_per_visit = 4;
  thread_local std::uint32_t writes = 0;
  if (++writes % writes_per_visit != 0) return;
  Shard& other =
      shards_[next_to_sweep_.fetch_add(1, std::memory_order_relaxed) & (shards_.size() - 1)];
  if (&other == &own || !other.lock().try_lock()) return;
  const std::lock_guard lock(other.lock(), std::adopt_lock);
  other.sweep(now, buckets_per_visit, operation);
}

PutResult Store::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  const auto stores = [mode](const Entry* found) { return would_store(mode, found != nullptr); };
  if (!fits(key, value.size())) return refuse(key, stores);
  try {
    Write write = begin(key, value, ttl);
    return change(write, [&](Shard& shard, Entry* found, OperationScope& operation) {
      if (!stores(found)) return PutResult::not_stored;
      return shard.assign(found, write, operation);
    });
  } catch (const std::bad_alloc&) {
    return refuse(key, stores);
  }
}

PutResult Store::put_if_equal(std::string_view key, std::string_view expected,
                              std::string_view value, std::optional<Ttl> ttl) {
  const auto equals = [expected](const Entry* found) {
    return found != nullptr && found->value() == expected;
  };
  if (!fits(key, value.size())) return refuse(key, equals);
  try {
    Write write = begin(key, value, ttl.value_or(Ttl::forever()));
    return change(write, [&](Shard& shard, Entry* found, OperationScope& operation) {
      if (!equals(found)) return PutResult::not_stored;
      if (!ttl) write.deadline = found->deadline;
      return shard.assign(found, write, operation);
    });
  } catch (const std::bad_alloc&) {
    return refuse(key, equals);
  }
}

std::optional<std::int64_t> Store::incr(std::string_view key, std::int64_t delta) {
  char digits[std::numeric_limits<std::int64_t>::digits10 + 2];
  std::int64_t sum = 0;
  Write write = begin(key, {}, Ttl::forever());
  const PutResult result =
      change(write, [&](Shard& shard, Entry* found, OperationScope& operation) {
        if (found == nullptr) return PutResult::not_stored;
        sum = add_to_counter(found->value(), delta);
        const char* const end = std::to_chars(std::begin(digits), std::end(digits), sum).ptr;
        write.value.bytes = {digits, static_cast<std::size_t>(end - digits)};
        write.deadline = found->deadline;
        if (!fits(key, write.value.bytes.size())) return PutResult::refused;
        return shard.assign(found, write, operation);
      });
  if (result == PutResult::refused) {
    throw BackendError(BackendError::Kind::overloaded, "",
                       "no memory for one more digit; raise max_bytes");
  }
  return result == PutResult::stored ? std::optional(sum) : std::nullopt;
}

bool Store::touch(std::string_view key, Ttl ttl, ValueSink head) {
  constexpr std::size_t head_bytes = 64;  // as contains() promises
  const std::uint64_t hash = hash_(key);
  const std::int64_t deadline = this->deadline(clock_.now(), ttl);
  Shard& shard = shard_of(hash);
  char shown[head_bytes];
  std::size_t size = 0;
  {
    OperationScope operation(budget_, listener());
    const std::lock_guard lock(shard.lock());
    Entry* const found = shard.find(hash, key, operation);
    if (found == nullptr) return false;
    shard.set_deadline(*found, deadline);
    size = found->value().copy(shown, head_bytes);
  }
  head({shown, size});
  return true;
}

bool Store::get_and_renew(std::string_view key, Ttl ttl, ValueSink sink) {
  const std::uint64_t hash = hash_and_prefetch(key);
  const std::int64_t deadline = this->deadline(clock_.now(), ttl);
  Shard& shard = shard_of(hash);
  Snapshot snapshot;
  {
    OperationScope operation(budget_, listener());
    const std::lock_guard lock(shard.lock());
    Entry* const found = shard.find(hash, key, operation);
    if (found == nullptr) return false;
    shard.set_deadline(*found, deadline);
    shard.use(*found);
    snapshot.take(*found);
  }
  sink(snapshot.bytes());
  return true;
}

// --- removing ---

template <class Predicate>
bool Store::erase_where(std::string_view key, Predicate matches) {
  const std::uint64_t hash = hash_(key);
  Shard& shard = shard_of(hash);
  OperationScope operation(budget_, listener());
  const std::lock_guard lock(shard.lock());
  Entry* const found = shard.find(hash, key, operation);
  if (found == nullptr || !matches(*found)) return false;
  shard.remove(hash, *found, Removal::erased, operation);
  shard.tidy();
  return true;
}

bool Store::erase(std::string_view key) {
  return erase_where(key, [](const Entry&) { return true; });
}

bool Store::erase_if_equal(std::string_view key, std::string_view expected) {
  return erase_where(key, [&](const Entry& found) { return found.value() == expected; });
}

bool Store::pop(std::string_view key, ValueSink sink) {
  Snapshot snapshot;
  const bool found = erase_where(key, [&](const Entry& entry) {
    snapshot.take(entry);
    return true;
  });
  if (found) sink(snapshot.bytes());
  return found;
}

std::size_t Store::erase_prefix(std::string_view prefix) {
  std::size_t erased = 0;
  for (Shard& shard : shards_) {
    OperationScope operation(budget_, listener());
    const std::lock_guard lock(shard.lock());
    erased +=
        shard.remove_if([prefix](const Entry& entry) { return entry.key().starts_with(prefix); },
                        Removal::erased, operation);
    while (shard.tidy()) {
    }
  }
  return erased;
}

void Store::clear() {
  for (Shard& shard : shards_) {
    OperationScope operation(budget_, listener());
    const std::lock_guard lock(shard.lock());
    shard.clear(operation);
  }
}

// --- maintenance ---

std::size_t Store::expire() {
  std::size_t removed = 0;
  const std::int64_t now = clock_.now();
  for (Shard& shard : shards_) {
    OperationScope operation(budget_, listener());
    const std::lock_guard lock(shard.lock());
    removed += shard.remove_if([now](const Entry& entry) { return entry.deadline <= now; },
                               Removal::expired, operation);
    while (shard.tidy()) {
    }
  }
  return removed;
}

MaintenanceExtension::Counts Store::counts() {
  constexpr std::size_t entries_under_lock = 128;
  std::uint64_t total = 0;
  std::uint64_t expired = 0;
  std::uint64_t forever = 0;
  const std::int64_t now = clock_.now();
  for (Shard& shard : shards_) {
    for (std::uint64_t point = 0; point < Table::end_point;) {
      std::size_t examined = 0;
      const std::lock_guard lock(shard.lock());
      point = shard.visit_from(
          point,
          [&](const Entry& entry) {
            ++examined;
            ++total;
            if (entry.deadline <= now) ++expired;
            if (entry.deadline == DeadlineClock::no_deadline) ++forever;
          },
          [&] { return ++examined >= entries_under_lock; });
    }
  }
  return {.total = total, .expired = expired, .unexpired = total - expired, .forever = forever};
}

void Store::listen(RemovalListener listener) {
  const std::lock_guard lock(listeners_mutex_);
  listeners_.push_back(std::make_unique<const RemovalListener>(std::move(listener)));
  const RemovalListener& last = *listeners_.back();
  listener_.store(last ? &last : nullptr, std::memory_order_release);
}

Statistics Store::statistics() {
  Statistics result;
  for (Shard& shard : shards_) {
    const std::lock_guard lock(shard.lock());
    result.entries += shard.entries();
    result.bytes += shard.bytes();
    result.evicted += shard.removals(Removal::size);
    result.expired += shard.removals(Removal::expired);
    result.replaced += shard.removals(Removal::replaced);
    result.erased += shard.removals(Removal::erased);
  }
  return result;
}

void Store::lock_for_fork() noexcept {
  tag_index_mutex_.lock();
  locks_.lock_for_fork();
  deques_.lock_for_fork();
  indexes_.lock_for_fork();
  for (Shard& shard : shards_) shard.lock().lock();
}

void Store::unlock_after_fork() noexcept {
  for (Shard& shard : shards_) shard.lock().unlock();
  deques_.unlock_after_fork();
  indexes_.unlock_after_fork();
  locks_.unlock_after_fork();
  tag_index_mutex_.unlock();
}

}  // namespace polycache::locmem
