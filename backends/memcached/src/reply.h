// What a memcached server says in the text protocol, cut out of the bytes that arrive: one
// reply after the other, however they are sliced.
//
// Nothing is believed: what is not exactly a reply is nonsense, as soon as it cannot become
// one any more, and no memory is taken for more than a value may have.
//
//   while ((state = inbox.next(reply, values)) == Inbox::State::incomplete) {
//     inbox.arrived(receive(inbox.room()));
//   }

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "item.h"

namespace polycache::memcached {

struct Reply {
  enum class Kind : std::uint8_t {
    value,
    end,
    stored,
    not_stored,
    exists,
    not_found,
    deleted,
    ok,
    version,
    error,
    client_error,
    server_error,
    meta_hit,  // with the item's flags
    meta_miss,
  };

  Kind kind = Kind::error;
  Found item;             // of a value; its flags only, of a meta_hit
  std::string_view line;  // of all others, without its end
};

class Inbox {
 public:
  // Which values may come: none is asked for, or such ones.
  enum class Values : std::uint8_t { none, plain, versioned };
  enum class State : std::uint8_t {
    reply,
    incomplete,  // it needs more bytes
    nonsense,    // this is nothing that memcached says
    too_large,   // a value beyond the limit is announced
  };

  // `usual_bytes`: of the buffer, which grows for larger values only. REQUIRES: 1 KiB or more.
  Inbox(std::size_t max_value_bytes, std::size_t usual_bytes);

  // Where the next bytes go. Empty if is_full(), which it never is after `incomplete`.
  std::span<char> room() noexcept;
  // So many were put there.
  void arrived(std::size_t bytes) noexcept { end_ += bytes; }

  // Takes the next reply out. Its views are valid until room() or next() is called; those of
  // a value stay so while the reply behind it, which ends the answer, is taken.
  State next(Reply& reply, Values values);

  bool is_empty() const noexcept { return begin_ == end_; }
  bool is_full() const noexcept { return begin_ == 0 && end_ == capacity_; }
  // Forgets everything, and gives back memory that only a large value needed.
  void clear();
  // Gives back all memory; then clear() comes before anything else.
  void release() noexcept;

 private:
  std::string_view unread() const noexcept { return {bytes_.get() + begin_, end_ - begin_}; }
  State next_value(std::string_view line, Reply& reply, Values values);
  void make_room_for(std::size_t bytes);

  const std::size_t max_value_bytes_;
  const std::size_t usual_bytes_;
  std::size_t capacity_ = 0;
  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0;  // of what was not read yet
  std::size_t end_ = 0;
};

}  // namespace polycache::memcached
