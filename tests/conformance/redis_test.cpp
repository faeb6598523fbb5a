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

const OptionMap options{{"max_value_bytes", std::string("2MiB")}};

constexpr Quirks redis_quirks{.own_clock = true,
                              .has_tag_index = false,
                              .has_limits = true,
                              .refuses_value_of = (std::size_t{2} << 20U) + 1};

}  // namespace

INSTANTIATE_TEST_SUITE_P(RedisTcp, BackendConformance,
                         ::testing::ValuesIn(linked_and_loaded({.backend = "redis",
                                                                .location = over_tcp,
                                                                .options = options,
                                                                .quirks = redis_quirks},
                                                               redis::plugin)),
                         case_name);

INSTANTIATE_TEST_SUITE_P(RedisSocket, BackendConformance,
                         ::testing::ValuesIn(conformance_cases({.name = "Linked",
                                                                .backend = "redis",
                                                                .location = over_a_socket,
                                                                .options = options,
                                                                .linked_plugins = {&redis::plugin},
                                                                .quirks = redis_quirks})),
                         case_name);

}  // namespace polycache::testing
