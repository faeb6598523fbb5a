#include "reply_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <system_error>

namespace polycache::memcached {
namespace {

using Kind = Reply::Kind;

constexpr std::size_t kept_bytes = std::size_t{256} << 10U;

constexpr std::string_view line_end = "\r\n";
constexpr std::string_view value_word = "VALUE ";
constexpr std::string_view end_line = "END\r\n";

// Errors are sentences; a value line has three numbers of at most twenty digits.
constexpr std::size_t longest_line = 1024;
constexpr std::size_t longest_value_line = value_word.size() + max_key + 3 * 21 + line_end.size();

// How lines begin; a beginning that includes the line end is a whole line. Common ones come first.
struct Beginning {
  std::string_view text;
  Kind kind;
};
constexpr std::array beginnings{
    Beginning{"END\r\n", Kind::end},
    Beginning{"STORED\r\n", Kind::stored},
    Beginning{"DELETED\r\n", Kind::deleted},
    Beginning{"NOT_FOUND\r\n", Kind::not_found},
    Beginning{"NOT_STORED\r\n", Kind::not_stored},
    Beginning{"EXISTS\r\n", Kind::exists},
    Beginning{"HD f", Kind::meta_hit},
    Beginning{"EN\r\n", Kind::meta_miss},
    Beginning{"OK\r\n", Kind::ok},
    Beginning{"VERSION ", Kind::version},
    Beginning{"SERVER_ERROR ", Kind::server_error},
    Beginning{"CLIENT_ERROR ", Kind::client_error},
    Beginning{"ERROR\r\n", Kind::error},
    Beginning{"ERROR ", Kind::error},
    Beginning{"OK f", Kind::meta_hit},  // with the server's option meta_response_old
};
constexpr std::size_t flags_of_hit = std::string_view("HD f").size();

// REQUIRES: the line has its end.
std::optional<Kind> kind_of(std::string_view line) noexcept {
  for (const Beginning& beginning : beginnings) {
    if (line.starts_with(beginning.text)) return beginning.kind;
  }
  return std::nullopt;
}

bool may_begin_with(std::string_view bytes, std::string_view beginning) noexcept {
  const std::size_t common = std::min(bytes.size(), beginning.size());
  return bytes.substr(0, common) == beginning.substr(0, common);
}

// Whether bytes without a line end may become a valid line.
bool may_become_a_line(std::string_view bytes, ReplyReader::Values values) noexcept {
  if (values != ReplyReader::Values::none && may_begin_with(bytes, value_word)) {
    return bytes.size() < longest_value_line;
  }
  return bytes.size() < longest_line &&
         std::any_of(beginnings.begin(), beginnings.end(), [&](const Beginning& beginning) {
           return may_begin_with(bytes, beginning.text);
         });
}

// Removes a number from the front, in the server's format: no sign, no leading zeros.
template <class Number>
std::optional<Number> take_number(std::string_view& text) noexcept {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || digits == 0 || (digits > 1 && text.front() == '0')) {
    return std::nullopt;
  }
  text.remove_prefix(digits);
  return number;
}

bool take_blank(std::string_view& text) noexcept {
  if (!text.starts_with(' ')) return false;
  text.remove_prefix(1);
  return true;
}

struct ValueLine {
  std::size_t key_size;
  std::uint32_t flags;
  std::uint64_t size;
  std::uint64_t version;
};

// "VALUE key flags size", and " version" if that was requested.
std::optional<ValueLine> parse_value_line(std::string_view line, bool versioned) noexcept {
  std::string_view rest = line.substr(value_word.size());
  const std::size_t key_size = rest.find(' ');
  if (key_size == 0 || key_size == std::string_view::npos || key_size > max_key) {
    return std::nullopt;
  }
  rest.remove_prefix(key_size + 1);
  const auto flags = take_number<std::uint32_t>(rest);
  if (!flags || !take_blank(rest)) return std::nullopt;
  const auto size = take_number<std::uint64_t>(rest);
  if (!size) return std::nullopt;
  std::uint64_t version = 0;
  if (versioned) {
    if (!take_blank(rest)) return std::nullopt;
    const auto number = take_number<std::uint64_t>(rest);
    if (!number) return std::nullopt;
    version = *number;
  }
  if (!rest.empty()) return std::nullopt;
  return ValueLine{key_size, *flags, *size, version};
}

}  // namespace

