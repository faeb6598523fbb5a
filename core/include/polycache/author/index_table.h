// Ordered maps in the memory of one process, for stores that offer IndexExtension and live there.
//
//   bool find(const Place& place, std::string_view key, ValueSink sink) override {
//     return shared_->indexes.find(place, key, sink);
//   }
//
// Thread-safe. A child of fork() has a copy of the maps; a thread that forks while another one uses
// the table needs lock_for_fork() and unlock_after_fork(). Where memory ends, std::bad_alloc is
// thrown, and nothing has changed.

#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/index_extension.h"
#include "polycache/author/spin_lock.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

// `held`: the type that the index has.
[[noreturn]] inline void throw_other_type(const IndexExtension::Place& place,
                                          std::string_view held) {
  throw ValueError("it holds " + quote(held) + ", not " + quote(place.type) +
                   "; use the types with which it was made, or another name, or clear() it");
}

class IndexTable {
 public:
  using Place = IndexExtension::Place;
  using Range = IndexExtension::Range;
  using Side = IndexExtension::Side;

  IndexTable() = default;
  IndexTable(const IndexTable&) = delete;
  IndexTable& operator=(const IndexTable&) = delete;

  // These do what IndexExtension says.

  bool find(const Place& place, std::string_view key, ValueSink sink) {
    std::optional<std::string> value;
    {
      const std::lock_guard lock(mutex_);
      Index* const index = index_of(place);
      const auto item = index == nullptr ? Item() : index->items.find(key);
      if (index != nullptr && item != index->items.end()) value = item->second.value;
    }
    if (value) sink(*value);
    return value.has_value();
  }

  IndexExtension::Put put(const Place& place, std::string_view key, std::string_view value,
                          PutMode mode, ValueSink sink) {
    std::string held;
    {
      const std::lock_guard lock(mutex_);
      Index* const index = mode == PutMode::if_present ? index_of(place) : &made(place);
      const auto item = index == nullptr ? Item() : index->items.find(key);
      const bool was_there = index != nullptr && item != index->items.end();
      if (!was_there) {
        if (mode == PutMode::if_present) return {};
        index->add(key, value);
        return {.stored = true};
      }
      if (mode != PutMode::if_absent) {
        item->second.value = value;
        return {.stored = true, .was_there = true};
      }
      held = item->second.value;
    }
    sink(held);
    return {.was_there = true};
  }

  bool erase(const Place& place, std::string_view key, ValueSink sink) {
    std::string value;
    {
      const std::lock_guard lock(mutex_);
      Index* const index = index_of(place);
      if (index == nullptr) return false;
      const auto item = index->items.find(key);
      if (item == index->items.end()) return false;
      value = index->remove(item).mapped().value;
    }
    sink(value);
    return true;
  }

  bool take(const Place& place, Side side, IndexExtension::EntrySink sink) {
    Items::node_type taken;
    {
      const std::lock_guard lock(mutex_);
      Index* const index = index_of(place);
      if (index == nullptr || index->items.empty()) return false;
      taken = index->remove(index->at(side));
    }
    sink({.key = taken.key(), .value = taken.mapped().value, .position = taken.mapped().position});
    return true;
  }

  bool list(const Place& place, const Range& range, IndexExtension::EntrySink sink) {
    std::vector<std::pair<std::string, Held>> page;
    bool more = false;
    {
      const std::lock_guard lock(mutex_);
      Index* const index = index_of(place);
      if (index == nullptr) return false;
      const auto keep = [&](Item item) {
        more = page.size() == range.at_most;
        if (!more) page.emplace_back(*item);
        return !more;
      };
      index->visit(range, keep);
    }
    for (const auto& [key, held] : page) {
      sink({.key = key, .value = held.value, .position = held.position});
    }
    return more;
  }

  std::uint64_t count(const Place& place) {
    const std::lock_guard lock(mutex_);
    const Index* const index = index_of(place);
    return index == nullptr ? 0 : index->items.size();
  }

  std::uint64_t clear(const Place& place) {
    std::map<std::string, Index, std::less<>>::node_type removed;  // freed outside the lock
    const std::lock_guard lock(mutex_);
    const auto index = indexes_.find(place.key);
    if (index == indexes_.end()) return 0;
    removed = indexes_.extract(index);
    return removed.mapped().items.size();
  }

  void lock_for_fork() noexcept { mutex_.lock(); }
  void unlock_after_fork() noexcept { mutex_.unlock(); }

 private:
  struct Held {
    std::string value;
    std::uint64_t position = 0;
  };
  using Items = std::map<std::string, Held, std::less<>>;
  using Item = Items::iterator;

  struct Index {
    std::string type;
    IndexExtension::Order order = IndexExtension::Order::by_key;
    Items items = {};
    std::map<std::uint64_t, Item> by_position = {};  // by insertion only
    std::uint64_t last = 0;                          // position

    bool is_by_key() const noexcept { return order == IndexExtension::Order::by_key; }

    // REQUIRES: the key is not there.
    void add(std::string_view key, std::string_view value) {
      const std::uint64_t position = is_by_key() ? 0 : last + 1;
      const Item item = items.emplace(key, Held{std::string(value), position}).first;
      if (is_by_key()) return;
      try {
        by_position.emplace(position, item);
      } catch (...) {
        items.erase(item);
        throw;
      }
      last = position;
    }
    Items::node_type remove(Item item) {
      by_position.erase(item->second.position);
      return items.extract(item);
    }
    // REQUIRES: there are items.
    Item at(Side side) {
      if (!is_by_key()) {
        return side == Side::first ? by_position.begin()->second : by_position.rbegin()->second;
      }
      return side == Side::first ? items.begin() : std::prev(items.end());
    }
    // Calls `keep` for the items within the range's limits of this order, until it returns false.
    template <class Keep>
    void visit(const Range& range, Keep keep) {
      if (is_by_key()) {
        if (range.to && *range.to <= range.from) return;
        const auto last_item = range.to ? items.lower_bound(*range.to) : items.end();
        walk(items.lower_bound(range.from), last_item, range.side, keep);
      } else if (range.after < range.before) {
        walk(by_position.upper_bound(range.after), by_position.lower_bound(range.before),
             range.side, [&](auto place) { return keep(place->second); });
      }
    }
    template <class Iterator, class Keep>
    static void walk(Iterator first, Iterator last, Side side, Keep keep) {
      while (first != last) {
        if (!keep(side == Side::first ? first++ : --last)) return;
      }
    }
  };

  // Null if there is no such index.
  Index* index_of(const Place& place) {
    const auto index = indexes_.find(place.key);
    if (index == indexes_.end()) return nullptr;
    if (index->second.type != place.type) throw_other_type(place, index->second.type);
    return &index->second;
  }
  Index& made(const Place& place) {
    if (Index* const index = index_of(place)) return *index;
    return indexes_.emplace(std::string(place.key), Index{std::string(place.type), place.order})
        .first->second;
  }

  SpinLock mutex_;  // guards what follows
  std::map<std::string, Index, std::less<>> indexes_;
};

}  // namespace polycache
