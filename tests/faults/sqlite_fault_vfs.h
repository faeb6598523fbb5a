// A file layer for SQLite that fails when told to. While it lives it is the default one of this
// process, and passes everything on to the one that was before.
//
//   SqliteFaultVfs vfs;
//   vfs.fail_call(3);                     // the third call that can fail, and only that one
//   vfs.fail_randomly(0.1, seed);         // every tenth, the same ones for the same seed
//   vfs.fail_from_now_on(SqliteFaultVfs::Kind::full);
//   vfs.heal();
//
// Nothing waits for the disk while it is there: data are as safe from the end of a process as ever,
// not from a power cut. Thread-safe. It must outlive every connection that was opened while it was
// there.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <string>

#include <sqlite3.h>

namespace polycache::testing {

class SqliteFaultVfs {
 public:
  enum class Kind : unsigned char {
    error,       // every call, with the error that its kind of call has
    full,        // those that write: the disk is full
    short_read,  // those that read: the file ends there
  };
  enum class SharedMemory : unsigned char {
    works,
    absent,  // the file layer has none
    fails,   // it has, but asking for some fails
    fails_once,
  };

  SqliteFaultVfs();
  SqliteFaultVfs(const SqliteFaultVfs&) = delete;
  SqliteFaultVfs& operator=(const SqliteFaultVfs&) = delete;
  ~SqliteFaultVfs();

  // Fails the n-th call from now on that can fail in this way. REQUIRES: n > 0
  void fail_call(std::uint64_t n, Kind kind = Kind::error);
  void fail_from_now_on(Kind kind = Kind::error);
  void fail_randomly(double probability, std::uint32_t seed, Kind kind = Kind::error);
  void heal();

  // The disk is full for write-ahead logs of more bytes than that.
  void limit_log(std::int64_t bytes);

  // Of files that are opened from now on.
  void set_shared_memory(SharedMemory how) noexcept {
    shared_memory_ = how;
    refusals_ = 0;
  }
  // How often shared memory was asked for since then, and failed.
  std::uint64_t shared_memory_refusals() const noexcept { return refusals_; }

  // Calls that failed since the last fail_...() or limit_...().
  std::uint64_t injected() const noexcept { return injected_; }

 private:
  friend struct SqliteFaultCalls;

  // What a call can do wrong.
  enum class Call : unsigned char { reads, writes, other };
  // SQLITE_OK, or what the call is to return: its own error, or one that the kind demands.
  int judge(Call call, int error);
  void begin(Kind kind, std::uint64_t countdown, double probability, std::uint32_t seed);

  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_{};
  const std::string name_;

  std::atomic<SharedMemory> shared_memory_{SharedMemory::works};
  std::atomic<std::uint64_t> refusals_{0};
  std::atomic<std::int64_t> log_limit_{INT64_MAX};
  std::atomic<bool> active_{false};
  std::atomic<std::uint64_t> injected_{0};
  std::mutex mutex_;  // guards what follows
  Kind kind_ = Kind::error;
  std::uint64_t countdown_ = 0;  // calls until the one that fails; 0: none does
  double probability_ = 0;
  std::mt19937 random_;
};

}  // namespace polycache::testing
