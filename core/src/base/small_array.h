// An array whose size is known when it is made; up to `few` elements need no allocation.

#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <span>

namespace polycache {

template <class T, std::size_t few>
class SmallArray {
 public:
  explicit SmallArray(std::size_t size) : size_(size) {
    if (size > few) many_ = std::make_unique<T[]>(size);
  }
  SmallArray(const SmallArray&) = delete;
  SmallArray& operator=(const SmallArray&) = delete;

  std::size_t size() const noexcept { return size_; }
  T* begin() noexcept { return many_ ? many_.get() : few_.data(); }
  T* end() noexcept { return begin() + size_; }
  T& operator[](std::size_t i) noexcept { return begin()[i]; }
  std::span<T> all() noexcept { return {begin(), size_}; }

 private:
  const std::size_t size_;
  std::array<T, few> few_;
  std::unique_ptr<T[]> many_;
};

}  // namespace polycache
