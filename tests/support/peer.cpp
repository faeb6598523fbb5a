#include "support/peer.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace polycache::testing {

Peer::Peer(std::function<void(int)> serve) : serve_(std::move(serve)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0 ||
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener_, 16) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error(std::string("cannot listen on 127.0.0.1: ") + std::strerror(errno));
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { accept_and_serve(); });
}

Peer::~Peer() {
  ending_ = true;
  ::shutdown(listener_, SHUT_RDWR);
  const int connection = connection_.load();
  if (connection >= 0) ::shutdown(connection, SHUT_RDWR);
  thread_.join();
  ::close(listener_);
}

void Peer::accept_and_serve() {
  for (;;) {
    const int connection = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;  // the destructor has shut it
    }
    ++accepted_;
    connection_ = connection;
    // The destructor either sees this connection or is seen here.
    if (!ending_) serve_(connection);
    connection_ = -1;
    ::close(connection);
  }
}

bool peer_says(int connection, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(connection, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string peer_hears(int connection) {
  std::array<char, 4096> bytes{};
  for (;;) {
    const ssize_t got = ::recv(connection, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    return got > 0 ? std::string(bytes.data(), static_cast<std::size_t>(got)) : std::string();
  }
}

}  // namespace polycache::testing
