// One entry in memory: a header, key and value in one allocation, from the heap of its shard if it
// fits there. A value over most_inline_value bytes has its own allocation, shared with readers, so
// that nothing large is copied under a lock; its entry, and one with a long key, comes from the
// system's allocator.

#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "heap.h"

namespace polycache::locmem {

// Bytes shared by several owners. Immutable.
class SharedValue {
 public:
  // Throws std::bad_alloc. The caller is the first owner.
  static SharedValue* make(std::string_view bytes);

  void acquire() noexcept { owners_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept;
  std::string_view bytes() const noexcept {
    return {reinterpret_cast<const char*>(this + 1), size_};
  }
  static std::size_t allocation(std::size_t size) noexcept { return sizeof(SharedValue) + size; }

 private:
  explicit SharedValue(std::size_t size) noexcept : size_(size) {}

  std::atomic<std::uint32_t> owners_{1};
  std::size_t size_;
};

// One owner of a SharedValue, or none.
class ValueOwner {
 public:
  ValueOwner() = default;
  explicit ValueOwner(SharedValue* owned) noexcept : value_(owned) {}
  ValueOwner(ValueOwner&& other) noexcept : value_(std::exchange(other.value_, nullptr)) {}
  ValueOwner& operator=(ValueOwner&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  ~ValueOwner() {
    if (value_ != nullptr) value_->release();
  }

  SharedValue* get() const noexcept { return value_; }
  SharedValue* give_away() noexcept { return std::exchange(value_, nullptr); }

 private:
  SharedValue* value_ = nullptr;
};

// A value to be stored: its bytes, and its allocation if it is large, made before a lock is taken.
struct NewValue {
  explicit NewValue(std::string_view value);  // throws std::bad_alloc

  std::string_view bytes;
  ValueOwner large = {};
};

// Guarded by the lock of its shard.
class Entry {
 public:
  static constexpr std::size_t most_inline_value = 1024;
  static constexpr std::size_t max_key = (std::size_t{1} << 23) - 1;
  static constexpr std::size_t max_value = (std::size_t{1} << 32) - 1;

  // The memory that an entry occupies, including the allocator's overhead and its share of the
  // tables.
  static std::uint64_t charge(std::size_t key_size, std::size_t value_size) noexcept;

  // Throws std::bad_alloc. REQUIRES: the sizes are within the limits above.
  static Entry* make(std::string_view key, NewValue& value, std::int64_t deadline, Heap& heap);
  // A copy elsewhere in the heap, with which the caller replaces the entry; null if there is no
  // room. REQUIRES: the entry is from that heap.
  static Entry* copy_of(const Entry& entry, Heap& heap) noexcept;
  // REQUIRES: the heap's lock is held if it is from one.
  static void destroy(Entry* entry) noexcept;

  std::string_view key() const noexcept { return {payload() + key_offset(), key_size_}; }
  std::string_view value() const noexcept {
    return is_large() ? large()->bytes()
                      : std::string_view(payload() + key_offset() + key_size_, value_size_);
  }
  std::size_t value_size() const noexcept { return value_size_; }
  std::uint64_t charge() const noexcept { return charge(key_size_, value_size_); }
  // Its inline bytes; a large value is stored elsewhere.
  std::uint32_t bytes() const noexcept {
    return static_cast<std::uint32_t>(allocation(key_size_, value_size_));
  }
  bool is_large() const noexcept { return value_size_ > most_inline_value; }
  bool is_from_heap() const noexcept { return from_heap_ != 0; }
  SharedValue* large() const noexcept;

  // Replaces the value in place; returns false and changes nothing if it does not fit there.
  bool overwrite(std::string_view value) noexcept;

  // A byte for the eviction order; after removal, the cause.
  std::uint8_t mark() const noexcept { return static_cast<std::uint8_t>(mark_); }
  void set_mark(std::uint8_t mark) noexcept { mark_ = mark; }

  // The neighbours in whichever list contains the entry.
  Entry* newer = nullptr;
  Entry* older = nullptr;
  std::int64_t deadline;  // DeadlineClock

 private:
  Entry(std::size_t key_size, std::size_t value_size, std::int64_t end) noexcept
      : deadline(end),
        value_size_(static_cast<std::uint32_t>(value_size)),
        key_size_(static_cast<std::uint32_t>(key_size) & max_key) {}

  static std::size_t allocation(std::size_t key_size, std::size_t value_size) noexcept;
  char* payload() noexcept { return reinterpret_cast<char*>(this + 1); }
  const char* payload() const noexcept { return reinterpret_cast<const char*>(this + 1); }
  // A large value's pointer comes first, so that it is aligned.
  std::size_t key_offset() const noexcept { return is_large() ? sizeof(SharedValue*) : 0; }

  std::uint32_t value_size_;
  std::uint32_t mark_ : 8 = 0;
  std::uint32_t from_heap_ : 1 = 0;
  std::uint32_t key_size_ : 23;
};

static_assert(sizeof(Entry) == 32, "the header counts for every entry");

}  // namespace polycache::locmem
