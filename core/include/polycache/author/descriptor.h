// Descriptors 0 to 2 are standard input, output and error for every library in a process, also
// where the program has closed them. A socket or file of ours that got such a number would be
// written to by whatever prints a message.

#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

#include "polycache/detail/export.h"

namespace polycache {

// The same open file under a number above 2: as it is, or moved there and closed on exec. A
// negative number stays as it is; -1 with errno if it cannot be moved (then it is closed).
inline int off_standard_streams(int descriptor) noexcept {
  if (descriptor < 0 || descriptor > STDERR_FILENO) [[likely]]
    return descriptor;
  const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  const int error = errno;
  ::close(descriptor);
  errno = error;
  return moved;
}

// While it lives, those of the numbers 0 to 2 that were free are open on /dev/null: for a
// library that opens descriptors by itself, and for sockets, which must not have such a number
// for a moment either (a write to an unconnected one raises SIGPIPE). Costs three cheap system
// calls. Does nothing where /dev/null cannot be opened.
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
