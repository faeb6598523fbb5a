// Delays fork() while a thread of this process is inside a library that has its own mutexes, as
// SQLite does: a child would inherit a mutex locked by another thread of the parent, and hang.
//
// Each connection has a pass. A thread enters the gate with it before each call into the library
// and leaves afterwards; this costs one exchange of a flag that no other thread writes. A fork
// waits until every thread is outside, for at most 10 s, and threads that want to enter wait for
// the fork. Foreign code (sinks, handlers) never runs inside, so it may fork, or wait for a thread
// that forks.
//
//   class Connection {
//     ...
//     ForkPass pass_{drop_inherited, this};
//   };
//   const ForkGuard guard(connection.pass_);
//   client_library_call(...);
//
// A child drops its inherited connections before its first own call, so that the library's tables
// of open files and locks are those of a process that has opened nothing yet. A process has only
// one gate, however many copies of a store are linked and loaded.

#pragma once

#include <atomic>

#include "polycache/detail/export.h"

namespace polycache {

// Used by one thread at a time. Must not be on a thread's stack: a forked child still has it in its
// list after the stack of a thread that does not exist there is reused.
class POLYCACHE_API ForkPass {
 public:
  // How to drop an inherited connection. `abandon`: a thread of the parent did not leave the
  // library in time, so that none of its functions may be called.
  enum class Inherited : unsigned char { close, abandon };
  using Drop = void (*)(void* owner, Inherited how) noexcept;

  // `drop` is called with `owner` in a forked child.
  ForkPass(Drop drop, void* owner) noexcept;
  ForkPass(const ForkPass&) = delete;
  ForkPass& operator=(const ForkPass&) = delete;
  ~ForkPass();

  // May be nested. Entering may drop the owner's connection: check it afterwards.
  void enter() noexcept {
    if (depth_++ > 0) return;
    inside_.store(true, std::memory_order_seq_cst);
    // Ordered after that store, because a fork closes the gate before it reads the flags.
    if (gate_.load(std::memory_order_seq_cst) != Gate::open) [[unlikely]]
      wait();
  }
  void leave() noexcept {
    if (--depth_ == 0) inside_.store(false, std::memory_order_release);
  }
  bool is_inside() const noexcept { return depth_ > 0; }

  // False in a child that was forked although a thread stayed inside for 10 s, and in its children:
  // any call into the library could hang. REQUIRES: the caller is inside
  static bool library_is_usable() noexcept;

  // Whether a fork is waiting for the threads inside; they should not sleep there.
  static bool fork_is_waiting() noexcept {
    return gate_.load(std::memory_order_relaxed) == Gate::forking;
  }

 private:
  friend struct ForkGate;  // of fork_gate.cpp
  enum class Gate : unsigned char {
    open,
    forking,
    inherited,  // in a child that still has to drop its parent's connections
  };
  void wait() noexcept;

  static constinit std::atomic<Gate> gate_;

  const Drop drop_;
  void* const owner_;
  std::atomic<bool> inside_{false};
  int depth_ = 0;
  ForkPass* previous_ = nullptr;
  ForkPass* next_ = nullptr;
};

// Keeps a pass inside during its lifetime.
class ForkGuard {
 public:
  explicit ForkGuard(ForkPass& pass) noexcept : pass_(pass) { pass.enter(); }
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;
  ~ForkGuard() { pass_.leave(); }

 private:
  ForkPass& pass_;
};

}  // namespace polycache
