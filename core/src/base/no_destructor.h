// A static object that is never destroyed, so that threads that outlive main can use it.

#pragma once

#include <new>
#include <utility>

namespace polycache {

template <class T>
class NoDestructor {
 public:
  template <class... Args>
  explicit NoDestructor(Args&&... args) {
    ::new (static_cast<void*>(storage_)) T(std::forward<Args>(args)...);
  }
  NoDestructor(const NoDestructor&) = delete;
  NoDestructor& operator=(const NoDestructor&) = delete;

  T* operator->() noexcept { return get(); }
  T& operator*() noexcept { return *get(); }

 private:
  T* get() noexcept { return std::launder(reinterpret_cast<T*>(storage_)); }

  alignas(T) unsigned char storage_[sizeof(T)];
};

}  // namespace polycache
