// One TLS connection. Private to this library.

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

// Works over a descriptor that the caller owns. Reading and writing behave like recv() and send()
// with MSG_DONTWAIT: -1 with EAGAIN if they must wait for wants(). OpenSSL's error queue belongs
// to the thread, so the program and other connections use it, too. It is emptied before each step,
// since older errors would be taken for its outcome, and after it.
//
// Used by one thread at a time.
class TlsStream {
 public:
  TlsStream(int descriptor, TlsClient& client);
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;
  ~TlsStream();

  // Callback for OpenSSL: a resumable session has arrived.
  static int keep_session(ssl_st* ssl, ssl_session_st* session) noexcept;

  // Performs one step of the handshake; > 0 when it is complete, 0 if the server closed the
  // connection.
  ssize_t shake_hands() noexcept;
  ssize_t read(std::span<char> room) noexcept;
  // REQUIRES: !bytes.empty()
  ssize_t write(std::string_view bytes) noexcept;
  bool is_quiet() noexcept;

  // The events for poll(), after EAGAIN.
  short wants() const noexcept;
  // After a failure or the end: the reason given by TLS. Nothing if the connection itself failed.
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
