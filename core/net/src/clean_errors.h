// OpenSSL's error queue, which belongs to the thread. Private to this library.

#pragma once

#include <openssl/err.h>

#include <cerrno>

namespace polycache::net {

// Empties it before and after; keeps errno.
class CleanErrors {
 public:
  CleanErrors() noexcept { ERR_clear_error(); }
  CleanErrors(const CleanErrors&) = delete;
  CleanErrors& operator=(const CleanErrors&) = delete;
  ~CleanErrors() {
    const int error = errno;
    ERR_clear_error();
    errno = error;
  }
};

}  // namespace polycache::net
