// redis as one kind of server that the tests of faults run on, and ways to speak to it past the
// store.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/backends/redis.h"
#include "server_faults.h"

namespace polycache::testing {

// Speaks to the server past the store.
inline std::string command(const Server& server, const std::string& line) {
  const std::string program = "redis-cli -p " + std::to_string(server.port()) + " " + line;
  FILE* const pipe = ::popen(program.c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  ::pclose(pipe);
  return text;
}

// A number that redis says of itself.
inline std::int64_t redis_statistic(const Server& server, const std::string& name) {
  const std::string text = command(server, "info");
  const std::size_t at = text.find(name + ":");
  if (at == std::string::npos) throw std::runtime_error("redis does not say " + name);
  return std::atoll(text.c_str() + at + name.size() + 1);
}

// How often a command was carried out.
inline std::int64_t redis_calls(const Server& server, const std::string& name) {
  const std::string text = command(server, "info commandstats");
  const std::string line = "cmdstat_" + name + ":calls=";
  const std::size_t at = text.find(line);
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + line.size());
}

inline const ServerKind redis_server{
    .name = "redis",
    .plugin = redis::plugin,
    .scheme_of_tls = "rediss://",
    .start = &Service::redis,
    .broken = "cannot connect: Connection reset|the connection broke|TLS: ",
    .too_large = "larger than max_value_bytes",
    .large_value = 4'000'000,
    .reply_to_get =
        [](std::string_view, std::string_view value) {
          return "$" + std::to_string(value.size()) + "\r\n" + std::string(value) + "\r\n";
        },
    .nonsense =
        [] {
          return std::vector<std::string>{"HTTP/1.1 400 Bad Request\r\n\r\n",
                                          "$1000000000000\r\nx",
                                          "*2147483647\r\n",
                                          "$-9\r\n",
                                          "\xff\xfe\xfd\r\n",
                                          "+OK\r\n",
                                          ":17\r\n",
                                          "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"};
        },
    .connections_received =
        [](const Server& server) { return redis_statistic(server, "total_connections_received"); },
    .connections_now =
        [](const Server& server) { return redis_statistic(server, "connected_clients"); },
    .values_stored =
        [](const Server& server) {
          return redis_calls(server, "set") + redis_calls(server, "psetex");
        },
    .clear = [](const Server& server) { command(server, "flushall"); },
};

}  // namespace polycache::testing
