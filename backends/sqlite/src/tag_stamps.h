// The stamps of a session (TagStampExtension): SQLite's data version, which every commit to the
// file changes, and a number for what changes without a commit.

#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace polycache::sqlite {

// Used by one thread. Times are those of Moment, in milliseconds.
class TagStamps {
 public:
  // From now on all stamps differ from earlier ones: another file or connection is read, whose data
  // versions have nothing to do with those of the one before.
  void renew() noexcept {
    number_ = next_.fetch_add(1, std::memory_order_relaxed);
    ends_from_ = std::numeric_limits<std::int64_t>::max();
  }

  // A read begins.
  void note_read(std::int64_t now) noexcept { now_ = now; }
  // It has found the version of a tag, which ends then: no commit says so.
  void note_version(std::int64_t ends) noexcept {
    if (ends < ends_from_) ends_from_ = ends;
  }

  // REQUIRES: data_version is of the connection that was opened before renew()
  std::uint64_t stamp(std::uint32_t data_version) noexcept {
    // If the clock was set back, a version may count as absent (Moment::latest).
    if (now_ >= ends_from_ || now_ < stamped_) renew();
    stamped_ = now_;
    return std::uint64_t{number_} << 32U | data_version;
  }

 private:
  // Of the process: sessions share no number. A forked child continues from its parent's.
  static inline constinit std::atomic<std::uint32_t> next_{1};

  std::uint32_t number_ = 0;
  std::int64_t ends_from_ = std::numeric_limits<std::int64_t>::max();  // the earliest end
  std::int64_t now_ = std::numeric_limits<std::int64_t>::min();
  std::int64_t stamped_ = std::numeric_limits<std::int64_t>::min();  // when the latest was made
};

}  // namespace polycache::sqlite
