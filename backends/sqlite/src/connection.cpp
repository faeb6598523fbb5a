#include "connection.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "checksum.h"
#include "polycache/author/text.h"

namespace polycache::sqlite {
namespace {

using Cause = DatabaseError::Cause;
using Kind = BackendError::Kind;

struct Translation {
  Cause cause;
  Kind kind;
  const char* remedy;
};

Translation translate(int code) {
  if (code == SQLITE_READONLY_DBMOVED) return {Cause::stale, Kind::storage, ""};
  if (code == SQLITE_IOERR_SHMOPEN || code == SQLITE_IOERR_SHMMAP) {
    return {Cause::no_shared_memory, Kind::storage, ""};
  }
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Cause::other, Kind::overloaded,
              "; another process holds a lock on it; if that is intended, raise busy_timeout"};
    case SQLITE_NOMEM:
      return {Cause::other, Kind::overloaded, ""};
    case SQLITE_FULL:
      return {Cause::full, Kind::storage, "; free space on the disk"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Cause::damaged, Kind::storage, ""};
    case SQLITE_READONLY:
      return {Cause::broken, Kind::read_only,
              "; make the file, its -wal and -shm, and its folder writable"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return {Cause::broken, Kind::denied, ""};
    case SQLITE_CANTOPEN:
      return {Cause::broken, Kind::storage, "; check that its folder exists and is writable"};
    case SQLITE_IOERR:
    case SQLITE_PROTOCOL:
      return {Cause::broken, Kind::storage, ""};
    case SQLITE_TOOBIG:
      return {Cause::too_big, Kind::storage, ""};
    case SQLITE_ERROR:  // our own SQL is valid, so the tables are no longer ours
      return {Cause::stale, Kind::storage, ""};
    default:
      return {Cause::other, Kind::storage, ""};
  }
}

// The system's error says more than SQLite's own code.
void explain(int error, Translation& to) {
  if (error == EACCES || error == EPERM) {
    to.kind = Kind::denied;
    to.remedy = "; allow this user to read and write the file and its folder";
  } else if (error == EROFS) {
    to.kind = Kind::read_only;
    to.remedy = "; its file system is mounted read-only";
  }
}

std::uint32_t big_endian(const unsigned char* at) noexcept {
  return (static_cast<std::uint32_t>(at[0]) << 24U) | (static_cast<std::uint32_t>(at[1]) << 16U) |
         (static_cast<std::uint32_t>(at[2]) << 8U) | static_cast<std::uint32_t>(at[3]);
}

// SQLite's file layer requires names in memory of this kind.
struct FreeFilename {
  void operator()(const char* name) const noexcept {
    sqlite3_free_filename(const_cast<char*>(name));
  }
};
// Blocks writers of a file, as every reader of a database does, unless one is writing now.
class ReadLock {
 public:
  explicit ReadLock(sqlite3_file& file)
      : file_(file), code_(file.pMethods->xLock(&file, SQLITE_LOCK_SHARED)) {}
  ReadLock(const ReadLock&) = delete;
  ReadLock& operator=(const ReadLock&) = delete;
  ~ReadLock() {
    if (code_ == SQLITE_OK) file_.pMethods->xUnlock(&file_, SQLITE_LOCK_NONE);
  }

  bool is_busy() const noexcept { return code_ == SQLITE_BUSY; }

 private:
  sqlite3_file& file_;
  const int code_;
};

struct CloseFile {
  void operator()(sqlite3_file* file) const noexcept {
    if (file->pMethods != nullptr) file->pMethods->xClose(file);
  }
};

std::string_view blob(sqlite3_value* value) noexcept {
  const void* const data = sqlite3_value_blob(value);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_value_bytes(value))};
}

void sql_checksum(sqlite3_context* context, int, sqlite3_value** values) {
  if (sqlite3_value_type(values[0]) == SQLITE_NULL) return sqlite3_result_null(context);
  const auto contents = static_cast<std::uint32_t>(sqlite3_value_int64(values[0]));
  sqlite3_result_int64(context, checksum_of_row(contents, sqlite3_value_int64(values[1]),
                                                sqlite3_value_int64(values[2])));
}

