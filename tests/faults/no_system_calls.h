// Whether some work makes no system call, as the kernel sees it.

#pragma once

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace polycache::testing {

// Runs `work` in a child that the kernel kills at its first system call but for read and write:
// first as it is, for what is done only once, then under that rule.
inline bool makes_no_system_call(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    work();
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(2);
    work();
    ::syscall(SYS_exit, 0);
  }
  int status = 0;
  return ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace polycache::testing
