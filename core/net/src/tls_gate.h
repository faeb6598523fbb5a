// Keeps fork() and OpenSSL apart. Private to this library.

#pragma once

namespace polycache::net {

// While an object exists, its thread may call OpenSSL, and hold what this library's mutexes guard.
// A fork waits until no object is left, so that its child inherits no locked mutex. Hold it only
// briefly: never wait for a server inside. Not recursive.
class InsideTls {
 public:
  InsideTls() noexcept;
  InsideTls(const InsideTls&) = delete;
  InsideTls& operator=(const InsideTls&) = delete;
  ~InsideTls();
};

}  // namespace polycache::net
