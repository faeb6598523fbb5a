#include "polycache/net/resolve.h"

#include <sys/socket.h>

#include "polycache/author/descriptor.h"

namespace polycache::net {
namespace {

int look_up(const std::string& host, const std::string& port, int flags, Addresses& addresses) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // Without AI_ADDRCONFIG, which takes a lock even for a literal address.
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (result == 0) addresses.reset(found);
  return result;
}

}  // namespace

Addresses resolve(const std::string& host, const std::string& port, std::string& problem) {
  Addresses addresses;
  int result = look_up(host, port, AI_NUMERICHOST, addresses);
  if (result == EAI_NONAME) {
    const HeldStandardStreams held;  // the resolver opens files and sockets
    result = look_up(host, port, 0, addresses);
  }
  if (result != 0) problem = ::gai_strerror(result);
  return addresses;
}

Addresses parse_address(const std::string& host, const std::string& port) {
  Addresses addresses;
  look_up(host, port, AI_NUMERICHOST, addresses);
  return addresses;
}

}  // namespace polycache::net
