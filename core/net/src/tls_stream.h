// One connection by TLS. Private to this library.

#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "polycache/net/socket.h"

struct ssl_st;
struct ssl_session_st;

namespace polycache::net {

class TlsClient;

// Over a descriptor that stays the caller's. What reads and writes is like recv() and send()
// with MSG_DONTWAIT: -1 with EAGAIN when it has to wait for wants(). OpenSSL's list of errors
// belongs to the thread, and so to the program and to other connections, too: it is empty before
// each step, since what others left would be taken for its outcome, and after it.
//
// Used by one thread at a time.
class TlsStream {
 public:
  TlsStream(int descriptor, TlsClient& client);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;
  ~TlsStream();

  // For OpenSSL: a session came that may be resumed.
  static int keep_session(ssl_st* ssl, ssl_session_st* session) noexcept;

  // One step of the handshake; > 0 when it is done, 0 if the server closed the connection.
  ssize_t shake_hands() noexcept;
  ssize_t read(std::span<char> room) noexcept;
  // REQUIRES: !bytes.empty()
  ssize_t write(std::string_view bytes) noexcept;
  bool is_quiet() noexcept;

  // For poll(), after EAGAIN.
  short wants() const noexcept;
  // After a failure, the end included: what TLS says. Nothing if it was the connection.
  std::optional<Failure> failure();

 private:
  struct Parts;

  template <class Step>
  ssize_t step(Step step) noexcept;
  void note_failure() noexcept;
  Failure describe_failure() const;

  std::unique_ptr<Parts> parts_;
};

}  // namespace polycache::net
