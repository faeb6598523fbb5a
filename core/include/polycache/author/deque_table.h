// Deques in the memory of one process, for stores that offer DequeExtension and live there.
//
//   std::uint64_t size(std::string_view key) override { return shared_->deques.size(key); }
//
// Thread-safe. A child of fork() begins with a copy of what its parent had; a thread that forks
// while another one uses the table needs lock_for_fork() and unlock_after_fork().

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/spin_lock.h"

namespace polycache {

class DequeTable {
 public:
  using End = DequeExtension::End;

  DequeTable() = default;
  DequeTable(const DequeTable&) = delete;
  DequeTable& operator=(const DequeTable&) = delete;

  // These do what DequeExtension says.

  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) {
    Values added(values.begin(), values.end());  // all of them, or none if there is no memory
    const std::lock_guard lock(mutex_);
    const auto at = deques_.try_emplace(std::string(key)).first;
    const EraseIfEmpty erase{deques_, at};  // also if there is no memory for them
    Values& all = at->second;
    if (end == End::back) {
      all.insert(all.end(), std::move_iterator(added.begin()), std::move_iterator(added.end()));
      while (most > 0 && all.size() > most) all.pop_front();
    } else {
      all.insert(all.begin(), std::move_iterator(added.rbegin()), std::move_iterator(added.rend()));
      while (most > 0 && all.size() > most) all.pop_back();
    }
  }

  bool pop(std::string_view key, End end, ValueSink sink) {
    const std::optional<std::string> value = take(key, end);
    if (value) sink(*value);
    return value.has_value();
  }

  bool at(std::string_view key, std::int64_t place, ValueSink sink) {
    std::string value;
    {
      const std::lock_guard lock(mutex_);
      const auto found = deques_.find(key);
      if (found == deques_.end()) return false;
      const auto count = static_cast<std::int64_t>(found->second.size());
      const std::int64_t index = place < 0 ? place + count : place;
      if (index < 0 || index >= count) return false;
      value = found->second[static_cast<std::size_t>(index)];
    }
    sink(value);
    return true;
  }

  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most, ValueSink sink) {
    std::vector<std::string> page;
    {
      const std::lock_guard lock(mutex_);
      const auto found = deques_.find(key);
      if (found == deques_.end() || from >= found->second.size()) return 0;
      const auto first = found->second.begin() + static_cast<std::ptrdiff_t>(from);
      const std::size_t count =
          std::min(at_most, found->second.size() - static_cast<std::size_t>(from));
      page.assign(first, first + static_cast<std::ptrdiff_t>(count));
    }
    for (const std::string& value : page) sink(value);
    return page.size();
  }

  std::uint64_t size(std::string_view key) {
    const std::lock_guard lock(mutex_);
    const auto found = deques_.find(key);
    return found == deques_.end() ? 0 : found->second.size();
  }

  void rotate(std::string_view key, std::int64_t steps) {
    const std::lock_guard lock(mutex_);
    const auto found = deques_.find(key);
    if (found == deques_.end()) return;
    Values& all = found->second;
    const auto count = static_cast<std::int64_t>(all.size());
    // How many of the first values go to the back.
    const std::int64_t first = (count - steps % count) % count;
    std::rotate(all.begin(), all.begin() + first, all.end());
  }

  bool erase_deque(std::string_view key) {
    const std::lock_guard lock(mutex_);
    const auto found = deques_.find(key);
    if (found == deques_.end()) return false;
    deques_.erase(found);
    return true;
  }

  void lock_for_fork() noexcept { mutex_.lock(); }
  void unlock_after_fork() noexcept { mutex_.unlock(); }

 private:
  using Values = std::deque<std::string>;
  using Deques = std::map<std::string, Values, std::less<>>;

  struct EraseIfEmpty {
    Deques& deques;
    const Deques::iterator at;
    ~EraseIfEmpty() {
      if (at->second.empty()) deques.erase(at);
    }
  };

  std::optional<std::string> take(std::string_view key, End end) {
    const std::lock_guard lock(mutex_);
    const auto found = deques_.find(key);
    if (found == deques_.end()) return std::nullopt;
    Values& all = found->second;
    std::string value;
    if (end == End::front) {
      value = std::move(all.front());
      all.pop_front();
    } else {
      value = std::move(all.back());
      all.pop_back();
    }
    if (all.empty()) deques_.erase(found);
    return value;
  }

  SpinLock mutex_;
  Deques deques_;  // guarded by the mutex; none is empty
};

}  // namespace polycache
