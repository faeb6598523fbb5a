// One thread's session with a store: the Backend itself.
//
// Opens the store at first use, and reopens it when the file was deleted or replaced, after a
// failure, and in a forked child. While a sink runs, no lock is held that a write of another
// session, or a fork, would wait for.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "location.h"
#include "near_tier.h"
#include "patience.h"
#include "polycache/author/backend.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/entry_tags.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/index_extension.h"
#include "store_share.h"
#include "table.h"
#include "tag_stamps.h"

namespace polycache::sqlite {

// A table's name, and the first alias of the process that uses it.
struct TableName {
  std::string spelling;
  std::string alias;
};

// State shared by the sessions of one alias. Thread-safe.
struct Alias {
  Connection::Place place = Connection::Place::file;
  std::string shown;  // the location, for messages; for a file, its path
  TableSettings table;
  std::int64_t max_value_bytes = 0;  // 0: SQLite's limit
  bool move_damaged = true;
  std::unique_ptr<NearTier> near = {};  // null without the option
  const Clock& clock;
  std::function<void(const Warning&)> report;
  std::shared_ptr<StoreShare> share;
  std::shared_ptr<const TableName> claim = {};  // held while the alias uses the table
  // The database of its collections, which eviction, clear() and damage of the entries do not
  // reach: a file next to the store's, or another store in memory. Null in its own alias.
  std::shared_ptr<const Alias> collections = {};

  // Moment::order of the latest write.
  mutable std::atomic<std::int64_t> last_order{0};

  void warn(Warning::Kind kind, std::string_view key, const std::string& message) const;
};

// An open table, counted among those of its process.
struct OpenTable {
  using Absent = Connection::Absent;
  OpenTable(const Alias& alias, ProcessShare& of, Absent absent, Table::Log log,
            Patience& patience);
  OpenTable(const OpenTable&) = delete;
  OpenTable& operator=(const OpenTable&) = delete;
  ~OpenTable() { share.after_closing(); }

