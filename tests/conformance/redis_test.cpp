#include "polycache/backends/redis.h"

#include "stores.h"
#include "support/server.h"

namespace polycache::testing {
namespace {

// One server for the whole program; tests clear it.
std::vector<std::string> over_tcp() {
  static const std::unique_ptr<Server> server = Server::redis();
  return {"redis://" + server->address() + "/1"};
}

std::vector<std::string> over_a_socket() {
  static const std::unique_ptr<Server> server = Server::redis();
  return {"unix://" + server->unix_socket()};
}

constexpr Quirks redis_quirks{.own_clock = true};

}  // namespace

INSTANTIATE_TEST_SUITE_P(RedisTcp, BackendConformance,
                         ::testing::ValuesIn(linked_and_loaded(
                             {.backend = "redis", .location = over_tcp, .quirks = redis_quirks},
                             redis::plugin)),
                         case_name);

INSTANTIATE_TEST_SUITE_P(RedisSocket, BackendConformance,
                         ::testing::ValuesIn(conformance_cases({.name = "Linked",
                                                                .backend = "redis",
                                                                .location = over_a_socket,
                                                                .linked_plugins = {&redis::plugin},
                                                                .quirks = redis_quirks})),
                         case_name);

}  // namespace polycache::testing
