#include "support/peer.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
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
  listen_on(AF_INET, &address, sizeof address);
  socklen_t size = sizeof address;
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { accept_and_serve(); });
}

Peer::Peer(std::function<void(int)> serve, const std::string& path)
    : serve_(std::move(serve)), path_(path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  listen_on(AF_UNIX, &address, sizeof address);
  thread_ = std::thread([this] { accept_and_serve(); });
}

void Peer::listen_on(int family, const void* address, unsigned size) {
  listener_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener_ < 0 || ::bind(listener_, static_cast<const sockaddr*>(address), size) != 0 ||
      ::listen(listener_, 16) != 0) {
    throw std::runtime_error(std::string("the peer cannot listen: ") + std::strerror(errno));
  }
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