void sql_sound(sqlite3_context* context, int, sqlite3_value** values) {
  bool sound = sqlite3_value_type(values[0]) == SQLITE_NULL;
  if (!sound) {
    const std::int64_t checksum =
        checksum_of_row(checksum_of_contents(blob(values[1]), blob(values[2])),
                        sqlite3_value_int64(values[3]), sqlite3_value_int64(values[4]));
    sound = checksum == sqlite3_value_int64(values[0]);
  }
  if (!sound) *static_cast<bool*>(sqlite3_user_data(context)) = true;
  sqlite3_result_int(context, sound ? 1 : 0);
}

// Reads the beginning of an open file.
HeaderRead read_bytes(sqlite3_file& file, FileHeader& header) {
  constexpr std::string_view magic("SQLite format 3\0", 16);
  std::array<unsigned char, 100> bytes{};
  const int code = file.pMethods->xRead(&file, bytes.data(), bytes.size(), 0);
  if (code == SQLITE_IOERR_SHORT_READ) {
    sqlite3_int64 size = 0;
    const bool empty = file.pMethods->xFileSize(&file, &size) == SQLITE_OK && size == 0;
    return empty ? HeaderRead::empty : HeaderRead::too_short;
  }
  if (code != SQLITE_OK) return HeaderRead::unreadable;
  header.is_database = std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  header.has_write_ahead_log = bytes[18] > 1;  // the format version that writers need
  header.user_version = big_endian(bytes.data() + 60);
  header.application_id = big_endian(bytes.data() + 68);
  return HeaderRead::done;
}

// Returns nothing while another connection writes, unless `even_so`.
std::optional<HeaderRead> try_to_read_header(const std::string& path, FileHeader& header,
                                             bool even_so) {
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  if (vfs == nullptr) return HeaderRead::unreadable;
  const std::unique_ptr<const char, FreeFilename> name(sqlite3_create_filename(
      path.c_str(), (path + "-journal").c_str(), (path + "-wal").c_str(), 0, nullptr));
  if (name == nullptr) return HeaderRead::unreadable;
  const std::size_t words = static_cast<std::size_t>(vfs->szOsFile) / sizeof(std::max_align_t) + 1;
  const auto memory = std::make_unique<std::max_align_t[]>(words);
  const std::unique_ptr<sqlite3_file, CloseFile> file(
      reinterpret_cast<sqlite3_file*>(memory.get()));
  file->pMethods = nullptr;
  int flags = 0;
  if (vfs->xOpen(vfs, name.get(), file.get(), SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB, &flags) !=
      SQLITE_OK) {
    return HeaderRead::unreadable;
  }
  const ReadLock lock(*file);
  if (lock.is_busy() && !even_so) return std::nullopt;
  return read_bytes(*file, header);
}

// REQUIRES: the caller is inside
void check_usable(const std::string& shown) {
  if (ForkPass::library_is_usable()) return;
  throw BackendError(BackendError::Kind::storage, shown,
                     "sqlite " + quote_path(shown) +
                         ": this process was forked while a thread had been inside SQLite for ten "
                         "seconds, so it cannot use SQLite; check for a disk that hangs, and fork "
                         "again");
}

}  // namespace

Connection::Connection(Place place, const std::string& name, Absent absent, std::string shown,
                       Patience& patience)
    : shown_(std::move(shown)), patience_(patience) {
  const ForkGuard entered(pass_);
  check_usable(shown_);
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (absent == Absent::make) flags |= SQLITE_OPEN_CREATE;
  if (place == Place::memory) flags |= SQLITE_OPEN_URI;
  const std::string target = place == Place::memory ? "file:/" + name + "?vfs=memdb" : name;
  const int code = sqlite3_open_v2(target.c_str(), &handle_, flags, nullptr);
  if (code != SQLITE_OK) {
    try {
      fail(code);
    } catch (...) {  // the destructor will not run
      sqlite3_close(std::exchange(handle_, nullptr));
      throw;
    }
  }
  sqlite3_busy_handler(handle_, wait_for_lock, this);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  if (place == Place::memory) {
    sqlite3_int64 limit = sqlite3_int64{1} << 40;  // instead of 1 GiB
    sqlite3_file_control(handle_, "main", SQLITE_FCNTL_SIZE_LIMIT, &limit);
  }
}

