#include "store_share.h"

#include <atomic>
#include <sstream>
#include <utility>

#include "polycache/author/fork.h"
#include "polycache/author/text.h"

namespace polycache::sqlite {

ProcessShare::ProcessShare(std::uint32_t fork, const std::string& memory_name,
                           const std::string& shown)
    : fork_(fork), memory_name_(memory_name) {
  if (memory_name.empty()) return;
  keep_alive_ = std::make_unique<Connection>(Connection::Place::memory, memory_name,
                                             Connection::Absent::make, shown, none_);
  keep_alive_->query_integer("PRAGMA schema_version");  // opens the file, which is only prepared so
                                                        // far
}

void ProcessShare::after_opening(const std::string& path) {
  static std::atomic<std::uint64_t> openings{0};
  const std::optional<OpenFiles> files = identify_open_files(path);
  const bool was_open = open_.fetch_add(1, std::memory_order_relaxed) > 0;
  if (!was_open || !files || files != files_) {
    opening_ = openings.fetch_add(1, std::memory_order_relaxed) + 1;
  }
  files_ = files;
}

void ProcessShare::clear_way(const std::string& path, const FileIdentity& mine,
                             Patience& patience) const {
  const auto left_behind = [&] {
    return files_ && files_->file == mine && identify_file(path + "-shm") == files_->shared_memory;
  };
  if (!left_behind()) return;
  const PathLock lock(path, patience);
  if (left_behind() && identify_file(path) != mine) remove_orphaned_log(path);
}

std::unique_lock<std::timed_mutex> ProcessShare::take_turn(Patience& patience,
                                                           const std::string& shown) {
  std::unique_lock turn(turn_, std::defer_lock);
  if (!patience.lock(turn)) {
    throw BackendError(BackendError::Kind::overloaded, shown,
                       "sqlite " + quote_path(shown) + ": other threads kept it busy for " +
                           std::to_string(patience.limit().count()) + " ms (busy_timeout)");
  }
  return turn;
}

StoreShare::StoreShare(Place place, std::string shown)
    : place_(place), shown_(std::move(shown)), current_(make(fork_count()).release()) {}

StoreShare::~StoreShare() {
  ProcessShare* const share = current_.load(std::memory_order_acquire);
  if (share->fork() == fork_count()) delete share;  // otherwise it belongs to the parent
}

std::unique_ptr<ProcessShare> StoreShare::make(std::uint32_t fork) const {
  std::string name;
  if (place_ == Place::memory) {
    // The object's address is unique among the process's stores; the fork count is needed since a
    // child inherits the parent's memory databases in an arbitrary state.
    std::ostringstream text;
    text << "polycache-" << static_cast<const void*>(this) << "-" << fork;
    name = text.str();
  }
  return std::make_unique<ProcessShare>(fork, name, shown_);
}

ProcessShare& StoreShare::here() {
  ProcessShare* share = current_.load(std::memory_order_acquire);
  const std::uint32_t fork = fork_count();
  while (share->fork() != fork) {
    std::unique_ptr<ProcessShare> mine = make(fork);
    // Of several threads of a new child one wins; the parent's share stays unchanged.
    if (current_.compare_exchange_strong(share, mine.get(), std::memory_order_acq_rel)) {
      return *mine.release();
    }
  }
  return *share;
}

}  // namespace polycache::sqlite
