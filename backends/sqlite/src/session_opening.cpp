// How a session opens its file, notices that it was replaced, and repairs it.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <utility>

#include "polycache/author/fork.h"
#include "polycache/author/text.h"
#include "session.h"

namespace polycache::sqlite {
namespace {

// How long a deleted or replaced file may go unnoticed.
constexpr std::int64_t look_every = 100;

// How far ahead of the clock an entry's `written` is accepted: clocks are also set back a little,
// and a bulk write adds a microsecond for each of its entries.
constexpr std::chrono::seconds most_ahead{5};

// The interval between attempts to make room on a full disk.
constexpr std::int64_t room_every = 1000;

}  // namespace

void Alias::warn(Warning::Kind kind, std::string_view key, const std::string& message) const {
  if (report) report({.kind = kind, .key = key, .message = message});
}

OpenTable::OpenTable(const Alias& alias, ProcessShare& of, Absent absent, Table::Log log,
                     Patience& patience)
    : share(of),
      table(alias.place, alias.place == Connection::Place::file ? alias.shown : of.memory_name(),
            absent, log, alias.shown, alias.table, patience) {
  share.after_opening(alias.shown);
}

Session::~Session() = default;

Session& Session::collections() {
  if (!collections_) collections_ = std::make_unique<Session>(alias_->collections);
  return *collections_;
}

// --- opening and repairing the store ---

Moment Session::moment(std::size_t writes) const noexcept {
  using namespace std::chrono;
  // A store in this process's memory is not shared with others, so the wall clock is not needed.
  const nanoseconds since = alias_->place == Connection::Place::memory
                                ? nanoseconds(alias_->clock.steady_now().time_since_epoch())
                                : nanoseconds(alias_->clock.system_now().time_since_epoch());
  const std::int64_t us = floor<microseconds>(since).count();
  const std::int64_t ahead = microseconds(most_ahead).count();
  Moment now{.milliseconds = floor<milliseconds>(since).count(), .latest = us + ahead};
  if (writes == 0) return now;
  now.rounded_up = ceil<milliseconds>(since).count();
  const auto count = static_cast<std::int64_t>(std::min(writes, most_orders));
  std::int64_t last = alias_->last_order.load(std::memory_order_relaxed);
  do {
    // If the clock was set back, restart from the clock.
    now.order = last > us + ahead ? us : std::max(us, last + 1);
  } while (!alias_->last_order.compare_exchange_weak(last, now.order + count - 1,
                                                     std::memory_order_relaxed));
  return now;
}

Table& Session::open_table(const Moment& now) {
  if (table_ != nullptr && share_->fork() != fork_count()) table_.reset();
  const std::int64_t age = now.milliseconds - checked_;
  if (table_ != nullptr && (age < 0 || age >= look_every)) {
    checked_ = now.milliseconds;
    if (identity_ && identify_file(alias_->shown) != identity_) {
      leave_replaced_file();
    } else if (!table_->table.has_our_schema()) {
      table_.reset();  // reopening reports why it cannot be used
    } else {
      table_->table.look_for_tag_index();
    }
  }
  if (table_ == nullptr) open(now);
  return table_->table;
}

// Must run while the old file is still open: only then is it known which log belongs to it.
void Session::leave_replaced_file() {
  try {
    const Turn turn = take_turn();
    share_->clear_way(alias_->shown, *identity_, patience_);
  } catch (const BackendError&) {
    // The new file is then opened with the log that is there.
  }
  table_.reset();
}

void Session::open(const Moment& now) {
  share_ = &alias_->share->here();
  tag_stamps_.renew();
  const Turn turn = take_turn();
  identity_.reset();
  if (alias_->place == Connection::Place::file) {
    open_file();
  } else {
    make_table(Absent::make, false);
  }
  opening_ = share_->opening();
  checked_ = now.milliseconds;
  if (table_->table.fell_back()) {
    alias_->warn(Warning::Kind::degraded, {},
                 "sqlite " + quote_path(alias_->shown) +
                     ": its file system has no shared memory for a write-ahead log; using a "
                     "rollback journal, where readers and writers wait for each other");
  }
}

// Another process may rename or replace the file at any moment. `identity_` is never that of an
// unchecked file: otherwise a good new file would be moved aside because of the old one's damage.
void Session::open_file() {
  const std::string& path = alias_->shown;
  identity_ = identify_file(path);
  FileCheck check = check_for_opening();
  std::optional<PathLock> making;
  if (check.state == FileState::absent) {
    making.emplace(path, patience_);
    check = check_for_opening();
    if (check.state == FileState::absent) remove_orphaned_log(path);
  }
  make_table(check.state == FileState::absent ? Absent::make : Absent::fail,
             check.has_write_ahead_log);
  identity_ = identify_file(path);  // of a file that was just created
  if (table_->table.connection().file_has_moved()) {
    throw DatabaseError(
        DatabaseError::Cause::stale, BackendError::Kind::storage, path,
        "sqlite " + quote_path(path) + ": the file was replaced while it was being opened");
  }
}

// If shared memory fails twice in a row, the process works without it from then on: a later attempt
// would change the file under connections that work without it. But while another connection uses
// the file with shared memory, opening without it would wait forever; then the next operation tries
// again. `may_be_shared`: whether that is possible, which it is not if the file has no write-ahead
// log.
void Session::make_table(Absent absent, bool may_be_shared) {
  for (int failed = 0;; ++failed) {
    if (failed > 1 && !may_be_shared) share_->stop_using_shared_memory();
    const bool without = failed > 1 || !share_->has_shared_memory();
    const Table::Log log = without ? Table::Log::rollback : Table::Log::write_ahead;
    try {
      table_ = std::make_unique<OpenTable>(*alias_, *share_, absent, log, patience_);
      if (without) share_->stop_using_shared_memory();
      return;
    } catch (const DatabaseError& error) {
      const bool lacks_it = error.cause() == DatabaseError::Cause::no_shared_memory;
      if (!lacks_it || without || (failed > 0 && share_->is_open())) throw;
    }
  }
}

// Returns absent or ours; otherwise throws.
FileCheck Session::check_for_opening() {
  const std::string& path = alias_->shown;
  FileCheck check = check_file(path, patience_);
  if (check.state == FileState::refused) {
    throw BackendError(BackendError::Kind::storage, path, "sqlite: " + check.problem);
  }
  if (check.state == FileState::damaged) {
    throw DatabaseError(DatabaseError::Cause::damaged, BackendError::Kind::storage, path,
                        "sqlite " + quote_path(path) + ": the file is damaged");
  }
  return check;
}

// Returns whether to retry the operation.
bool Session::repair(const DatabaseError& error) {
  switch (error.cause()) {
    case DatabaseError::Cause::damaged:
      table_.reset();
      found_damage_ = is_checking_;
      if (!alias_->move_damaged || is_checking_) return false;
      move_damaged_file(error);
      return true;
    case DatabaseError::Cause::stale:
      table_.reset();
      return true;
    case DatabaseError::Cause::broken:
    case DatabaseError::Cause::no_shared_memory:
      table_.reset();
      // Another process that moves the file and its log makes a concurrent open fail.
      return identity_ && identify_file(alias_->shown) != identity_;
    case DatabaseError::Cause::full:
      return make_room();
    default:
      return false;
  }
}

// Returns whether there may be room now.
bool Session::make_room() {
  const Moment now = moment(0);
  if (table_ == nullptr || std::abs(now.milliseconds - room_made_) < room_every) return false;
  room_made_ = now.milliseconds;
  try {
    const Turn turn = take_turn();
    table_->table.make_room(now);
    return true;
  } catch (const BackendError&) {
    return false;  // the original error is reported
  }
}

void Session::move_damaged_file(const DatabaseError& error) {
  if (!identity_) return;  // there was no file yet; a file there now was not checked
  // Otherwise another thread could open the file between the renames, with the next one's log.
  const Turn turn = take_turn();
  const auto aside = move_aside(alias_->shown, *identity_, patience_);
  if (!aside) return;  // another process or thread was faster, and has warned
  alias_->warn(Warning::Kind::other, {},
               std::string(error.what()) + "; the damaged file was moved to " + quote_path(*aside) +
                   " and the cache starts empty; find the cause, then delete that file");
}

}  // namespace polycache::sqlite
