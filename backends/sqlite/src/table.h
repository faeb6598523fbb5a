// The entries of a store: one open connection, its statements, and their meaning. Sinks, warnings,
// locks between threads and error recovery belong to the session.
//
// An entry is stored in the row whose id is the hash of its key. Two keys with one hash (one chance
// in a million among six million entries) evict each other, like entries beyond a limit; an
// operation never confuses them, since it compares whole keys.
//
// With checksums, an entry whose bytes do not match its checksum is damaged. It is absent to every
// operation that reads its value: find, a put that needs an absent one, compare, pop, renew.
// Operations that do not read the value, touch, erase and find_head of a large one, do not notice.

#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "connection.h"
#include "deque_rows.h"
#include "index_rows.h"
#include "key_hash.h"
#include "patience.h"
#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "polycache/author/function_ref.h"

namespace polycache::sqlite {

struct TableSettings {
  std::string name;         // of the table, checked
  std::string synchronous;  // off, normal, full
  std::int64_t wal_autocheckpoint = 0;
  std::int64_t page_cache = 0;   // bytes
  std::int64_t max_entries = 0;  // 0: no limit
  std::int64_t size_limit = 0;   // bytes; 0: no limit
  // Which entries go beyond a limit. Expired ones always do.
  enum class Policy : unsigned char { least_recently_stored, none };
  Policy policy = Policy::least_recently_stored;
  bool exact_order = false;      // by an index, and not by samples
  std::int64_t cull_limit = 10;  // entries that one write removes; 0: writes remove none
  bool checksum = false;
  std::chrono::milliseconds busy_timeout{};
};

// Makes names of tables and indexes equal that SQLite treats as the same: it ignores the case of
// ASCII letters.
std::string fold_case(std::string name);

// The time of an operation: by the wall clock, or for a store in memory by the steady one.
struct Moment {
  std::int64_t milliseconds = 0;  // an entry lives while its `expires` is greater
  std::int64_t rounded_up = 0;    // lifetimes count from here, so that none ends early
  std::int64_t order = 0;         // microseconds; unique among the writes of a process
  // An entry with a later `written` stems from before the clock was set back. If it has a lifetime,
  // it is treated as expired, since it could otherwise live too long by that amount.
  std::int64_t latest = 0;

  // When an entry written now expires.
  std::int64_t expires_after(Ttl ttl) const noexcept;
  // The lifetime that an entry has left. REQUIRES: it is live
  Ttl left(std::int64_t expires) const noexcept;
};

inline constexpr std::int64_t no_expiry = INT64_MAX;

class Table {
 public:
  enum class Log : unsigned char { write_ahead, rollback };

  // Opens the store and creates missing parts. A file that is not ours is an error, and stays
  // unchanged. `patience`, which must outlive the table: how long to wait. `log`: the kind of
  // journal of a file; without shared memory always a rollback journal.
  Table(Connection::Place place, const std::string& name, Connection::Absent absent, Log log,
        const std::string& shown, const TableSettings& settings, Patience& patience);

  Connection& connection() noexcept { return connection_; }

  // Whether a write waits for readers to finish: not with a write-ahead log.
  bool readers_block_writers() const noexcept { return !write_ahead_log_; }
  // The file should have a write-ahead log, but its file system does not support one.
  bool fell_back() const noexcept { return fell_back_; }

  // A row being read. Its views and its locks last as long as it does. REQUIRES: its user is Inside
  // during its lifetime
  class Row {
   public:
    explicit Row(Statement* statement) noexcept : statement_(statement) {}
    Row(Row&& other) noexcept
        : statement_(std::exchange(other.statement_, nullptr)), expires_(other.expires_) {}
    Row(const Row&) = delete;
    Row& operator=(const Row&) = delete;
    ~Row() { close(); }

    explicit operator bool() const noexcept { return statement_ != nullptr; }
    std::int64_t expires() const noexcept { return expires_; }
    std::string_view value() const noexcept { return statement_->bytes(2); }
    void close() noexcept {
      if (statement_ != nullptr) statement_->reset();
      statement_ = nullptr;
    }

   private:
    friend class Table;
    bool is_live(const Moment& now) noexcept;

    Statement* statement_;
    std::int64_t expires_ = 0;
  };

  // Whether a damaged entry was found since the last call.
  bool take_damaged() noexcept { return std::exchange(damaged_, false); }

