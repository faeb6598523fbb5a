// Growing pauses between attempts, with jitter, so that many clients that lost one server do not
// reconnect in step.
//
// Not thread-safe.

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "polycache/detail/export.h"

namespace polycache {

class Backoff {
 public:
  // REQUIRES: 0 < first <= longest
  constexpr Backoff(std::chrono::milliseconds first, std::chrono::milliseconds longest,
                    std::uint64_t seed) noexcept
      : first_(first), longest_(longest), pause_(first), random_(seed | 1U) {}

  // The pause after one more failure: first, twice that, ..., longest; each shortened or lengthened
  // by up to a fifth. `salt`, such as the time, makes processes differ that were forked from one.
  std::chrono::nanoseconds next(std::uint64_t salt = 0) noexcept {
    const std::chrono::milliseconds pause = pause_;
    pause_ = std::min(longest_, pause_ * 2);
    random_ = (random_ ^ (salt * 0x9E3779B97F4A7C15U)) | 1U;
    random_ ^= random_ << 13U;  // xorshift64, Marsaglia 2003
    random_ ^= random_ >> 7U;
    random_ ^= random_ << 17U;
    const auto nanoseconds = std::chrono::nanoseconds(pause).count();
    const auto jitter =
        static_cast<std::int64_t>(random_ % (static_cast<std::uint64_t>(nanoseconds) / 5 * 2 + 1));
    return std::chrono::nanoseconds(nanoseconds - nanoseconds / 5 + jitter);
  }

  // After a success: the next pause is the first one again.
  void reset() noexcept { pause_ = first_; }

 private:
  std::chrono::milliseconds first_;
  std::chrono::milliseconds longest_;
  std::chrono::milliseconds pause_;
  std::uint64_t random_;
};

}  // namespace polycache
