// SQLite, as this store uses it: a connection, a prepared statement, a transaction, and the
// first bytes of a file. Only this header and its source include sqlite3.h. Every failure leaves
// here as a DatabaseError.

#pragma once

#include <sqlite3.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "patience.h"
#include "polycache/author/fork_gate.h"
#include "polycache/error.h"

namespace polycache::sqlite {

class DatabaseError final : public BackendError {
 public:
  // What a session can do about it.
  enum class Cause : unsigned char {
    damaged,           // the file is no sound database: move it aside
    stale,             // the file or its tables are not those that were opened: open again
    broken,            // reading or writing failed: open again before the next operation
    no_shared_memory,  // for the write-ahead log: the same, and without one if it stays so
    too_big,           // of the value: refuse it
    full,              // the disk is: make room, or go on without writing
    interrupted,       // by a fork, while it waited for a lock: nothing was done, do it again
    other,
  };

  DatabaseError(Cause cause, Kind kind, std::string server, const std::string& message)
      : BackendError(kind, std::move(server), message), cause_(cause) {}

  Cause cause() const noexcept { return cause_; }

 private:
  Cause cause_;
};

// An open database. Used by one thread at a time. A forked child cannot use its parent's
// connections: they are closed before its first call into SQLite, which would believe that the
// locks of an open file are held, and they are not inherited. The parent's locks, log and pages
// stay as they are then. A function throws a DatabaseError (stale) if that has happened.
//
// Functions enter the fork gate by themselves, but for the inline ones of Statement: there the
// caller is Inside. A caller that writes in several steps stays Inside until all are done.
class Connection {
 public:
  enum class Place : unsigned char { file, memory };
  enum class Absent : unsigned char { make, fail };

  // Opens the file; or the memory database of that name, which lives as long as a connection to
  // it. `absent`: what to do if there is none. `shown` names it in messages. `patience`, which
  // must outlive the connection: how long to wait for locks.
  Connection(Place place, const std::string& name, Absent absent, std::string shown,
             Patience& patience);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void execute(const std::string& sql);
  std::int64_t query_integer(const std::string& sql);
  std::string query_text(const std::string& sql);

  // Rows that the last INSERT, UPDATE or DELETE changed. REQUIRES: the caller is Inside
  std::int64_t changes() const noexcept;
  bool in_transaction() noexcept;

  // The row that was inserted (not updated) since the last forget_insert(), or `none`.
  // REQUIRES: the caller is Inside
  std::int64_t last_insert() const noexcept;
  void forget_insert(std::int64_t none) noexcept;

  // Reads the first out.size() bytes of a BLOB, which has as many, and no more pages than
  // that takes.
  void read_blob(const std::string& table, const char* column, std::int64_t row, std::string& out);

  // Makes two functions for SQL (checksum.h):
  //   polycache_checksum(contents, written, expires)  is checksum_of_row(), NULL if contents is
  //   polycache_sound(checksum, key, value, written, expires)  whether they match, or the
  //       checksum is NULL; sets `damaged`, which must outlive the connection, if not
  void define_checksums(bool& damaged);

  // Copies the write-ahead log back after a commit that leaves it at so many pages or more, and
  // then as it grows by an eighth of them, as far as readers allow without waiting.
  void checkpoint_every(std::int64_t pages);
  // How many pages it had after the latest commit of this connection.
  std::int64_t log_pages() const noexcept { return log_pages_; }
  // Copies all of it back and empties its file, which must wait until no reader uses it, but waits
  // no longer than `patience`. Returns whether it did. REQUIRES: no transaction
  bool empty_log(std::chrono::milliseconds patience);
  // Whether the last empty_log() waited in vain for all of its time, so that readers were in the
  // way: false if a fork, or the end of the operation's own time, cut it short.
  bool readers_took_too_long() const noexcept {
    return readers_may_take_ <= readers_may_take_.zero();
  }

  const std::string& shown() const noexcept { return shown_; }

  // Whether the file layer has shared memory, without which there is no write-ahead log.
  bool has_shared_memory();

  // Whether the path leads to another file than the open one, or to none.
  bool file_has_moved();