Connection::~Connection() {
  const ForkGuard entered(pass_);
  if (handle_ == nullptr) return;
  [[maybe_unused]] const int code = sqlite3_close(handle_);
  assert(code == SQLITE_OK);  // else a statement outlived its connection
  handle_ = nullptr;
}

// The last connection to close a file copies its log back and removes it; a child does not know
// whether it is the last, so it must not. A rollback in the child would change the parent's files,
// so it must not happen either: writes are complete whenever a fork happens, unless a rollback has
// failed.
void Connection::drop_inherited(void* self, ForkPass::Inherited how) noexcept {
  sqlite3* const handle = std::exchange(static_cast<Connection*>(self)->handle_, nullptr);
  if (handle == nullptr || how == ForkPass::Inherited::abandon) return;
  if (sqlite3_txn_state(handle, nullptr) == SQLITE_TXN_WRITE) return;
  sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  while (sqlite3_stmt* const statement = sqlite3_next_stmt(handle, nullptr)) {
    sqlite3_finalize(statement);
  }
  sqlite3_close(handle);
}

void Connection::fail_as_dropped() const {
  throw DatabaseError(DatabaseError::Cause::stale, BackendError::Kind::storage, shown_,
                      "sqlite " + quote_path(shown_) + ": the process was forked");
}

// SQLite's own handler sleeps up to 100 ms at a time, so a process would starve among many short
// transactions of others.
int Connection::wait_for_lock(void* self, int attempt) noexcept {
  auto& connection = *static_cast<Connection*>(self);
  connection.interrupted_ = ForkPass::fork_is_waiting();
  if (connection.interrupted_) return 0;
  const auto pause = std::chrono::microseconds(100) * (1 << std::min(attempt, 5));
  return connection.patience_.pause(pause) ? 1 : 0;
}

int Connection::look_for_forks(void* self) noexcept {
  constexpr int most_in_a_row = 3;
  auto& connection = *static_cast<Connection*>(self);
  if (connection.yielded_ == most_in_a_row || !ForkPass::fork_is_waiting()) return 0;
  ++connection.yielded_;
  connection.interrupted_ = connection.yields_now_ = true;
  return 1;
}

Connection::YieldsToForks::YieldsToForks(Connection& connection) noexcept
    : connection_(connection) {
  constexpr int steps = 10'000;  // of SQLite's virtual machine: a millisecond
  sqlite3_progress_handler(connection_.handle_, steps, look_for_forks, &connection_);
}

Connection::YieldsToForks::~YieldsToForks() {
  sqlite3_progress_handler(connection_.handle_, 0, nullptr, nullptr);
  if (!std::exchange(connection_.yields_now_, false)) connection_.yielded_ = 0;
}

// SQLite has a single commit hook, which its automatic checkpoint uses; this replaces it.
void Connection::checkpoint_every(std::int64_t pages) {
  const Inside inside(*this);
  checkpoint_every_ = checkpoint_at_ = pages;
  sqlite3_wal_hook(handle_, after_commit, this);
}

