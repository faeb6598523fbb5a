// A socket that is connected to a server, by TCP, by TLS over TCP or by a unix socket, and
// waits no longer than it is told to.
//
//   if (const auto failure = socket.connect(address, end, tls)) return failure->reason;
//   socket.send("PING\r\n", false);
//   socket.receive(room, end);
//
// Never takes a descriptor below 3, and raises no SIGPIPE. What every small operation runs
// through is marked hot (docs/adr/0018).

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "polycache/error.h"
#include "polycache/net/deadline.h"

namespace polycache::net {

class TlsClient;
class TlsStream;

// Where a server listens.
struct Address {
  std::string host = {};  // a name or an address
  std::string port = {};  // in digits
  std::string path = {};  // of a unix socket; then the others are empty
};

// Why there is no connection, or none any more.
struct Failure {
  enum class Step : unsigned char { name, connect, tls };

  Step step;
  BackendError::Kind kind;
  std::string reason;  // without a capital letter and a full stop; of the step tls with a remedy
};

// Used by one thread at a time. What waits is no noexcept: a thread may be cancelled there.
class Socket {
 public:
  Socket() noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  bool is_open() const noexcept { return descriptor_ >= 0; }
  void close() noexcept;
  // In a fork's child: closes this process's copy of the descriptor and nothing else, so that
  // the parent's connection stays as it is.
  void abandon() noexcept;

  // Looks the name up and tries its addresses in turn until `end`; each has an equal share of
  // the time that is left when its turn comes. A unix socket whose queue is full is waited for.
  // With `tls`, which must outlive the socket, also shakes hands, until `end`. Nothing if it is
  // connected. REQUIRES: !is_open()
  std::optional<Failure> connect(const Address& address, Deadline end, TlsClient* tls = nullptr);

  // What can be sent at once, like send(): -1 with EAGAIN if it has to wait for
  // events_to_send(). `more`: bytes follow at once.
  [[gnu::hot]] ssize_t send(std::string_view bytes, bool more);
  // What has arrived, like recv(): -1 with EAGAIN if nothing has.
  ssize_t receive_now(std::span<char> room);
  // Waits for bytes; -1 with ETIME at the end. `least`: how many are known to come, as far as
  // they fit; sleeping until they are there spares waking up for each part of them.
  [[gnu::hot]] ssize_t receive(std::span<char> room, Deadline end, std::size_t least = 0);
  // Waits for events of poll(); those that came, or 0 at the end.
  short wait(short events, Deadline end);
  short events_to_send() const noexcept;

  // Whether an idle connection is still one: the server has neither closed it nor said
  // something that it was not asked for. One system call.
  bool is_quiet();

  // After send() or receive() failed, or receive() met the end: what TLS has to say about it.
  // Nothing if it was the connection itself, or there is no TLS.
  std::optional<Failure> tls_failure();

 private:
  int connect_by_path(const std::string& path, Deadline end);
  int connect_by_name(const Address& address, Deadline end, std::string& problem);
  int connect_to(int family, const void* address, unsigned size, Deadline end);
  void set_options() noexcept;
  std::optional<Failure> secure(TlsClient& client, Deadline end);
  [[gnu::hot]] ssize_t receive_by_kernel(std::span<char> room, std::size_t least,
                                         std::chrono::milliseconds left);
  ssize_t receive_by_poll(std::span<char> room, std::chrono::milliseconds left);
  ssize_t receive_by_tls(std::span<char> room, Deadline end);
  [[gnu::hot]] void limit_by_kernel(std::chrono::milliseconds left) noexcept;

  int descriptor_ = -1;
  bool is_tcp_ = false;
  bool just_sent_ = false;
  std::chrono::milliseconds kernel_limit_{};  // of one wait for bytes
  std::unique_ptr<TlsStream> tls_;            // while connected by TLS
};

}  // namespace polycache::net
