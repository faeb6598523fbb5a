// Objects that are costly to make, such as the contexts of a compression library, kept for the next
// use. Any thread takes one, and has it to itself until the lease ends.
//
//   ObjectPool<Context> contexts_;
//   const auto context = contexts_.take([] { return std::make_unique<Context>(); });
//   context->use();

#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "polycache/detail/export.h"  // C++20

namespace polycache {

// Thread-safe and without a lock, so that a fork in another thread leaves no lock behind. Keeps at
// most `capacity` idle objects; more that are given back at the same time are destroyed.
// REQUIRES: the pool outlives its leases
template <class T, std::size_t capacity = 8>
class ObjectPool {
 public:
  ObjectPool() = default;
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;
  ~ObjectPool() {
    for (auto& slot : idle_) delete slot.load(std::memory_order_acquire);
  }

  class Lease {
   public:
    Lease(ObjectPool& pool, std::unique_ptr<T> object) noexcept
        : pool_(pool), object_(std::move(object)) {}
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() { pool_.give_back(std::move(object_)); }

    T* operator->() const noexcept { return object_.get(); }
    T& operator*() const noexcept { return *object_; }

   private:
    ObjectPool& pool_;
    std::unique_ptr<T> object_;
  };

  // An idle object, in the state in which it was given back; or a new one by `make`, which returns
  // a std::unique_ptr<T> that is not null. Throws what `make` throws.
  template <class Make>
  Lease take(Make&& make) {
    for (auto& slot : idle_) {
      if (slot.load(std::memory_order_relaxed) == nullptr) continue;
      // Its next user sees what the last one wrote.
      if (T* const object = slot.exchange(nullptr, std::memory_order_acquire)) {
        return Lease(*this, std::unique_ptr<T>(object));
      }
    }
    return Lease(*this, std::forward<Make>(make)());
  }

 private:
  void give_back(std::unique_ptr<T> object) noexcept {
    for (auto& slot : idle_) {
      T* expected = nullptr;
      if (slot.load(std::memory_order_relaxed) == nullptr &&
          slot.compare_exchange_strong(expected, object.get(), std::memory_order_release,
                                       std::memory_order_relaxed)) {
        static_cast<void>(object.release());
        return;
      }
    }
  }

  std::array<std::atomic<T*>, capacity> idle_{};
};

}  // namespace polycache