// A failed checkpoint is not a failure of the commit: the next commit tries again.
int Connection::after_commit(void* self, sqlite3* handle, const char* database,
                             int pages) noexcept {
  auto& connection = *static_cast<Connection*>(self);
  const std::int64_t every = connection.checkpoint_every_;
  if (pages < connection.log_pages_) connection.checkpoint_at_ = every;  // it was restarted
  connection.log_pages_ = pages;
  if (pages < connection.checkpoint_at_) return SQLITE_OK;
  connection.checkpoint_at_ = pages + std::max<std::int64_t>(every / 8, 1);
  sqlite3_wal_checkpoint_v2(handle, database, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  return SQLITE_OK;
}

// A reader that begins after everything has been copied back does not use the log: it suffices to
// wait for earlier readers, however much readers overlap.
bool Connection::empty_log(std::chrono::milliseconds patience) {
  const Inside inside(*this);
  readers_may_take_ = patience;
  sqlite3_busy_handler(handle_, wait_for_readers, this);
  const int code =
      sqlite3_wal_checkpoint_v2(handle_, "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_handler(handle_, wait_for_lock, this);
  if ((code & 0xff) == SQLITE_BUSY) return false;
  if (code != SQLITE_OK) fail(code);
  log_pages_ = 0;
  checkpoint_at_ = checkpoint_every_;
  return true;
}

// Only waiting counts, not the copying and syncing in between, which may take long. The operation's
// own patience is used up, too.
int Connection::wait_for_readers(void* self, int) noexcept {
  auto& connection = *static_cast<Connection*>(self);
  auto& left = connection.readers_may_take_;
  if (left <= left.zero() || ForkPass::fork_is_waiting()) return 0;
  const auto start = std::chrono::steady_clock::now();
  if (!connection.patience_.pause(std::chrono::microseconds(200))) return 0;
  left -= std::chrono::steady_clock::now() - start;
  return 1;
}

// A commit writes the second copy of the header, then the first. Readers go the other way, so two
// equal copies are of one commit.
bool Connection::read_log_stamp(LogStamp& stamp) noexcept {
  constexpr int region = 32 * 1024;  // of the index; the first has the header
  constexpr std::uint32_t known_format = 3007000;
  constexpr std::size_t words = 12;  // of a copy
  if (log_index_ == nullptr) {
    sqlite3_file* file = nullptr;
    const int code = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return false;
    if (file->pMethods->iVersion < 2 || file->pMethods->xShmMap == nullptr) return false;
    volatile void* mapped = nullptr;
    if (file->pMethods->xShmMap(file, 0, region, 0, &mapped) != SQLITE_OK) return false;
    if (mapped == nullptr) return false;
    log_index_ = mapped;
  }
  const auto* const shared = static_cast<const volatile std::uint32_t*>(log_index_);
  std::array<std::uint32_t, words> first{};
  std::array<std::uint32_t, words> second{};
  for (std::size_t i = 0; i < words; ++i) first[i] = shared[i];
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < words; ++i) second[i] = shared[words + i];
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (first != second || first[0] != known_format) return false;
  std::array<unsigned char, 4> flags{};
  std::memcpy(flags.data(), &first[3], flags.size());
  if (flags[0] != 1) return false;  // the index is not made yet
  const auto pair = [&](std::size_t i, std::size_t j) {
    return static_cast<std::uint64_t>(first[i]) << 32U | first[j];
  };
  stamp.commits = pair(2, 4);
  stamp.checksum = pair(6, 7);
  stamp.salts = pair(8, 9);
  return true;
}

void Connection::fail(int code) const {
  Translation to = translate(code);
  const bool may_be_a_fork = (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_INTERRUPT;
  if (may_be_a_fork && std::exchange(interrupted_, false)) to.cause = Cause::interrupted;
  std::string message = "sqlite " + quote_path(shown_) + ": ";
  message += handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_);
  const int reason = handle_ == nullptr ? 0 : sqlite3_system_errno(handle_);
  const bool about_files = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR;
  if (about_files && reason != 0) {
    message += std::string(" (") + std::strerror(reason) + ")";
    explain(reason, to);
  }
  throw DatabaseError(to.cause, to.kind, shown_, message + to.remedy);
}

void Connection::execute(const std::string& sql) {
  const Inside inside(*this);
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) fail(code);
}

std::int64_t Connection::query_integer(const std::string& sql) {
  const Inside inside(*this);
  Statement statement(*this, sql);
  return statement.step() ? statement.integer(0) : 0;
}

