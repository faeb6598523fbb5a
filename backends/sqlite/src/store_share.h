// What the sessions of one location have in common in this process: whose turn it is to
// write, and, for a store in memory, the store's life. One object per location, by
// BackendContext::process_wide.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "connection.h"
#include "location.h"
#include "patience.h"

namespace polycache::sqlite {

// The share as one process sees it. Threads that write one after another lose no time in
// SQLite's own waiting, which sleeps and is not fair. For stores in memory, whose readers
// and writers block each other, reading takes a turn as well.
class ProcessShare {
 public:
  // `memory_name` is empty for a file.
  ProcessShare(std::uint32_t fork, const std::string& memory_name, const std::string& shown);

  std::uint32_t fork() const noexcept { return fork_; }
  const std::string& memory_name() const noexcept { return memory_name_; }

  // Called after a session has opened the file, in its turn, and when it has closed it.
  void after_opening(const std::string& path);
  void after_closing() noexcept { open_.fetch_sub(1, std::memory_order_relaxed); }
  bool is_open() const noexcept { return open_.load(std::memory_order_relaxed) > 0; }

  // Whether a write-ahead log can be had.
  bool has_shared_memory() const noexcept {
    return has_shared_memory_.load(std::memory_order_relaxed);
  }
  void do_without_shared_memory() noexcept {
    has_shared_memory_.store(false, std::memory_order_relaxed);
  }

  // What a session in its turn must know of a log that it cannot empty because of readers.
  struct LongLog {
    std::chrono::steady_clock::time_point wait_again{};  // for them
    bool warned = false;
  };
  LongLog& long_log() noexcept { return long_log_; }

  // Called in its turn by a session that still has `mine` open, when the path leads to another
  // file: removes the log that it left behind, which the other file would be read through.
  // Throws BackendError.
  void clear_way(const std::string& path, const FileIdentity& mine, Patience& patience) const;

  // Throws BackendError (overloaded) if the turn does not come.
  std::unique_lock<std::timed_mutex> take_turn(Patience& patience, const std::string& shown);

 private:
  const std::uint32_t fork_;
  const std::string memory_name_;
  std::timed_mutex turn_;  // guards the database against the process's other sessions
  Patience none_{std::chrono::milliseconds(0)};
  std::unique_ptr<Connection> keep_alive_;  // never used, only open

  std::atomic<bool> has_shared_memory_{true};
  std::atomic<int> open_{0};        // connections to the file
  LongLog long_log_;                // guarded by turn_
  std::optional<OpenFiles> files_;  // what they were opened on; guarded by turn_
};

// Thread-safe.
class StoreShare {
 public:
  enum class Place : unsigned char { file, memory };
  StoreShare(Place place, std::string shown);
  StoreShare(const StoreShare&) = delete;
  StoreShare& operator=(const StoreShare&) = delete;
  ~StoreShare();

  // The share of the calling process, for as long as this object lives. A forked child gets
  // one of its own: locks that other threads of the parent held would never be released in
  // it. A store in memory begins empty there.
  ProcessShare& here();

 private:
  std::unique_ptr<ProcessShare> make(std::uint32_t fork) const;

  const Place place_;
  const std::string shown_;
  // Not a mutex, which a fork might catch locked. Published with release, read with acquire.
  std::atomic<ProcessShare*> current_;
};

}  // namespace polycache::sqlite
