#include "table.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "checksum.h"
#include "location.h"
#include "polycache/author/text.h"

namespace polycache::sqlite {
namespace {

constexpr int sweep_rows = 64;
constexpr int prefix_rows = 4096;
constexpr int room_rows = 4096;

// Values up to this size are read whole even if a part suffices.
constexpr int small_bytes = 2048;
constexpr std::size_t head_bytes = 64;

// For an entry with a lifetime that was written before the clock was set back: see Moment::latest.
// Its parameter is ?9 in all statements that have one.
const char* const is_ahead = "(written > ?9 AND expires <> 9223372036854775807)";

}  // namespace

std::string fold_case(std::string name) {
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return name;
}

std::int64_t Moment::expires_after(Ttl ttl) const noexcept {
  if (ttl.is_forever()) return no_expiry;
  std::int64_t expires = 0;
  if (__builtin_add_overflow(rounded_up, ttl.value().count(), &expires)) return no_expiry;
  return expires;
}

Ttl Moment::left(std::int64_t expires) const noexcept {
  if (expires == no_expiry) return Ttl::forever();
  return Ttl(std::chrono::milliseconds(expires - milliseconds));
}

Transaction::~Transaction() {
  if (!table_.connection().in_transaction()) return;
  try {
    table_.connection().execute("ROLLBACK");
  } catch (const DatabaseError&) {
    // SQLite has already rolled back, or does so when the connection is closed.
  }
}

std::string Table::live() const {
  return std::string(" WHERE id = ?1 AND key = ?2 AND expires > ?3 AND NOT ") + is_ahead;
}

// Whether a row is not damaged, as far as that is known.
std::string Table::sound() const {
  return uses_checksums_ ? "polycache_sound(checksum, key, value, written, expires)" : "1";
}

// In an UPDATE: sets the checksum of a row, which may exist even if we do not use checksums.
std::string Table::and_checksum(const std::string& expression) const {
  if (!has_checksums_) return "";
  return ", checksum = " + (uses_checksums_ ? expression : "NULL");
}

void Table::prepare_statements() {
  begin_read_.emplace(connection_, "BEGIN");
  begin_write_.emplace(connection_, "BEGIN IMMEDIATE");
  commit_.emplace(connection_, "COMMIT");
  user_version_.emplace(connection_, "PRAGMA user_version");
  schema_version_.emplace(connection_, "PRAGMA schema_version");
  prepare_putting();
  prepare_changing();
  prepare_reading();
  prepare_sweeping();
}

void Table::prepare_putting() {
  const std::string& t = quoted_;
  const std::string columns =
      uses_checksums_
          ? "(id, key, expires, written, value, checksum) VALUES(?1, ?2, ?3, ?4, ?5, ?8)"
          : "(id, key, expires, written, value) VALUES(?1, ?2, ?3, ?4, ?5)";
  // Aliased, since the table may be called "excluded".
  const std::string insert = "INSERT INTO " + t + " AS kept" + columns;
  const std::string update =
      " ON CONFLICT(id) DO UPDATE SET key = excluded.key, expires = excluded.expires, "
      "written = excluded.written, value = excluded.value" +
      and_checksum("excluded.checksum");
  // Replacing is faster, but does not distinguish new entries from old ones.
  put_always_.emplace(connection_, has_limits() ? insert + update : "REPLACE INTO " + t + columns);
  put_if_absent_.emplace(connection_, insert + update +
                                          " WHERE key <> excluded.key OR expires <= ?6 OR " +
                                          is_ahead + " OR NOT " + sound());
  put_if_present_.emplace(
      connection_,
      "UPDATE " + t + " SET expires = ?4, written = ?5, value = ?6" + and_checksum("?8") + live());
}

void Table::prepare_changing() {
  const std::string& t = quoted_;
  const auto prepare = [this](std::optional<Statement>& statement, const std::string& sql) {
    statement.emplace(connection_, sql);
  };
  const std::string set_expiry = "UPDATE " + t + " SET expires = ?4, written = ?5" +
                                 and_checksum("polycache_checksum(checksum >> 32, ?5, ?4)") +
                                 live();
  prepare(touch_, set_expiry + " RETURNING substr(value, 1, 64)");
  prepare(renew_, set_expiry + " RETURNING value, " + sound());
  prepare(erase_, "DELETE FROM " + t + live());
  prepare(replace_value_, "UPDATE " + t + " SET written = ?4, value = ?5" +
                              and_checksum("polycache_checksum(?8, ?4, expires)") + live());
  prepare(put_if_equal_, "UPDATE " + t +
                             " SET written = ?4, value = ?5, expires = coalesce(?6, expires)" +
                             and_checksum("polycache_checksum(?8, ?4, coalesce(?6, expires))") +
                             live() + " AND value = ?7 AND " + sound());
  prepare(erase_if_equal_, "DELETE FROM " + t + live() + " AND value = ?4 AND " + sound());
  prepare(pop_, "DELETE FROM " + t + live() + " RETURNING value, " + sound());
}

void Table::prepare_reading() {
  const std::string from = " FROM " + quoted_ + " WHERE id = ?1 AND key = ?2";
  const std::string small = "iif(length(value) <= " + std::to_string(small_bytes) + ", ";
  find_.emplace(connection_, "SELECT expires, written, value" +
                                 std::string(uses_checksums_ ? ", checksum" : "") + from);
  // The length of a BLOB is known without reading it.
  list_.emplace(connection_, "SELECT expires, written, id, key, length(value) FROM " + quoted_ +
                                 " WHERE id >= ?1 ORDER BY id LIMIT ?2");
  find_head_.emplace(connection_, "SELECT expires, written, " + small + "value, NULL)" +
                                      (uses_checksums_ ? ", " + small + "checksum, NULL)" : "") +
                                      from);
}

void Table::prepare_sweeping() {
  const std::string& t = quoted_;
  const std::string ahead = is_ahead;
  sweep_look_.emplace(connection_, "SELECT max(id), total(expires <= ?2 OR " + ahead +
                                       "), count(*) FROM (SELECT id, written, expires FROM " + t +
                                       " WHERE id > ?1 ORDER BY id LIMIT " +
                                       std::to_string(sweep_rows) + ")");
  sweep_erase_.emplace(
      connection_,
      "DELETE FROM " + t + " WHERE id > ?1 AND id <= ?2 AND (expires <= ?3 OR " + ahead + ")");
}

Table::Row Table::found(Statement& statement, std::string_view key, const Moment& now) {
  Row row(&statement.bind(1, id(key)).bind(2, key));
  if (!statement.step() || !row.is_live(now)) {
    row.close();
  } else if (uses_checksums_ && !is_sound(statement, key)) {
    damaged_ = true;
    row.close();
  }
  return row;
}

bool Table::is_sound(const Statement& row, std::string_view key) const noexcept {
  if (row.is_null(3)) return true;
  const std::uint32_t contents = checksum_of_contents(key, row.bytes(2));
  return row.integer(3) == checksum_of_row(contents, row.integer(1), row.integer(0));
}

std::optional<std::int64_t> Table::list(std::int64_t from, std::int64_t rows, const Moment& now,
                                        Visit visit) {
  list_->bind(1, from).bind(2, rows);
  Row row(&*list_);
  std::int64_t seen = 0;
  std::int64_t last = from;
  for (; list_->step(); ++seen) {
    last = list_->integer(2);
    if (row.is_live(now)) visit(list_->bytes(3), list_->integer(4), row.expires());
  }
  if (seen < rows || last == INT64_MAX) return std::nullopt;
  return last + 1;
}

bool Table::Row::is_live(const Moment& now) noexcept {
  expires_ = statement_->integer(0);
  if (expires_ == no_expiry) return true;
  return expires_ > now.milliseconds && statement_->integer(1) <= now.latest;
}

Table::Row Table::find(std::string_view key, const Moment& now) { return found(*find_, key, now); }

bool Table::find_head(std::string_view key, std::string& head, const Moment& now) {
  const Row row = found(*find_head_, key, now);
  if (!row) return false;
  if (find_head_->is_null(2)) {
    head.resize(head_bytes);
    connection_.read_blob(settings_.name, "value", id(key), head);
  } else {
    head.assign(row.value());
  }
  return true;
}

Statement& Table::bind_live(Statement& statement, std::string_view key, const Moment& now) {
  return statement.bind(1, id(key)).bind(2, key).bind(3, now.milliseconds).bind(9, now.latest);
}

void Table::bind_contents(Statement& statement, std::string_view key, std::string_view value) {
  if (uses_checksums_) statement.bind(8, std::int64_t{checksum_of_contents(key, value)});
}

bool Table::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode,
                const Moment& now) {
  const std::int64_t row = id(key);
  const std::int64_t expires = now.expires_after(ttl);
  const std::int64_t checksum =
      uses_checksums_ ? checksum_of_row(checksum_of_contents(key, value), now.order, expires) : 0;
  if (mode == PutMode::if_present) {
    bind_live(*put_if_present_, key, now);
    put_if_present_->bind(4, expires).bind(5, now.order).bind(6, value);
    if (uses_checksums_) put_if_present_->bind(8, checksum);
    put_if_present_->run();
    const bool stored = connection_.changes() > 0;
    note_put(row, false);
    if (stored && has_tag_index()) [[unlikely]]
      add_tags(row, value);
    return stored;
  }
  Statement& statement = mode == PutMode::always ? *put_always_ : *put_if_absent_;
  statement.bind(1, row).bind(2, key).bind(3, expires).bind(4, now.order).bind(5, value);
  if (uses_checksums_) statement.bind(8, checksum);
  if (mode == PutMode::if_absent) statement.bind(6, now.milliseconds).bind(9, now.latest);
  if (has_limits()) connection_.forget_insert(~row);
  statement.run();
  if (has_limits()) note_put(row, connection_.last_insert() == row);
  const bool stored = connection_.changes() > 0;
  if (stored && has_tag_index()) [[unlikely]]
    add_tags(row, value);
  return stored;
}

