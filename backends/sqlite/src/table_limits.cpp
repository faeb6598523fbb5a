// What a table holds, and which entries go when it is beyond a limit.
//
// Triggers of SQL count entries and bytes, so that the counts are right whichever process or
// program changes the table, and after a crash. A count changes in the transaction of the entry;
// one that stays the same, as when a value is replaced by one of the same size, is not written.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "location.h"
#include "sql_text.h"
#include "table.h"

namespace polycache::sqlite {
namespace {

// What a row is counted as beyond its key and value.
constexpr std::size_t row_bytes = 64;

const char* const usage_table = "polycache_usage";

std::string size_of(const std::string& row) {
  const std::string column = row.empty() ? "" : row + ".";
  return std::string("(length(") + column + "key) + length(" + column + "value) + " +
         std::to_string(row_bytes) + ")";
}

}  // namespace

std::string Table::usage_trigger(const char* event) const {
  return std::string("polycache_usage_") + event + "_" + settings_.name;
}

std::string Table::usage_change(const std::string& change) const {
  return std::string("UPDATE ") + usage_table + " SET " + change +
         " WHERE name = " + quote_text(settings_.name) + ";";
}

void Table::make_erase_trigger() {
  connection_.execute("CREATE TRIGGER IF NOT EXISTS " + quote_identifier(usage_trigger("erase")) +
                      " AFTER DELETE ON " + quoted_ + " BEGIN " +
                      usage_change("entries = entries - 1, bytes = bytes - " + size_of("old")) +
                      "END");
}

// A table that another program has dropped took its triggers along. Without the table of the
// counts, triggers that are left would make each write fail.
bool Table::is_counted() {
  if (name_in_file("table", usage_table).empty()) return false;
  const bool counts_bytes = settings_.size_limit > 0;
  for (const char* const event : {"put", "erase", "change"}) {
    const bool is_needed = event != std::string_view("change") || counts_bytes;
    if (is_needed && name_in_file("trigger", usage_trigger(event)).empty()) return false;
  }
  return connection_.query_integer(std::string("SELECT ") +
                                   (counts_bytes ? "count(bytes)" : "count(*)") + " FROM " +
                                   usage_table + " WHERE name = " + quote_text(settings_.name)) > 0;
}

void Table::count_from_now_on() {
  const bool counts_bytes = settings_.size_limit > 0;
  if (is_counted()) return;
  const Inside inside(connection_);
  const Connection::YieldsToForks yields(connection_);
  change_schema([&] {
    if (is_counted()) return;
    connection_.execute(std::string("CREATE TABLE IF NOT EXISTS ") + usage_table +
                        "(name TEXT PRIMARY KEY, entries INTEGER NOT NULL, bytes INTEGER) "
                        "WITHOUT ROWID");
    connection_.execute("CREATE TRIGGER IF NOT EXISTS " + quote_identifier(usage_trigger("put")) +
                        " AFTER INSERT ON " + quoted_ + " BEGIN " +
                        usage_change("entries = entries + 1, bytes = bytes + " + size_of("new")) +
                        "END");
    make_erase_trigger();
    if (counts_bytes) {
      const std::string change = size_of("new") + " - " + size_of("old");
      connection_.execute("CREATE TRIGGER IF NOT EXISTS " +
                          quote_identifier(usage_trigger("change")) +
                          " AFTER UPDATE OF key, value ON " + quoted_ + " WHEN " + change +
                          " <> 0 BEGIN " + usage_change("bytes = bytes + " + change) + "END");
    }
    connection_.execute(std::string("REPLACE INTO ") + usage_table + " SELECT " +
                        quote_text(settings_.name) + ", count(*), " +
                        (counts_bytes ? "coalesce(sum(" + size_of("") + "), 0)" : "NULL") +
                        " FROM " + quoted_);
    // Older versions replace rows without the triggers. A newer one may just have been here.
    if (connection_.query_integer("PRAGMA user_version") < counting_schema_version) {
      connection_.execute("PRAGMA user_version=" + std::to_string(counting_schema_version));
    }
  });
}

void Table::prepare_limits() {
  if (!has_limits()) return;
  const std::string& t = quoted_;
  usage_.emplace(connection_, std::string("SELECT entries, bytes FROM ") + usage_table +
                                  " WHERE name = " + quote_text(settings_.name));
  sample_.emplace(connection_, "SELECT id, expires, written, " + size_of("") + " FROM " + t +
                                   " WHERE id >= ?1 AND id <> ?2 ORDER BY id LIMIT " +
                                   std::to_string(sampled_rows));
  evict_.emplace(connection_, "DELETE FROM " + t + " WHERE id = ?1");
  if (settings_.exact_order) {
    // Two searches: entries from before the clock was set back would be the youngest for long.
    const std::string columns = "SELECT id, " + size_of("") + " FROM " + t;
    oldest_.emplace(connection_,
                    "SELECT * FROM (" + columns +
                        " WHERE written > ?9 AND id <> ?1 ORDER BY written LIMIT 1) UNION ALL "
                        "SELECT * FROM (" +
                        columns + " WHERE id <> ?1 ORDER BY written LIMIT 1) LIMIT 1");
  }
}

Table::Usage Table::usage() {
  const Resetting resetting(*usage_);
  if (!usage_->step()) return {};
  return {usage_->integer(0), usage_->integer(1), !usage_->is_null(1)};
}

bool Table::is_beyond(const Usage& usage) const noexcept {
  return (settings_.max_entries > 0 && usage.entries > settings_.max_entries) ||
         (settings_.size_limit > 0 && usage.bytes > settings_.size_limit);
}

bool Table::fits_alone(std::string_view key, std::string_view value) const noexcept {
  return settings_.size_limit == 0 ||
         key.size() + value.size() + row_bytes <= static_cast<std::size_t>(settings_.size_limit);
}

void Table::keep_limits(const Moment& now) {
  if (settings_.cull_limit == 0) return;
  if (!was_inserted_ && settings_.size_limit == 0) return;
  std::int64_t from = put_row_;
  evict(from, settings_.cull_limit, now);
}

std::int64_t Table::cull(std::int64_t most, const Moment& now) {
  const Inside inside(connection_);
  put_row_ = 0;  // none is spared
  // Another place each time: a session is made for each call, and the same part of the table would
  // always be culled.
  if (!has_culled_) {
    cull_from_ ^= static_cast<std::int64_t>(hash_key(std::to_string(now.order), secret_));
    has_culled_ = true;
  }
  Transaction transaction(*this, Transaction::Kind::write);
  const std::int64_t removed = evict(cull_from_, most, now);
  transaction.commit();
  return removed;
}

// The rows that follow an id, in a circle.
std::size_t Table::sample(std::int64_t& from, std::array<Candidate, sampled_rows>& rows,
                          const Moment& now) {
  std::size_t count = 0;
  const auto read = [&](std::int64_t first, std::int64_t last) {
    const Resetting resetting(*sample_);
    sample_->bind(1, first).bind(2, put_row_);
    while (count < rows.size() && sample_->step()) {
      const std::int64_t id = sample_->integer(0);
      if (id > last) break;
      const std::int64_t expires = sample_->integer(1);
      const std::int64_t written = sample_->integer(2);
      const bool is_ahead = written > now.latest;
      const bool is_dead = expires != no_expiry && (expires <= now.milliseconds || is_ahead);
      // Those from before the clock was set back would be the youngest for long.
      rows[count++] = {id, is_ahead ? INT64_MIN : written, sample_->integer(3), is_dead};
    }
  };
  const std::int64_t begin = from;
  read(begin, INT64_MAX);
  if (count < rows.size() && begin != INT64_MIN) read(INT64_MIN, begin - 1);
  if (count > 0) from = rows[count - 1].id == INT64_MAX ? INT64_MIN : rows[count - 1].id + 1;
  return count;
}

std::int64_t Table::evict(std::int64_t& from, std::int64_t most, const Moment& now) {
  Usage held = usage();
  std::int64_t removed = 0;
  const auto remove = [&](std::int64_t id, std::int64_t bytes) {
    evict_->bind(1, id).run();
    --held.entries;
    held.bytes -= bytes;
    ++removed;
  };
  const auto is_done = [&] { return removed >= most || !is_beyond(held); };
  std::array<Candidate, sampled_rows> rows;
  while (!is_done()) {
    const std::size_t count = sample(from, rows, now);
    const std::int64_t before = removed;
    const auto end = rows.begin() + static_cast<std::ptrdiff_t>(count);
    std::sort(rows.begin(), end, [](const Candidate& a, const Candidate& b) {
      return a.is_dead != b.is_dead ? a.is_dead : a.written < b.written;
    });
    std::size_t live = 0;
    for (auto row = rows.begin(); row != end && !is_done(); ++row) {
      if (!row->is_dead) {
        const bool may_go = settings_.policy == TableSettings::Policy::least_recently_stored &&
                            !settings_.exact_order;
        // More than a few of a sample would not be the oldest of the table.
        if (!may_go || ++live > most_of_sample) break;
      }
      remove(row->id, row->bytes);
    }
    if (settings_.exact_order && settings_.policy == TableSettings::Policy::least_recently_stored &&
        !is_done()) {
      const Resetting resetting(*oldest_);
      if (oldest_->bind(1, put_row_).bind(9, now.latest).step()) {
        const std::int64_t id = oldest_->integer(0);
        const std::int64_t bytes = oldest_->integer(1);
        oldest_->reset();
        remove(id, bytes);
      }
    }
    if (removed == before) break;
  }
  return removed;
}

bool Table::has_right_counts(Usage& counted) {
  if (!is_counted()) return false;
  const Connection::YieldsToForks yields(connection_);
  Statement rows(connection_,
                 "SELECT count(*), coalesce(sum(" + size_of("") + "), 0) FROM " + quoted_);
  const Resetting resetting(rows);
  rows.step();
  counted = {rows.integer(0), rows.integer(1), true};
  const Usage held = usage();
  return held.entries == counted.entries && (!held.has_bytes || held.bytes == counted.bytes);
}

void Table::set_counts(const Usage& usage) {
  connection_.execute(usage_change("entries = " + std::to_string(usage.entries) +
                                   ", bytes = iif(bytes IS NULL, NULL, " +
                                   std::to_string(usage.bytes) + ")"));
}

// SQLite forgets all rows at once if no trigger sees each of them.
void Table::clear() {
  if (name_in_file("trigger", usage_trigger("erase")).empty()) {
    connection_.execute("DELETE FROM " + quoted_);
    return;
  }
  Transaction transaction(*this, Transaction::Kind::write);
  connection_.execute("DROP TRIGGER IF EXISTS " + quote_identifier(usage_trigger("erase")));
  connection_.execute("DELETE FROM " + quoted_);
  make_erase_trigger();
  set_counts({});
  transaction.commit();
}

}  // namespace polycache::sqlite
