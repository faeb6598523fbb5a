// Threads that a library starts must not run the signal handlers of the program.

#pragma once

#include <pthread.h>

#include <csignal>
#include <initializer_list>

#include "polycache/detail/export.h"

namespace polycache {

// While it exists, threads are started with all signals blocked: the program's handlers run on the
// program's threads. Faults (SIGSEGV) still reach the program's handler.
class POLYCACHE_API SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t set;
    sigfillset(&set);
    for (const int fault : {SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP}) {
      sigdelset(&set, fault);
    }
    pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace polycache
