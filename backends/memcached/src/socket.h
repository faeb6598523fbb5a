// A socket that is connected to a server, by TCP or by a unix socket, and waits no longer than
// it is told to.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "settings.h"
#include "term.h"

namespace polycache::memcached {

// Used by one thread at a time.
class Socket {
 public:
  Socket() = default;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(); }

  bool is_open() const noexcept { return descriptor_ >= 0; }
  void close() noexcept;

  // Looks the name up, and tries each of its addresses for so long, all until the end. Empty,
  // or what went wrong. REQUIRES: !is_open()
  std::string connect(const ServerAddress& address, std::chrono::milliseconds each, Instant end);

  // Both do what they can do at once, like send() and recv(). `more`: bytes follow at once.
  ssize_t send(std::string_view bytes, bool more) noexcept;
  ssize_t receive_now(std::span<char> room) noexcept;
  // Waits; like recv(), and fails with ETIME at the end.
  ssize_t receive(std::span<char> room, Instant end) noexcept;
  // Waits for events of poll(); those that came, or 0 at the end.
  short wait(short events, Instant end) noexcept;

  // Whether an idle connection is still one: the server has neither closed it nor said
  // something that nobody asked for.
  bool is_quiet() noexcept;

 private:
  int connect_by_path(const std::string& path, Instant end);
  int connect_to(int family, const void* address, unsigned size, Instant end);
  void set_tcp_options() noexcept;
  ssize_t receive_by_kernel(std::span<char> room, std::chrono::milliseconds left) noexcept;
  ssize_t receive_by_poll(std::span<char> room, std::chrono::milliseconds left) noexcept;
  void limit_by_kernel(std::chrono::milliseconds left) noexcept;

  int descriptor_ = -1;
  bool is_tcp_ = false;
  bool just_sent_ = false;
  std::chrono::milliseconds kernel_limit_{};  // of one wait for bytes
};

}  // namespace polycache::memcached
