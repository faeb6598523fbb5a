// Looking for damage in a table and its file, and giving free space back.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/entry_tags.h"
#include "sql_text.h"
#include "table.h"

namespace polycache::sqlite {
namespace {

constexpr std::int64_t checked_rows = 256;  // in one transaction
constexpr std::int64_t checked_tags = 4096;

}  // namespace

std::vector<std::string> Table::structure_problems(std::int64_t most) {
  const Connection::YieldsToForks yields(connection_);
  std::vector<std::string> problems;
  try {
    Statement check(connection_, "PRAGMA integrity_check(" + std::to_string(most) + ")");
    while (check.step()) {
      std::string line(check.bytes(0));
      if (line != "ok") problems.push_back(std::move(line));
    }
  } catch (const DatabaseError& error) {  // it cannot look at all of it
    if (error.cause() != DatabaseError::Cause::damaged) throw;
    problems.emplace_back("the structure of the file is damaged");
  }
  return problems;
}

void Table::rebuild_indexes() {
  const Connection::YieldsToForks yields(connection_);
  connection_.execute("REINDEX");
}

std::optional<std::int64_t> Table::check(std::int64_t from, FoundWrong found) {
  // The first columns are those of is_sound().
  Statement rows(connection_,
                 "SELECT expires, written, value, " +
                     std::string(uses_checksums_ ? "checksum" : "NULL") +
                     ", id, key, typeof(key) = 'blob', typeof(expires) = 'integer' AND "
                     "typeof(written) = 'integer' AND typeof(value) = 'blob' FROM " +
                     quoted_ + " WHERE id >= ?1 ORDER BY id LIMIT " + std::to_string(checked_rows));
  std::optional<Statement> tagged;
  if (has_tag_index()) {
    tagged.emplace(connection_, "SELECT 1 FROM " + quote_identifier(tags_table()) +
                                    " WHERE id = ?1 AND tag = ?2");
  }
  const auto lacks_tag = [&](std::int64_t row, std::string_view value) {
    bool lacks = false;
    visit_tag_versions(value, [&](std::uint64_t version) {
      const Resetting resetting(*tagged);
      lacks |= !tagged->bind(1, row).bind(2, static_cast<std::int64_t>(version)).step();
    });
    return lacks;
  };
  std::int64_t seen = 0;
  std::int64_t last = from;
  for (rows.bind(1, from); rows.step(); ++seen) {
    last = rows.integer(4);
    const std::string_view key = rows.bytes(5);
    if (rows.integer(6) == 0 || last != id(key)) {
      found(last, key, Wrong::place);
    } else if (rows.integer(7) == 0) {
      found(last, key, Wrong::columns);
    } else if (uses_checksums_ && !is_sound(rows, key)) {
      found(last, key, Wrong::checksum);
    } else if (tagged && lacks_tag(last, rows.bytes(2))) {
      found(last, key, Wrong::tag_index);
    }
  }
  rows.reset();
  if (seen < checked_rows || last == INT64_MAX) return std::nullopt;
  return last + 1;
}

void Table::fix(std::int64_t id, Wrong wrong) {
  if (wrong == Wrong::tag_index) {
    if (!has_tag_index()) return;  // dropped meanwhile
    Statement entry(connection_, "SELECT value FROM " + quoted_ + " WHERE id = ?1");
    const Resetting resetting(entry);
    if (entry.bind(1, id).step()) add_tags(id, entry.bytes(0));
    return;
  }
  // What a read makes of the other types.
  Statement change(connection_, (wrong == Wrong::columns
                                     ? "UPDATE " + quoted_ +
                                           " SET expires = CAST(expires AS INTEGER), written = "
                                           "CAST(written AS INTEGER), value = CAST(value AS BLOB)"
                                     : "DELETE FROM " + quoted_) +
                                    " WHERE id = ?1");
  change.bind(1, id).run();
}

std::optional<std::int64_t> Table::orphaned_tags(std::int64_t from, bool removes,
                                                 std::int64_t& count) {
  if (!has_tag_index()) return std::nullopt;
  const std::string tags = quote_identifier(tags_table());
  Statement page(connection_, "SELECT max(id), count(*) FROM (SELECT id FROM " + tags +
                                  " WHERE id >= ?1 ORDER BY id LIMIT " +
                                  std::to_string(checked_tags) + ")");
  page.bind(1, from).step();
  const std::int64_t last = page.integer(0);
  const bool is_end = page.integer(1) < checked_tags || last == INT64_MAX;
  page.reset();
  Statement orphans(connection_, std::string(removes ? "DELETE" : "SELECT count(*)") + " FROM " +
                                     tags +
                                     " AS tagged WHERE id BETWEEN ?1 AND ?2 AND NOT EXISTS (SELECT "
                                     "1 FROM " +
                                     quoted_ + " AS entry WHERE entry.id = tagged.id)");
  orphans.bind(1, from).bind(2, is_end ? INT64_MAX : last);
  if (removes) {
    orphans.run();
    count += connection_.changes();
  } else {
    if (orphans.step()) count += orphans.integer(0);
    orphans.reset();
  }
  if (is_end) return std::nullopt;
  return last + 1;
}

std::int64_t Table::free_pages(std::int64_t most) {
  Transaction transaction(*this, Transaction::Kind::write);
  const std::int64_t before = bytes();
  connection_.execute("PRAGMA incremental_vacuum(" + std::to_string(most) + ")");
  const std::int64_t after = bytes();
  transaction.commit();
  return before - after;
}

std::int64_t Table::rewrite() {
  const Connection::YieldsToForks yields(connection_);
  const std::int64_t before = bytes();
  // For the steps. Not when the file is made: before its first table, SQLite would write a header
  // without our application id.
  connection_.execute("PRAGMA auto_vacuum=INCREMENTAL");
  connection_.execute("VACUUM");
  return before - bytes();
}

}  // namespace polycache::sqlite
