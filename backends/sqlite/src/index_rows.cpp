#include "index_rows.h"

#include <algorithm>

#include "polycache/author/index_table.h"

namespace polycache::sqlite {
namespace {

constexpr std::size_t most_bytes = std::size_t{4} << 20U;  // of a page

std::string take_sql(const std::string& items, const std::string& which) {
  return "DELETE FROM " + items + " WHERE in_index = ?1 AND key = (SELECT key FROM " + items +
         " WHERE in_index = ?1 " + which + " LIMIT 1) RETURNING key, value, position";
}

// ?4 is one item more than a page has. `limit`: "AND key < ?3", or nothing.
std::string by_key_sql(const std::string& items, const char* limit, const char* direction) {
  return "SELECT key, value, position FROM " + items + " WHERE in_index = ?1 AND key >= ?2 " +
         limit + " ORDER BY key " + direction + " LIMIT ?4";
}
std::string by_position_sql(const std::string& items, const char* direction) {
  return "SELECT key, value, position FROM " + items +
         " WHERE in_index = ?1 AND position > 0 AND position > ?2 AND position < ?3 ORDER BY "
         "position " +
         direction + " LIMIT ?4";
}

std::int64_t limit_of(std::uint64_t number) noexcept {
  return static_cast<std::int64_t>(std::min(number, static_cast<std::uint64_t>(INT64_MAX)));
}

}  // namespace

IndexRows::IndexRows(Connection& connection, const std::string& indexes, const std::string& items)
    : find_index_(connection, "SELECT id, type FROM " + indexes + " WHERE name = ?1"),
      add_index_(connection, "INSERT INTO " + indexes + "(name, type) VALUES(?1, ?2) RETURNING id"),
      count_(connection, "SELECT count(*) FROM " + items + " WHERE in_index = ?1"),
      erase_index_(connection, "DELETE FROM " + indexes + " WHERE id = ?1"),
      // One statement sees one moment.
      find_in_index_(connection, "SELECT one.type, item.in_index, item.value FROM " + indexes +
                                     " AS one LEFT JOIN " + items +
                                     " AS item ON item.in_index = one.id AND item.key = ?2 WHERE "
                                     "one.name = ?1"),
      last_position_(connection, "SELECT max(position) FROM " + items +
                                     " WHERE in_index = ?1 AND position > 0"),
      insert_(connection, "INSERT INTO " + items + " VALUES(?1, ?2, ?3, ?4)"),
      update_(connection,
              "UPDATE " + items + " SET value = ?3 WHERE in_index = ?1 AND key = ?2 RETURNING 1"),
      erase_(connection,
             "DELETE FROM " + items + " WHERE in_index = ?1 AND key = ?2 RETURNING value"),
      clear_(connection, "DELETE FROM " + items + " WHERE in_index = ?1"),
      take_first_(connection, take_sql(items, "ORDER BY key")),
      take_last_(connection, take_sql(items, "ORDER BY key DESC")),
      take_oldest_(connection, take_sql(items, "AND position > 0 ORDER BY position")),
      take_newest_(connection, take_sql(items, "AND position > 0 ORDER BY position DESC")),
      forwards_(connection, by_key_sql(items, "", "")),
      forwards_to_(connection, by_key_sql(items, "AND key < ?3", "")),
      backwards_(connection, by_key_sql(items, "", "DESC")),
      backwards_from_(connection, by_key_sql(items, "AND key < ?3", "DESC")),
      oldest_(connection, by_position_sql(items, "")),
      newest_(connection, by_position_sql(items, "DESC")) {}

std::int64_t IndexRows::id_of(const Place& place) {
  const Resetting resetting(find_index_);
  if (!find_index_.bind(1, place.key).step()) return 0;
  const std::string_view type = find_index_.bytes(1);
  if (type != place.type) throw_other_type(place, type);
  return find_index_.integer(0);
}

std::int64_t IndexRows::made(const Place& place) {
  if (const std::int64_t id = id_of(place); id != 0) return id;
  const Resetting resetting(add_index_);
  add_index_.bind(1, place.key).bind(2, place.type).step();
  return add_index_.integer(0);
}

std::int64_t IndexRows::next_position(std::int64_t id, std::int64_t order) {
  const Resetting resetting(last_position_);
  last_position_.bind(1, id).step();  // always a row; NULL counts as 0
  return std::max(last_position_.integer(0) + 1, order);
}

std::int64_t IndexRows::count_items(std::int64_t id) {
  const Resetting resetting(count_);
  count_.bind(1, id).step();  // always a row
  return count_.integer(0);
}

bool IndexRows::find(const Place& place, std::string_view key, std::string& value) {
  const Resetting resetting(find_in_index_);
  if (!find_in_index_.bind(1, place.key).bind(2, key).step()) return false;
  const std::string_view type = find_in_index_.bytes(0);
  if (type != place.type) throw_other_type(place, type);
  if (find_in_index_.is_null(1)) return false;
  value.assign(find_in_index_.bytes(2));
  return true;
}

IndexExtension::Put IndexRows::put(const Place& place, std::string_view key, std::string_view value,
                                   PutMode mode, std::int64_t order, std::string& held) {
  const std::int64_t id = mode == PutMode::if_present ? id_of(place) : made(place);
  if (id == 0) return {};
  if (mode == PutMode::if_absent) {
    if (find(place, key, held)) return {.was_there = true};
  } else {
    const Resetting resetting(update_);
    if (update_.bind(1, id).bind(2, key).bind(3, value).step()) {
      return {.stored = true, .was_there = true};
    }
    if (mode == PutMode::if_present) return {};
  }
  const bool by_key = place.order == IndexExtension::Order::by_key;
  const std::int64_t position = by_key ? 0 : next_position(id, order);
  insert_.bind(1, id).bind(2, key).bind(3, value).bind(4, position).run();
  return {.stored = true};
}

bool IndexRows::erase(const Place& place, std::string_view key, std::string& value) {
  const std::int64_t id = id_of(place);
  if (id == 0) return false;
  const Resetting resetting(erase_);
  if (!erase_.bind(1, id).bind(2, key).step()) return false;
  value.assign(erase_.bytes(0));
  return true;
}

bool IndexRows::take(const Place& place, IndexExtension::Side side, Taken& taken) {
  const std::int64_t id = id_of(place);
  if (id == 0) return false;
  const bool first = side == IndexExtension::Side::first;
  const bool by_key = place.order == IndexExtension::Order::by_key;
  Statement& statement =
      by_key ? (first ? take_first_ : take_last_) : (first ? take_oldest_ : take_newest_);
  const Resetting resetting(statement);
  if (!statement.bind(1, id).step()) return false;
  taken.key.assign(statement.bytes(0));
  taken.value.assign(statement.bytes(1));
  taken.position = static_cast<std::uint64_t>(statement.integer(2));
  return true;
}

bool IndexRows::list_rows(Statement& statement, const Range& range,
                          IndexExtension::EntrySink sink) {
  const std::int64_t most = limit_of(range.at_most);
  statement.bind(4, most == INT64_MAX ? most : most + 1);
  std::size_t bytes = 0;
  for (std::size_t listed = 0; statement.step(); ++listed) {
    if (listed == range.at_most || bytes > most_bytes) return true;
    const IndexExtension::Entry entry{.key = statement.bytes(0),
                                      .value = statement.bytes(1),
                                      .position = static_cast<std::uint64_t>(statement.integer(2))};
    bytes += entry.key.size() + entry.value.size();
    sink(entry);
  }
  return false;
}

bool IndexRows::list(const Place& place, const Range& range, IndexExtension::EntrySink sink) {
  const std::int64_t id = id_of(place);
  if (id == 0) return false;
  const bool first = range.side == IndexExtension::Side::first;
  if (place.order == IndexExtension::Order::by_insertion) {
    Statement& statement = first ? oldest_ : newest_;
    const Resetting resetting(statement);
    statement.bind(1, id).bind(2, limit_of(range.after)).bind(3, limit_of(range.before));
    return list_rows(statement, range, sink);
  }
  Statement& statement =
      range.to ? (first ? forwards_to_ : backwards_from_) : (first ? forwards_ : backwards_);
  const Resetting resetting(statement);
  statement.bind(1, id).bind(2, range.from);
  if (range.to) statement.bind(3, *range.to);
  return list_rows(statement, range, sink);
}

std::uint64_t IndexRows::count(const Place& place) {
  const std::int64_t id = id_of(place);
  return id == 0 ? 0 : static_cast<std::uint64_t>(count_items(id));
}

std::uint64_t IndexRows::clear(const Place& place) {
  std::int64_t id = 0;
  {
    const Resetting resetting(find_index_);
    if (!find_index_.bind(1, place.key).step()) return 0;
    id = find_index_.integer(0);
  }
  const std::int64_t count = count_items(id);
  clear_.bind(1, id).run();
  erase_index_.bind(1, id).run();
  return static_cast<std::uint64_t>(count);
}

}  // namespace polycache::sqlite
