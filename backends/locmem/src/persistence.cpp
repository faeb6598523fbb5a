#include "persistence.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "dump.h"
#include "dump_format.h"
#include "polycache/author/signals_blocked.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache::locmem {
namespace {

Warning warning_of(std::string_view message) {
  return {.kind = Warning::Kind::dump_failed, .message = message};
}

}  // namespace

// What the thread that saves at intervals waits for. The thread is detached and owns this, so that
// the end of a registry need not wait for it, nor does the exit of the process.
struct Persistence::Timer {
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::chrono::milliseconds interval{};
  bool ended = false;
};

Persistence::Persistence(std::string file, const Clock& clock, ForkGuard& fork_guard)
    : process_(::getpid()), clock_(clock), fork_guard_(fork_guard), file_(std::move(file)) {
  fork_guard_.add(*this);
}

Persistence::~Persistence() {
  fork_guard_.remove(*this);
  if (!timer_ || !is_of_this_process()) return;
  const std::lock_guard lock(timer_->mutex);
  timer_->ended = true;
  timer_->changed.notify_all();
}

bool Persistence::is_of_this_process() const noexcept { return ::getpid() == process_; }

bool Persistence::is_usable() {
  if (!is_of_this_process()) return false;
  const std::lock_guard saving(saving_);
  return !closed_;
}

std::shared_ptr<Store> Persistence::store() {
  const std::lock_guard lock(mutex_);
  return store_;
}

std::string Persistence::load(Store& store) {
  const std::shared_ptr<Store> used = this->store();
  const std::lock_guard saving(saving_);
  const std::string start = "the dump " + quote_path(file()) + ' ';
  if (const std::string problem = file_.acquire(); !problem.empty()) {
    return start + problem + "; the store begins empty, and is saved once the file is free";
  }
  try {
    save_now(used);
    if (const Descriptor dump = file_.open()) load_dump(store, clock_, dump.number());
    return {};
  } catch (const UnusableDump& problem) {
    return start + "was ignored: " + problem.what() + "; the store begins empty";
  } catch (const std::exception& error) {
    return start + "was not loaded: " + error.what();
  }
}

void Persistence::use(std::shared_ptr<Store> store, std::chrono::milliseconds interval,
                      const std::shared_ptr<const Report>& report) {
  if (!is_of_this_process()) return;
  const std::lock_guard lock(mutex_);
  store_ = std::move(store);
  std::erase_if(reports_, [](const auto& other) { return other.expired(); });
  const auto same = [&](const auto& other) { return other.lock() == report; };
  if (std::none_of(reports_.begin(), reports_.end(), same)) reports_.push_back(report);
  if (!timer_) {
    if (interval.count() == 0) return;
    auto timer = std::make_shared<Timer>();
    timer->interval = interval;
    const SignalsBlocked blocked;
    try {
      std::thread(run, timer, weak_from_this()).detach();
      timer_ = std::move(timer);
    } catch (const std::system_error&) {  // no thread now: the next session tries again
    }
    return;
  }
  const std::lock_guard timer_lock(timer_->mutex);
  if (timer_->interval == interval) return;
  timer_->interval = interval;
  timer_->changed.notify_all();
}

// A child of fork() has no such thread.
void Persistence::run(const std::shared_ptr<Timer>& timer, const std::weak_ptr<Persistence>& weak) {
  std::unique_lock lock(timer->mutex);
  while (!timer->ended) {
    const auto interval = timer->interval;
    const auto changed = [&] { return timer->ended || timer->interval != interval; };
    if (interval.count() == 0) {
      timer->changed.wait(lock, changed);
    } else if (!timer->changed.wait_for(lock, interval, changed)) {
      lock.unlock();
      if (const auto persistence = weak.lock()) persistence->save_at_interval();
      lock.lock();
    }
  }
}

void Persistence::save_at_interval() {
  std::string problem;
  {
    const std::shared_ptr<Store> used = store();
    const std::lock_guard saving(saving_);
    if (closed_) return;
    problem = try_to_save(used);
  }
  tell(problem);
}

// Called without a lock, since the handler may use any cache.
void Persistence::tell(const std::string& problem) {
  std::vector<std::shared_ptr<const Report>> reports;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(told_, problem) == problem || problem.empty()) return;
    for (const auto& weak : reports_) {
      if (auto report = weak.lock()) reports.push_back(std::move(report));
    }
  }
  if (!reports.empty()) (*reports.front())(warning_of(problem));
}

std::uint64_t Persistence::save() {
  if (!is_of_this_process()) {
    throw BackendError(
        BackendError::Kind::denied, "",
        "the dump " + quote_path(file()) + " belongs to the parent of this process; save it there");
  }
  const std::shared_ptr<Store> used = store();
  const std::lock_guard saving(saving_);
  if (closed_) {
    throw BackendError(BackendError::Kind::denied, "",
                       "the dump " + quote_path(file()) + " is closed, since the process ends");
  }
  return save_now(used);
}

// REQUIRES: saving_ is held. The caller owns the store longer than that lock, since the end of a
// store takes others.
std::uint64_t Persistence::save_now(const std::shared_ptr<Store>& used) {
  if (!used) return 0;
  if (const std::string problem = file_.acquire(); !problem.empty()) {
    throw BackendError(BackendError::Kind::denied, "",
                       "the dump " + quote_path(file()) + ' ' + problem);
  }
  std::uint64_t entries = 0;
  file_.replace([&](int descriptor) { entries = write_dump(*used, clock_, descriptor, file()); });
  return entries;
}

std::string Persistence::try_to_save(const std::shared_ptr<Store>& used) {
  try {
    save_now(used);
    return {};
  } catch (const std::exception& error) {
    return std::string("the store was not saved: ") + error.what();
  }
}

std::string Persistence::close() {
  if (!is_of_this_process()) return {};
  const std::shared_ptr<Store> used = store();
  const std::lock_guard saving(saving_);
  std::string problem = closed_ ? std::string() : try_to_save(used);
  closed_ = true;
  file_.release();
  return problem;
}

void Persistence::unlock_after_fork() noexcept {
  if (!is_of_this_process()) file_.release();
}

// Warnings go to the default handler: the program's may use objects that were destroyed already.
void Persistence::before_exit() noexcept {
  try {
    const std::string problem = close();
    if (!problem.empty()) log_first_of_each_kind(warning_of(problem));
  } catch (const std::exception&) {  // no memory for the message
  }
}

}  // namespace polycache::locmem
