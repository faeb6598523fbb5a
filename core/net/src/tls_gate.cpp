#include "tls_gate.h"

#include <pthread.h>

namespace polycache::net {
namespace {

// A waiting fork takes precedence over threads that arrive later.
pthread_rwlock_t gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;

void before_fork() { pthread_rwlock_wrlock(&gate); }
void after_fork_in_parent() { pthread_rwlock_unlock(&gate); }
void after_fork_in_child() { gate = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP; }

const int registered = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

}  // namespace

InsideTls::InsideTls() noexcept {
  static_cast<void>(registered);
  pthread_rwlock_rdlock(&gate);
}

InsideTls::~InsideTls() { pthread_rwlock_unlock(&gate); }

}  // namespace polycache::net
