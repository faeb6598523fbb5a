// One or more memcached servers.
//
//   "default": {"backend": "memcached", "location": ["10.0.0.1:11211", "10.0.0.2:11211?weight=2"]}
//
// Locations: "host:port", "host" (port 11211), "[::1]:11211", "unix:/path" or "/path", each with
// "?weight=2" to hold twice as many keys; "tls://host:port" is the same over TLS. Keys are
// distributed over several servers by ketama hashing, as other clients do. When a server is down,
// only its keys are unavailable; they do not move to other servers. Without a location:
// 127.0.0.1:11211. Options:
//
//   protocol         ascii or binary; ascii. Binary uses libmemcached, for SASL
//   user, password   for SASL; require the binary protocol over TCP
//   connect_timeout  for one connection: all addresses of the name, and TLS; 500ms
//   timeout          for a whole operation, including connecting; 1s. It does not limit name
//                    resolution, nor a binary protocol reply that arrives byte by byte
//   max_connections  for each server, in this process; 32
//   idle_timeout     how long an unused connection stays open; 60s
//   max_value_bytes  larger values are refused, larger replies are invalid; 64MiB
//   tls_ca_file      required for tls://: the authority (PEM) whose servers are trusted
//   tls_cert_file, tls_key_file  the client's certificate and key, if the server requires them
//   tls_verify_name  whether the certificate must match the location's host; true
//
// Threads share the connections. Each server has a circuit breaker, which stops calls to a server
// that keeps failing. After a failed connection attempt, the next one follows after a pause that
// grows. Meanwhile operations on that server's keys fail at once.
//
// Lifetimes are whole seconds, rounded up: an entry never expires early, and at most two seconds
// late. The deadline is also kept in the item's flags, in Unix seconds by the clock of the writing
// host: the clocks of hosts that share a server should agree to a second. An item with flags below
// 2^30 was written by another program: its lifetime is unknown, and reported as unlimited.
//
// Counters are increased by compare-and-swap. Other clients should not use memcached's own incr
// on them: the server may then return an old value with a new version, and an addition is lost.
// Its decr may leave a trailing space ("9 "): reads of a number and counters accept that as 9.
//
// A server that returns after a network partition with its memory intact serves its old items:
// raise the version where that matters. The binary protocol trusts the servers: libmemcached 1.1.4
// does not validate all of their replies (docs/adr/0007).

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::memcached {

extern const PluginDescriptor plugin;

// Thread-safe. To change validate_key(), derive and pass KeyRules::custom. A key that memcached
// cannot store is refused with InvalidKey under any rules.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Uses `context` during this call only, except that it keeps
  // its clock and report().
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::strict);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  // MaintenanceExtension.
  void* extension(std::string_view id) noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::memcached
