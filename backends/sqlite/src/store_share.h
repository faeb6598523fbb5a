// State shared by the sessions of one location in this process: the lock that orders its writers
// and, for a store in memory, the store's lifetime. One object per location, by
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

// The share as seen by one process. Threads that write in turn lose no time in SQLite's own
// waiting, which sleeps and is not fair. In memory, where readers and writers block each other,
// reads take a turn as well.
class ProcessShare {
 public:
  // `memory_name` is empty for a file.
  ProcessShare(std::uint32_t fork, const std::string& memory_name, const std::string& shown);

  std::uint32_t fork() const noexcept { return fork_; }
  const std::string& memory_name() const noexcept { return memory_name_; }

  // Called after a session has opened the file, in its turn, and after it has closed it.
  void after_opening(const std::string& path);
  void after_closing() noexcept { open_.fetch_sub(1, std::memory_order_relaxed); }
  bool is_open() const noexcept { return open_.load(std::memory_order_relaxed) > 0; }
  // A number of the file as it is open now: another one, which no file of this process had before,
  // once all sessions had closed it, or opened another file. For a session in its turn.
  std::uint64_t opening() const noexcept { return opening_; }

  // Whether a write-ahead log is possible.
  bool has_shared_memory() const noexcept {
    return has_shared_memory_.load(std::memory_order_relaxed);
  }
  void stop_using_shared_memory() noexcept {
    has_shared_memory_.store(false, std::memory_order_relaxed);
  }

  // How often sessions of this process have made or dropped an index of tags of the location.
  std::uint32_t tag_index_changes() const noexcept {
    return tag_index_changes_.load(std::memory_order_relaxed);
  }
  void note_tag_index_change() noexcept {
    tag_index_changes_.fetch_add(1, std::memory_order_relaxed);
  }

  // State, used in turn, about a log that cannot be emptied because of readers.
  struct LongLog {
    std::chrono::steady_clock::time_point wait_again{};  // for them
    bool warned = false;
  };
  LongLog& long_log() noexcept { return long_log_; }

  // Called in its turn by a session that still has `mine` open, when the path leads to another
  // file: removes the log that `mine` left behind, through which the other file would be read.
  // Throws BackendError.
  void clear_way(const std::string& path, const FileIdentity& mine, Patience& patience) const;

  // Throws BackendError (overloaded) if the turn is not reached in time.
  std::unique_lock<std::timed_mutex> take_turn(Patience& patience, const std::string& shown);

 private:
  const std::uint32_t fork_;
  const std::string memory_name_;
  std::timed_mutex turn_;  // guards the database against the process's other sessions
  Patience none_{std::chrono::milliseconds(0)};
  std::unique_ptr<Connection> keep_alive_;  // never used, only open

  std::atomic<bool> has_shared_memory_{true};
  std::atomic<int> open_{0};                         // connections to the file
  std::atomic<std::uint32_t> tag_index_changes_{0};  // orders nothing: changed and read in turn
  LongLog long_log_;                                 // guarded by turn_
  std::optional<OpenFiles> files_;                   // what they were opened on; guarded by turn_
  std::uint64_t opening_ = 0;                        // guarded by turn_
};

// Thread-safe.
class StoreShare {
 public:
  enum class Place : unsigned char { file, memory };
  StoreShare(Place place, std::string shown);
  StoreShare(const StoreShare&) = delete;
  StoreShare& operator=(const StoreShare&) = delete;
  ~StoreShare();

  // The share of the calling process; valid during this object's lifetime. A forked child gets its
  // own, since locks held by other threads of the parent would never be released in it. A store in
  // memory begins empty there.
  ProcessShare& here();

 private:
  std::unique_ptr<ProcessShare> make(std::uint32_t fork) const;

  const Place place_;
  const std::string shown_;
  // Not a mutex, which could be locked during a fork. Stored with release, loaded with acquire.
  std::atomic<ProcessShare*> current_;
};

}  // namespace polycache::sqlite
