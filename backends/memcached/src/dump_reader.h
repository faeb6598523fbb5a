// Parses what a memcached server sends for "lru_crawler metadump": a line for each item, "key=a%20b
// exp=1764403200 la=1764403100 cas=7 fetch=no cls=1 size=63", then "END". No I/O.
//
// Nothing is trusted: a line is bounded, and one that is neither an item nor a short sentence of
// the server is nonsense.
//
//   while ((state = reader.next(line)) == DumpReader::State::incomplete) {
//     reader.arrived(receive(reader.room()));
//   }

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace polycache::memcached {

// One item. The key is valid until the reader is called again.
struct DumpedItem {
  std::string_view key;
  std::int64_t expiration = 0;  // in Unix seconds by the server's clock; 0: none
  std::uint64_t size = 0;       // of the whole item, with the server's overhead; 0: not given
};

class DumpReader {
 public:
  enum class State : std::uint8_t {
    item,
    end,         // no more items
    sentence,    // the server says something else: sentence()
    incomplete,  // more bytes are needed
    nonsense,
  };

  DumpReader();

  // Where to put the next bytes. Never empty after `incomplete`.
  std::span<char> room() noexcept;
  void arrived(std::size_t bytes) noexcept { end_ += bytes; }

  // Extracts the next line.
  State next(DumpedItem& item);

  // Without the end of its line; valid until the reader is called again.
  std::string_view sentence() const noexcept { return sentence_; }
  // Whether nothing follows what was extracted.
  bool is_empty() const noexcept { return begin_ == end_; }

 private:
  bool parse(std::string_view line, DumpedItem& item);

  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0;  // of the unread bytes
  std::size_t end_ = 0;
  std::string key_;
  std::string_view sentence_;
};

}  // namespace polycache::memcached
