#include "front/retries.h"

#include <algorithm>
#include <iterator>
#include <mutex>

#include "base/cold_mutex.h"

namespace polycache {

bool Retries::must_wait(std::string_view key) const {
  if (size_.load(std::memory_order_relaxed) == 0) return false;
  const auto now = clock_.steady_now();
  const std::lock_guard lock(cold_mutex());
  const auto found = by_key_.find(key);
  return found != by_key_.end() && now < found->second->until;
}

void Retries::wait(std::string_view key, Delay delay) {
  const std::lock_guard lock(cold_mutex());
  put(key, delay);
}

void Retries::back_off(std::string_view key, Delay longest) {
  const std::lock_guard lock(cold_mutex());
  const auto found = by_key_.find(key);
  put(key, std::min(longest, found == by_key_.end() ? first_delay : 2 * found->second->delay));
}

void Retries::succeeded(std::string_view key) {
  if (size_.load(std::memory_order_relaxed) == 0) return;
  const std::lock_guard lock(cold_mutex());
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  const auto item = found->second;
  by_key_.erase(found);
  items_.erase(item);
  size_.store(items_.size(), std::memory_order_relaxed);
}

void Retries::put(std::string_view key, Delay delay) {
  const auto until = clock_.steady_now() + delay;
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    const auto item = found->second;
    item->until = until;
    item->delay = delay;
    items_.splice(items_.end(), items_, item);
    return;
  }
  items_.push_back({std::string(key), until, delay});
  by_key_.emplace(items_.back().key, std::prev(items_.end()));
  if (items_.size() > most_keys) {
    by_key_.erase(items_.front().key);
    items_.pop_front();
  }
  size_.store(items_.size(), std::memory_order_relaxed);
}

}  // namespace polycache