  // The live entry of a key. Only one Row of a table at a time.
  Row find(std::string_view key, const Moment& now);
  // Writes the first 64 bytes, or more, of a live entry's value to `head`, and reads little more
  // than that. Returns whether there is one.
  bool find_head(std::string_view key, std::string& head, const Moment& now);

  // Each returns whether it stored or removed something.
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode, const Moment& now);
  // `head` becomes the first 64 bytes of the value.
  bool touch(std::string_view key, Ttl ttl, std::string& head, const Moment& now);
  bool erase(std::string_view key, const Moment& now);
  bool replace_value(std::string_view key, std::string_view value, const Moment& now);
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl, const Moment& now);
  bool erase_if_equal(std::string_view key, std::string_view expected, const Moment& now);
  // Removes a live entry after writing its value to `value`. A damaged one is removed, too, but
  // counts as absent.
  bool pop(std::string_view key, std::string& value, const Moment& now);
  bool renew(std::string_view key, Ttl ttl, std::string& value, const Moment& now);

  void clear();
  // Removes entries in steps. Each step is a transaction, may wait as long as a whole operation,
  // and is followed by an opportunity to fork if the caller is not Inside. Counts the entries in
  // `removed`, even if it throws.
  void erase_prefix(std::string_view prefix, std::int64_t& removed);

  // Calls visit(key, size of the value, expires) for the live entries among the next `rows` rows,
  // whose ids are at least `from`. Returns the least id of the rows that follow; empty after the
  // last. REQUIRES: the caller is Inside
  using Visit = FunctionRef<void(std::string_view key, std::int64_t size, std::int64_t expires)>;
  std::optional<std::int64_t> list(std::int64_t from, std::int64_t rows, const Moment& now,
                                   Visit visit);

  // Whether entries are removed beyond a limit. Then keep_limits() follows each put() and
  // put_if_equal() in the same transaction, and makes room for what they have stored.
  bool has_limits() const noexcept { return settings_.max_entries > 0 || settings_.size_limit > 0; }
  void keep_limits(const Moment& now);
  // Whether an entry is within the limits by itself.
  bool fits_alone(std::string_view key, std::string_view value) const noexcept;
  // Removes entries until the table is within its limits, at most so many, in one transaction.
  // Returns how many there were.
  std::int64_t cull(std::int64_t most, const Moment& now);
  // What the table is known to hold. Bytes are those of keys and values, and 64 for each entry;
  // they are counted if a limit needs them. REQUIRES: has_limits()
  struct Usage {
    std::int64_t entries = 0;
    std::int64_t bytes = 0;
    bool has_bytes = false;
  };
  Usage usage();
  // Makes what counts the table, where it is missing, and counts it then. REQUIRES: no transaction
  void count_from_now_on();
  // Whether the table is counted and usage() is right, by counting all rows. REQUIRES: a
  // transaction, and has_limits()
  bool has_right_counts(Usage& counted);
  void set_counts(const Usage& usage);

  // Checks the next few rows and removes expired ones. Returns whether a good part of them was
  // expired.
  bool sweep(const Moment& now);

  // Removes the expired entries of the next rows, whose ids are at least `from`, and adds their
  // number to `removed`. Returns the least id of the rows that follow; empty after the last.
  std::optional<std::int64_t> expire(std::int64_t from, const Moment& now, std::int64_t& removed);
  // Likewise counts entries: all, expired ones, those without an end. REQUIRES: the caller is
  // Inside
  struct Counts {
    std::int64_t all = 0;
    std::int64_t expired = 0;
    std::int64_t forever = 0;
  };
  std::optional<std::int64_t> count(std::int64_t from, const Moment& now, Counts& counts);
  // The size of the database, without its log.
  std::int64_t bytes();

  // What SQLite finds wrong in the structure of the whole file, at most so many lines. REQUIRES of
  // all these functions: the caller is Inside
  std::vector<std::string> structure_problems(std::int64_t most);
  // Makes all indexes of the file anew.
  void rebuild_indexes();
  // What is wrong with an entry of the table.
  enum class Wrong : unsigned char {
    place,      // it is not in the row of its key, so no operation finds it
    columns,    // they have values of types that no version of this library writes
    checksum,   // its bytes have changed
    tag_index,  // a tag is missing in the index
  };
  using FoundWrong = FunctionRef<void(std::int64_t id, std::string_view key, Wrong wrong)>;
  // Looks at the next rows, whose ids are at least `from`, and calls found() for each that is
  // wrong. Returns the least id of the rows that follow; empty after the last.
  std::optional<std::int64_t> check(std::int64_t from, FoundWrong found);
  // Removes an entry that no operation finds, or completes what is known of it. REQUIRES: a
  // transaction around it
  void fix(std::int64_t id, Wrong wrong);
  // Counts rows of the index of tags that belong to no entry among the next ones, of ids that are
  // at least `from`, and removes them if `removes`. Returns as check() does.
  std::optional<std::int64_t> orphaned_tags(std::int64_t from, bool removes, std::int64_t& count);
  // Gives up to so many free pages back. Returns by how many bytes the file is shorter.
  std::int64_t free_pages(std::int64_t most);
  // Writes the file anew. Returns by how many bytes it is shorter.
  std::int64_t rewrite();

  // Whether the write-ahead log has grown by a quarter beyond the pages at which it is copied back,
  // and further since the last try to empty it: overlapping readers prevent it from restarting.
  bool log_is_too_long() const noexcept {
    const std::int64_t pages = connection_.log_pages();
    return pages > most_log_pages() && (pages >= empty_log_at_ || pages < log_pages_left_);
  }
  // Empties it if readers end in time. Returns whether it did.
  bool empty_log(std::chrono::milliseconds patience);
  bool readers_took_too_long() const noexcept { return connection_.readers_took_too_long(); }
  // Whether it is far too long, and its length in bytes.
  bool log_is_endless() const noexcept {
    return connection_.log_pages() >= 8 * settings_.wal_autocheckpoint;
  }
  std::int64_t log_bytes() const noexcept { return connection_.log_pages() * page_size_; }

  // The index of tags, in a table of its own, which triggers of SQL keep free of rows of removed
  // and replaced entries, whichever connection changes them. put() and put_if_equal() add rows:
  // REQUIRES a transaction around them if there is an index.
  bool has_tag_index() const noexcept { return add_tag_.has_value(); }
  // Finds out whether there is one by now: other sessions make and drop it.
  void look_for_tag_index();
  // Returns whether there was none.
  bool create_tag_index();
  // Adds the entries of the next rows, whose ids are at least `from`, in a transaction. Returns the
  // least id of the rows that follow; empty after the last.
  std::optional<std::int64_t> fill_tag_index(std::int64_t from);
  // Returns whether there was one.
  bool drop_tag_index();
  // Removes some of the entries that carry that version of a tag. Adds the live ones among them to
  // `live`. Returns whether there may be more.
  bool erase_tagged(std::uint64_t version, const Moment& now, std::size_t& live);

  // Locks, as LockExtension says, in a table of their own: no entries, so clear(), culling and
  // max_entries do not concern them. The table is made when the first lock is taken.

  // Why the lock cannot be taken now; empty if it may be free. REQUIRES: the caller is Inside
  std::optional<LockExtension::Taken> refuse_lock(const LockExtension::Claim& claim,
                                                  const Moment& now);
  // REQUIRES: a transaction around it
  LockExtension::Taken take_lock(const LockExtension::Claim& claim, std::chrono::milliseconds lease,
                                 const Moment& now);
  bool renew_lock(const LockExtension::Claim& claim, std::chrono::milliseconds lease,
                  const Moment& now);
  bool release_lock(const LockExtension::Claim& claim, const Moment& now);

  // In a database of collections: its tables, made at the first call. REQUIRES: no transaction
  DequeRows& deques();
  IndexRows& indexes();

  // Whether the file still has the schema that it was opened with: false once a newer library has
  // changed it.
  bool has_our_schema();

  // Tries to free space on a full disk: shortens the log, and removes expired entries. May throw
  // after part of it is done.
  void make_room(const Moment& now);

  // Statements of transactions, used by Transaction.
  void begin_read() { begin_read_->run(); }
  void begin_write() { begin_write_->run(); }
  void commit() { commit_->run(); }

 private:
  std::int64_t most_log_pages() const noexcept {
    return settings_.wal_autocheckpoint + settings_.wal_autocheckpoint / 4;
  }
  void bound_log();
  void prepare_file();
  void create_schema();
  bool use_write_ahead_log();
  void leave_write_ahead_log();
  template <class Change>
  void change_schema(Change change);
  std::string name_in_file(const char* type, const std::string& name);
  void create_table();
  void make_way_for_table();
  void check_spelling();
  void create_order();
  void drop_order();
  std::string order_name();
  // How many rows a sample has, and how many live ones of it go.
  static constexpr std::size_t sampled_rows = 16;
  static constexpr std::size_t most_of_sample = 4;
  struct Candidate {
    std::int64_t id;
    std::int64_t written;
    std::int64_t bytes;
    bool is_dead;
  };
  std::string usage_trigger(const char* event) const;
  std::string usage_change(const std::string& change) const;
  void make_erase_trigger();
  bool is_counted();
  void prepare_limits();
  void note_put(std::int64_t row, bool was_inserted) noexcept {
    put_row_ = row;
    was_inserted_ = was_inserted;
  }
  bool is_beyond(const Usage& usage) const noexcept;
  std::size_t sample(std::int64_t& from, std::array<Candidate, sampled_rows>& rows,
                     const Moment& now);
  std::int64_t evict(std::int64_t& from, std::int64_t most, const Moment& now);
  void add_checksums();
  std::string tags_table() const;
  std::string locks_table() const;
  // The name of a table of collections in SQL: "polycache_deque_" and the name of the entries'
  // table, so that aliases with other tables have other collections. Makes it if it is missing:
  // `columns` is what follows the name in CREATE TABLE. REQUIRES: no transaction
  std::string collections_table(std::string_view kind, const char* columns);
  bool has_locks();
  void make_locks();
  LockExtension::Taken count_locks(const LockExtension::Claim& claim, const Moment& now,
                                   bool& mine);
  void add_tags(std::int64_t row, std::string_view value);
  void prepare_statements();
  void prepare_putting();
  void prepare_changing();
  void prepare_reading();
  void prepare_sweeping();
  // Parts of the statements.
  std::string live() const;
  std::string sound() const;
  std::string and_checksum(const std::string& expression) const;
  void bind_contents(Statement& statement, std::string_view key, std::string_view value);
  Statement& bind_live(Statement& statement, std::string_view key, const Moment& now);
  Row found(Statement& statement, std::string_view key, const Moment& now);
  bool is_sound(const Statement& row, std::string_view key) const noexcept;
  std::int64_t id(std::string_view key) const noexcept {
    return static_cast<std::int64_t>(hash_key(key, secret_));
  }

  TableSettings settings_;
  Patience& patience_;
  Connection connection_;
  std::string quoted_;  // the table's name in SQL
  HashSecret secret_;
  bool write_ahead_log_ = false;
  bool fell_back_ = false;
  bool has_checksums_ = false;  // there is a column for them
  bool uses_checksums_ = false;
  bool damaged_ = false;
  std::int64_t page_size_ = 0;
  std::int64_t empty_log_at_ = 0;    // pages, when it was not possible
  std::int64_t log_pages_left_ = 0;  // then
  std::int64_t sweep_from_ = 0;
  std::int64_t cull_from_ = 0;
  bool has_culled_ = false;
  std::int64_t put_row_ = 0;       // of the latest put(), if there are limits
  bool was_inserted_ = false;      // by it: not overwritten
  std::int64_t schema_seen_ = -1;  // when the index of tags was looked for

  // Made after the schema is known to exist.
  std::optional<Statement> begin_read_, begin_write_, commit_;
  std::optional<Statement> find_, find_head_, put_always_, put_if_absent_, put_if_present_;
  std::optional<Statement> touch_, erase_, replace_value_, put_if_equal_, erase_if_equal_, pop_,
      renew_;
  std::optional<Statement> sweep_look_, sweep_erase_, user_version_, list_;
  std::optional<Statement> schema_version_;
  std::optional<Statement> usage_, sample_, evict_, oldest_;      // if there are limits
  std::optional<Statement> add_tag_, erase_tagged_, erase_rows_;  // if there is an index of tags
  // If there is a table of locks.
  std::optional<Statement> count_locks_, end_locks_, next_fence_, put_lock_, renew_lock_,
      release_lock_;
  std::optional<DequeRows> deques_;
  std::optional<IndexRows> indexes_;
};

// `change` must check again: another process may have made the same change.
template <class Change>
void Table::change_schema(Change change) {
  const Inside inside(connection_);
  connection_.execute("BEGIN IMMEDIATE");
  try {
    change();
    connection_.execute("COMMIT");
  } catch (const DatabaseError&) {
    if (connection_.in_transaction()) connection_.execute("ROLLBACK");
    throw;
  }
}

// Rolls back at the end of its scope unless committed. REQUIRES: a writer is Inside during its
// lifetime
class Transaction {
 public:
  enum class Kind : unsigned char { read, write };
  Transaction(Table& table, Kind kind) : table_(table) {
    kind == Kind::read ? table.begin_read() : table.begin_write();
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  void commit() { table_.commit(); }

 private:
  Table& table_;
};

}  // namespace polycache::sqlite
