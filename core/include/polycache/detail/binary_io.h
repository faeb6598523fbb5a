// For codec_binary.h: the bytes that it writes and reads.

#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/detail/export.h"  // C++20

namespace polycache::detail::binary {

inline constexpr std::size_t max_members = 16;
inline constexpr int max_depth = 128;

// The hash of a type's description; also its text, if there is a place for it.
class Signature {
 public:
  constexpr Signature() noexcept = default;
  // `text`: as long as size() is in the end.
  constexpr explicit Signature(char* text) noexcept : text_(text) {}

  constexpr void add(std::string_view text) noexcept {
    for (const char c : text) {
      state_ = (state_ ^ static_cast<unsigned char>(c)) * std::uint64_t{0x100000001b3};
      if (text_ != nullptr) text_[size_] = c;
      ++size_;
    }
  }
  constexpr void add(std::intmax_t number) noexcept {
    if (number >= 10) add(number / 10);
    const char digit = static_cast<char>('0' + number % 10);
    add(std::string_view(&digit, 1));
  }
  constexpr std::uint64_t value() const noexcept { return state_; }
  constexpr std::size_t size() const noexcept { return size_; }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325;
  char* text_ = nullptr;
  std::size_t size_ = 0;
};

// Counts the nested structs during the traversal of a value.
class Depth {
 public:
  explicit Depth(int& depth) noexcept : depth_(depth) { ++depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  ~Depth() { --depth_; }

 private:
  int& depth_;
};

template <class T>
std::array<char, sizeof(T)> to_little_endian(T number) noexcept {
  auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(number);
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(bytes);
  return bytes;
}

template <class T>
T from_little_endian(const char* at) noexcept {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), at, sizeof(T));
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(bytes);
  return std::bit_cast<T>(bytes);
}

// Appends to a string whose size is kept ahead of the written bytes, so that a number costs one
// comparison and a copy. finish() corrects the size.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {
    if (out_.size() < first_size) out_.resize(first_size);
    at_ = out_.data();
    end_ = at_ + out_.size();
  }

  template <class T>
  void put(T number) {
    const auto bytes = to_little_endian(number);
    std::memcpy(take(sizeof(T)), bytes.data(), sizeof(T));
  }
  void put_bytes(const void* bytes, std::size_t size) {
    if (size != 0) std::memcpy(take(size), bytes, size);
  }
  void put_size(std::uint64_t size) {
    for (; size >= 0x80; size >>= 7) *take(1) = static_cast<char>(size | 0x80);
    *take(1) = static_cast<char>(size);
  }
  std::string_view finish() {
    out_.resize(static_cast<std::size_t>(at_ - out_.data()));
    return out_;
  }
  int& depth() noexcept { return depth_; }

 private:
  static constexpr std::size_t first_size = 128;

  char* take(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) [[unlikely]]
      grow(size);
    return std::exchange(at_, at_ + size);
  }
  void grow(std::size_t size) {
    const auto used = static_cast<std::size_t>(at_ - out_.data());
    out_.resize(std::max(out_.size() * 2, used + size));
    at_ = out_.data() + used;
    end_ = out_.data() + out_.size();
  }

  std::string& out_;
  char* at_;
  char* end_;
  int depth_ = 0;
};

// Each function returns whether the input contained the requested item.
class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  template <class T>
  bool get(T& number) noexcept {
    if (left() < sizeof(T)) return false;
    number = from_little_endian<T>(at_);
    at_ += sizeof(T);
    return true;
  }
  bool get_bytes(void* bytes, std::size_t size) noexcept {
    if (left() < size) return false;
    if (size != 0) std::memcpy(bytes, at_, size);
    at_ += size;
    return true;
  }
  // The next `size` bytes, not copied. REQUIRES: size <= left().
  std::string_view view(std::size_t size) noexcept {
    return {std::exchange(at_, at_ + size), size};
  }
  bool get_flag(bool& flag) noexcept {
    std::uint8_t byte = 0;
    if (!get(byte) || byte > 1) return false;
    flag = byte == 1;
    return true;
  }
  // Reads a number of elements, each of which takes at least `least` bytes.
  bool get_size(std::size_t& size, std::size_t least) noexcept {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      std::uint8_t byte = 0;
      if (!get(byte)) return false;
      const std::uint64_t bits = byte & 0x7fU;
      if ((bits << shift) >> shift != bits) return false;
      number |= bits << shift;
      if (byte >= 0x80) continue;
      if ((byte == 0 && shift != 0) || number > left() / least) return false;
      size = static_cast<std::size_t>(number);
      return true;
    }
    return false;
  }
  int& depth() noexcept { return depth_; }

 private:
  const char* at_;
  const char* end_;
  int depth_ = 0;
};

}  // namespace polycache::detail::binary
