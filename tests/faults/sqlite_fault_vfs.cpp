#include "faults/sqlite_fault_vfs.h"

#include <cstring>
#include <new>
#include <sstream>
#include <stdexcept>

namespace polycache::testing {

// The file layer's functions, as SQLite calls them.
struct SqliteFaultCalls {
  using Call = SqliteFaultVfs::Call;

  // An open file of ours; the real one lies behind it in the same memory.
  struct File {
    sqlite3_file base;
    SqliteFaultVfs* vfs;
    bool log;
  };
  static constexpr std::size_t real_offset = (sizeof(File) + alignof(std::max_align_t) - 1) /
                                             alignof(std::max_align_t) * alignof(std::max_align_t);

  static SqliteFaultVfs& of(sqlite3_vfs* vfs) {
    return *static_cast<SqliteFaultVfs*>(vfs->pAppData);
  }
  static sqlite3_vfs* real(sqlite3_vfs* vfs) { return of(vfs).real_; }
  static SqliteFaultVfs& of(sqlite3_file* file) { return *reinterpret_cast<File*>(file)->vfs; }
  static sqlite3_file* real(sqlite3_file* file) {
    return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + real_offset);
  }
  static int judge(sqlite3_file* file, Call call, int error) { return of(file).judge(call, error); }

  static int judge_size(sqlite3_file* file, sqlite3_int64 end) {
    if (!reinterpret_cast<File*>(file)->log || end <= of(file).log_limit_) return SQLITE_OK;
    ++of(file).injected_;
    return SQLITE_FULL;
  }

  // --- files ---

