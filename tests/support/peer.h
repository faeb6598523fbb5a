// A server on 127.0.0.1, or on a unix socket, that says whatever a test wants: garbage, half an
// answer, nothing.
//
//   const polycache::testing::Peer peer([](int connection) { peer_says(connection, "HTTP/1.1"); });
//   connect_to("127.0.0.1", peer.port());
//
// Each connection is served in turn, in a thread of the object, and closed when the function
// returns. The destructor ends whatever it is waiting for.

#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

namespace polycache::testing {

class Peer {
 public:
  explicit Peer(std::function<void(int connection)> serve);
  // On a unix socket of that path, whose buffers are small and do not grow.
  Peer(std::function<void(int connection)> serve, const std::string& path);
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();

  std::uint16_t port() const noexcept { return port_; }
  std::string address() const {
    return path_.empty() ? "127.0.0.1:" + std::to_string(port_) : path_;
  }
  // How many connections it has accepted.
  int accepted() const noexcept { return accepted_.load(); }

 private:
  void listen_on(int family, const void* address, unsigned size);
  void accept_and_serve();

  std::function<void(int)> serve_;
  std::string path_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> accepted_{0};
  std::atomic<int> connection_{-1};
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

// Sends all of it. False if the other side is gone.
bool peer_says(int connection, std::string_view text);

// Waits for the next bytes. Empty if the other side is gone.
std::string peer_hears(int connection);

}  // namespace polycache::testing
