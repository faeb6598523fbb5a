#include "dump_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

#include "item.h"

namespace polycache::memcached {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{64} << 10U;

// A key has at most 250 bytes, each of which may become three; the rest is a few numbers.
constexpr std::size_t longest_line = 2048;

template <class Number>
std::optional<Number> number_in(std::string_view text) noexcept {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// "a%20b" becomes "a b". Returns false if it is no such text.
bool decode(std::string_view text, std::string& key) {
  key.clear();
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      key += text[at];
      continue;
    }
    if (text.size() - at < 3) return false;
    const int high = hex_digit(text[at + 1]);
    const int low = hex_digit(text[at + 2]);
    if (high < 0 || low < 0) return false;
    key += static_cast<char>(high * 16 + low);
    at += 2;
  }
  return !key.empty() && key.size() <= max_key;
}

}  // namespace

DumpReader::DumpReader() : bytes_(std::make_unique_for_overwrite<char[]>(buffer_bytes)) {}

std::span<char> DumpReader::room() noexcept {
  if (begin_ != 0) {
    std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  return {bytes_.get() + end_, buffer_bytes - end_};
}

DumpReader::State DumpReader::next(DumpedItem& item) {
  const std::string_view unread(bytes_.get() + begin_, end_ - begin_);
  const std::size_t newline = unread.substr(0, longest_line).find('\n');
  if (newline == std::string_view::npos) {
    return unread.size() < longest_line ? State::incomplete : State::nonsense;
  }
  std::string_view line = unread.substr(0, newline);
  if (line.ends_with('\r')) line.remove_suffix(1);  // servers end items without it
  begin_ += newline + 1;
  if (line == "END") return State::end;
  if (line.starts_with("key=")) return parse(line, item) ? State::item : State::nonsense;
  if (line.empty() || line.front() < 'A' || line.front() > 'Z') return State::nonsense;
  sentence_ = line;
  return State::sentence;
}

bool DumpReader::parse(std::string_view line, DumpedItem& item) {
  item = {};
  while (!line.empty()) {
    const std::size_t blank = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, blank);
    line.remove_prefix(std::min(blank + 1, line.size()));
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;  // of a newer server
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (name == "key") {
      if (!decode(value, key_)) return false;
      item.key = key_;
    } else if (name == "exp") {
      const auto expiration = number_in<std::int64_t>(value);
      if (!expiration) return false;
      item.expiration = *expiration > 0 ? *expiration : 0;
    } else if (name == "size") {
      const auto size = number_in<std::uint64_t>(value);
      if (!size) return false;
      item.size = *size;
    }
  }
  return true;
}

}  // namespace polycache::memcached
