#include "polycache/author/fork_gate.h"

#include <chrono>
#include <mutex>
#include <thread>

#include "base/fork_gate_handlers.h"

namespace polycache {
namespace {

// How long a fork waits for threads that are inside, for example on a disk that hangs.
constexpr std::chrono::seconds patience{10};

constinit std::atomic<bool> usable{true};
constinit std::mutex gate_mutex;  // guards the list of passes; held during a fork

}  // namespace

constinit std::atomic<ForkPass::Gate> ForkPass::gate_{ForkPass::Gate::open};

// The handlers of fork().
struct ForkGate {
  using Gate = ForkPass::Gate;

  static void before() noexcept {
    gate_mutex.lock();
    gate_before = ForkPass::gate_.load(std::memory_order_relaxed);
    ForkPass::gate_.store(Gate::forking, std::memory_order_seq_cst);
    const auto deadline = std::chrono::steady_clock::now() + patience;
    all_are_outside = true;
    for (const ForkPass* pass = passes; pass != nullptr && all_are_outside; pass = pass->next_) {
      all_are_outside = wait_until_outside(*pass, deadline);
    }
  }
  static bool wait_until_outside(const ForkPass& pass,
                                 std::chrono::steady_clock::time_point deadline) noexcept {
    while (pass.inside_.load(std::memory_order_seq_cst)) {
      if (std::chrono::steady_clock::now() >= deadline) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    return true;
  }

  static void after_in_parent() noexcept {
    ForkPass::gate_.store(gate_before, std::memory_order_seq_cst);
    gate_mutex.unlock();
  }

  static void after_in_child() noexcept {
    if (!all_are_outside) {
      usable.store(false, std::memory_order_relaxed);
      for (ForkPass* pass = passes; pass != nullptr; pass = pass->next_) {
        pass->inside_.store(false, std::memory_order_relaxed);  // its thread does not exist here
      }
    }
    const Gate gate = passes == nullptr ? Gate::open : Gate::inherited;
    ForkPass::gate_.store(gate, std::memory_order_seq_cst);
    gate_mutex.unlock();
  }

  // REQUIRES: the mutex is held
  static void drop_inherited() noexcept {
    if (ForkPass::gate_.load(std::memory_order_relaxed) != Gate::inherited) return;
    using Inherited = ForkPass::Inherited;
    const Inherited how = ForkPass::library_is_usable() ? Inherited::close : Inherited::abandon;
    for (ForkPass* pass = passes; pass != nullptr; pass = pass->next_)
      pass->drop_(pass->owner_, how);
    ForkPass::gate_.store(Gate::open, std::memory_order_seq_cst);
  }

  static constinit ForkPass* passes;
  static constinit Gate gate_before;
  static constinit bool all_are_outside;
};

constinit ForkPass* ForkGate::passes = nullptr;
constinit ForkPass::Gate ForkGate::gate_before = ForkPass::Gate::open;
constinit bool ForkGate::all_are_outside = true;

void close_fork_gate() noexcept { ForkGate::before(); }
void open_fork_gate_in_parent() noexcept { ForkGate::after_in_parent(); }
void open_fork_gate_in_child() noexcept { ForkGate::after_in_child(); }

ForkPass::ForkPass(Drop drop, void* owner) noexcept : drop_(drop), owner_(owner) {
  const std::lock_guard lock(gate_mutex);
  ForkGate::drop_inherited();  // this one is not inherited
  next_ = ForkGate::passes;
  if (next_ != nullptr) next_->previous_ = this;
  ForkGate::passes = this;
}

ForkPass::~ForkPass() {
  const std::lock_guard lock(gate_mutex);
  if (next_ != nullptr) next_->previous_ = previous_;
  (previous_ != nullptr ? previous_->next_ : ForkGate::passes) = next_;
}

void ForkPass::wait() noexcept {
  do {
    inside_.store(false, std::memory_order_release);
    const std::lock_guard lock(gate_mutex);  // held by a fork until it is done
    ForkGate::drop_inherited();
    inside_.store(true, std::memory_order_seq_cst);
  } while (gate_.load(std::memory_order_seq_cst) != Gate::open);
}

bool ForkPass::library_is_usable() noexcept { return usable.load(std::memory_order_relaxed); }

}  // namespace polycache
