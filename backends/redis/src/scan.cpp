// Walking through the keys of the servers, by SCAN: listing them, and erasing by prefix or pattern.
// Keys are read where they are written, never from a replica.

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compose.h"
#include "polycache/author/scan_position.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;

constexpr std::size_t most_of_page = 500;  // of one SCAN: the server serves others in between
constexpr std::size_t most_scans = std::size_t{1} << 32U;

// redis tries every way of dividing a key among the stars of a pattern, so it gets few of them.
constexpr int most_stars = 3;

// A pattern of redis that matches everything that the glob matches, and perhaps more: the found
// keys are compared with the glob. Brackets become '?', since redis compares ranges of signed
// bytes. REQUIRES: it is a glob
std::string redis_pattern(std::string_view glob) {
  std::string pattern;
  int stars = 0;
  for (std::size_t at = 0; at < glob.size(); ++at) {
    const char c = glob[at];
    if (c == '\\') {
      pattern.append(glob.substr(at++, 2));
    } else if (c == '[') {
      while (glob[++at] != ']') {
        if (glob[at] == '\\') ++at;
      }
      pattern += '?';
    } else {
      pattern += c;
      if (c == '*' && ++stars == most_stars) return pattern;
    }
  }
  return pattern;
}

}  // namespace

std::string Session::scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                          FunctionRef<void(const Listed&)> sink) {
  const Glob glob(pattern);
  std::vector<Place> primaries;
  topology_->for_each_primary([&](Place place) { primaries.push_back(place); });
  // The part is a server, the point redis's own cursor there.
  auto position = ScanPosition::from(cursor, primaries.size(), UINT64_MAX, "redis");
  const Place place = primaries[position.part];
  const Deadline limit = deadline();
  find_keys(place, Purpose::read_latest, redis_pattern(pattern), std::min(at_most, most_of_page),
            position.point, limit);
  look_at_found(place, Purpose::read_latest, glob, limit);
  for (std::size_t i = 0; i < found_.size(); ++i) {
    sink({.key = found_[i], .size = listed_[i].size, .left = listed_[i].left});
  }
  if (position.point == 0 && ++position.part == primaries.size()) return {};
  return position.cursor();
}

std::size_t Session::erase_pattern(std::string_view pattern) {
  const Glob glob(pattern);
  std::size_t erased = 0;
  topology_->for_each_primary(
      [&](Place place) { erased += erase_matching(place, redis_pattern(pattern), &glob); });
  return erased;
}

std::size_t Session::erase_prefix(std::string_view prefix) {
  std::size_t erased = 0;
  topology_->for_each_primary(
      [&](Place place) { erased += erase_matching(place, Glob::escape(prefix) + '*', nullptr); });
  return erased;
}

std::size_t Session::erase_matching(Place place, std::string_view pattern, const Glob* glob) {
  std::uint64_t cursor = 0;
  std::size_t erased = 0;
  for (std::size_t step = 0; step < most_scans; ++step) {
    const Deadline limit = deadline();  // of each step
    find_keys(place, Purpose::erase, pattern, most_of_page, cursor, limit);
    if (glob != nullptr) look_at_found(place, Purpose::erase, *glob, limit);
    for_each_part(*topology_, std::span<const std::string>(found_), std::identity(),
                  [&](auto part, auto /*index_of*/) { erased += erase_found(place, part, limit); });
    if (cursor == 0) return erased;
  }
  throw BackendError(Kind::protocol, place.server->name(), "a walk through its keys does not end");
}

void Session::find_keys(Place place, Purpose purpose, std::string_view pattern, std::size_t count,
                        std::uint64_t& cursor, Deadline deadline) {
  commands_.clear();
  commands_.begin(6);
  commands_.word("SCAN");
  commands_.word(std::to_string(cursor));
  commands_.word("MATCH");
  commands_.word(pattern);
  commands_.word("COUNT");
  commands_.number(static_cast<std::int64_t>(count));
  run(place, {}, purpose, deadline, Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    found_.clear();
    std::string next;
    std::string error;
    connection.receive([&](const Element& element) {
      if (element.type == Type::error) error = element.text;
      if (element.type != Type::string) return;
      if (element.depth == 1) next = element.text;
      if (element.depth == 2) found_.emplace_back(element.text);
    });
    if (!error.empty()) throw_error(connection, error);
    const char* const end = next.data() + next.size();
    const auto number = std::from_chars(next.data(), end, cursor);
    if (number.ec != std::errc() || number.ptr != end) throw_unexpected(connection);
  });
}

// In one round trip. Another client may change or remove a key between the two commands; one that
// PTTL no longer finds is not listed.
void Session::look_at_found(Place place, Purpose purpose, const Glob& glob, Deadline deadline) {
  std::erase_if(found_, [&](const std::string& key) { return !glob.matches(key); });
  listed_.clear();
  if (found_.empty()) return;
  commands_.clear();
  for (const std::string& key : found_) {
    commands_.begin("*2\r\n$6\r\nSTRLEN\r\n");
    commands_.word(key);
    commands_.begin("*2\r\n$4\r\nPTTL\r\n");
    commands_.word(key);
  }
  const Expected size{.types = one_of(Type::integer), .tolerated = is_wrong_type};
  constexpr std::int64_t is_gone = -2;
  std::vector<bool> is_listed;
  run(place, {}, purpose, deadline, Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    listed_.clear();
    is_listed.clear();
    for (std::size_t i = 0; i < found_.size(); ++i) {
      const Answer length = receive(connection, size, ignore);
      const Answer left = receive(connection, {.types = one_of(Type::integer)}, ignore);
      is_listed.push_back(length.type == Type::integer && left.integer != is_gone);
      if (!is_listed.back()) continue;
      listed_.push_back({.size = static_cast<std::uint64_t>(length.integer),
                         .left = lifetime_left(left.integer)});
    }
  });
  std::size_t i = 0;
  std::erase_if(found_, [&](const std::string&) { return !is_listed[i++]; });
}

std::size_t Session::erase_found(Place place, std::span<const std::string> found,
                                 Deadline deadline) {
  if (found.empty()) return 0;
  const bool unlink = place.server->has(Feature::unlink);
  commands_.clear();
  compose(commands_, unlink ? "UNLINK" : "DEL", found);
  const Answer answer = ask(
      place, found.front(), Purpose::erase, deadline, Repeat::if_refused,
      {.types = one_of(Type::integer), .tolerated = unlink ? is_denied_command : nullptr}, ignore);
  if (answer.type != Type::error) return static_cast<std::size_t>(answer.integer);
  place.server->use_fallback_for(Feature::unlink, answer.error);
  return erase_found(place, found, deadline);
}

}  // namespace polycache::redis