  static int close(sqlite3_file* file) {
    return real(file)->pMethods == nullptr ? SQLITE_OK : real(file)->pMethods->xClose(real(file));
  }
  static int read(sqlite3_file* file, void* to, int count, sqlite3_int64 from) {
    const int code = judge(file, Call::reads, SQLITE_IOERR_READ);
    if (code == SQLITE_IOERR_SHORT_READ) std::memset(to, 0, static_cast<std::size_t>(count));
    return code != SQLITE_OK ? code : real(file)->pMethods->xRead(real(file), to, count, from);
  }
  static int write(sqlite3_file* file, const void* from, int count, sqlite3_int64 to) {
    int code = judge(file, Call::writes, SQLITE_IOERR_WRITE);
    if (code == SQLITE_OK) code = judge_size(file, to + count);
    if (code == SQLITE_OK) return real(file)->pMethods->xWrite(real(file), from, count, to);
    // What fails may have been done in part.
    if (count > 1) real(file)->pMethods->xWrite(real(file), from, count / 2, to);
    return code;
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    const int code = judge(file, Call::other, SQLITE_IOERR_TRUNCATE);
    return code != SQLITE_OK ? code : real(file)->pMethods->xTruncate(real(file), size);
  }
  // Nothing here cuts the power, and waiting for the disk would take most of a test's time.
  static int sync(sqlite3_file* file, int) { return judge(file, Call::writes, SQLITE_IOERR_FSYNC); }
  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    const int code = judge(file, Call::other, SQLITE_IOERR_FSTAT);
    return code != SQLITE_OK ? code : real(file)->pMethods->xFileSize(real(file), size);
  }
  static int lock(sqlite3_file* file, int level) {
    const int code = judge(file, Call::other, SQLITE_IOERR_LOCK);
    return code != SQLITE_OK ? code : real(file)->pMethods->xLock(real(file), level);
  }
  static int unlock(sqlite3_file* file, int level) {
    return real(file)->pMethods->xUnlock(real(file), level);
  }
  static int check_reserved_lock(sqlite3_file* file, int* locked) {
    const int code = judge(file, Call::other, SQLITE_IOERR_CHECKRESERVEDLOCK);
    return code != SQLITE_OK ? code : real(file)->pMethods->xCheckReservedLock(real(file), locked);
  }
  static int file_control(sqlite3_file* file, int what, void* argument) {
    return real(file)->pMethods->xFileControl(real(file), what, argument);
  }
  static int sector_size(sqlite3_file* file) {
    return real(file)->pMethods->xSectorSize(real(file));
  }
  static int device_characteristics(sqlite3_file* file) {
    return real(file)->pMethods->xDeviceCharacteristics(real(file));
  }
  static int shm_map(sqlite3_file* file, int region, int size, int extend, void volatile** memory) {
    using SharedMemory = SqliteFaultVfs::SharedMemory;
    auto once = SharedMemory::fails_once;
    const bool fails = of(file).shared_memory_ == SharedMemory::fails ||
                       of(file).shared_memory_.compare_exchange_strong(once, SharedMemory::works);
    if (fails) ++of(file).refusals_;
    const int code = fails ? SQLITE_IOERR_SHMMAP : judge(file, Call::other, SQLITE_IOERR_SHMMAP);
    *memory = nullptr;
    if (code != SQLITE_OK) return code;
    return real(file)->pMethods->xShmMap(real(file), region, size, extend, memory);
  }
  static int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
    const bool locks = (flags & SQLITE_SHM_LOCK) != 0;
    const int code = locks ? judge(file, Call::other, SQLITE_IOERR_SHMLOCK) : SQLITE_OK;
    return code != SQLITE_OK ? code
                             : real(file)->pMethods->xShmLock(real(file), offset, count, flags);
  }
  static void shm_barrier(sqlite3_file* file) { real(file)->pMethods->xShmBarrier(real(file)); }
  static int shm_unmap(sqlite3_file* file, int remove) {
    return real(file)->pMethods->xShmUnmap(real(file), remove);
  }

  static constexpr sqlite3_io_methods methods(int version) {
    const bool shared = version > 1;
    return {version,
            close,
            read,
            write,
            truncate,
            sync,
            file_size,
            lock,
            unlock,
            check_reserved_lock,
            file_control,
            sector_size,
            device_characteristics,
            shared ? shm_map : nullptr,
            shared ? shm_lock : nullptr,
            shared ? shm_barrier : nullptr,
            shared ? shm_unmap : nullptr,
            nullptr,
            nullptr};
  }

  // --- the file layer ---

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags,
                  int* flags_out) {
    static constexpr sqlite3_io_methods with_shared_memory = methods(2);
    static constexpr sqlite3_io_methods without_shared_memory = methods(1);
    SqliteFaultVfs& self = of(vfs);
    file->pMethods = nullptr;
    reinterpret_cast<File*>(file)->vfs = &self;
    reinterpret_cast<File*>(file)->log = (flags & SQLITE_OPEN_WAL) != 0;
    real(file)->pMethods = nullptr;
    int code = self.judge(Call::other, SQLITE_CANTOPEN);
    if (code == SQLITE_OK) code = self.real_->xOpen(self.real_, name, real(file), flags, flags_out);
    if (code != SQLITE_OK) return code;
    const bool shared = self.shared_memory_ != SqliteFaultVfs::SharedMemory::absent;
    file->pMethods = shared ? &with_shared_memory : &without_shared_memory;
    return SQLITE_OK;
  }
  static int remove(sqlite3_vfs* vfs, const char* name, int sync_folder) {
    const int code = of(vfs).judge(Call::other, SQLITE_IOERR_DELETE);
    return code != SQLITE_OK ? code : real(vfs)->xDelete(real(vfs), name, sync_folder);
  }
  static int access(sqlite3_vfs* vfs, const char* name, int flags, int* result) {
    const int code = of(vfs).judge(Call::other, SQLITE_IOERR_ACCESS);
    return code != SQLITE_OK ? code : real(vfs)->xAccess(real(vfs), name, flags, result);
  }
  static int full_pathname(sqlite3_vfs* vfs, const char* name, int size, char* out) {
    return real(vfs)->xFullPathname(real(vfs), name, size, out);
  }
  static int randomness(sqlite3_vfs* vfs, int count, char* out) {
    return real(vfs)->xRandomness(real(vfs), count, out);
  }
  static int sleep(sqlite3_vfs* vfs, int microseconds) {
    return real(vfs)->xSleep(real(vfs), microseconds);
  }
  static int current_time(sqlite3_vfs* vfs, double* days) {
    return real(vfs)->xCurrentTime(real(vfs), days);
  }
  static int last_error(sqlite3_vfs* vfs, int size, char* out) {
    return real(vfs)->xGetLastError(real(vfs), size, out);
  }
  static int current_time_ms(sqlite3_vfs* vfs, sqlite3_int64* now) {
    return real(vfs)->xCurrentTimeInt64(real(vfs), now);
  }
};

