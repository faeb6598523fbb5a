// Which server of an alias has a key. Each session has its own, and asks it for every operation; it
// knows the session's hints for the servers' pools, and which replica the session reads from.
//
// A cluster or a sentinel is another implementation; sessions do not change for it.

#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

#include "polycache/author/function_ref.h"
#include "polycache/net/circuit_breaker.h"
#include "polycache/net/deadline.h"
#include "server.h"

namespace polycache::redis {

// A server, and the session's hint for its pool.
struct Place {
  Server* server;
  std::size_t* hint;
};

// Used by one thread at a time.
class Topology {
 public:
  Topology() = default;
  Topology(const Topology&) = delete;
  Topology& operator=(const Topology&) = delete;
  virtual ~Topology() = default;

  // Where an operation on this key goes that ends at the deadline. Plain reads skip servers that
  // are known to be down.
  [[gnu::hot]] virtual Place server_for(std::string_view key, Purpose purpose,
                                        Deadline deadline) noexcept = 0;

  // One command may name several keys only if they belong to one part; each part lies on one
  // server. part_of() is below parts().
  virtual std::size_t parts() const noexcept { return 1; }
  virtual std::size_t part_of(std::string_view /*key*/) const noexcept { return 0; }

  // How many servers may answer a plain read of a key.
  virtual std::size_t readers() const noexcept = 0;
  // The session's next plain reads go to another one, for some time.
  virtual void switch_replica(Deadline deadline) noexcept = 0;

  // A server said that the keys of this slot are at that address now. Returns whether
  // server_for() follows; false: it belongs to a cluster, and this is none.
  virtual bool moved(int slot, std::string_view address) = 0;

  // Every server that accepts writes; together they have all keys.
  virtual void for_each_primary(FunctionRef<void(Place)> visit) = 0;
  virtual void for_each(FunctionRef<void(Place)> visit) = 0;

  // Whether an operation on this key would not be refused at once.
  virtual bool admits(std::string_view key, Access access) const noexcept = 0;
  // Whether no operation would be refused, nor be a probe.
  virtual bool admits_all() const noexcept = 0;
};

// With one server, it has every key; with several, the first has, and the others are its replicas:
// plain reads are distributed over them, the `turn`-th session prefers the `turn`-th. REQUIRES:
// there is a server, and all outlive it.
std::unique_ptr<Topology> make_topology(std::span<const std::unique_ptr<Server>> servers,
                                        std::size_t turn);

// Calls f(some, index_of) for the elements of each part: `some` are elements of `all` in their
// order, of which index_of(i) tells the place of the i-th in `all`.
template <class Element, class KeyOf, class F>
void for_each_part(const Topology& topology, std::span<const Element> all, KeyOf key_of, F f) {
  if (topology.parts() == 1) [[likely]] {
    f(all, [](std::size_t i) { return i; });
    return;
  }
  std::vector<std::size_t> order(all.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> parts;
  for (const Element& element : all) parts.push_back(topology.part_of(key_of(element)));
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return parts[a] < parts[b]; });
  std::vector<Element> some;
  for (auto begin = order.begin(); begin != order.end();) {
    const auto end =
        std::find_if(begin, order.end(), [&](std::size_t i) { return parts[i] != parts[*begin]; });
    some.clear();
    for (auto i = begin; i != end; ++i) some.push_back(all[*i]);
    f(std::span<const Element>(some),
      [begin](std::size_t i) { return *(begin + static_cast<std::ptrdiff_t>(i)); });
    begin = end;
  }
}

}  // namespace polycache::redis
