#include "polycache/author/spin_lock.h"

#include <pthread.h>
#include <sched.h>

#include <ctime>

namespace polycache {
namespace {

// Tells the processor that this is a waiting loop.
inline void pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void SpinLock::wait() noexcept {
  constexpr int spins = 16;   // about as long as a critical section
  constexpr int yields = 32;  // the holder has lost its processor
  for (int round = 0;; ++round) {
    // Reading does not take the line away from the holder, as a locking attempt would.
    if (!locked_.load(std::memory_order_relaxed) &&
        !locked_.exchange(true, std::memory_order_acquire)) {
      return;
    }
    if (round < spins) {
      pause();
    } else if (round < spins + yields) {
      sched_yield();
    } else {
      // The lock is held for long, or the holder's priority is below ours.
      constexpr timespec nap{.tv_sec = 0, .tv_nsec = 50'000};
      int state = 0;
      pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);  // nothing may be thrown here
      nanosleep(&nap, nullptr);
      pthread_setcancelstate(state, nullptr);
    }
  }
}

}  // namespace polycache
