// Erasing, one by one and by prefix.

#include <algorithm>
#include <functional>
#include <string>

#include "compose.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;

constexpr std::size_t batch_keys = 1000;  // of one command: the server serves others in between
constexpr std::string_view scan_count = "1000";
constexpr std::size_t max_scan_steps = std::size_t{1} << 32U;

// A redis pattern that matches these bytes followed by anything.
std::string pattern_of_prefix(std::string_view prefix) {
  std::string pattern;
  for (const char c : prefix) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + '*';
}

}  // namespace

bool Session::erase(std::string_view key) {
  commands_.clear();
  commands_.begin("*2\r\n$3\r\nDEL\r\n");
  commands_.word(key);
  bool erased = false;
  const bool in_doubt =
      run(key, Purpose::erase, deadline(), Repeat::in_doubt, [&](Connection& connection) {
        connection.send(commands_.bytes(), 1);
        erased = receive(connection, {.types = one_of(Type::integer)}, ignore).integer != 0;
      });
  if (!erased && in_doubt) {
    throw BackendError(Kind::unreachable, owner_of(key).name(),
                       "the connection broke while an entry was erased: it is gone, but whether "
                       "it was there is not known; repeat what depends on that");
  }
  return erased;
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  const Deadline limit = deadline();
  std::size_t erased = 0;
  for_each_part(*topology_, keys, std::identity(),
                [&](auto part, auto /*index_of*/) { erased += erase_part(part, limit); });
  return erased;
}

std::size_t Session::erase_part(std::span<const std::string_view> keys, Deadline deadline) {
  std::size_t erased = 0;
  for (std::size_t begin = 0; begin < keys.size(); begin += batch_keys) {
    const auto batch = keys.subspan(begin, std::min(batch_keys, keys.size() - begin));
    commands_.clear();
    compose(commands_, "DEL", batch);
    // The number of erased entries cannot be determined by repeating.
    run(batch.front(), Purpose::erase, deadline, Repeat::if_refused, [&](Connection& connection) {
      connection.send(commands_.bytes(), commands_.count());
      const Answer answer = receive(connection, {.types = one_of(Type::integer)}, ignore);
      erased += static_cast<std::size_t>(answer.integer);
    });
  }
  return erased;
}

// Asynchronous: the entries are gone at once, their memory later.
void Session::clear() {
  commands_.clear();
  commands_.begin(2);
  commands_.word("FLUSHDB");
  commands_.word("ASYNC");
  topology_->for_each_primary([&](Place place) {
    ask(place, {}, Purpose::erase, deadline(), Repeat::if_refused, {.types = one_of(Type::status)},
        ignore);
  });
}

std::size_t Session::erase_prefix(std::string_view prefix) {
  std::size_t erased = 0;
  topology_->for_each_primary(
      [&](Place place) { erased += erase_pattern(place, pattern_of_prefix(prefix)); });
  return erased;
}

std::size_t Session::erase_pattern(Place place, std::string_view pattern) {
  std::string cursor = "0";
  std::size_t erased = 0;
  for (std::size_t step = 0; step < max_scan_steps; ++step) {
    commands_.clear();
    commands_.begin(6);
    commands_.word("SCAN");
    commands_.word(cursor);
    commands_.word("MATCH");
    commands_.word(pattern);
    commands_.word("COUNT");
    commands_.word(scan_count);
    const Deadline limit = deadline();  // of each step
    scan(place, cursor, limit);
    for_each_part(*topology_, std::span<const std::string>(found_), std::identity(),
                  [&](auto part, auto /*index_of*/) { erased += erase_found(place, part, limit); });
    if (cursor == "0") return erased;
  }
  throw BackendError(Kind::protocol, place.server->name(), "a walk through its keys does not end");
}

// Performs one step, into found_; `cursor` is where the next begins.
void Session::scan(Place place, std::string& cursor, Deadline deadline) {
  run(place, {}, Purpose::erase, deadline, Repeat::if_broken, [&](Connection& connection) {
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
    if (next.empty()) throw_unexpected(connection);
    cursor = next;
  });
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
  place.server->do_without(Feature::unlink, answer.error);
  return erase_found(place, found, deadline);
}

}  // namespace polycache::redis
