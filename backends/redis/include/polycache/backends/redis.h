// The store in redis servers, shared by many machines.
//
//   "default": {"backend": "redis", "location": "redis://cache.example.org:6379/1"}
//
// A location is one of
//
//   redis://[user[:password]@]host[:port][/database]     port 6379, database 0
//   host[:port]                                          the same, without user and database
//   unix://[user[:password]@]/path/to/socket[?db=N]
//   unix:/path/to/socket, /path/to/socket
//   host[:port],password=...,ssl=true                    as shown by the Azure portal
//
// with IPv6 addresses in brackets and reserved URL characters percent-encoded. rediss:// is TLS;
// it is refused if this was built without OpenSSL. With several locations, writes go to the first
// and reads to the others, its replicas. Plain reads may then lag behind; reads that precede a
// write do not. If a replica is down, its readers use the next location. Options:
//
//   user, password, database  for locations without them; an error if a location has them, too
//   connect_timeout           for one connection; 500ms
//   timeout                   for a whole operation, including bulk operations, connecting and
//                             waiting for a connection; 1s. Clearing by prefix applies it to each
//                             step of about 1000 keys. It does not limit name resolution
//   max_connections           to each server, in one process; 32
//   idle_timeout              how long an unused connection stays open; 60s
//   max_value_bytes           of a value, written or read; 512MiB
//   tls_ca_file               required for rediss://: the authority (PEM) whose servers are
//                             trusted
//   tls_cert_file, tls_key_file  the client's certificate and key, if the server requires them
//   tls_verify_name           whether the certificate must match the location's host; true
//
// The server must allow its user these commands: get, mget, exists, getrange, set, psetex, del,
// unlink, pexpire, persist, pttl, getdel, multi, exec, eval, evalsha, incrby, scan, flushdb. If
// it denies getdel, psetex, unlink or scripts, other commands replace them (watch and unwatch
// among them), with one warning.
//
// Lifetimes are exact to the millisecond. If the server answers with an error, the operation
// throws a BackendError of the matching kind; a value for which it has no room is refused. A key
// of another redis type (a list, a hash) is absent to every operation: a put overwrites it unless
// it needs an existing entry; pop() and erase() remove it.
//
// Threads share the connections. A circuit breaker stops calls to a server that keeps failing
// (circuit_breaker.h); after a failed connection attempt there is a shorter pause. Meanwhile
// operations fail at once. If a connection opened earlier breaks, an operation that is safe to
// repeat is repeated once.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::redis {

extern const PluginDescriptor plugin;

// Thread-safe. To change validate_key(), derive and pass KeyRules::custom.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Does not connect.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  // A session connects at its first use, and may outlive the factory.
  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  // MaintenanceExtension.
  void* extension(std::string_view id) noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::redis
