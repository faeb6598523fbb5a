// memcached as one kind of server that the tests of faults run on, and ways to speak to it past
// the store.

#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/backends/memcached.h"
#include "server_faults.h"

namespace polycache::testing {

// A connection of the test's own.
class Connected {
 public:
  explicit Connected(std::uint16_t port)
      : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(std::exchange(socket_, -1));
    }
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;
  ~Connected() { ::close(socket_); }

  // What is said up to `end`, or to the end.
  std::string ask(std::string_view question, std::string_view end) const {
    ::send(socket_, question.data(), question.size(), MSG_NOSIGNAL);
    std::string text;
    std::array<char, 4096> bytes;
    while (text.find(end) == std::string::npos) {
      const ssize_t got = ::recv(socket_, bytes.data(), bytes.size(), 0);
      if (got <= 0) break;
      text.append(bytes.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  int socket_;
};

// A number that memcached says of itself.
inline std::int64_t memcached_statistic(const Server& server, const std::string& name) {
  const std::string text = Connected(server.port()).ask("stats\r\n", "END\r\n");
  const std::string line = "STAT " + name + " ";
  const std::size_t at = text.find(line);
  if (at == std::string::npos) throw std::runtime_error("memcached does not say " + name);
  return std::atoll(text.c_str() + at + line.size());
}

inline const ServerKind memcached_server{
    .name = "memcached",
    .plugin = memcached::plugin,
    .scheme_of_tls = "tls://",
    .start = &Service::memcached,
    .broken = "no connection|TLS: ",
    .too_large = "200000",
    .large_value = 900'000,
    .reply_to_get =
        [](std::string_view final_key, std::string_view value) {
          return "VALUE " + std::string(final_key) + " 4294967295 " + std::to_string(value.size()) +
                 "\r\n" + std::string(value) + "\r\nEND\r\n";
        },
    .nonsense =
        [] {
          return std::vector<std::string>{"nonsense\r\n",
                                          std::string(100'000, 'z'),
                                          std::string("\0\0\0\0\r\n", 6),
                                          "VALUE :1:k 0 99999999999\r\n",
                                          "VALUE :1:k 0 18446744073709551615\r\nxxxx\r\nEND\r\n",
                                          "VALUE :1:other 0 1\r\nx\r\nEND\r\n",
                                          "ERROR\r\n"};
        },
    .connections_received =
        [](const Server& server) { return memcached_statistic(server, "total_connections"); },
    .connections_now =
        [](const Server& server) { return memcached_statistic(server, "curr_connections"); },
    .values_stored =
        [](const Server& server) {
          return memcached_statistic(server, "cmd_set") + memcached_statistic(server, "cas_hits");
        },
    .clear = [](const Server& server) { Connected(server.port()).ask("flush_all\r\n", "\r\n"); },
};

}  // namespace polycache::testing
