#include "deque_rows.h"

#include <algorithm>
#include <limits>

namespace polycache::sqlite {
namespace {

// The place at an end, NULL if there is no such deque. SQLite seeks it in the primary key.
std::string end_of(const std::string& table, const char* function) {
  return "(SELECT " + std::string(function) + "(place) FROM " + table + " WHERE key = ?1)";
}

std::string pop_at(const std::string& table, const char* function) {
  return "DELETE FROM " + table + " WHERE key = ?1 AND place = " + end_of(table, function) +
         " RETURNING value";
}

std::string value_at(const std::string& table, const std::string& place) {
  return "SELECT value FROM " + table + " WHERE key = ?1 AND place = " + place;
}

}  // namespace

DequeRows::DequeRows(Connection& connection, const std::string& table)
    : ends_(connection, "SELECT " + end_of(table, "min") + ", " + end_of(table, "max")),
      push_front_(connection, "INSERT INTO " + table + " VALUES(?1, coalesce(" +
                                  end_of(table, "min") + " - 1, 0), ?2)"),
      push_back_(connection, "INSERT INTO " + table + " VALUES(?1, coalesce(" +
                                 end_of(table, "max") + " + 1, 0), ?2)"),
      insert_(connection, "INSERT INTO " + table + " VALUES(?1, ?3, ?2)"),
      pop_front_(connection, pop_at(table, "min")),
      pop_back_(connection, pop_at(table, "max")),
      from_front_(connection, value_at(table, end_of(table, "min") + " + ?2")),
      from_back_(connection, value_at(table, end_of(table, "max") + " + 1 + ?2")),
      list_(connection, "SELECT value FROM " + table + " WHERE key = ?1 AND place >= " +
                            end_of(table, "min") + " + ?2 ORDER BY place LIMIT ?3"),
      move_(connection, "UPDATE " + table +
                            " SET place = place + ?4 WHERE key = ?1 AND place BETWEEN ?2 AND ?3"),
      erase_range_(connection,
                   "DELETE FROM " + table + " WHERE key = ?1 AND place BETWEEN ?2 AND ?3"),
      erase_(connection, "DELETE FROM " + table + " WHERE key = ?1"),
      connection_(connection) {}

DequeRows::Ends DequeRows::ends(std::string_view key) {
  const Resetting resetting(ends_);
  ends_.bind(1, key).step();  // always a row
  if (ends_.is_null(0)) return {};
  const std::int64_t first = ends_.integer(0);
  return {.first = first, .count = ends_.integer(1) - first + 1};
}

void DequeRows::insert(std::string_view key, std::int64_t place, std::string_view value) {
  insert_.bind(1, key).bind(2, value).bind(3, place).run();
}

void DequeRows::erase(std::string_view key, std::int64_t first, std::int64_t last) {
  erase_range_.bind(1, key).bind(2, first).bind(3, last).run();
}

void DequeRows::move(std::string_view key, std::int64_t first, std::int64_t last, std::int64_t by) {
  move_.bind(1, key).bind(2, first).bind(3, last).bind(4, by).run();
}

void DequeRows::push_one(std::string_view key, End end, std::string_view value) {
  (end == End::front ? push_front_ : push_back_).bind(1, key).bind(2, value).run();
}

void DequeRows::push(std::string_view key, End end, std::span<const std::string_view> values,
                     std::uint64_t most) {
  const Ends before = ends(key);
  const auto added = static_cast<std::int64_t>(values.size());
  const std::int64_t count = before.count + added;
  const std::int64_t first = end == End::front ? before.first - added : before.first;
  std::int64_t place = end == End::front ? before.first : before.first + before.count;
  for (const std::string_view value : values) {
    insert(key, end == End::front ? --place : place++, value);
  }
  if (most == 0 || static_cast<std::uint64_t>(count) <= most) return;
  const std::int64_t excess = count - static_cast<std::int64_t>(most);
  const std::int64_t from = end == End::front ? first + count - excess : first;
  erase(key, from, from + excess - 1);
}

bool DequeRows::pop(std::string_view key, End end, std::string& value) {
  Statement& statement = end == End::front ? pop_front_ : pop_back_;
  const Resetting resetting(statement);
  if (!statement.bind(1, key).step()) return false;
  value.assign(statement.bytes(0));
  statement.step();  // to its end, which commits
  return true;
}

bool DequeRows::at(std::string_view key, std::int64_t place, std::string& value) {
  Statement& statement = place < 0 ? from_back_ : from_front_;
  const Resetting resetting(statement);
  if (!statement.bind(1, key).bind(2, place).step()) return false;
  value.assign(statement.bytes(0));
  return true;
}

std::size_t DequeRows::list(std::string_view key, std::uint64_t from, std::size_t at_most,
                            ValueSink sink) {
  constexpr auto greatest = std::numeric_limits<std::int64_t>::max();
  if (from > static_cast<std::uint64_t>(greatest)) return 0;
  const auto limit = static_cast<std::int64_t>(
      std::min<std::uint64_t>(at_most, static_cast<std::uint64_t>(greatest)));
  const Resetting resetting(list_);
  list_.bind(1, key).bind(2, static_cast<std::int64_t>(from)).bind(3, limit);
  std::size_t count = 0;
  for (; list_.step(); ++count) sink(list_.bytes(0));
  return count;
}

std::uint64_t DequeRows::size(std::string_view key) {
  return static_cast<std::uint64_t>(ends(key).count);
}

void DequeRows::rotate(std::string_view key, std::int64_t steps) {
  const auto [first, count] = ends(key);
  if (count < 2 || steps % count == 0) return;
  const std::int64_t last = first + count - 1;
  const std::int64_t to_front = (steps % count + count) % count;
  // The shorter way round.
  if (to_front <= count / 2) {
    move(key, last - to_front + 1, last, -count);
  } else {
    move(key, first, first + (count - to_front) - 1, count);
  }
}

bool DequeRows::erase(std::string_view key) {
  erase_.bind(1, key).run();
  return connection_.changes() > 0;
}

}  // namespace polycache::sqlite