bool Table::touch(std::string_view key, Ttl ttl, std::string& head, const Moment& now) {
  const Resetting resetting(*touch_);
  bind_live(*touch_, key, now).bind(4, now.expires_after(ttl)).bind(5, now.order);
  if (!touch_->step()) return false;
  head.assign(touch_->bytes(0));
  touch_->step();  // to the end: that commits
  return true;
}

bool Table::erase(std::string_view key, const Moment& now) {
  bind_live(*erase_, key, now).run();
  return connection_.changes() > 0;
}

bool Table::replace_value(std::string_view key, std::string_view value, const Moment& now) {
  bind_live(*replace_value_, key, now).bind(4, now.order).bind(5, value);
  bind_contents(*replace_value_, key, value);
  replace_value_->run();
  return connection_.changes() > 0;
}

bool Table::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                         std::optional<Ttl> ttl, const Moment& now) {
  bind_live(*put_if_equal_, key, now).bind(4, now.order).bind(5, value).bind(7, expected);
  bind_contents(*put_if_equal_, key, value);
  ttl ? put_if_equal_->bind(6, now.expires_after(*ttl)) : put_if_equal_->bind_null(6);
  put_if_equal_->run();
  const bool stored = connection_.changes() > 0;
  note_put(id(key), false);
  if (stored && has_tag_index()) [[unlikely]]
    add_tags(id(key), value);
  return stored;
}

