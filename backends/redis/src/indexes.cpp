// Indexes: scripts on a hash of what is known of an index, a sorted set of its keys and a hash of
// its values.

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/index_table.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

constexpr std::size_t most_listed = 1000;  // in one step, for which the server serves no one else

bool is_other_type(std::string_view error) noexcept {
  return error.find(other_type_mark) != std::string_view::npos;
}

std::string_view name_of(PutMode mode) noexcept {
  if (mode == PutMode::if_absent) return "if_absent";
  return mode == PutMode::if_present ? "if_present" : "always";
}

std::uint64_t position_in(std::string_view digits) noexcept {
  std::uint64_t position = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), position);
  return position;
}

// The arguments of ZRANGEBYSCORE and ZRANGEBYLEX.
struct Bounds {
  std::string first;
  std::string last;
};
Bounds bounds_of(const IndexExtension::Place& place, const IndexExtension::Range& range) {
  if (place.order == IndexExtension::Order::by_insertion) {
    return {"(" + std::to_string(range.after),
            range.before == UINT64_MAX ? "+inf" : "(" + std::to_string(range.before)};
  }
  return {"[" + std::string(range.from), range.to ? "(" + std::string(*range.to) : "+"};
}

}  // namespace

// A read may be repeated, whatever happened to the first one.
Answer Session::run_index_script(const Script& script, const IndexExtension::Place& place,
                                 std::initializer_list<std::string_view> arguments, Purpose purpose,
                                 ValueSink sink) {
  const std::string order = std::string(place.key) + ":o";
  const std::string values = std::string(place.key) + ":v";
  std::vector<std::string_view> all{order, values, place.type};
  all.insert(all.end(), arguments);
  const auto receive_parts = [&](Connection& connection) {
    parts_.clear();
    Answer answer;
    connection.receive([&](const Element& element) {
      if (element.depth == 0) {
        answer.type = element.type;
        answer.integer = element.integer;
        if (element.type == Type::error) answer.error = element.text;
        if (element.type == Type::string) sink(element.text);
      } else if (element.type == Type::string) {
        parts_.emplace_back(element.text);
      }
    });
    if (is_out_of_memory(answer.error)) connection.note_no_memory();
    return answer;
  };
  const bool reads = purpose == Purpose::read_latest;
  auto answer = run_script(purpose, deadline(), reads ? Repeat::if_broken : Repeat::if_refused,
                           script, place.key, all,
                           {.types = one_of(Type::string, Type::integer, Type::nil, Type::array),
                            .tolerated = is_other_type},
                           receive_parts, 2);
  if (!answer) throw_no_scripts(place.key, "indexes need");
  if (answer->type != Type::error) return std::move(*answer);
  const std::string_view error = answer->error;
  throw_other_type(place, error.substr(error.find(other_type_mark) + other_type_mark.size()));
}

bool Session::find(const IndexExtension::Place& place, std::string_view key, ValueSink sink) {
  std::string value;
  const Answer answer = run_index_script(find_in_index_script, place, {key}, Purpose::read_latest,
                                         [&](std::string_view bytes) { value = bytes; });
  if (answer.type != Type::string) return false;
  sink(value);
  return true;
}

IndexExtension::Put Session::put(const IndexExtension::Place& place, std::string_view key,
                                 std::string_view value, PutMode mode, ValueSink sink) {
  if (!fits(key) || !fits(value)) {
    throw ValueError("a key of " + std::to_string(key.size()) + " bytes with a value of " +
                     std::to_string(value.size()) +
                     " was not stored: one is larger than max_value_bytes");
  }
  const bool by_insertion = place.order == IndexExtension::Order::by_insertion;
  std::string held;
  const Answer answer = run_index_script(
      put_in_index_script, place, {key, value, name_of(mode), by_insertion ? "1" : "0"},
      Purpose::write, [&](std::string_view bytes) { held = bytes; });
  if (answer.type == Type::integer) {
    return {.stored = answer.integer != 0, .was_there = answer.integer == 2};
  }
  sink(held);
  return {.was_there = true};
}

bool Session::erase(const IndexExtension::Place& place, std::string_view key, ValueSink sink) {
  std::string value;
  const Answer answer = run_index_script(erase_from_index_script, place, {key}, Purpose::erase,
                                         [&](std::string_view bytes) { value = bytes; });
  if (answer.type != Type::string) return false;
  sink(value);
  return true;
}

// Returns how many. The sink may use this session.
std::size_t Session::deliver_parts(std::size_t first, IndexExtension::EntrySink sink) {
  const std::vector<std::string> parts = std::move(parts_);
  std::size_t count = 0;
  for (std::size_t i = first; i + 2 < parts.size(); i += 3, ++count) {
    sink({.key = parts[i], .value = parts[i + 1], .position = position_in(parts[i + 2])});
  }
  return count;
}

bool Session::take(const IndexExtension::Place& place, IndexExtension::Side side,
                   IndexExtension::EntrySink sink) {
  run_index_script(take_from_index_script, place,
                   {side == IndexExtension::Side::first ? "first" : "last"}, Purpose::erase,
                   ignore);
  return deliver_parts(0, sink) > 0;
}

bool Session::list(const IndexExtension::Place& place, const IndexExtension::Range& range,
                   IndexExtension::EntrySink sink) {
  const bool by_key = place.order == IndexExtension::Order::by_key;
  const bool forwards = range.side == IndexExtension::Side::first;
  Bounds bounds = bounds_of(place, range);
  if (!forwards) std::swap(bounds.first, bounds.last);
  const std::string_view command = by_key ? (forwards ? "ZRANGEBYLEX" : "ZREVRANGEBYLEX")
                                          : (forwards ? "ZRANGEBYSCORE" : "ZREVRANGEBYSCORE");
  const std::string most = std::to_string(std::min(range.at_most, most_listed));
  run_index_script(list_index_script, place, {command, bounds.first, bounds.last, most},
                   Purpose::read_latest, ignore);
  const bool more = !parts_.empty() && parts_.front() == "1";
  deliver_parts(1, sink);
  return more;
}

std::uint64_t Session::count(const IndexExtension::Place& place) {
  return static_cast<std::uint64_t>(
      run_index_script(count_index_script, place, {}, Purpose::read_latest, ignore).integer);
}

std::uint64_t Session::clear(const IndexExtension::Place& place) {
  return static_cast<std::uint64_t>(
      run_index_script(clear_index_script, place, {}, Purpose::erase, ignore).integer);
}

}  // namespace polycache::redis
