#include "polycache/backends/memcached.h"

#include "stores.h"
#include "support/server.h"

namespace polycache::testing {
namespace {

// One server for the whole program, which takes values of a mebibyte, and refuses those of
// more than eight; tests clear it.
std::vector<std::string> over_tcp() {
  static const std::unique_ptr<Server> server = Server::memcached({"-I", "8m"});
  return {server->address()};
}

std::vector<std::string> two_servers() {
  static const std::unique_ptr<Server> first = Server::memcached_on_socket({"-I", "8m"});
  static const std::unique_ptr<Server> second = Server::memcached({"-I", "8m"});
  return {first->unix_socket(), second->address() + "?weight=2"};
}

// Time enough for thousands of keys on a slow machine.
OptionMap options(const char* protocol) {
  return {{"protocol", std::string(protocol)},
          {"timeout", std::string("30s")},
          {"connect_timeout", std::string("10s")}};
}

constexpr Quirks memcached_quirks{.lateness = std::chrono::seconds(2),
                                  .granularity = std::chrono::seconds(1),
                                  .strict_keys = true,
                                  .has_erase_prefix = false,
                                  .has_renew = false,
                                  .has_tag_index = false,
                                  .has_indexes = false,
                                  .has_fences = false,
                                  .keeps_locks = false,
                                  .has_deques = false,
                                  .refuses_value_of = std::size_t{9} << 20U};

// Here the client refuses them, before the servers do.
constexpr Quirks two_servers_quirks{.lateness = std::chrono::seconds(2),
                                    .granularity = std::chrono::seconds(1),
                                    .strict_keys = true,
                                    .has_erase_prefix = false,
                                    .has_renew = false,
                                    .has_tag_index = false,
                                    .has_indexes = false,
                                    .has_fences = false,
                                    .keeps_locks = false,
                                    .has_deques = false,
                                    .refuses_value_of = (std::size_t{2} << 20U) + 1};

// The list of the items is an answer of the text protocol.
constexpr Quirks binary_quirks{.lateness = std::chrono::seconds(2),
                               .granularity = std::chrono::seconds(1),
                               .strict_keys = true,
                               .has_erase_prefix = false,
                               .has_scan = false,
                               .has_renew = false,
                               .has_tag_index = false,
                               .has_indexes = false,
                               .has_fences = false,
                               .keeps_locks = false,
                               .has_deques = false,
                               .refuses_value_of = std::size_t{9} << 20U};

OptionMap two_servers_options() {
  OptionMap all = options("ascii");
  all["max_value_bytes"] = std::string("2MiB");
  return all;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(MemcachedTcp, BackendConformance,
                         ::testing::ValuesIn(linked_and_loaded({.backend = "memcached",
                                                                .location = over_tcp,
                                                                .options = options("ascii"),
                                                                .quirks = memcached_quirks},
                                                               memcached::plugin)),
                         case_name);

INSTANTIATE_TEST_SUITE_P(
    MemcachedTwoServers, BackendConformance,
    ::testing::ValuesIn(conformance_cases({.name = "Linked",
                                           .backend = "memcached",
                                           .location = two_servers,
                                           .options = two_servers_options(),
                                           .linked_plugins = {&memcached::plugin},
                                           .quirks = two_servers_quirks})),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    MemcachedBinary, BackendConformance,
    ::testing::ValuesIn(conformance_cases({.name = "Linked",
                                           .backend = "memcached",
                                           .location = over_tcp,
                                           .options = options("binary"),
                                           .linked_plugins = {&memcached::plugin},
                                           .quirks = binary_quirks})),
    case_name);

}  // namespace polycache::testing