bool Table::erase_if_equal(std::string_view key, std::string_view expected, const Moment& now) {
  bind_live(*erase_if_equal_, key, now).bind(4, expected).run();
  return connection_.changes() > 0;
}

bool Table::pop(std::string_view key, std::string& value, const Moment& now) {
  const Resetting resetting(*pop_);
  bind_live(*pop_, key, now);
  if (!pop_->step()) return false;
  value.assign(pop_->bytes(0));
  const bool sound = pop_->integer(1) != 0;
  pop_->step();  // to the end: that commits
  return sound;
}

bool Table::renew(std::string_view key, Ttl ttl, std::string& value, const Moment& now) {
  const Resetting resetting(*renew_);
  bind_live(*renew_, key, now).bind(4, now.expires_after(ttl)).bind(5, now.order);
  if (!renew_->step()) return false;
  value.assign(renew_->bytes(0));
  const bool sound = renew_->integer(1) != 0;
  renew_->step();  // to the end: that commits
  return sound;
}

void Table::erase_prefix(std::string_view prefix, std::int64_t& removed) {
  Statement last(connection_, "SELECT max(id) FROM (SELECT id FROM " + quoted_ +
                                  " WHERE id >= ?1 ORDER BY id LIMIT " +
                                  std::to_string(prefix_rows) + ")");
  // Compares bytes, whatever they are: key is a BLOB.
  Statement erase(
      connection_,
      "DELETE FROM " + quoted_ + " WHERE id BETWEEN ?1 AND ?2 AND substr(key, 1, length(?3)) = ?3");
  for (std::int64_t from = INT64_MIN;;) {
    const Inside inside(connection_);
    last.bind(1, from).step();
    const bool more = !last.is_null(0);
    const std::int64_t to = last.integer(0);
    last.reset();
    if (!more) return;
    erase.bind(1, from).bind(2, to).bind(3, prefix).run();
    patience_.renew();
    removed += connection_.changes();
    if (to == INT64_MAX) return;
    from = to + 1;
  }
}

