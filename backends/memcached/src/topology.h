// Which server of an alias has a key. Each session has its own, and asks it for every operation; it
// knows the session's hints for the servers' pools.

#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "libmemcached.h"
#include "polycache/author/function_ref.h"
#include "polycache/net/circuit_breaker.h"
#include "server.h"

namespace polycache::memcached {

// A server, and the session's hint for its pool.
struct Place {
  Server* server;
  std::size_t* hint;
};

// The servers of a ring. Used by one thread at a time.
class Topology {
 public:
  // The ring's numbers are those of the servers. Both must outlive it.
  Topology(const Ring& ring, std::span<const std::unique_ptr<Server>> servers)
      : ring_(ring), servers_(servers), hints_(servers.size()) {}

  // Keys of one part go to one server. Bulk operations visit the parts in their order, which
  // prevents deadlocks.
  std::size_t parts() const noexcept { return servers_.size(); }
  std::size_t part_of(std::string_view key) const noexcept { return ring_.server_of(key); }
  // Where operations on the keys of a part go.
  Place server_of_part(std::size_t part) noexcept { return {servers_[part].get(), &hints_[part]}; }
  Place server_for(std::string_view key) noexcept { return server_of_part(part_of(key)); }

  void for_each(FunctionRef<void(Place)> visit) {
    for (std::size_t part = 0; part < parts(); ++part) visit(server_of_part(part));
  }

  // Whether an operation on this key would not be refused at once.
  bool admits(std::string_view key, Access access) const noexcept {
    return !servers_[part_of(key)]->refuses(access);
  }
  // Whether no operation would be refused, nor be a probe.
  bool admits_all() const noexcept;

 private:
  const Ring& ring_;
  const std::span<const std::unique_ptr<Server>> servers_;
  std::vector<std::size_t> hints_;
};

}  // namespace polycache::memcached
