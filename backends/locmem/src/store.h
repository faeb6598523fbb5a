// One store: the entries of a location, shared by all sessions.
//
// The hash of a key selects its shard. Each shard has its lock; the limits apply to the sum of
// all shards.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "budget.h"
#include "deadline_clock.h"
#include "fork_guard.h"
#include "key_hash.h"
#include "page_source.h"
#include "polycache/author/backend.h"
#include "polycache/author/clock.h"
#include "polycache/author/deque_table.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/index_table.h"
#include "polycache/author/lock_table.h"
#include "polycache/author/spin_lock.h"
#include "polycache/backends/locmem.h"
#include "settings.h"
#include "shard.h"
#include "shard_copy.h"
#include "snapshot.h"
#include "tag_stamp.h"

namespace polycache::locmem {

// Thread-safe. Sinks and listeners are called outside the locks.
class Store final : public Forkable {
 public:
  using TtlSink = FunctionRef<void(std::string_view value, Ttl left)>;
  using IndexedTtlSink = FunctionRef<void(std::size_t index, std::string_view value, Ttl left)>;

  Store(const Settings& settings, const Clock& clock, ForkGuard& fork_guard);
  ~Store();

  bool get(std::string_view key, ValueSink sink);
  bool get_with_ttl(std::string_view key, TtlSink sink);
  bool contains(std::string_view key, ValueSink head);
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink);
  void get_many_with_ttl(std::span<const std::string_view> keys, IndexedTtlSink sink);
  bool pop(std::string_view key, ValueSink sink);