ReplyReader::ReplyReader(std::size_t max_value_bytes, std::size_t usual_bytes)
    : max_value_bytes_(max_value_bytes), usual_bytes_(usual_bytes) {
  clear();
}

void ReplyReader::clear() {
  begin_ = 0;
  end_ = 0;
  if (capacity_ != 0 && capacity_ <= kept_bytes) return;
  release();
  bytes_ = std::make_unique_for_overwrite<char[]>(usual_bytes_);
  capacity_ = usual_bytes_;
}

void ReplyReader::release() noexcept {
  bytes_.reset();
  capacity_ = 0;
  begin_ = 0;
  end_ = 0;
}

std::span<char> ReplyReader::room() noexcept {
  if (end_ == capacity_ && begin_ != 0) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {bytes_.get() + end_, capacity_ - end_};
}

// Makes room for a reply of this size. The memory is allocated at once, since untouched memory
// costs nothing.
void ReplyReader::make_room_for(std::size_t bytes) {
  if (capacity_ - begin_ >= bytes) return;
  if (capacity_ >= bytes) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
  } else {
    auto larger = std::make_unique_for_overwrite<char[]>(bytes);
    std::memcpy(larger.get(), bytes_.get() + begin_, end_ - begin_);
    bytes_ = std::move(larger);
    capacity_ = bytes;
  }
  end_ -= begin_;
  begin_ = 0;
}

ReplyReader::State ReplyReader::next(Reply& reply, Values values) {
  const std::string_view bytes = unread();
  const std::size_t newline = bytes.substr(0, longest_line).find('\n');
  if (newline == std::string_view::npos) {
    return may_become_a_line(bytes, values) ? State::incomplete : State::nonsense;
  }
  const std::string_view whole = bytes.substr(0, newline + 1);
  if (!whole.ends_with(line_end)) return State::nonsense;
  const std::string_view line = whole.substr(0, whole.size() - line_end.size());
  if (values != Values::none && line.starts_with(value_word))
    return next_value(line, reply, values);
  const auto kind = kind_of(whole);
  if (!kind) return State::nonsense;
  reply = {.kind = *kind, .item = {}, .line = line};
  if (*kind == Kind::meta_hit) {
    // The flags are followed by information on leases of other clients.
    std::string_view rest = line.substr(flags_of_hit);
    const auto flags = take_number<std::uint32_t>(rest);
    if (!flags || (!rest.empty() && rest.front() != ' ')) return State::nonsense;
    reply.item.flags = *flags;
  }
  begin_ += whole.size();
  return State::reply;
}

// Reserves room for the end of the answer behind the value, so that reading it does not move the
// value.
ReplyReader::State ReplyReader::next_value(std::string_view line, Reply& reply, Values values) {
  const auto parsed = parse_value_line(line, values == Values::versioned);
  if (!parsed) return State::nonsense;
  if (parsed->size > max_value_bytes_) return State::too_large;
  const auto size = static_cast<std::size_t>(parsed->size);
  const std::size_t head = line.size() + line_end.size();
  const std::size_t whole = head + size + line_end.size();
  make_room_for(whole + end_line.size());
  const std::string_view bytes = unread();
  if (bytes.size() < whole) return State::incomplete;
  if (bytes.substr(head + size, line_end.size()) != line_end) return State::nonsense;
  begin_ += whole;
  reply = {.kind = Kind::value,
           .item = {.key = bytes.substr(value_word.size(), parsed->key_size),
                    .value = bytes.substr(head, size),
                    .flags = parsed->flags,
                    .version = parsed->version},
           .line = {}};
  return State::reply;
}

}  // namespace polycache::memcached
