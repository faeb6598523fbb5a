#include "answer.h"

#include <array>
#include <charconv>
#include <system_error>

namespace polycache::memcached {
namespace {

using Kind = Reply::Kind;

// The server's errors for a value that is too large, or for which it has no memory.
bool refuses_the_value(std::string_view line) noexcept {
  return line.find("too large") != std::string_view::npos ||
         line.find("out of memory") != std::string_view::npos;
}

}  // namespace

std::string_view version_in(const Reply& reply) noexcept {
  constexpr std::string_view word = "VERSION ";
  if (reply.kind != Kind::version || reply.line.size() <= word.size()) return {};
  const std::string_view version = reply.line.substr(word.size());
  return version[0] >= '0' && version[0] <= '9' ? version : std::string_view();
}

bool has_meta_commands(std::string_view version) noexcept {
  std::array<int, 3> numbers{};
  const char* at = version.data();
  const char* const end = at + version.size();
  for (int& number : numbers) {
    const auto [rest, error] = std::from_chars(at, end, number);
    if (error != std::errc()) break;
    at = rest != end && *rest == '.' ? rest + 1 : end;
  }
  return numbers >= std::array{1, 6, 12};
}

std::optional<Outcome> outcome_of(How how, const Reply& reply) noexcept {
  switch (reply.kind) {
    case Kind::stored:
      return Outcome::done;
    case Kind::not_stored:
      if (how == How::add) return Outcome::exists;
      break;
    case Kind::exists:
      if (how == How::replace_version) return Outcome::exists;
      break;
    case Kind::not_found:
      if (how == How::replace_version) return Outcome::absent;
      break;
    case Kind::server_error:
      if (refuses_the_value(reply.line)) return Outcome::refused;
      break;
    default:
      break;
  }
  return std::nullopt;
}

void GetAnswer::begin(std::span<const std::string_view> keys) {
  keys_ = keys;
  next_ = 0;
  answered_.assign(keys.size(), false);
}

std::optional<std::size_t> GetAnswer::search(const Found& item) {
  for (std::size_t tried = 0; tried < keys_.size(); ++tried) {
    const std::size_t i =
        next_ + tried < keys_.size() ? next_ + tried : next_ + tried - keys_.size();
    if (answered_[i] || keys_[i] != item.key) continue;
    answered_[i] = true;
    next_ = i + 1;
    return i;
  }
  return std::nullopt;
}

EraseAnswer::Step EraseAnswer::take(const Reply& reply) noexcept {
  switch (awaits_) {
    case Awaits::item:
      if (reply.kind == (has_meta_ ? Kind::meta_hit : Kind::value)) {
        result_.flags = reply.item.flags;
      } else if (reply.kind != (has_meta_ ? Kind::meta_miss : Kind::end)) {
        return Step::wrong;
      }
      awaits_ = reply.kind == Kind::value ? Awaits::end_of_item : Awaits::deletion;
      return Step::more;
    case Awaits::end_of_item:
      if (reply.kind != Kind::end) return Step::wrong;
      awaits_ = Awaits::deletion;
      return Step::more;
    default:
      result_.done = reply.kind == Kind::deleted;
      return result_.done || reply.kind == Kind::not_found ? Step::done : Step::wrong;
  }
}

}  // namespace polycache::memcached
