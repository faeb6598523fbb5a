#include "fork_gate.h"

#include <pthread.h>

#include <chrono>
#include <mutex>
#include <thread>

namespace polycache::sqlite {
namespace {

// How long a fork waits for threads that are inside, as where a disk hangs.
constexpr std::chrono::seconds kPatience{10};

constinit std::atomic<bool> usable{true};
constinit std::mutex gate_mutex;  // guards the list of passes, and is held over a fork

}  // namespace

constinit std::atomic<Pass::Gate> Pass::gate_{Pass::Gate::open};

// What the handlers of fork() do. One in each copy of this code, which is enough: each keeps its
// own connections out of SQLite.
struct ForkGate {
  using Gate = Pass::Gate;

  static void before() noexcept {
    gate_mutex.lock();
    gate_before = Pass::gate_.load(std::memory_order_relaxed);
    Pass::gate_.store(Gate::forking, std::memory_order_seq_cst);
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    all_are_outside = true;
    for (const Pass* pass = passes; pass != nullptr && all_are_outside; pass = pass->next_) {
      all_are_outside = wait_until_outside(*pass, deadline);
    }
  }
  static bool wait_until_outside(const Pass& pass,
                                 std::chrono::steady_clock::time_point deadline) noexcept {
    while (pass.inside_.load(std::memory_order_seq_cst)) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

  static void after_in_parent() noexcept {
    Pass::gate_.store(gate_before, std::memory_order_seq_cst);
    gate_mutex.unlock();
  }

  static void after_in_child() noexcept {
    if (!all_are_outside) {
      usable.store(false, std::memory_order_relaxed);
      for (Pass* pass = passes; pass != nullptr; pass = pass->next_) {
        pass->inside_.store(false, std::memory_order_relaxed);  // its thread does not exist here
      }
    }
    const Gate gate = passes == nullptr ? Gate::open : Gate::inherited;
    Pass::gate_.store(gate, std::memory_order_seq_cst);
    gate_mutex.unlock();
  }

  // REQUIRES: the mutex is held
  static void drop_inherited() noexcept {
    if (Pass::gate_.load(std::memory_order_relaxed) != Gate::inherited) return;
    using Inherited = Pass::Inherited;
    const Inherited how = sqlite_is_usable() ? Inherited::close : Inherited::abandon;
    for (Pass* pass = passes; pass != nullptr; pass = pass->next_) pass->drop_(pass->owner_, how);
    Pass::gate_.store(Gate::open, std::memory_order_seq_cst);
  }

  static constinit Pass* passes;
  static constinit Gate gate_before;
  static constinit bool all_are_outside;
};

constinit Pass* ForkGate::passes = nullptr;
constinit Pass::Gate ForkGate::gate_before = Pass::Gate::open;
constinit bool ForkGate::all_are_outside = true;

namespace {

// When this code is loaded, as a thread that did it later could be caught by a fork itself.
[[maybe_unused]] const int registered =
    pthread_atfork(ForkGate::before, ForkGate::after_in_parent, ForkGate::after_in_child);

}  // namespace

Pass::Pass(Drop drop, void* owner) noexcept : drop_(drop), owner_(owner) {
  const std::lock_guard lock(gate_mutex);
  ForkGate::drop_inherited();  // which this one is not
  next_ = ForkGate::passes;
  if (next_ != nullptr) next_->previous_ = this;
  ForkGate::passes = this;
}

Pass::~Pass() {
  const std::lock_guard lock(gate_mutex);
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : ForkGate::passes) = next_;
}

void Pass::wait() noexcept {
  do {
    inside_.store(false, std::memory_order_release);
    const std::lock_guard lock(gate_mutex);  // which a fork holds until it is done
    ForkGate::drop_inherited();
    inside_.store(true, std::memory_order_seq_cst);
  } while (gate_.load(std::memory_order_seq_cst) != Gate::open);
}

bool sqlite_is_usable() noexcept { return usable.load(std::memory_order_relaxed); }

}  // namespace polycache::sqlite
