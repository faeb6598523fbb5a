// In every process, libraries take descriptors 0 to 2 for standard input, output and error, even if
// the program has closed them. If a socket or file of ours got such a number, any code that prints
// a message would write to it.

#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "polycache/detail/export.h"

namespace polycache {

// Returns the same open file under a number above 2: unchanged, or moved there and closed on exec.
// A negative number is returned unchanged; -1 with errno if moving fails (the file is closed).
inline int off_standard_streams(int descriptor) noexcept {
  if (descriptor < 0 || descriptor > STDERR_FILENO) [[likely]]
    return descriptor;
  const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  return moved;
}

// During its lifetime, the free numbers among 0 to 2 are open on /dev/null. For libraries that open
// descriptors themselves, and for sockets, which must not have such a number even briefly (a write
// to an unconnected one raises SIGPIPE). Costs three cheap system calls. Does nothing if /dev/null
// cannot be opened.
class HeldStandardStreams {
 public:
  HeldStandardStreams() noexcept {
    const int error = errno;
    for (int number = 0; number <= STDERR_FILENO; ++number) {
      if (::fcntl(number, F_GETFD) < 0 && errno == EBADF) hold_one();
    }
    errno = error;
  }
  HeldStandardStreams(const HeldStandardStreams&) = delete;
  HeldStandardStreams& operator=(const HeldStandardStreams&) = delete;
  ~HeldStandardStreams() {
    const int error = errno;
    for (int number = 0; number <= STDERR_FILENO; ++number) {
      if (held_[static_cast<std::size_t>(number)]) ::close(number);
    }
    errno = error;
  }

 private:
  void hold_one() noexcept {
    const int number = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (number < 0) return;
    if (number > STDERR_FILENO) {  // another thread was faster
      ::close(number);
    } else {
      held_[static_cast<std::size_t>(number)] = true;
    }
  }

  std::array<bool, STDERR_FILENO + 1> held_{};
};

}  // namespace polycache
