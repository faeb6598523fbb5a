// Keeps fork() away while a thread of this process is inside SQLite, whose mutexes a child would
// inherit locked for ever.
//
// Each connection has a pass. A thread enters the gate with it before it calls into SQLite and
// leaves when it is back; that costs one exchange of a flag that no other thread writes. A fork
// waits until every thread is outside, and threads that want to enter wait for the fork. Code of
// others (sinks, handlers) never runs inside, so it may fork, or wait for a thread that does.
//
// A child closes what it inherited before its first own call: SQLite's tables of open files and
// locks are then those of a process that has opened nothing yet.

#pragma once

#include <atomic>

namespace polycache::sqlite {

// Used by one thread at a time. Not on a thread's stack: a forked child still has it in its list
// when the stack of a thread that does not exist there is used again.
class Pass {
 public:
  // What becomes of an inherited connection. `abandon`: a thread of the parent did not come out of
  // SQLite, so nothing of SQLite can be called.
  enum class Inherited : unsigned char { close, abandon };
  using Drop = void (*)(void* owner, Inherited how) noexcept;

  // `drop` is called with `owner` in a forked child.
  Pass(Drop drop, void* owner) noexcept;
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass();

  // May be nested. Entering may drop the owner's connection: look at it afterwards.
  void enter() noexcept {
    if (depth_++ > 0) return;
    inside_.store(true, std::memory_order_seq_cst);
    // Ordered after that store, as a fork closes the gate before it reads the flags.
    if (gate_.load(std::memory_order_seq_cst) != Gate::open) [[unlikely]]
      wait();
  }
  void leave() noexcept {
    if (--depth_ == 0) inside_.store(false, std::memory_order_release);
  }
  bool is_inside() const noexcept { return depth_ > 0; }

  // Whether a fork waits for the threads that are inside: they should not sleep there.
  static bool fork_is_waiting() noexcept {
    return gate_.load(std::memory_order_relaxed) == Gate::forking;
  }

 private:
  friend struct ForkGate;
  enum class Gate : unsigned char {
    open,
    forking,
    inherited,  // in a child that has connections of its parent to drop
  };
  void wait() noexcept;

  static constinit std::atomic<Gate> gate_;

  const Drop drop_;
  void* const owner_;
  std::atomic<bool> inside_{false};
  int depth_ = 0;
  Pass* previous_ = nullptr;
  Pass* next_ = nullptr;
};

// Inside during its life.
class Entered {
 public:
  explicit Entered(Pass& pass) noexcept : pass_(pass) { pass.enter(); }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  ~Entered() { pass_.leave(); }

 private:
  Pass& pass_;
};

// False in a child that was forked although a thread did not come out of SQLite for 10 s, and in
// its children: any call could hang. REQUIRES: the caller is inside
bool sqlite_is_usable() noexcept;

}  // namespace polycache::sqlite
