// The suites of faults run twice: as they are, and over TLS with POLYCACHE_TEST_TLS=1 in the
// environment. Then the server behind the gate speaks TLS, and so do the stores.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/option_reader.h"
#include "support/server.h"
#ifdef POLYCACHE_TEST_WITH_TLS
#include "support/certificates.h"
#endif

namespace polycache::testing {

#ifdef POLYCACHE_TEST_WITH_TLS

inline bool over_tls() {
  const char* const value = std::getenv("POLYCACHE_TEST_TLS");
  return value != nullptr && std::string_view(value) == "1";
}

inline const Certificates& suite_certificates() {
  static const Certificates made;
  return made;
}

#else

inline bool over_tls() { return false; }

#endif

// A server, and the port that a gate passes connections on to.
struct Service {
  std::unique_ptr<Server> server;
  std::uint16_t port;

  static Service redis() {
#ifdef POLYCACHE_TEST_WITH_TLS
    if (over_tls()) return from(TlsServer::redis(suite_certificates()));
#endif
    return from(Server::redis());
  }
  static Service memcached() {
#ifdef POLYCACHE_TEST_WITH_TLS
    if (over_tls()) return from(TlsServer::memcached(suite_certificates()));
#endif
    return from(Server::memcached());
  }

 private:
  static Service from(std::unique_ptr<Server> server) {
    const std::uint16_t port = server->port();
    return {std::move(server), port};
  }
#ifdef POLYCACHE_TEST_WITH_TLS
  static Service from(TlsServer made) {
    const std::uint16_t port = made.port();
    return {made.release(), port};
  }
#endif
};

// Locations as this run of the suite needs them; those with a scheme stay as they are.
inline std::vector<std::string> as_run(std::string_view scheme, std::vector<std::string> location) {
  for (std::string& one : location) {
    if (over_tls() && one.find("://") == std::string::npos) one.insert(0, scheme);
  }
  return location;
}

inline OptionMap as_run(OptionMap options) {
#ifdef POLYCACHE_TEST_WITH_TLS
  if (over_tls()) options.try_emplace("tls_ca_file", suite_certificates().ca());
#endif
  return options;
}

}  // namespace polycache::testing
