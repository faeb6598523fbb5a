// Lets a test and the layers of its configuration find the same object: by a name, and by the
// clock that both use, so that tests with clocks of their own do not interfere.

#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/author/clock.h"

namespace polycache::testing {

// Created at the first call, and again after its last owner is gone. Thread-safe.
template <class T>
std::shared_ptr<T> shared_by_name(std::string_view name, const Clock& clock) {
  using Key = std::pair<std::uint64_t, std::string>;
  struct Objects {
    std::mutex mutex;
    // Guarded by the mutex.
    std::map<Key, std::weak_ptr<T>> by_key;
    std::size_t most = 16;  // beyond this number, objects without owners are removed
  };
  static Objects& objects = *new Objects;  // never destroyed: layers may outlive main()

  const std::lock_guard lock(objects.mutex);
  if (objects.by_key.size() >= objects.most) {
    std::erase_if(objects.by_key, [](const auto& entry) { return entry.second.expired(); });
    objects.most = 16 + 2 * objects.by_key.size();
  }
  std::weak_ptr<T>& known = objects.by_key[Key(clock.identity(), name)];
  std::shared_ptr<T> object = known.lock();
  if (!object) known = object = std::make_shared<T>();
  return object;
}

}  // namespace polycache::testing
