// The replies of a redis server, in parts.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "polycache/author/function_ref.h"

namespace polycache::redis {

// A part of a reply. An array is reported first with its length, then by its elements.
struct Element {
  enum class Type : std::uint8_t { string, status, error, integer, nil, array };
  Type type;
  int depth;              // 0: the reply itself
  std::size_t index;      // in its array
  std::string_view text;  // string, status, error; valid during the call only
  std::int64_t integer;   // integer; array: its length
};
using ElementSink = FunctionRef<void(const Element&)>;

// The common replies that arrive in one piece: a value or none, an array of them, or OK. Such a
// reply is parsed in place, where hiredis would copy it first.
class UsualReply {
 public:
  explicit UsualReply(std::string_view bytes) noexcept : rest_(bytes) {}

  // Whether the bytes are exactly one such reply, and no value exceeds the limit.
  bool is_whole(std::size_t max_value_bytes) const noexcept {
    UsualReply copy = *this;
    std::size_t largest = 0;
    const auto look = [&](const Element& part) { largest = std::max(largest, part.text.size()); };
    return copy.read(look) && copy.rest_.empty() && largest <= max_value_bytes;
  }

  // Passes its parts to the sink. Returns false, possibly after some parts, if it is no such reply.
  template <class Sink>
  bool read(Sink&& sink) {
    if (rest_ == "+OK\r\n") {
      sink(Element{Element::Type::status, 0, 0, take(5).substr(1, 2), 0});
      return true;
    }
    if (!rest_.starts_with('*')) return read_value(0, 0, sink);
    return read_array(sink);
  }

 private:
  static constexpr std::size_t most_digits = 7;

  // Apart, so that the code path of a single value is short.
  template <class Sink>
  [[gnu::noinline]] bool read_array(Sink& sink) {
    const std::optional<std::size_t> count = take_length();
    if (!count) return false;
    sink(Element{Element::Type::array, 0, 0, {}, static_cast<std::int64_t>(*count)});
    for (std::size_t i = 0; i < *count; ++i) {
      if (!read_value(1, i, sink)) return false;
    }
    return true;
  }

  template <class Sink>
  bool read_value(int depth, std::size_t index, Sink& sink) {
    if (rest_.starts_with("$-1\r\n")) {
      take(5);
      sink(Element{Element::Type::nil, depth, index, {}, 0});
      return true;
    }
    if (!rest_.starts_with('$')) return false;
    const std::optional<std::size_t> length = take_length();
    if (!length || rest_.size() < *length + 2) return false;
    const std::string_view value = take(*length);
    if (take(2) != "\r\n") return false;
    sink(Element{Element::Type::string, depth, index, value, 0});
    return true;
  }

  // Of "$5\r\n" and "*5\r\n".
  std::optional<std::size_t> take_length() noexcept {
    std::size_t length = 0;
    std::size_t at = 1;
    for (; at < rest_.size() && rest_[at] >= '0' && rest_[at] <= '9'; ++at) {
      length = length * 10 + static_cast<std::size_t>(rest_[at] - '0');
      if (at > most_digits) return std::nullopt;
    }
    const bool is_number = at == 2 || (at > 2 && rest_[1] != '0');
    if (!is_number || rest_.substr(at, 2) != "\r\n") return std::nullopt;
    take(at + 2);
    return length;
  }

  // REQUIRES: that many bytes are left.
  std::string_view take(std::size_t count) noexcept {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
};

}  // namespace polycache::redis
