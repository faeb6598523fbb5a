// Parses the replies of a memcached server in the text protocol from the bytes that arrive, one
// reply after the other, however they are split. No I/O.
//
// Nothing is trusted: input that is not exactly a reply is reported as nonsense as soon as it can
// no longer become one, and no more memory is taken than a value may have.
//
//   while ((state = reader.next(reply, values)) == ReplyReader::State::incomplete) {
//     reader.arrived(receive(reader.room()));
//   }

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "reply.h"

namespace polycache::memcached {

class ReplyReader {
 public:
  // Which values may arrive: none were requested, or those of this kind.
  enum class Values : std::uint8_t { none, plain, versioned };
  enum class State : std::uint8_t {
    reply,
    incomplete,  // more bytes are needed
    nonsense,    // not a reply of memcached
    too_large,   // a value beyond the limit is announced
  };

  // `usual_bytes`: the buffer's size, which grows for larger values only. REQUIRES: 1 KiB or more.
  ReplyReader(std::size_t max_value_bytes, std::size_t usual_bytes);

  // Where to put the next bytes. Empty if is_full(), which is never true after `incomplete`.
  std::span<char> room() noexcept;
  // Reports that this many bytes were put there.
  void arrived(std::size_t bytes) noexcept { end_ += bytes; }

  // Extracts the next reply. Its views are valid until room() or next() is called; those of a value
  // stay valid while the next reply, which ends the answer, is extracted.
  State next(Reply& reply, Values values);

  bool is_empty() const noexcept { return begin_ == end_; }
  bool is_full() const noexcept { return begin_ == 0 && end_ == capacity_; }
  // Discards everything, and releases memory that only a large value needed.
  void clear();
  // Releases all memory; clear() must be called before any other use.
  void release() noexcept;

 private:
  std::string_view unread() const noexcept { return {bytes_.get() + begin_, end_ - begin_}; }
  State next_value(std::string_view line, Reply& reply, Values values);
  void make_room_for(std::size_t bytes);

  const std::size_t max_value_bytes_;
  const std::size_t usual_bytes_;
  std::size_t capacity_ = 0;
  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0;  // of the unread bytes
  std::size_t end_ = 0;
};

}  // namespace polycache::memcached
