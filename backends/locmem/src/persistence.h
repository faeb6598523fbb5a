// Keeps a store in a file over restarts: loads it, and saves it on request, at intervals, when the
// last alias leaves, and when the process exits.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dump_file.h"
#include "fork_guard.h"
#include "polycache/author/clock.h"
#include "polycache/warning.h"
#include "store.h"

namespace polycache::locmem {

using Report = std::function<void(const Warning&)>;

// Of one file. Thread-safe. In a child of fork() it does nothing: the file stays the parent's.
class Persistence final : public Forkable, public std::enable_shared_from_this<Persistence> {
 public:
  Persistence(std::string file, const Clock& clock, ForkGuard& fork_guard);
  Persistence(const Persistence&) = delete;
  Persistence& operator=(const Persistence&) = delete;
  ~Persistence();

  const std::string& file() const noexcept { return file_.path(); }
  // False in a child of fork(), and once it was closed.
  bool is_usable();

  // Fills a new store from the file, or with what the store in use has. Returns why it could not, a
  // complete sentence; empty if it could, or if there is no file yet.
  std::string load(Store& store);

  // The store is in use, and the one to save from now on; an alias that uses it receives warnings.
  void use(std::shared_ptr<Store> store, std::chrono::milliseconds interval,
           const std::shared_ptr<const Report>& report);

  // Returns how many entries were saved. Throws BackendError.
  std::uint64_t save();

  // Saves the store that is in use, if any, and releases the file. Returns why it could not save.
  std::string close();

  void lock_for_fork() noexcept override {}
  void unlock_after_fork() noexcept override;
  void before_exit() noexcept override;

 private:
  struct Timer;
  static void run(const std::shared_ptr<Timer>& timer, const std::weak_ptr<Persistence>& weak);
  bool is_of_this_process() const noexcept;
  std::shared_ptr<Store> store();
  std::uint64_t save_now(const std::shared_ptr<Store>& used);
  void save_at_interval();
  std::string try_to_save(const std::shared_ptr<Store>& used);
  void tell(const std::string& problem);

  const pid_t process_;
  const Clock& clock_;
  ForkGuard& fork_guard_;

  std::mutex saving_;  // held during a save; guards what follows
  DumpFile file_;
  bool closed_ = false;

  std::mutex mutex_;  // guards what follows; taken after saving_
  std::shared_ptr<Store> store_;
  std::vector<std::weak_ptr<const Report>> reports_;
  std::shared_ptr<Timer> timer_;
  std::string told_;  // the last warning, which is not repeated
};

}  // namespace polycache::locmem
