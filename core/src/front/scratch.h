// The buffer that values are encoded into.

#pragma once

#include <cstddef>
#include <string>

namespace polycache {

// An encoder's buffer: the cache's own, so that calls need no allocation, unless an enclosing
// operation is using it.
class Scratch {
 public:
  explicit Scratch(std::string& home, bool& taken) noexcept
      : home_(home), taken_(taken), is_home_(!taken) {
    taken = true;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (!is_home_) return;
    taken_ = false;
    if (home_.capacity() > most_kept) [[unlikely]]
      home_ = std::string();
  }

  std::string& buffer() noexcept { return is_home_ ? home_ : own_; }

 private:
  static constexpr std::size_t most_kept = std::size_t{1} << 16U;

  std::string& home_;
  bool& taken_;
  const bool is_home_;
  std::string own_;
};

}  // namespace polycache
