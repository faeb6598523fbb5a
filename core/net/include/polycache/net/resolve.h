// Resolves host names to addresses.

#pragma once

#include <netdb.h>

#include <memory>
#include <string>

namespace polycache::net {

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Returns the TCP addresses of a host, in the system's order of preference. `port` in digits. If
// there are none, returns an empty result and sets `problem` to getaddrinfo's message. For a
// literal address it takes none of the resolver's locks, which could be held forever in a fork's
// child. For a name it blocks for as long as the system's resolver does.
Addresses resolve(const std::string& host, const std::string& port, std::string& problem);

// The same for a literal address only; empty if `host` is a name.
Addresses parse_address(const std::string& host, const std::string& port);

}  // namespace polycache::net