std::string Connection::query_text(const std::string& sql) {
  const Inside inside(*this);
  Statement statement(*this, sql);
  return statement.step() ? std::string(statement.bytes(0)) : std::string();
}

std::int64_t Connection::changes() const noexcept { return sqlite3_changes(handle_); }

bool Connection::in_transaction() noexcept {
  const ForkGuard entered(pass_);
  return handle_ != nullptr && sqlite3_get_autocommit(handle_) == 0;
}

std::uint32_t Connection::data_version() noexcept {
  std::uint32_t version = 0;
  [[maybe_unused]] const int code =
      sqlite3_file_control(handle_, "main", SQLITE_FCNTL_DATA_VERSION, &version);
  assert(code == SQLITE_OK);
  return version;
}

std::int64_t Connection::last_insert() const noexcept { return sqlite3_last_insert_rowid(handle_); }

void Connection::forget_insert(std::int64_t none) noexcept {
  sqlite3_set_last_insert_rowid(handle_, none);
}

void Connection::read_blob(const std::string& table, const char* column, std::int64_t row,
                           std::string& out) {
  const Inside inside(*this);
  sqlite3_blob* blob = nullptr;
  int code = sqlite3_blob_open(handle_, "main", table.c_str(), column, row, 0, &blob);
  if (code == SQLITE_OK) {
    code = sqlite3_blob_read(blob, out.data(), static_cast<int>(out.size()), 0);
  }
  try {
    if (code != SQLITE_OK) fail(code);
  } catch (...) {  // after the message was made
    sqlite3_blob_close(blob);
    throw;
  }
  sqlite3_blob_close(blob);
}

void Connection::define_checksums(bool& damaged) {
  const Inside inside(*this);
  constexpr int function_flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
  const auto define = [&](const char* name, int parameters, auto function) {
    const int code = sqlite3_create_function_v2(handle_, name, parameters, function_flags, &damaged,
                                                function, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) fail(code);
  };
  define("polycache_checksum", 3, sql_checksum);
  define("polycache_sound", 5, sql_sound);
}

bool Connection::has_shared_memory() {
  const Inside inside(*this);
  sqlite3_file* file = nullptr;
  const int code = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (code != SQLITE_OK || file == nullptr || file->pMethods == nullptr) return false;
  return file->pMethods->iVersion >= 2 && file->pMethods->xShmMap != nullptr;
}

bool Connection::file_has_moved() {
  const Inside inside(*this);
  int moved = 0;
  const int code = sqlite3_file_control(handle_, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return code == SQLITE_OK && moved != 0;
}

Statement::Statement(Connection& connection, const std::string& sql) : connection_(connection) {
  const Inside inside(connection);
  const int code = sqlite3_prepare_v3(connection.handle_, sql.c_str(), -1,
                                      SQLITE_PREPARE_PERSISTENT, &handle_, nullptr);
  if (code != SQLITE_OK) connection.fail(code);
}

Statement::~Statement() {
  const ForkGuard entered(connection_.pass_);
  if (connection_.handle_ != nullptr) sqlite3_finalize(handle_);  // else it is finalized already
}

Statement& Statement::bind_null(int parameter) {
  return checked(sqlite3_bind_null(handle_, parameter));
}

void Statement::run() {
  const Inside inside(connection_);
  const Resetting resetting(*this);
  step();
}

bool Statement::is_null(int column) const noexcept {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

HeaderRead read_header(const std::string& path, Patience& patience, FileHeader& header) {
  // Between two tries the file is closed: a fork's child inherits nothing of it.
  const auto pass = std::make_unique<ForkPass>([](void*, ForkPass::Inherited) noexcept {}, nullptr);
  for (bool is_last = false;;) {
    {
      const ForkGuard entered(*pass);
      check_usable(path);
      const auto result = try_to_read_header(path, header, is_last);
      if (result) return *result;
    }
    is_last = !patience.pause(std::chrono::milliseconds(1));
  }
}

}  // namespace polycache::sqlite
