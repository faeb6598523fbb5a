// A socket connected to a server by TCP, by TLS over TCP, or by a unix socket. It never waits
// beyond the given deadline.
//
//   if (const auto failure = socket.connect(address, end, tls)) return failure->reason;
//   socket.send("PING\r\n", false);
//   socket.receive(room, end);
//
// Never uses a descriptor below 3, and raises no SIGPIPE. Functions on the path of every small
// operation are marked hot (docs/adr/0018).

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

// Why there is no connection, or no longer one.
struct Failure {
  enum class Step : unsigned char { name, connect, tls };

  Step step;
  BackendError::Kind kind;
  std::string reason;  // no capital letter, no full stop; for the step tls with a remedy
};

// Used by one thread at a time. Functions that wait are not noexcept: a thread may be cancelled in
// them.
class Socket {
 public:
  Socket() noexcept;
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();

  bool is_open() const noexcept { return descriptor_ >= 0; }
  void close() noexcept;
  // In a fork's child: closes only this process's copy of the descriptor; the parent's connection
  // stays intact.
  void abandon() noexcept;

  // Resolves the name and tries its addresses in turn until `end`. Each address gets an equal share
  // of the time left when its turn comes. Waits if the queue of a unix socket is full. With `tls`,
  // which must outlive the socket, also performs the handshake, until `end`. Returns nothing on
  // success. REQUIRES: !is_open()
  std::optional<Failure> connect(const Address& address, Deadline end, TlsClient* tls = nullptr);

  // Sends what can be sent without waiting, like send(): -1 with EAGAIN if it must wait for
  // events_to_send(). `more`: further bytes follow at once.
  [[gnu::hot]] ssize_t send(std::string_view bytes, bool more);
  // Returns bytes that have arrived, like recv(): -1 with EAGAIN if there are none.
  ssize_t receive_now(std::span<char> room);
  // Waits for bytes; -1 with ETIME at the deadline. `least`: how many bytes are known to come,
  // limited to what fits; sleeping until they have arrived saves a wake-up for each part.
  [[gnu::hot]] ssize_t receive(std::span<char> room, Deadline end, std::size_t least = 0);
  // Waits for poll() events; returns those that occurred, or 0 at the deadline.
  short wait(short events, Deadline end);
  short events_to_send() const noexcept;

  // Whether an idle connection is still usable: the server has neither closed it nor sent anything
  // unrequested. One system call.
  bool is_quiet();

  // After send() or receive() failed, or receive() met the deadline: the reason given by TLS.
  // Nothing if the connection itself failed, or without TLS.
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
