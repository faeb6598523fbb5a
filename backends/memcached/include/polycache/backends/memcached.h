// One memcached server or many.
//
//   "default": {"backend": "memcached", "location": ["10.0.0.1:11211", "10.0.0.2:11211?weight=2"]}
//
// Locations: "host:port", "host" (port 11211), "[::1]:11211", "unix:/path" or "/path", each
// with "?weight=2" if it is to hold twice as much; "tls://host:port" is the same by TLS. Keys are
// spread over several servers by ketama hashing, as other clients do it; a server that is down
// loses its keys only, and they are not moved to others. Without a location: 127.0.0.1:11211.
// Options:
//
//   protocol         ascii or binary; ascii. Binary is libmemcached's, for SASL
//   user, password   SASL; with the binary protocol, over TCP
//   connect_timeout  for one connection: all addresses of the name, and TLS; 500ms
//   timeout          for a whole operation, connecting included; 1s. Resolving a name cannot be
//                    limited, nor with the binary protocol a reply that comes byte by byte
//   max_connections  for each server, in this process; 32
//   idle_timeout     connections that nobody used for so long are closed; 60s
//   max_value_bytes  larger values are refused, larger replies are no replies; 64MiB
//   tls_ca_file      for tls://, required: the authority (PEM) whose servers are trusted
//   tls_cert_file, tls_key_file  the client's own, where the server asks for one
//   tls_verify_name  whether the certificate must be for the location's host; true
//
// Threads share the connections. A server that keeps failing is left alone for a while (a
// circuit breaker for each server), and one that could not be connected to is tried again after
// a pause that grows; meanwhile operations on its keys fail at once.
//
// Lifetimes are whole seconds here, rounded up: an entry is never gone early, and is gone at
// most two seconds late. Its deadline is kept in the item's flags as well, in unix seconds by
// the clock of the host that wrote it: hosts that share a server should agree on the time to a
// second. An item whose flags are below 2^30 is somebody else's: its lifetime is unknown, and
// reported as for ever.
//
// Counters are added to by compare-and-swap. Other clients should not use memcached's own incr
// on them: the server may then hand out an old value with a new version, and an addition is
// lost. What its decr leaves ("9 ") is that number to every read of a number and to counters.
//
// A server that comes back with its memory, after a partition, serves what it had: raise the
// version where that matters. With the binary protocol servers are trusted: libmemcached 1.1.4
// does not check all that they say (docs/adr/0007).

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::memcached {

extern const PluginDescriptor plugin;

// Thread-safe. Derive from it to change validate_key(), with the rules KeyRules::custom; a key
// that memcached cannot store is refused with InvalidKey under any rules.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Uses `context` during this call only; its clock and
  // its report() are kept.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::strict);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::memcached
