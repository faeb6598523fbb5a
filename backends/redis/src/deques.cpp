// Deques: a list of redis for each. They have no lifetime, so that policies which evict keys with
// one keep them. A command whose reply was lost is never repeated, since it would take effect
// twice.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

// The server's integers are signed.
std::int64_t as_integer(std::uint64_t count) noexcept {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  return static_cast<std::int64_t>(std::min(count, most));
}

}  // namespace

void Session::compose_push(std::string_view key, End end,
                           std::span<const std::string_view> values) {
  commands_.begin(2 + values.size());
  commands_.word(end == End::front ? "LPUSH" : "RPUSH");
  commands_.word(key);
  for (const std::string_view value : values) commands_.word(value);
}

void Session::push(std::string_view key, End end, std::span<const std::string_view> values,
                   std::uint64_t most) {
  for (const std::string_view value : values) {
    if (fits(value)) continue;
    throw ValueError("a value of " + std::to_string(value.size()) +
                     " bytes is larger than the store allows; it was not added");
  }
  if (most > 0) return push_and_trim(key, end, values, most);
  commands_.clear();
  compose_push(key, end, values);
  ask(key, Purpose::write, deadline(), Repeat::if_refused, {.types = one_of(Type::integer)},
      ignore);
}

void Session::push_and_trim(std::string_view key, End end, std::span<const std::string_view> values,
                            std::uint64_t most) {
  commands_.clear();
  commands_.begin("*1\r\n$5\r\nMULTI\r\n");
  compose_push(key, end, values);
  commands_.begin(4);
  commands_.word("LTRIM");
  commands_.word(key);
  commands_.number(end == End::front ? 0 : -as_integer(most));
  commands_.number(end == End::front ? as_integer(most) - 1 : -1);
  commands_.begin("*1\r\n$4\r\nEXEC\r\n");
  run(key, Purpose::write, deadline(), Repeat::if_refused, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    std::string error;
    for (std::size_t i = 1; i < commands_.count(); ++i) {
      Answer queued = receive(connection);
      if (error.empty()) error = std::move(queued.error);
    }
    connection.receive([&](const Element& element) {
      if (element.type == Type::error && error.empty()) error = element.text;
    });
    if (!error.empty()) throw_error(connection, error);
  });
}

bool Session::pop(std::string_view key, End end, ValueSink sink) {
  commands_.clear();
  commands_.begin(2);
  commands_.word(end == End::front ? "LPOP" : "RPOP");
  commands_.word(key);
  return ask(key, Purpose::erase, deadline(), Repeat::if_refused,
             {.types = one_of(Type::string, Type::nil)}, sink)
             .type == Type::string;
}

bool Session::at(std::string_view key, std::int64_t place, ValueSink sink) {
  commands_.clear();
  commands_.begin(3);
  commands_.word("LINDEX");
  commands_.word(key);
  commands_.number(place);
  return ask(key, Purpose::read_latest, deadline(), Repeat::if_broken,
             {.types = one_of(Type::string, Type::nil)}, sink)
             .type == Type::string;
}

std::size_t Session::list(std::string_view key, std::uint64_t from, std::size_t at_most,
                          ValueSink sink) {
  const std::int64_t first = as_integer(from);
  std::int64_t last = 0;
  if (__builtin_add_overflow(first, as_integer(at_most) - 1, &last)) last = as_integer(SIZE_MAX);
  commands_.clear();
  commands_.begin(4);
  commands_.word("LRANGE");
  commands_.word(key);
  commands_.number(first);
  commands_.number(last);
  std::size_t count = 0;
  run(key, Purpose::read_latest, deadline(), Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    std::string error;
    connection.receive([&](const Element& element) {
      if (element.type == Type::error) error = element.text;
      if (element.depth != 1 || element.type != Type::string) return;
      delivered_ = true;  // from now on it is not repeated
      ++count;
      sink(element.text);
    });
    if (!error.empty()) throw_error(connection, error);
  });
  return count;
}

std::uint64_t Session::size(std::string_view key) {
  commands_.clear();
  commands_.begin(2);
  commands_.word("LLEN");
  commands_.word(key);
  const Answer answer = ask(key, Purpose::read_latest, deadline(), Repeat::if_broken,
                            {.types = one_of(Type::integer)}, ignore);
  return static_cast<std::uint64_t>(answer.integer);
}

void Session::rotate(std::string_view key, std::int64_t steps) {
  const std::string digits = std::to_string(steps);
  const std::array<std::string_view, 1> arguments{digits};
  const auto answer = run_script(Purpose::write, deadline(), rotate_script, key, arguments,
                                 {.types = one_of(Type::integer)}, ignore);
  if (!answer) throw_no_scripts(key, "rotating a deque needs");
}

bool Session::erase_deque(std::string_view key) {
  commands_.clear();
  commands_.begin(2);
  commands_.word("DEL");
  commands_.word(key);
  return ask(key, Purpose::erase, deadline(), Repeat::if_refused, {.types = one_of(Type::integer)},
             ignore)
             .integer != 0;
}

}  // namespace polycache::redis