  // REQUIRES: `code` is an error code of this connection
  [[noreturn]] void fail(int code) const;

 private:
  friend class Inside;
  friend class Statement;
  static int wait_for_lock(void* self, int attempt) noexcept;
  static int wait_for_readers(void* self, int attempt) noexcept;
  static int after_commit(void* self, sqlite3* handle, const char* database, int pages) noexcept;
  static void drop_inherited(void* self, ForkPass::Inherited how) noexcept;
  [[noreturn]] void fail_as_dropped() const;

  std::string shown_;
  Patience& patience_;
  mutable bool interrupted_ = false;  // by a fork, the latest waiting

  std::int64_t checkpoint_every_ = 0;
  std::int64_t checkpoint_at_ = 0;  // pages of the log
  std::int64_t log_pages_ = 0;
  std::chrono::nanoseconds readers_may_take_{};

  sqlite3* handle_ = nullptr;            // null once it was dropped in a child
  ForkPass pass_{drop_inherited, this};  // made after the handle, and gone before it
};

// Keeps fork() waiting during its life: where it lives, no code of others runs and nothing sleeps.
// May be nested.
class Inside {
 public:
  // Throws DatabaseError (stale) in a forked child that has inherited the connection.
  explicit Inside(Connection& connection) : entered_(connection.pass_) {
    if (connection.handle_ == nullptr) [[unlikely]]
      connection.fail_as_dropped();
  }

 private:
  const ForkGuard entered_;
};

// A prepared statement. The connection must outlive it. Bound views must live until reset().
// REQUIRES: the caller is Inside, but for the constructor, the destructor and run()
class Statement {
 public:
  Statement(Connection& connection, const std::string& sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& bind(int parameter, std::int64_t value) {
    return checked(sqlite3_bind_int64(handle_, parameter, value));
  }
  Statement& bind(int parameter, std::string_view bytes) {
    // A null pointer would bind NULL instead of no bytes.
    const char* const data = bytes.data() == nullptr ? "" : bytes.data();
    return checked(sqlite3_bind_blob64(handle_, parameter, data, bytes.size(), SQLITE_STATIC));
  }
  Statement& bind_null(int parameter);

  // Goes to the next row; false at the end.
  bool step() {
    assert(connection_.pass_.is_inside());
    const int code = sqlite3_step(handle_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    connection_.fail(code);
  }
  // Ends the statement and, outside a transaction, what it locked.
  void reset() noexcept {
    assert(connection_.pass_.is_inside());
    sqlite3_reset(handle_);
  }
  // Runs a statement that has no rows.
  void run();

  bool is_null(int column) const noexcept;
  std::int64_t integer(int column) const noexcept { return sqlite3_column_int64(handle_, column); }
  // Valid until step() or reset().
  std::string_view bytes(int column) const noexcept {
    const void* const data = sqlite3_column_blob(handle_, column);
    if (data == nullptr) return {};
    return {static_cast<const char*>(data),
            static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
  }

 private:
  Statement& checked(int code) {
    if (code != SQLITE_OK) [[unlikely]]
      connection_.fail(code);
    return *this;
  }

  Connection& connection_;
  sqlite3_stmt* handle_ = nullptr;
};

// Resets a statement at the end of a scope. REQUIRES: the caller is Inside
class Resetting {
 public:
  explicit Resetting(Statement& statement) noexcept : statement_(statement) {}
  Resetting(const Resetting&) = delete;
  Resetting& operator=(const Resetting&) = delete;
  ~Resetting() { statement_.reset(); }

 private:
  Statement& statement_;
};

// The first bytes of a file.
struct FileHeader {
  bool is_database = false;  // begins as every SQLite file does
  std::uint32_t application_id = 0;
  std::uint32_t user_version = 0;
  bool has_write_ahead_log = false;
};

enum class HeaderRead : unsigned char { done, empty, too_short, unreadable };

// Reads them through SQLite's own file layer: opening and closing the file in any other way
// would drop the locks that this process holds on it. Waits for somebody who is writing them,
// but reads them anyway at the end of its patience.
HeaderRead read_header(const std::string& path, Patience& patience, FileHeader& header);

}  // namespace polycache::sqlite
