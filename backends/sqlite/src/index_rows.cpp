#include "index_rows.h"

#include <algorithm>
#include <utility>

#include "polycache/author/index_table.h"

namespace polycache::sqlite {
namespace {

constexpr std::size_t most_bytes = std::size_t{4} << 20U;  // of a page
constexpr std::size_t most_known = 16;                     // ids

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
      make_(connection, "INSERT OR IGNORE INTO " + indexes + "(name, type) VALUES(?1, ?2)"),
      count_(connection, "SELECT count(*) FROM " + items + " WHERE in_index = ?1"),
      erase_index_(connection, "DELETE FROM " + indexes + " WHERE id = ?1"),
      find_(connection, "SELECT value FROM " + items + " WHERE in_index = ?1 AND key = ?2"),
      // Ignored if the index does not exist, since its id is then NULL, or if the key is there.
      insert_(connection,
              "INSERT OR IGNORE INTO " + items + " VALUES((SELECT id FROM " + indexes +
                  " WHERE id = ?1), ?2, ?3, iif(?4 = 0, 0, max(?4, 1 + coalesce((SELECT "
                  "max(position) FROM " +
                  items + " WHERE in_index = ?1 AND position > 0), 0))))"),
      update_(connection, "UPDATE " + items + " SET value = ?3 WHERE in_index = ?1 AND key = ?2"),
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
      newest_(connection, by_position_sql(items, "DESC")),
      connection_(connection) {}

// --- The id of an index ---

std::int64_t IndexRows::known_id(const Place& place) const noexcept {
  for (const Known& known : known_) {
    if (known.name == place.key && known.type == place.type) return known.id;
  }
  return 0;
}

void IndexRows::remember(const Place& place, std::int64_t id) {
  for (Known& known : known_) {
    if (known.name != place.key) continue;
    known.type = place.type;
    known.id = id;
    return;
  }
  Known known{.name = std::string(place.key), .type = std::string(place.type), .id = id};
  if (known_.size() < most_known) {
    known_.push_back(std::move(known));
  } else {
    known_[forget_next_++ % most_known] = std::move(known);
  }
}

std::int64_t IndexRows::look_up(const Place& place) {
  const Resetting resetting(find_index_);
  if (!find_index_.bind(1, place.key).step()) return 0;
  const std::string_view type = find_index_.bytes(1);
  if (type != place.type) throw_other_type(place, type);
  const std::int64_t id = find_index_.integer(0);
  // An id of an index that is rolled back is used again.
  if (!connection_.in_transaction()) remember(place, id);
  return id;
}

template <class ById>
bool IndexRows::with_id(const Place& place, ById by_id) {
  std::int64_t id = known_id(place);
  for (;;) {
    if (id != 0 && by_id(id)) return true;
    const std::int64_t now = look_up(place);
    if (now == 0 || now == id) return false;
    id = now;
  }
}

void IndexRows::make(const Place& place) { make_.bind(1, place.key).bind(2, place.type).run(); }

// --- Items ---

bool IndexRows::find_item(std::int64_t id, std::string_view key, std::string& value) {
  const Resetting resetting(find_);
  if (!find_.bind(1, id).bind(2, key).step()) return false;
  value.assign(find_.bytes(0));
  return true;
}

bool IndexRows::update(std::int64_t id, std::string_view key, std::string_view value) {
  update_.bind(1, id).bind(2, key).bind(3, value).run();
  return connection_.changes() > 0;
}

bool IndexRows::insert(std::int64_t id, std::string_view key, std::string_view value,
                       std::int64_t order) {
  insert_.bind(1, id).bind(2, key).bind(3, value).bind(4, order).run();
  return connection_.changes() > 0;
}

std::int64_t IndexRows::count_items(std::int64_t id) {
  const Resetting resetting(count_);
  count_.bind(1, id).step();  // always a row
  return count_.integer(0);
}

bool IndexRows::find(const Place& place, std::string_view key, std::string& value) {
  return with_id(place, [&](std::int64_t id) { return find_item(id, key, value); });
}

std::optional<IndexExtension::Put> IndexRows::put(const Place& place, std::string_view key,
                                                  std::string_view value, PutMode mode,
                                                  std::int64_t order, std::string& held) {
  const bool by_key = place.order == IndexExtension::Order::by_key;
  IndexExtension::Put put;
  const bool is_done = with_id(place, [&](std::int64_t id) {
    if (mode != PutMode::if_absent && update(id, key, value)) {
      put = {.stored = true, .was_there = true};
    } else if (mode != PutMode::if_present && insert(id, key, value, by_key ? 0 : order)) {
      put = {.stored = true};
    } else if (mode == PutMode::if_absent && find_item(id, key, held)) {
      put = {.was_there = true};
    } else {
      return false;
    }
    return true;
  });
  if (!is_done && mode != PutMode::if_present) return std::nullopt;
  return put;
}

bool IndexRows::erase(const Place& place, std::string_view key, std::string& value) {
  return with_id(place, [&](std::int64_t id) {
    const Resetting resetting(erase_);
    if (!erase_.bind(1, id).bind(2, key).step()) return false;
    value.assign(erase_.bytes(0));
    erase_.step();  // to its end, which commits
    return true;
  });
}

Statement& IndexRows::taking(const Place& place, IndexExtension::Side side) noexcept {
  const bool first = side == IndexExtension::Side::first;
  if (place.order == IndexExtension::Order::by_key) return first ? take_first_ : take_last_;
  return first ? take_oldest_ : take_newest_;
}

bool IndexRows::take(const Place& place, IndexExtension::Side side, Taken& taken) {
  Statement& statement = taking(place, side);
  return with_id(place, [&](std::int64_t id) {
    const Resetting resetting(statement);
    if (!statement.bind(1, id).step()) return false;
    taken.key.assign(statement.bytes(0));
    taken.value.assign(statement.bytes(1));
    taken.position = static_cast<std::uint64_t>(statement.integer(2));
    statement.step();  // to its end, which commits
    return true;
  });
}

Statement& IndexRows::listing(const Place& place, const Range& range) noexcept {
  const bool first = range.side == IndexExtension::Side::first;
  if (place.order == IndexExtension::Order::by_insertion) return first ? oldest_ : newest_;
  if (range.to) return first ? forwards_to_ : backwards_from_;
  return first ? forwards_ : backwards_;
}

bool IndexRows::list(const Place& place, const Range& range, IndexExtension::EntrySink sink) {
  const std::int64_t most = limit_of(range.at_most);
  Statement& statement = listing(place, range);
  bool has_more = false;
  with_id(place, [&](std::int64_t id) {
    const Resetting resetting(statement);
    statement.bind(1, id).bind(4, most == INT64_MAX ? most : most + 1);
    if (place.order == IndexExtension::Order::by_insertion) {
      statement.bind(2, limit_of(range.after)).bind(3, limit_of(range.before));
    } else {
      statement.bind(2, range.from);
      if (range.to) statement.bind(3, *range.to);
    }
    std::size_t bytes = 0;
    std::size_t listed = 0;
    for (; statement.step(); ++listed) {
      has_more = listed == range.at_most || bytes > most_bytes;
      if (has_more) break;
      const IndexExtension::Entry entry{
          .key = statement.bytes(0),
          .value = statement.bytes(1),
          .position = static_cast<std::uint64_t>(statement.integer(2))};
      bytes += entry.key.size() + entry.value.size();
      sink(entry);
    }
    return listed > 0;
  });
  return has_more;
}

std::uint64_t IndexRows::count(const Place& place) {
  std::int64_t count = 0;
  with_id(place, [&](std::int64_t id) {
    count = count_items(id);
    return count > 0;
  });
  return static_cast<std::uint64_t>(count);
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