bool Table::sweep(const Moment& now) {
  std::int64_t to = 0;
  std::int64_t expired = 0;
  std::int64_t seen = 0;
  {
    const Resetting resetting(*sweep_look_);
    sweep_look_->bind(1, sweep_from_).bind(2, now.milliseconds).bind(9, now.latest).step();
    to = sweep_look_->integer(0);
    expired = sweep_look_->integer(1);
    seen = sweep_look_->integer(2);
  }
  if (expired > 0) {
    sweep_erase_->bind(1, sweep_from_).bind(2, to).bind(3, now.milliseconds).bind(9, now.latest);
    sweep_erase_->run();
  }
  sweep_from_ = seen < sweep_rows ? INT64_MIN : to;
  return expired * 4 > seen;
}

void Table::make_room(const Moment& now) {
  const Inside inside(connection_);
  if (write_ahead_log_) connection_.empty_log(settings_.busy_timeout);
  Statement expired(connection_, "DELETE FROM " + quoted_ + " WHERE id IN (SELECT id FROM " +
                                     quoted_ + " WHERE expires <= ?1 LIMIT " +
                                     std::to_string(room_rows) + ")");
  expired.bind(1, now.milliseconds).run();
}

std::optional<std::int64_t> Table::expire(std::int64_t from, const Moment& now,
                                          std::int64_t& removed) {
  Statement last(connection_, "SELECT max(id) FROM (SELECT id FROM " + quoted_ +
                                  " WHERE id >= ?1 ORDER BY id LIMIT " + std::to_string(room_rows) +
                                  ")");
  last.bind(1, from).step();
  const bool more = !last.is_null(0);
  const std::int64_t to = last.integer(0);
  last.reset();
  if (!more) return std::nullopt;
  Statement erase(connection_, "DELETE FROM " + quoted_ +
                                   " WHERE id BETWEEN ?1 AND ?2 AND (expires <= ?3 OR " + is_ahead +
                                   ")");
  erase.bind(1, from).bind(2, to).bind(3, now.milliseconds).bind(9, now.latest).run();
  removed += connection_.changes();
  if (to == INT64_MAX) return std::nullopt;
  return to + 1;
}

std::optional<std::int64_t> Table::count(std::int64_t from, const Moment& now, Counts& counts) {
  Statement rows(connection_, std::string("SELECT max(id), count(*), total(expires <= ?2 OR ") +
                                  is_ahead + "), total(expires = " + std::to_string(no_expiry) +
                                  ") FROM (SELECT id, written, expires FROM " + quoted_ +
                                  " WHERE id >= ?1 ORDER BY id LIMIT " + std::to_string(room_rows) +
                                  ")");
  rows.bind(1, from).bind(2, now.milliseconds).bind(9, now.latest).step();
  const std::int64_t seen = rows.integer(1);
  const std::int64_t last = rows.integer(0);
  counts.all += seen;
  counts.expired += rows.integer(2);
  counts.forever += rows.integer(3);
  rows.reset();
  if (seen < room_rows || last == INT64_MAX) return std::nullopt;
  return last + 1;
}

std::int64_t Table::bytes() {
  return connection_.query_integer("PRAGMA page_count") *
         connection_.query_integer("PRAGMA page_size");
}

}  // namespace polycache::sqlite
