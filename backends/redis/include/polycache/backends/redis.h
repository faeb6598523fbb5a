// The store in redis servers, shared by many machines.
//
//   "default": {"backend": "redis", "location": "redis://cache.example.org:6379/1"}
//
// A location is one of
//
//   redis://[user[:password]@]host[:port][/database]     port 6379, database 0
//   host[:port]                                          the same, with nothing else to say
//   unix://[user[:password]@]/path/to/socket[?db=N]
//   unix:/path/to/socket, /path/to/socket
//   host[:port],password=...,ssl=true                    as the Azure portal shows it
//
// with IPv6 addresses in brackets and everything that a URL reserves percent-encoded.
// rediss:// is TLS, and is refused where this was built without OpenSSL. Of several
// locations the first is written to and the others, its replicas, are read from: plain reads
// may then lag behind, everything that reads in order to write does not. A replica that is
// down costs its readers nothing but the next location's answer. Options:
//
//   user, password, database  where the locations do not say them; not both
//   connect_timeout           for one connection; 500ms
//   timeout                   for a whole operation, waiting for a connection, connecting and
//                             bulk operations included; 1s. Clearing by prefix has it for each
//                             step of about 1000 keys. Looking up a name cannot be limited
//   max_connections           with each server, in one process; 32
//   idle_timeout              of a connection that nobody uses; 60s
//   max_value_bytes           of a value, written or read; 512MiB
//   tls_ca_file               for rediss://, required: the authority (PEM) whose servers are
//                             trusted
//   tls_cert_file, tls_key_file  the client's own, where the server asks for one
//   tls_verify_name           whether the certificate must be for the location's host; true
//
// Commands that a user of the server must be allowed: get, mget, exists, getrange, set, psetex,
// del, unlink, pexpire, persist, pttl, getdel, multi, exec, eval, evalsha, incrby, scan,
// flushdb. Where getdel, psetex, unlink or scripts are denied, others are used (watch and
// unwatch among them), and one warning says so.
//
// Lifetimes hold to the millisecond. An operation that a server answers with an error throws
// a BackendError that says which kind; a value that it has no room for is refused. A key that
// holds another type of redis (a list, a hash) is absent to every operation: a put stores over
// it unless it needs an entry, pop() and erase() remove it.
//
// Threads share the connections. A server that keeps failing is left alone for a while
// (circuit_breaker.h), one that cannot be connected to for a shorter one; operations fail at
// once meanwhile. What can be repeated without harm is repeated once if a connection from
// before breaks.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::redis {

extern const PluginDescriptor plugin;

// Thread-safe. Derive from it to change validate_key(), with the rules KeyRules::custom.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Connects to nothing.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  // A session connects when it is first used, and may outlive the factory.
  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::redis
