#include "shard.h"

#include <algorithm>
#include <cassert>
#include <new>
#include <utility>

namespace polycache::locmem {
namespace {

// Before a live entry is evicted, more buckets are searched for expired ones.
constexpr std::size_t buckets_swept_for_room = 4;

Amount amount_of(const Entry& entry) noexcept {
  return {1, static_cast<std::int64_t>(entry.charge())};
}

}  // namespace

Shard::Shard(const Settings& settings, std::size_t shards, const KeyHash& hash,
             const DeadlineClock& clock, PageSource& pages, TagStamp& tag_stamp)
    : is_s3_fifo_(settings.policy == Policy::s3_fifo),
      table_(hash, pages),
      settings_(settings),
      shards_(static_cast<std::int64_t>(shards)),
      clock_(clock),
      heap_(pages, lock_),
      order_(Order::make(settings.policy)),
      tag_stamp_(tag_stamp) {}

Shard::~Shard() {
  while (Entry* const entry = order_->pick()) {
    order_->remove(*entry);
    Entry::destroy(entry);
  }
}

Entry* Shard::find(std::uint64_t hash, std::string_view key, OperationScope& operation) noexcept {
  Entry* const entry = table_.find(hash, key);
  if (entry == nullptr || clock_.is_live(entry->deadline)) return entry;
  remove(hash, *entry, Removal::expired, operation);
  return nullptr;
}

Entry* Shard::find(const Write& write, OperationScope& operation) noexcept {
  Entry* const entry = table_.find(write.hash, write.key);
  if (entry == nullptr || write.now < entry->deadline) return entry;
  remove(write.hash, *entry, Removal::expired, operation);
  return nullptr;
}

PutResult Shard::assign(Entry* found, Write& write, OperationScope& operation) noexcept {
  if (found != nullptr && !operation.tells_removals() && overwrite(*found, write.value.bytes)) {
    ++removals_[static_cast<std::size_t>(Removal::replaced)];
    set_deadline(*found, write.deadline);
    use(*found);
    return PutResult::stored;
  }
  const Amount whole = {
      1, static_cast<std::int64_t>(Entry::charge(write.key.size(), write.value.bytes.size()))};
  if (found == nullptr) order_->prefetch(write.hash);
  if (!make_room(found, whole, write.now, operation)) return PutResult::no_room;
  try {
    Entry& fresh = *make(found, write, operation);
    operation.spend(whole);
    bytes_ += static_cast<std::uint64_t>(whole.bytes);
    note(write.deadline);
    if (found == nullptr) {
      table_.insert(write.hash, fresh);
      order_->add(fresh, write.hash);
    } else {
      table_.replace(write.hash, *found, fresh);
      order_->replace(*found, fresh);
      order_->use(fresh);
      take_away(*found, Removal::replaced, operation);
    }
    if (tags_) [[unlikely]]
      index_tags(fresh);
    return PutResult::stored;
  } catch (const std::bad_alloc&) {
    if (found != nullptr) remove(write.hash, *found, Removal::replaced, operation);
    return PutResult::refused;
  }
}

bool Shard::overwrite(Entry& entry, std::string_view value) noexcept {
  if (TagStamp::is_version(entry)) [[unlikely]]
    tag_stamp_.raise();
  if (!tags_) [[likely]]
    return entry.overwrite(value);
  tags_->remove(entry);
  const bool done = entry.overwrite(value);
  index_tags(entry);
  return done;
}

// Out of memory: the entry goes later, as without an index.
void Shard::index_tags(const Entry& entry) noexcept {
  try {
    if (tags_) tags_->add(entry);
  } catch (const std::bad_alloc&) {
  }
}

bool Shard::remove_tagged(std::uint64_t version, std::size_t most, std::size_t& live,
                          OperationScope& operation) noexcept {
  if (!tags_) return false;
  for (std::size_t n = 0; n < most; ++n) {
    const Entry* const row = tags_->any_with(version);
    if (row == nullptr) return false;
    const std::uint64_t hash = table_.hash(*row);
    Entry* const entry = table_.find(hash, row->key());
    assert(entry == row);
    const bool is_live = clock_.is_live(entry->deadline);
    if (is_live) ++live;
    remove(hash, *entry, is_live ? Removal::erased : Removal::expired, operation);
  }
  tidy();
  return true;
}

// Makes the new entry and a slot for it. If memory is short, evicts other entries. Sets `found` to
// null if it was evicted, too. Throws std::bad_alloc.
Entry* Shard::make(Entry*& found, Write& write, OperationScope& operation) {
  for (int evictions = 8;; --evictions) {
    try {
      if (found == nullptr) table_.reserve_one();
      return Entry::make(write.key, write.value, write.deadline, heap_);
    } catch (const std::bad_alloc&) {
      Entry* const victim = order_->pick();
      if (evictions == 0 || victim == nullptr) throw;
      if (victim == found) found = nullptr;
      evict(*victim, operation);
    }
  }
}

// Evicts until the operation has room for `whole`, including what `found` occupies. Sets `found` to
// null if it was evicted, too. False if other shards should evict something.
bool Shard::make_room(Entry*& found, const Amount& whole, std::int64_t now,
                      OperationScope& operation) noexcept {
  if (found == nullptr && !operation.cover(whole)) sweep(now, buckets_swept_for_room, operation);
  for (;;) {
    const Amount needed = found == nullptr ? whole : whole - amount_of(*found);
    if (operation.cover(needed)) return true;
    if (is_poor(operation)) return false;
    if (settings_.policy == Policy::django && needed.entries > 0 &&
        table_.size() >= settings_.max_entries) {
      cull(now, operation);
      continue;
    }
    Entry* const victim = order_->pick();
    if (victim == nullptr) return false;
    if (victim == found) found = nullptr;
    evict(*victim, operation);
  }
}

// Room is made in the shard of the write, so that shards keep their sizes. But a shard that lost
// much to a large value would otherwise stay small forever.
bool Shard::is_poor(const OperationScope& operation) const noexcept {
  return !operation.took_elsewhere() &&
         static_cast<std::int64_t>(bytes_) * 2 * shards_ < operation.taken_in_all().bytes;
}

// Like Django's locmem, but expired entries go first, and at least one entry goes.
void Shard::cull(std::int64_t now, OperationScope& operation) noexcept {
  remove_if([now](const Entry& entry) { return entry.deadline <= now; }, Removal::expired,
            operation);
  if (table_.size() < settings_.max_entries) return;
  const std::uint64_t share =
      settings_.cull_frequency == 0 ? table_.size() : table_.size() / settings_.cull_frequency;
  for (auto left = std::max<std::uint64_t>(share, 1); left > 0; --left) evict_one(operation);
}

bool Shard::evict_one(OperationScope& operation) noexcept {
  Entry* const victim = order_->pick();
  if (victim == nullptr) return false;
  evict(*victim, operation);
  return true;
}

void Shard::evict(Entry& entry, OperationScope& operation) noexcept {
  const std::uint64_t hash = table_.hash(entry);
  table_.prefetch(hash);
  order_->prefetch(hash);
  order_->evict(entry, hash);
  table_.erase(hash, entry);
  take_away(entry, Removal::size, operation);
  prepare_eviction();
}

// Prefetches what the next eviction here will read, since memory is slow and that eviction is some
// time away. The key of the next entry was prefetched at the previous eviction.
void Shard::prepare_eviction() const noexcept {
  const Entry* const next = order_->likely_next();
  if (next == nullptr) return;
  const std::uint64_t hash = table_.hash(*next);
  table_.prefetch(hash);
  order_->prefetch(hash);
  if (next->newer == nullptr) return;
  __builtin_prefetch(next->newer);
  __builtin_prefetch(reinterpret_cast<const char*>(next->newer) + 64);
}

void Shard::remove(std::uint64_t hash, Entry& entry, Removal cause,
                   OperationScope& operation) noexcept {
  table_.erase(hash, entry);
  order_->remove(entry);
  take_away(entry, cause, operation);
}

void Shard::take_away(Entry& entry, Removal cause, OperationScope& operation) noexcept {
  if (TagStamp::is_version(entry)) [[unlikely]]
    tag_stamp_.raise();
  if (tags_) [[unlikely]]
    tags_->remove(entry);
  bytes_ -= entry.charge();
  ++removals_[static_cast<std::size_t>(cause)];
  operation.bury(entry, cause);
}

void Shard::clear(OperationScope& operation) noexcept {
  for (std::size_t bucket = 0; bucket < table_.buckets(); ++bucket) {
    table_.visit_bucket(bucket, [&](Entry& entry) {
      order_->remove(entry);
      take_away(entry, Removal::erased, operation);
    });
  }
  table_.clear();
  order_->forget();
}

bool Shard::move_some() noexcept {
  constexpr int moved_at_once = 8;
  for (int moved = 0; moved < moved_at_once && heap_.is_wasteful(); ++moved) {
    auto* const entry = static_cast<Entry*>(heap_.next_to_move());
    if (entry == nullptr) return moved > 0;
    const std::uint64_t hash = table_.hash(*entry);
    // A removed entry may still wait to be reported to a listener.
    const bool is_here = table_.find(hash, entry->key()) == entry;
    Entry* const copy = is_here ? Entry::copy_of(*entry, heap_) : nullptr;
    if (copy == nullptr) {
      heap_.stop_moving();
      return moved > 0;
    }
    table_.replace(hash, *entry, *copy);
    order_->replace(*entry, *copy);
    if (tags_) [[unlikely]] {
      tags_->remove(*entry);
      index_tags(*copy);
    }
    Entry::destroy(entry);
  }
  return true;
}

void Shard::set_deadline(Entry& entry, std::int64_t deadline) noexcept {
  entry.deadline = deadline;
  note(deadline);
}

void Shard::note(std::int64_t deadline) noexcept {
  ends_from_ = std::min(ends_from_, deadline);
  next_ends_from_ = std::min(next_ends_from_, deadline);
}

void Shard::sweep(std::int64_t now, std::size_t buckets, OperationScope& operation) noexcept {
  for (; buckets > 0 && now >= ends_from_ && table_.size() > 0; --buckets) {
    sweep_bucket(now, operation);
  }
}

void Shard::sweep_bucket(std::int64_t now, OperationScope& operation) noexcept {
  if (swept_table_ != table_.rebuilt()) {  // all entries have moved
    swept_table_ = table_.rebuilt();
    swept_ = 0;
  }
  if (swept_ == table_.buckets()) {
    swept_ = 0;
    ends_from_ = std::exchange(next_ends_from_, DeadlineClock::no_deadline);
    return;
  }
  table_.visit_bucket(swept_, [&](Entry& entry) {
    if (entry.deadline <= now) {
      remove(table_.hash(entry), entry, Removal::expired, operation);
    } else {
      next_ends_from_ = std::min(next_ends_from_, entry.deadline);
    }
  });
  if (++swept_ < table_.buckets()) {  // the next write reads these
    table_.visit_bucket(swept_, [](const Entry& entry) { __builtin_prefetch(&entry); });
  }
}

}  // namespace polycache::locmem
