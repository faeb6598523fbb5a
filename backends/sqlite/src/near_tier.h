// Entries of the file in this process's memory (the option "near"). Each is valid until the next
// commit to the file, by whatever process. A reader compares stamps, so a writer tells no one.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "log_stamp.h"

namespace polycache::sqlite {

// Thread-safe. REQUIRES of every call: no fork during it (Inside)
class NearTier {
 public:
  // `bytes`: of keys, values, and what is needed for each entry; the entries used longest ago go.
  explicit NearTier(std::size_t bytes) noexcept : bytes_of_shard_(bytes / shards) {}

  std::size_t bytes() const noexcept { return bytes_of_shard_ * shards; }

  // Writes the value and the expiry of an entry to `value` and `expires`. Returns whether there is
  // one that was read from the file at this stamp and has not expired at `now` (milliseconds). If
  // the clock was set back since it was read, the file has to be asked.
  bool find(std::string_view key, const LogStamp& stamp, std::int64_t now, std::string& value,
            std::int64_t& expires);

  // Keeps what was read from the file after the stamp was.
  void keep(std::string_view key, std::string_view value, std::int64_t expires,
            const LogStamp& stamp, std::int64_t now);

 private:
  static constexpr std::size_t shards = 16;
  // Of an entry without its key and value, about.
  static constexpr std::size_t overhead = 200;

  struct Entry {
    std::string key;
    std::string value;
    std::int64_t expires;
    std::int64_t read_at;
    LogStamp stamp;
  };
  using Entries = std::list<Entry>;

  struct alignas(64) Shard {
    std::mutex mutex;
    Entries entries;  // the one used last is the first; guarded by mutex
    std::unordered_map<std::string_view, Entries::iterator> by_key;
    std::size_t bytes = 0;
  };

  static std::size_t size_of(std::string_view key, std::string_view value) noexcept {
    return key.size() + value.size() + overhead;
  }
  Shard& shard_of(std::size_t hash) noexcept { return shards_[hash % shards]; }
  static void remove(Shard& shard, Entries::iterator entry);

  const std::size_t bytes_of_shard_;
  std::array<Shard, shards> shards_;
};

}  // namespace polycache::sqlite