  ProcessShare& share;
  Table table;
};

class Session final : public Backend,
                      private TtlExtension,
                      private CompareExtension,
                      private PopExtension,
                      private ErasePrefixExtension,
                      private ScanExtension,
                      private ErasePatternExtension,
                      private RenewExtension,
                      private TagIndexExtension,
                      private TagStampExtension,
                      private LockExtension,
                      private DequeExtension,
                      private IndexExtension {
 public:
  explicit Session(std::shared_ptr<const Alias> alias) noexcept
      : alias_(std::move(alias)), patience_(alias_->table.busy_timeout) {}
  ~Session() override;

  bool get(std::string_view key, ValueSink sink) override;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override;
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override;
  bool erase(std::string_view key) override;
  void clear() override;
  bool contains(std::string_view key, ValueSink head) override;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override;
  std::size_t erase_many(std::span<const std::string_view> keys) override;
  void* extension(std::string_view id) noexcept override;

  // As MaintenanceExtension says.
  std::size_t expire();
  std::size_t cull();
  std::uint64_t volume();
  MaintenanceExtension::Counts counts();
  // As CheckExtension and VacuumExtension say.
  using FoundProblem = FunctionRef<void(const CheckExtension::Problem&)>;
  void check(CheckExtension::Fix fix, FoundProblem found);
  std::uint64_t vacuum(VacuumExtension::How how);

 private:
  using Absent = Connection::Absent;
  using Turn = std::unique_lock<std::timed_mutex>;

  class Problems;  // of session_check.cpp
  void check(CheckExtension::Fix fix, Problems& problems);
  bool check_structure(CheckExtension::Fix fix, Problems& problems);
  void check_rows(CheckExtension::Fix fix, Problems& problems);
  void check_tag_index(CheckExtension::Fix fix, Problems& problems);
  void check_counts(CheckExtension::Fix fix, Problems& problems);
  bool has_collections() const;

  // How many entries of one bulk write get an order of their own: a microsecond each.
  static constexpr std::size_t most_orders = 1'000'000;

  // TtlExtension
  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override;
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override;
  // CompareExtension
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override;
  bool erase_if_equal(std::string_view key, std::string_view expected) override;
  // PopExtension
  bool pop(std::string_view key, ValueSink sink) override;
  // ErasePrefixExtension
  std::size_t erase_prefix(std::string_view prefix) override;
  // ScanExtension: a cursor is the id of the next row
  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const Listed&)> sink) override;
  // ErasePatternExtension
  std::size_t erase_pattern(std::string_view pattern) override;
  // RenewExtension
  bool get(std::string_view key, Ttl ttl, ValueSink sink) override;
  // TagIndexExtension
  bool has_index() override;
  bool create_index() override;
  bool drop_index() override;
  std::size_t erase_tagged(std::span<const std::uint64_t> versions) override;
  // TagStampExtension
  std::uint64_t tag_stamp() override;
  // LockExtension
  Taken take(const Claim& claim, std::chrono::milliseconds lease) override;
  bool renew(const Claim& claim, std::chrono::milliseconds lease) override;
  bool release(const Claim& claim) override;
  bool wait(std::string_view, std::chrono::milliseconds) override { return false; }
  // DequeExtension, in the database of the collections
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override;
  bool pop(std::string_view key, End end, ValueSink sink) override;
  bool at(std::string_view key, std::int64_t place, ValueSink sink) override;
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override;
  std::uint64_t size(std::string_view key) override;
  void rotate(std::string_view key, std::int64_t steps) override;
  bool erase_deque(std::string_view key) override;
  // LockExtension, DequeExtension: eviction reaches neither
  // IndexExtension, in the database of the collections
  bool find(const IndexExtension::Place& place, std::string_view key, ValueSink sink) override;
  IndexExtension::Put put(const IndexExtension::Place& place, std::string_view key,
                          std::string_view value, PutMode mode, ValueSink sink) override;
  bool erase(const IndexExtension::Place& place, std::string_view key, ValueSink sink) override;
  bool take(const IndexExtension::Place& place, IndexExtension::Side side,
            IndexExtension::EntrySink sink) override;
  bool list(const IndexExtension::Place& place, const IndexExtension::Range& range,
            IndexExtension::EntrySink sink) override;
  std::uint64_t count(const IndexExtension::Place& place) override;
  std::uint64_t clear(const IndexExtension::Place& place) override;
  // Of locks and collections: eviction reaches none.
  LockExtension::Keeping keeping() override { return LockExtension::Keeping::kept; }

  // The session with the database of the collections; made at the first call, and its file at the
  // first operation. A function of an extension for collections runs read() or write() of it, with
  // tables of Table's.
  Session& collections();

  template <class Operation>
  auto perform(Operation operation);
  template <class Operation>
  auto read(Operation operation);
  template <class Operation>
  auto write(std::size_t entries, Operation operation);

  // `writes`: how many entries need their own order, starting at the moment's.
  Moment moment(std::size_t writes) const noexcept;
  Table& open_table(const Moment& now);
  void open(const Moment& now);
  void open_file();
  void make_table(Absent absent, bool may_be_shared);
  FileCheck check_for_opening();
  void leave_replaced_file();
  bool repair(const DatabaseError& error);
  bool make_room();
  void move_damaged_file(const DatabaseError& error);
  void tidy(Table& table, std::size_t entries, const Moment& now) noexcept;
  void bound_log(Table& table);
  Turn take_turn();
  // Sessions of this process know of each other's changes at once, those of others as soon as they
  // check the file.
  void notice_tag_index(Table& table) {
    const std::uint32_t changes = share_->tag_index_changes();
    if (changes == tag_index_seen_) [[likely]]
      return;
    table.look_for_tag_index();
    tag_index_seen_ = changes;
  }
  void report_damage(Table& table, std::string_view key) const;
  void note_version(std::string_view key, std::size_t value_size, std::int64_t expires) noexcept {
    if (is_tag_version(key, value_size)) [[unlikely]]
      tag_stamps_.note_version(expires);
  }

  // The content of the file now; empty without a near tier, or if it cannot be told. REQUIRES: the
  // caller is Inside
  std::optional<LogStamp> near_stamp(Table& table) noexcept;
  // Reads all values into the buffer from the near tier, or none.
  bool copy_near_values(Table& table, std::span<const std::string_view> keys, const Moment& now);
  std::size_t copy_values(Table& table, std::span<const std::string_view> keys, std::size_t from,
                          std::size_t bytes, const Moment& now);
  void give_back_buffer() noexcept;
  template <class Deliver>
  bool read_one(std::string_view key, Deliver deliver);
  template <class Deliver>
  void read_many(std::span<const std::string_view> keys, Deliver deliver);
  // Copies the keys of the next rows that match into the buffer, and the rest into rows_.
  std::optional<std::int64_t> list_rows(const Glob& glob, std::int64_t from, std::int64_t rows);
  bool put_one(Table& table, const Item& item, PutMode mode, const Moment& now);
  template <class PutOne>
  bool put_whole(Table& table, const Moment& now, PutOne put);
  bool is_too_large(const Table& table, std::string_view key,
                    std::string_view value) const noexcept;
  void warn_too_large(std::string_view key, std::size_t size) const;
  bool refuse(Table& table, const Item& item, PutMode mode, const Moment& now);

  const std::shared_ptr<const Alias> alias_;
  Patience patience_;  // of the current operation
  std::unique_ptr<OpenTable> table_;
  std::optional<FileIdentity> identity_;  // of the open file, or of one that failed to open
  ProcessShare* share_ = nullptr;         // of the process that opened the table; set once opened
  std::int64_t checked_ = 0;              // when the file was last checked
  std::int64_t room_made_ = 0;            // when that was last tried
  std::size_t until_sweep_ = 0;
  std::uint32_t tag_index_seen_ = 0;  // ProcessShare::tag_index_changes()
  std::uint64_t opening_ = 0;         // ProcessShare::opening() of the open file

  // Values to be passed to a sink, copied out of SQLite since the sink may fork.
  struct Hit {
    std::size_t index;
    std::int64_t expires;
    std::size_t end;  // in buffer_
  };
  std::string buffer_;
  std::vector<Hit> hits_;

  // An entry to be listed. Its key lies in the buffer.
  struct Row {
    std::size_t key_end;
    std::int64_t size;
    Ttl left;
  };
  std::vector<Row> rows_;

  TagStamps tag_stamps_;
  LogStamp tagged_at_;                // the file's content at the latest of them, with a near tier
  std::uint32_t tagged_version_ = 0;  // its number

  std::string near_key_;

  bool is_checking_ = false;   // damage is only reported
  bool found_damage_ = false;  // while checking
  std::unique_ptr<Session> collections_;
};

}  // namespace polycache::sqlite
