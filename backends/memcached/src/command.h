// Composes commands in memcached's text protocol: "get k\r\n". No I/O. A connection reuses one
// buffer for all operations. REQUIRES of all keys: they passed check_key().

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "item.h"

namespace polycache::memcached {

class CommandBuffer {
 public:
  // The most bytes that a store adds, without the value.
  static constexpr std::size_t most_of_store = 128 + max_key;

  // Removes everything; keeps the memory.
  void clear() noexcept { bytes_.clear(); }

  void version() { bytes_ += "version\r\n"; }
  void statistics() { bytes_ += "stats\r\n"; }
  void flush_all() { bytes_ += "flush_all\r\n"; }
  // Lists all items: in the order of the hash table, or by the lists of the LRU, which an older
  // server knows.
  void dump(bool by_hash) { bytes_ += by_hash ? dump_by_hash : dump_by_lists; }
  void get(std::span<const std::string_view> keys, Want want);
  // A store is its line, the value, and an end; the caller may send a large value from its own
  // place. `version`: for replace_version only.
  void begin_store(How how, const NewItem& item, std::uint64_t version);
  void value(std::string_view bytes) { bytes_ += bytes; }
  void end_store() { bytes_ += "\r\n"; }
  // The deletion, after a read of the flags if they are wanted. `has_meta`: the server knows mg,
  // which does not send the value.
  void erase(std::string_view key, Look look, bool has_meta);

  bool empty() const noexcept { return bytes_.empty(); }
  std::string_view bytes() const noexcept { return bytes_; }

 private:
  static constexpr std::string_view dump_by_hash = "lru_crawler metadump hash\r\n";
  static constexpr std::string_view dump_by_lists = "lru_crawler metadump all\r\n";

  std::string bytes_;
};

}  // namespace polycache::memcached