  // Never returns no_room; nor does put_if_equal().
  PutResult put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode);
  bool touch(std::string_view key, Ttl ttl, ValueSink head);
  // Under one lock.
  bool get_and_renew(std::string_view key, Ttl ttl, ValueSink sink);
  bool erase(std::string_view key);
  void clear();
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta);
  PutResult put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                         std::optional<Ttl> ttl);
  bool erase_if_equal(std::string_view key, std::string_view expected);
  std::size_t erase_prefix(std::string_view prefix);

  // As ScanExtension and ErasePatternExtension say. Lists every entry that is there during the
  // whole scan exactly once.
  std::string scan(const Glob& glob, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const ScanExtension::Listed&)> sink);
  std::size_t erase_pattern(const Glob& glob);

  // As MaintenanceExtension says. The limits always hold.
  std::size_t expire();
  MaintenanceExtension::Counts counts();

  // For dumps. Replaces the content of `copy`; holds the lock for some tens of microseconds at a
  // time. Throws bad_alloc.
  std::size_t shards() const noexcept { return shards_.size(); }
  std::string_view policy_name() const noexcept { return settings_.policy_name(); }
  void copy_shard(std::size_t index, ShardCopy& copy);
  // Stores an entry of another process, with what its policy knew of it, unless there is one.
  void restore(std::string_view key, std::string_view value, Ttl ttl, std::uint8_t standing);

  // As TagIndexExtension says.
  bool has_tag_index() const noexcept { return has_tag_index_.load(std::memory_order_relaxed); }
  bool create_tag_index();
  bool drop_tag_index();
  std::size_t erase_tagged(std::span<const std::uint64_t> versions);

  // As TagStampExtension says. Without a lock.
  std::uint64_t tag_stamp() const noexcept { return tag_stamp_.value(); }

  // Locks are no entries: they are neither evicted nor cleared, and do not count for the limits.
  LockTable& locks() noexcept { return locks_; }
  // Nor are deques.
  DequeTable& deques() noexcept { return deques_; }
  // Likewise.
  IndexTable& indexes() noexcept { return indexes_; }

  void listen(RemovalListener listener);
  Statistics statistics();

  void lock_for_fork() noexcept override;
  void unlock_after_fork() noexcept override;

 private:
  enum class Purpose : bool { use, look };

  // Shards in an array, so that a key's shard is found without another memory access. Their sizes
  // are odd numbers of lines: if they were powers of two, the lines that reads need, the first of
  // each, would compete for a few sets of the processor's cache.
  class Shards {
   public:
    struct Nothing {};
    struct Line {
      char unused[64];
    };
    struct Element : Shard, std::conditional_t<sizeof(Shard) / 64 % 2 == 0, Line, Nothing> {
      using Shard::Shard;
    };

    explicit Shards(std::size_t most);
    Shards(const Shards&) = delete;
    Shards& operator=(const Shards&) = delete;
    ~Shards();

    template <class... Arguments>
    void add(Arguments&&... arguments) {
      ::new (first_ + size_) Element(std::forward<Arguments>(arguments)...);
      ++size_;
    }
    std::size_t size() const noexcept { return size_; }
    Shard& operator[](std::size_t i) noexcept { return first_[i]; }
    Element* begin() noexcept { return first_; }
    Element* end() noexcept { return first_ + size_; }

   private:
    Element* const first_;
    std::size_t size_ = 0;
  };

  Shard& shard_of(std::uint64_t hash) noexcept { return shards_[hash >> shard_shift_ >> 1]; }
  DeadlineClock::Nanoseconds horizon() const noexcept;
  std::uint64_t hash_and_prefetch(std::string_view key) noexcept;
  bool read(std::uint64_t hash, std::string_view key, Purpose purpose,
            DeadlineClock::Nanoseconds horizon, Snapshot& snapshot) noexcept;
  void remove_expired(std::uint64_t hash, std::string_view key) noexcept;
  template <class Deliver>
  void read_many(std::span<const std::string_view> keys, Deliver deliver);

  bool fits(std::string_view key, std::size_t value_size) const noexcept;
  DeadlineClock::Nanoseconds deadline(DeadlineClock::Nanoseconds now, Ttl ttl) noexcept;
  NewValue make_value(std::string_view value);
  Write begin(std::string_view key, std::string_view value, Ttl ttl);
  template <class Attempt>
  PutResult change(Write& write, Attempt attempt);
  template <class Condition>
  PutResult refuse(std::string_view key, Condition condition);
  void sweep_elsewhere(const Shard& own, std::int64_t now, OperationScope& operation) noexcept;
  void make_room_elsewhere(const Amount& amount, OperationScope& operation) noexcept;
  void give_up_some(std::int64_t bytes) noexcept;
  struct Page;
  std::uint64_t list_some(Shard& shard, std::uint64_t point, std::string_view head, Page& page);
  template <class Predicate>
  bool erase_where(std::string_view key, Predicate matches);
  const RemovalListener* listener() const noexcept {
    return listener_.load(std::memory_order_acquire);
  }

  const Settings settings_;
  const DeadlineClock clock_;
  ForkGuard& fork_guard_;
  const KeyHash hash_;
  std::atomic<bool> has_lifetimes_{false};  // some entry has or had one; orders nothing
  Budget budget_;
  PageSource pages_;
  TagStamp tag_stamp_;
  Shards shards_;         // their number is a power of two
  unsigned shard_shift_;  // 63 - log2 of that
  std::atomic<std::size_t> next_to_sweep_{0};
  std::atomic<std::size_t> next_to_give_{0};  // the shard that evicts next

  std::atomic<bool> has_tag_index_{false};  // orders nothing: the shards' locks do
  SpinLock tag_index_mutex_;                // held while it is made or dropped

  LockTable locks_;
  DequeTable deques_;
  IndexTable indexes_;

  // Stored with release after the listener is written, loaded with acquire before it is called.
  // Replaced listeners are kept, since a thread may be calling them.
  std::atomic<const RemovalListener*> listener_{nullptr};
  std::mutex listeners_mutex_;  // guards what follows
  std::vector<std::unique_ptr<const RemovalListener>> listeners_;
};

}  // namespace polycache::locmem
