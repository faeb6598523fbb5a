// Certificates for tests of TLS, made anew in a folder of their own.
//
//   const Certificates certificates;
//   auto server = TlsServer::redis(certificates);
//   connect_to("rediss://" + server.address(), {{"tls_ca_file", certificates.ca()}});
//
// Everything throws std::runtime_error if it does not work.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "support/server.h"

namespace polycache::testing {

// All functions name PEM files.
class Certificates {
 public:
  Certificates();

  std::string ca() const { return file("ca"); }
  std::string other_ca() const { return file("other_ca"); }  // that signed none of the servers'
  std::string expired_ca() const { return file("expired_ca"); }

  // Of servers: for localhost, 127.0.0.1 and ::1; for another name; one that has expired.
  std::string server() const { return file("server"); }
  std::string other_host() const { return file("other_host"); }
  std::string expired() const { return file("expired"); }
  std::string server_key() const { return file("server_key"); }

  // Of clients, with one key: signed by ca(), by other_ca(), and one that has expired.
  std::string client() const { return file("client"); }
  std::string stranger() const { return file("stranger"); }
  std::string expired_client() const { return file("expired_client"); }
  std::string client_key() const { return file("client_key"); }
  std::string encrypted_key() const { return file("encrypted_key"); }

  std::string file(const std::string& name) const {
    return (folder_.path() / (name + ".pem")).string();
  }

 private:
  TemporaryFolder folder_;
};

// A real server that speaks TLS on port(), and no TLS on server().port().
class TlsServer {
 public:
  enum class Clients : std::uint8_t { any, with_certificate };

  // `certificate` is a file of the server's; empty: Certificates::server().
  static TlsServer redis(const Certificates& certificates, const std::string& certificate = "",
                         Clients clients = Clients::any);
  static TlsServer memcached(const Certificates& certificates, const std::string& certificate = "",
                             Clients clients = Clients::any);

  std::uint16_t port() const noexcept { return port_; }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  Server& server() const noexcept { return *server_; }
  std::unique_ptr<Server> release() noexcept { return std::move(server_); }

 private:
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
};

}  // namespace polycache::testing
