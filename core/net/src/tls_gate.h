// Keeps fork() and OpenSSL apart. Private to this library.

#pragma once

namespace polycache::net {

// While one lives, its thread may be inside OpenSSL, and hold what is guarded by the mutexes of
// this library. A fork waits until none is left, so that its child inherits no lock that is
// held. Held for a moment only: nothing inside it waits for a server. Not recursive.
class InsideTls {
 public:
  InsideTls() noexcept;
  InsideTls(const InsideTls&) = delete;
  InsideTls& operator=(const InsideTls&) = delete;
  ~InsideTls();
};

}  // namespace polycache::net
