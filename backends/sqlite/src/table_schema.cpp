// How a table opens its file, and makes or recognises what it needs in it.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "checksum.h"
#include "location.h"
#include "polycache/author/text.h"
#include "sql_text.h"
#include "table.h"

namespace polycache::sqlite {
namespace {

// The index of a table "x" is "x_written"; if a table has that name, "polycache_written_x", which
// no table can have.
constexpr std::string_view index_tail = "_written";
const char* const reserved_index_head = "polycache_written_";
const char* const checksum_trigger_head = "polycache_checksum_";

std::string index_on(const std::string& table, const std::string& index) {
  return "CREATE INDEX IF NOT EXISTS " + quote_identifier(index) + " ON " +
         quote_identifier(table) + "(written, expires)";
}

bool is_busy(const DatabaseError& error) noexcept {
  return error.kind() == BackendError::Kind::overloaded;
}

}  // namespace

Table::Table(Connection::Place place, const std::string& name, Connection::Absent absent, Log log,
             const std::string& shown, const TableSettings& settings, Patience& patience)
    : settings_(settings),
      patience_(patience),
      connection_(place, name, absent, shown, patience),
      quoted_(quote_identifier(settings.name)) {
  const bool in_file = place == Connection::Place::file;
  const bool rollback = log == Log::rollback || !connection_.has_shared_memory();
  if (in_file && rollback) leave_write_ahead_log();
  prepare_file();
  if (in_file) {
    write_ahead_log_ = !rollback && use_write_ahead_log();
    fell_back_ = !write_ahead_log_;
    connection_.execute("PRAGMA synchronous=" + settings_.synchronous);
    bound_log();
  } else {
    connection_.query_text("PRAGMA journal_mode=MEMORY");
  }
  connection_.execute("PRAGMA cache_size=-" + std::to_string(settings_.page_cache / 1024));
  // A row that is replaced is one that was erased, for the triggers of a table that is counted.
  connection_.execute("PRAGMA recursive_triggers=ON");
  create_table();
  add_checksums();
  prepare_statements();
  prepare_limits();
  look_for_tag_index();
}

// Changes nothing before the file is known to be ours or empty.
void Table::prepare_file() {
  if (connection_.query_integer("PRAGMA schema_version") == 0) create_schema();
  const auto application = connection_.query_integer("PRAGMA application_id");
  const auto version = connection_.query_integer("PRAGMA user_version");
  if (application != own_application_id || version < first_schema_version ||
      version > own_schema_version) {
    throw DatabaseError(DatabaseError::Cause::other, BackendError::Kind::storage,
                        connection_.shown(),
                        "sqlite " + quote_path(connection_.shown()) +
                            ": the file is not a polycache store of this version; it was not "
                            "changed; name another one");
  }
  const Inside inside(connection_);
  Statement secret(connection_, "SELECT value FROM polycache_meta WHERE name = 'hash_secret'");
  const bool there = secret.step();
  const std::string_view bytes = there ? secret.bytes(0) : std::string_view();
  if (bytes.size() != sizeof secret_) {
    throw DatabaseError(
        DatabaseError::Cause::damaged, BackendError::Kind::storage, connection_.shown(),
        "sqlite " + quote_path(connection_.shown()) + ": the hash secret is missing");
  }
  std::memcpy(&secret_, bytes.data(), sizeof secret_);
  std::memcpy(&sweep_from_, bytes.data(), sizeof sweep_from_);  // anywhere
  cull_from_ = sweep_from_;
}

// With the rollback journal, so that the file itself has our application id from the beginning.
void Table::create_schema() {
  change_schema([this] {
    if (connection_.query_integer("PRAGMA schema_version") != 0) return;
    connection_.execute(
        "PRAGMA application_id=" + std::to_string(own_application_id) +
        ";PRAGMA user_version=" + std::to_string(first_schema_version) +
        ";CREATE TABLE polycache_meta(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
        ";INSERT INTO polycache_meta VALUES('hash_secret', randomblob(16))");
  });
}

// Returns whether there is one. Changing the mode requires exclusive access for a moment, for which
// SQLite does not wait by itself.
bool Table::use_write_ahead_log() {
  for (;;) {
    try {
      return connection_.query_text("PRAGMA journal_mode=WAL") == "wal";
    } catch (const DatabaseError& error) {
      if (!is_busy(error) || !patience_.pause(std::chrono::milliseconds(1))) throw;
    }
  }
}

// A file with a log can be read without shared memory in exclusive mode.
void Table::leave_write_ahead_log() {
  const Inside inside(connection_);
  connection_.query_text("PRAGMA locking_mode=EXCLUSIVE");
  connection_.query_integer("PRAGMA schema_version");  // reads the mode
  if (connection_.query_text("PRAGMA journal_mode") == "wal") {
    connection_.query_text("PRAGMA journal_mode=DELETE");
  }
  connection_.query_text("PRAGMA locking_mode=NORMAL");
  connection_.query_integer("PRAGMA schema_version");  // releases the lock
}

// The name of a table or an index as spelled in the file, or empty if there is none.
std::string Table::name_in_file(const char* type, const std::string& name) {
  return connection_.query_text("SELECT name FROM sqlite_master WHERE type = '" +
                                std::string(type) + "' AND name = " + quote_text(name) +
                                " COLLATE NOCASE");
}

// A log that has grown, as by one large write, is shortened when it restarts.
void Table::bound_log() {
  constexpr std::int64_t frame_header = 24;
  connection_.checkpoint_every(settings_.wal_autocheckpoint);
  page_size_ = connection_.query_integer("PRAGMA page_size");
  connection_.query_integer("PRAGMA journal_size_limit=" +
                            std::to_string(most_log_pages() * (page_size_ + frame_header)));
}

bool Table::empty_log(std::chrono::milliseconds patience) {
  log_pages_left_ = connection_.log_pages();
  empty_log_at_ = log_pages_left_ + settings_.wal_autocheckpoint / 8 + 1;
  if (!connection_.empty_log(patience)) return false;
  empty_log_at_ = log_pages_left_ = 0;
  return true;
}

void Table::create_table() {
  if (name_in_file("table", settings_.name).empty()) {
    change_schema([this] {
      make_way_for_table();
      connection_.execute("CREATE TABLE IF NOT EXISTS " + quoted_ +
                          "(id INTEGER PRIMARY KEY, key BLOB NOT NULL, written INTEGER NOT NULL, "
                          "expires INTEGER NOT NULL, value BLOB NOT NULL)");
    });
  }
  check_spelling();
  if (!has_limits()) return;
  try {
    count_from_now_on();
    if (settings_.exact_order) {
      create_order();
    } else if (!order_name().empty()) {
      change_schema([this] { drop_order(); });
    }
  } catch (const DatabaseError& error) {
    if (error.kind() != BackendError::Kind::read_only) throw;
    settings_.max_entries = settings_.size_limit = 0;  // nothing is added to it
  }
}

// The index of another table may have this table's name, which SQLite allows only once.
void Table::make_way_for_table() {
  if (!fold_case(settings_.name).ends_with(index_tail)) return;
  const std::string index = name_in_file("index", settings_.name);
  if (index.empty()) return;
  const std::string of = connection_.query_text(
      "SELECT tbl_name FROM sqlite_master WHERE type = 'index' AND name = " + quote_text(index));
  connection_.execute("DROP INDEX " + quote_identifier(index));
  connection_.execute(index_on(of, reserved_index_head + of));
}

// How other processes spell the same table.
void Table::check_spelling() {
  const std::string there = name_in_file("table", settings_.name);
  if (there == settings_.name) return;
  throw DatabaseError(DatabaseError::Cause::other, BackendError::Kind::storage, connection_.shown(),
                      "sqlite " + quote_path(connection_.shown()) + ": the file has a table " +
                          quote(there) + ", which SQLite also treats as " + quote(settings_.name) +
                          "; spell it the same in the option table, or name another one");
}

// No other table can have such a name, which is reserved.
std::string Table::collections_table(std::string_view kind, const char* columns) {
  const std::string name = "polycache_" + std::string(kind) + "_" + settings_.name;
  std::string quoted = quote_identifier(name);
  if (name_in_file("table", name).empty()) {
    change_schema([&] { connection_.execute("CREATE TABLE IF NOT EXISTS " + quoted + columns); });
  }
  return quoted;
}

DequeRows& Table::deques() {
  if (!deques_) deques_.emplace(connection_, collections_table("deque", DequeRows::columns));
  return *deques_;
}

IndexRows& Table::indexes() {
  if (indexes_) return *indexes_;
  const std::string indexes = collections_table("indexes", IndexRows::columns_of_indexes);
  const std::string items = collections_table("index", IndexRows::columns_of_items);
  const std::string order = "polycache_index_order_" + settings_.name;
  if (name_in_file("index", order).empty()) {
    change_schema([&] {
      connection_.execute("CREATE INDEX IF NOT EXISTS " + quote_identifier(order) + " ON " + items +
                          IndexRows::index_of_positions);
    });
  }
  return indexes_.emplace(connection_, indexes, items);
}

// Of the index on the order in which entries were stored; empty if there is none.
std::string Table::order_name() {
  const std::string usual = name_in_file("index", settings_.name + std::string(index_tail));
  return usual.empty() ? name_in_file("index", reserved_index_head + settings_.name) : usual;
}

void Table::drop_order() {
  const std::string name = order_name();
  if (!name.empty()) connection_.execute("DROP INDEX " + quote_identifier(name));
}

// The index's usual name may be another table's, or reserved by SQLite: "sqlite_written".
void Table::create_order() {
  if (!order_name().empty()) return;
  const std::string usual = settings_.name + std::string(index_tail);
  const std::string reserved = reserved_index_head + settings_.name;
  change_schema([&] {
    const bool is_free =
        name_in_file("table", usual).empty() && !fold_case(usual).starts_with("sqlite_");
    connection_.execute(index_on(settings_.name, is_free ? usual : reserved));
  });
}

// The trigger is for older versions, which do not know the column: rows that they change then have
// no checksum instead of a wrong one. A read-only file is read without checksums.
void Table::add_checksums() {
  const std::string trigger = checksum_trigger_head + settings_.name;
  const auto has_column = [this] {
    const Inside inside(connection_);
    Statement columns(connection_, "PRAGMA table_info(" + quoted_ + ")");
    while (columns.step()) {
      if (columns.bytes(1) == "checksum") return true;
    }
    return false;
  };
  has_checksums_ = has_column();
  if (!settings_.checksum) return;
  try {
    if (!has_checksums_ || name_in_file("trigger", trigger).empty()) {
      change_schema([&] {
        if (!has_column()) {
          connection_.execute("ALTER TABLE " + quoted_ + " ADD COLUMN checksum INTEGER");
        }
        connection_.execute("CREATE TRIGGER IF NOT EXISTS " + quote_identifier(trigger) +
                            " AFTER UPDATE OF key, written, expires, value ON " + quoted_ +
                            " WHEN new.checksum = old.checksum BEGIN UPDATE " + quoted_ +
                            // In a SELECT, since the table may be called "new".
                            " SET checksum = NULL WHERE id = (SELECT new.id); END");
      });
    }
  } catch (const DatabaseError& error) {
    if (error.kind() != BackendError::Kind::read_only) throw;
  }
  has_checksums_ = has_column();
  uses_checksums_ = has_checksums_;
  if (uses_checksums_) connection_.define_checksums(damaged_);
}

bool Table::has_our_schema() {
  const Inside inside(connection_);
  const Resetting resetting(*user_version_);
  return user_version_->step() && user_version_->integer(0) <= own_schema_version;
}

}  // namespace polycache::sqlite