namespace {

std::string unique_name(const void* object) {
  std::ostringstream name;
  name << "polycache-faults-" << object;
  return name.str();
}

}  // namespace

SqliteFaultVfs::SqliteFaultVfs() : real_(sqlite3_vfs_find(nullptr)), name_(unique_name(this)) {
  using Calls = SqliteFaultCalls;
  if (real_ == nullptr) throw std::runtime_error("SQLite has no file layer");
  vfs_.iVersion = 2;
  vfs_.szOsFile = static_cast<int>(Calls::real_offset) + real_->szOsFile;
  vfs_.mxPathname = real_->mxPathname;
  vfs_.zName = name_.c_str();
  vfs_.pAppData = this;
  vfs_.xOpen = Calls::open;
  vfs_.xDelete = Calls::remove;
  vfs_.xAccess = Calls::access;
  vfs_.xFullPathname = Calls::full_pathname;
  vfs_.xRandomness = Calls::randomness;
  vfs_.xSleep = Calls::sleep;
  vfs_.xCurrentTime = Calls::current_time;
  vfs_.xGetLastError = Calls::last_error;
  vfs_.xCurrentTimeInt64 = Calls::current_time_ms;
  if (sqlite3_vfs_register(&vfs_, 1) != SQLITE_OK) {
    throw std::runtime_error("cannot register a file layer with SQLite");
  }
}

SqliteFaultVfs::~SqliteFaultVfs() {
  sqlite3_vfs_unregister(&vfs_);
  sqlite3_vfs_register(real_, 1);
}

void SqliteFaultVfs::begin(Kind kind, std::uint64_t countdown, double probability,
                           std::uint32_t seed) {
  const std::lock_guard lock(mutex_);
  kind_ = kind;
  countdown_ = countdown;
  probability_ = probability;
  random_.seed(seed);
  injected_ = 0;
  active_ = countdown > 0 || probability > 0;
}

void SqliteFaultVfs::fail_call(std::uint64_t n, Kind kind) { begin(kind, n, 0, 0); }

void SqliteFaultVfs::fail_from_now_on(Kind kind) { begin(kind, 0, 1, 0); }

void SqliteFaultVfs::fail_randomly(double probability, std::uint32_t seed, Kind kind) {
  begin(kind, 0, probability, seed);
}

void SqliteFaultVfs::limit_log(std::int64_t bytes) {
  injected_ = 0;
  log_limit_ = bytes;
}

void SqliteFaultVfs::heal() {
  active_ = false;
  log_limit_ = INT64_MAX;
}

int SqliteFaultVfs::judge(Call call, int error) {
  if (!active_) return SQLITE_OK;
  const std::lock_guard lock(mutex_);
  if (kind_ == Kind::full && call != Call::writes) return SQLITE_OK;
  if (kind_ == Kind::short_read && call != Call::reads) return SQLITE_OK;
  const bool its_turn = countdown_ > 0 && --countdown_ == 0;
  const bool chance =
      probability_ > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < probability_;
  if (!its_turn && !chance) return SQLITE_OK;
  ++injected_;
  if (kind_ == Kind::full) return SQLITE_FULL;
  return kind_ == Kind::short_read ? SQLITE_IOERR_SHORT_READ : error;
}

}  // namespace polycache::testing
