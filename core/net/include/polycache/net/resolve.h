// Names of hosts, and the addresses behind them.

#pragma once

#include <netdb.h>

#include <memory>
#include <string>

namespace polycache::net {

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// The addresses of a host, for TCP, in the system's order of preference. `port` in digits.
// Empty with a reason (one of getaddrinfo's sentences) if there are none. An address as it is
// takes none of the resolver's locks, which a fork's child may find held for ever; for a name
// it waits as long as the system's resolver does.
Addresses resolve(const std::string& host, const std::string& port, std::string& problem);

// The same for an address only; empty if `host` is a name.
Addresses parse_address(const std::string& host, const std::string& port);

}  // namespace polycache::net
