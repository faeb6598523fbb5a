// The index of tags of a table: a row for each entry and version of a tag (entry_tags.h) that it
// carries.
//
// Triggers remove the rows of an entry that is removed or replaced. They need nothing but SQL, so
// they also work in older versions of this library and in other programs; entries that these write
// are missing in the index, and go as without it.

#include <array>
#include <cstdint>
#include <string>

#include "polycache/author/entry_tags.h"
#include "sql_text.h"
#include "table.h"

namespace polycache::sqlite {
namespace {

constexpr std::int64_t filled_rows = 256;  // in one transaction
constexpr std::int64_t erased_rows = 1000;

}  // namespace

// No other table can have this name, which is reserved; its index is called otherwise.
std::string Table::tags_table() const { return "polycache_tags_" + settings_.name; }

void Table::look_for_tag_index() {
  const Inside inside(connection_);
  {
    const Resetting resetting(*schema_version_);
    const std::int64_t schema = schema_version_->step() ? schema_version_->integer(0) : 0;
    if (schema == schema_seen_) return;
    schema_seen_ = schema;
  }
  const bool is_there = connection_.query_integer(
                            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND "
                            "name = " +
                            quote_text(tags_table())) > 0;
  if (is_there == has_tag_index()) return;
  if (!is_there) {
    add_tag_.reset();
    erase_tagged_.reset();
    erase_rows_.reset();
    return;
  }
  const std::string tags = quote_identifier(tags_table());
  erase_tagged_.emplace(connection_, "DELETE FROM " + quoted_ + " WHERE id IN (SELECT id FROM " +
                                         tags + " WHERE tag = ?1 LIMIT " +
                                         std::to_string(erased_rows) +
                                         ") RETURNING expires > ?3 AND (written <= ?9 OR expires "
                                         "= 9223372036854775807)");
  erase_rows_.emplace(connection_, "DELETE FROM " + tags + " WHERE tag = ?1");
  add_tag_.emplace(connection_, "INSERT OR IGNORE INTO " + tags + " VALUES(?1, ?2)");
}

bool Table::create_tag_index() {
  bool made = false;
  change_schema([&] {
    made = name_in_file("table", tags_table()).empty();
    if (!made) return;
    const std::string tags = quote_identifier(tags_table());
    connection_.execute("CREATE TABLE " + tags +
                        "(id INTEGER, tag INTEGER, PRIMARY KEY(id, tag)) WITHOUT ROWID");
    connection_.execute("CREATE INDEX " + quote_identifier("polycache_tagged_" + settings_.name) +
                        " ON " + tags + "(tag)");
    const std::array<std::array<const char*, 3>, 3> triggers{{{"put", "INSERT", "new"},
                                                              {"change", "UPDATE OF value", "new"},
                                                              {"erase", "DELETE", "old"}}};
    for (const auto& [name, event, row] : triggers) {
      connection_.execute(
          "CREATE TRIGGER " +
          quote_identifier(std::string("polycache_tags_") + name + "_" + settings_.name) +
          " AFTER " + event + " ON " + quoted_ + " BEGIN DELETE FROM " + tags +
          " WHERE id = " + row + ".id; END");
    }
  });
  look_for_tag_index();
  return made;
}

std::optional<std::int64_t> Table::fill_tag_index(std::int64_t from) {
  if (!has_tag_index()) return std::nullopt;  // dropped meanwhile
  Transaction transaction(*this, Transaction::Kind::write);
  std::int64_t seen = 0;
  std::int64_t last = from;
  {
    Statement rows(connection_, "SELECT id, value FROM " + quoted_ +
                                    " WHERE id >= ?1 ORDER BY id LIMIT " +
                                    std::to_string(filled_rows));
    for (rows.bind(1, from); rows.step(); ++seen) {
      last = rows.integer(0);
      add_tags(last, rows.bytes(1));
    }
    rows.reset();
  }
  transaction.commit();
  if (seen < filled_rows || last == INT64_MAX) return std::nullopt;
  return last + 1;
}

bool Table::drop_tag_index() {
  bool was_there = false;
  change_schema([&] {
    was_there = !name_in_file("table", tags_table()).empty();
    if (!was_there) return;
    for (const char* const name : {"put", "change", "erase"}) {
      connection_.execute("DROP TRIGGER " + quote_identifier(std::string("polycache_tags_") + name +
                                                             "_" + settings_.name));
    }
    connection_.execute("DROP TABLE " + quote_identifier(tags_table()));
  });
  look_for_tag_index();
  return was_there;
}

void Table::add_tags(std::int64_t row, std::string_view value) {
  visit_tag_versions(value, [&](std::uint64_t version) {
    add_tag_->bind(1, row).bind(2, static_cast<std::int64_t>(version)).run();
  });
}

bool Table::erase_tagged(std::uint64_t version, const Moment& now, std::size_t& live) {
  if (!has_tag_index()) return false;
  const auto tag = static_cast<std::int64_t>(version);
  std::int64_t erased = 0;
  {
    const Resetting resetting(*erase_tagged_);
    erase_tagged_->bind(1, tag).bind(3, now.milliseconds).bind(9, now.latest);
    for (; erase_tagged_->step(); ++erased) live += erase_tagged_->integer(0) != 0 ? 1 : 0;
  }
  if (erased == erased_rows) return true;
  erase_rows_->bind(1, tag).run();  // if any are left, they belong to no entry
  return false;
}

}  // namespace polycache::sqlite
