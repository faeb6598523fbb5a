// Wraps SQLite for this store: a connection, a prepared statement, a transaction, and the first
// bytes of a file. Only this header and its source include sqlite3.h. Every failure is reported as
// a DatabaseError.

#pragma once

#include <sqlite3.h>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "log_stamp.h"
#include "patience.h"
#include "polycache/author/fork_gate.h"
#include "polycache/error.h"

namespace polycache::sqlite {

class DatabaseError final : public BackendError {
 public:
  // How a session can react.
  enum class Cause : unsigned char {
    damaged,           // the file is not a valid database: move it aside
    stale,             // the file or its tables are not those that were opened: reopen
    broken,            // reading or writing failed: reopen before the next operation
    no_shared_memory,  // for the write-ahead log: reopen, and without a log if it persists
    too_big,           // the value: refuse it
    full,              // the disk: make room, or continue without writing
    interrupted,       // by a fork during a wait for a lock: nothing was done, repeat
    other,
  };

  DatabaseError(Cause cause, Kind kind, std::string server, const std::string& message)
      : BackendError(kind, std::move(server), message), cause_(cause) {}

  Cause cause() const noexcept { return cause_; }

 private:
  Cause cause_;
};

// An open database. Used by one thread at a time. A forked child cannot use its parent's
// connections, since SQLite would assume that the locks of an open file are held, but locks are not
// inherited: they are closed before the child's first call into SQLite. The parent's locks, log and
// pages stay unchanged. Functions then throw a DatabaseError (stale).
//
// Functions enter the fork gate themselves, except the inline ones of Statement: there the caller
// is Inside. A caller that writes in several steps stays Inside until all are done.
class Connection {
 public:
  enum class Place : unsigned char { file, memory };
  enum class Absent : unsigned char { make, fail };

  // Opens the file, or the memory database of that name, which lives while a connection to it
  // exists. `absent`: what to do if there is none. `shown` names it in messages. `patience`, which
  // must outlive the connection: how long to wait for locks.
  Connection(Place place, const std::string& name, Absent absent, std::string shown,
             Patience& patience);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  void execute(const std::string& sql);
  std::int64_t query_integer(const std::string& sql);
  std::string query_text(const std::string& sql);

  // Rows changed by the last INSERT, UPDATE or DELETE. REQUIRES: the caller is Inside
  std::int64_t changes() const noexcept;
  bool in_transaction() noexcept;

  // A number that changes with every commit to the file, by whatever connection, as it was in the
  // latest transaction of this one. REQUIRES: the caller is Inside
  std::uint32_t data_version() noexcept;

  // The row inserted (not updated) since the last forget_insert(), or `none`. REQUIRES: the caller
  // is Inside
  std::int64_t last_insert() const noexcept;
  void forget_insert(std::int64_t none) noexcept;

  // Reads the first out.size() bytes of a BLOB, which has at least as many, and no more pages than
  // necessary.
  void read_blob(const std::string& table, const char* column, std::int64_t row, std::string& out);

  // Defines two SQL functions (checksum.h):
  //   polycache_checksum(contents, written, expires)  is checksum_of_row(), NULL if contents is
  //   polycache_sound(checksum, key, value, written, expires)  whether they match, or the
  //       checksum is NULL; sets `damaged`, which must outlive the connection, if not
  void define_checksums(bool& damaged);

  // Copies the write-ahead log back after a commit that leaves it at this many pages or more, and
  // again after each growth by an eighth of them, as far as readers allow without waiting.
  void checkpoint_every(std::int64_t pages);
  // The number of its pages after the latest commit of this connection.
  std::int64_t log_pages() const noexcept { return log_pages_; }
  // Copies all of it back and truncates its file. Waits until no reader uses it, but no longer than
  // `patience`. Returns whether it succeeded. REQUIRES: no transaction
  bool empty_log(std::chrono::milliseconds patience);
  // Whether the last empty_log() used up its patience, so that readers were in the way: false if a
  // fork or the end of the operation's own time interrupted it.
  bool readers_took_too_long() const noexcept {
    return readers_may_take_ <= readers_may_take_.zero();
  }

  const std::string& shown() const noexcept { return shown_; }

  // Whether the file layer has shared memory, which the write-ahead log requires.
  bool has_shared_memory();

  // The stamp of the file's content now, without its `opening`; false if it cannot be told: there
  // is no write-ahead log, another process is committing at this moment, or SQLite has another
  // format than the one known here. No system call. REQUIRES: the caller is Inside, and the file
  // has a write-ahead log and was read
  bool read_log_stamp(LogStamp& stamp) noexcept;

  // Whether the path no longer leads to the open file.
  bool file_has_moved();

  // While it exists, a long statement ends as `interrupted` when a fork waits for it, so that it is
  // run again afterwards; after a few times in a row, the fork waits instead. REQUIRES: the caller
  // is Inside
  class YieldsToForks {
   public:
    explicit YieldsToForks(Connection& connection) noexcept;
    YieldsToForks(const YieldsToForks&) = delete;
    YieldsToForks& operator=(const YieldsToForks&) = delete;
    ~YieldsToForks();

   private:
    Connection& connection_;
  };

  // REQUIRES: `code` is an error code of this connection
  [[noreturn]] void fail(int code) const;

 private:
  friend class Inside;
  friend class Statement;
  static int wait_for_lock(void* self, int attempt) noexcept;
  static int wait_for_readers(void* self, int attempt) noexcept;
  static int look_for_forks(void* self) noexcept;
  static int after_commit(void* self, sqlite3* handle, const char* database, int pages) noexcept;
  static void drop_inherited(void* self, ForkPass::Inherited how) noexcept;
  [[noreturn]] void fail_as_dropped() const;

  std::string shown_;
  Patience& patience_;
  mutable bool interrupted_ = false;  // by a fork, in the latest wait
  int yielded_ = 0;                   // statements in a row
  bool yields_now_ = false;           // the running one was ended for a fork

  std::int64_t checkpoint_every_ = 0;
  std::int64_t checkpoint_at_ = 0;  // pages of the log
  std::int64_t log_pages_ = 0;
  std::chrono::nanoseconds readers_may_take_{};

  // The index of the log in shared memory; valid while the connection is open.
  const volatile void* log_index_ = nullptr;
  sqlite3* handle_ = nullptr;            // null once dropped in a child
  ForkPass pass_{drop_inherited, this};  // constructed after the handle, destroyed before it
};

// Delays fork() during its lifetime: no foreign code runs in that scope, and nothing sleeps. May be
// nested.
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
// REQUIRES: the caller is Inside, except in the constructor, the destructor and run()
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
    // A null pointer would bind NULL instead of an empty BLOB.
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
  // Ends the statement and, outside a transaction, releases its locks.
  void reset() noexcept {
    assert(connection_.pass_.is_inside());
    sqlite3_reset(handle_);
  }
  // Runs a statement without rows.
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
  bool is_database = false;  // begins like every SQLite file
  std::uint32_t application_id = 0;
  std::uint32_t user_version = 0;
  bool has_write_ahead_log = false;
};

enum class HeaderRead : unsigned char { done, empty, too_short, unreadable };

// Reads them through SQLite's own file layer: opening and closing the file in any other way would
// drop this process's locks on it. Waits for a writer, but reads anyway when `patience` is used up.
HeaderRead read_header(const std::string& path, Patience& patience, FileHeader& header);

}  // namespace polycache::sqlite
