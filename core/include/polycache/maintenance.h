// Care of a whole store: removing what is expired, how much there is, saving it, and looking for
// damage.
//
//   const polycache::Maintenance store = cache.maintenance();
//   const std::size_t gone = store.expire();
//   if (const auto bytes = store.volume()) log("the cache occupies", *bytes);
//
// A cache never needs it: an expired entry is absent whether it was removed or not, and writes keep
// the limits. It gives memory or disk back at a quiet time, and numbers to a monitor.
//
// What it does concerns the whole store, whichever alias or program wrote the entries, not only the
// keys of this cache. dummy, locmem and sqlite can do all of it; redis and memcached do the rest by
// themselves.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/author/function_ref.h"
#include "polycache/detail/export.h"

namespace polycache {

class CacheState;

// Something wrong that Maintenance::check() has found.
struct StoreProblem {
  std::string text;  // what, and where
  bool is_fixed = false;
};
// Whether check() repairs what it finds: Fix::no, Fix::yes.
using Fix = CheckExtension::Fix;
// How vacuum() works: Vacuum::in_steps, Vacuum::full.
using Vacuum = VacuumExtension::How;

// total, expired, unexpired, forever; empty where the store cannot tell. redis and memcached only
// tell the total, with entries that are over and still kept.
using StoreCounts = MaintenanceExtension::Counts;

// Of the store that the cache had when it gave this: a later configuration changes nothing. Cheap
// to copy, thread-safe, and usable after the cache has ended. Every function may take as long as
// the store is large, works in steps between which others use the store, and throws BackendError if
// the store fails, whatever the alias's "on_error" is.
class POLYCACHE_API Maintenance {
 public:
  // Removes the expired entries, and returns how many. 0 if the store does that by itself.
  std::size_t expire() const;

  // Removes entries if there are more than the store's limits allow, and returns how many. 0 if its
  // limits always hold, as those of locmem do.
  std::size_t cull() const;

  // The bytes that the store occupies: locmem: its entries, with their overhead; sqlite: the file
  // and its log; redis and memcached: the sum over all servers, for redis of all their databases.
  std::optional<std::uint64_t> volume() const;

  // Counts the entries. What the library keeps for itself, such as versions of tags, is counted as
  // well.
  StoreCounts counts() const;

  // Saves the entries in the file that the configuration names (locmem: the option "persist"), and
  // returns how many. Other threads never wait for more than a step. When it returns, the file
  // survives a crash of the machine; if it throws, the file is the older one. Entries that change
  // meanwhile are saved as they were before or after. Also throws BackendError: Kind::unsupported
  // if the store cannot save or no file is configured; Kind::denied if the file belongs to another
  // process or is none that the store may replace.
  std::uint64_t save() const;

  // Looks for damage in what the store has, and returns what it has found, at most 1,000 problems;
  // empty: everything is whole. Fix::yes repairs what can be repaired without loss, and removes
  // entries that no operation finds; Fix::no changes nothing. Entries that an operation would find
  // stay. If the store fails after something was found, the last problem says so. Also throws
  // BackendError: Kind::unsupported if the store cannot check itself. sqlite can; a damaged
  // structure is found and not repaired, and the file stays: "on_corrupt" decides what the next
  // operation does with it.
  std::vector<StoreProblem> check(Fix fix = Fix::no) const;

  // Gives space that removed entries have left in the store's file back to the file system, and
  // returns how many bytes the database has shrunk by; the file itself gets shorter when no reader
  // uses its log. Vacuum::full writes the database anew, which needs twice as much space for a
  // while, and other writers wait for all of it, up to their "busy_timeout". Vacuum::in_steps lets
  // others write between steps, and moves pages to the gaps; it returns 0 until the file had a
  // Vacuum::full. Also throws BackendError: Kind::unsupported if the store cannot do that.
  std::uint64_t vacuum(Vacuum how = Vacuum::in_steps) const;

 private:
  friend class Cache;
  // Throws BackendError (Kind::unsupported) if the store has no such ability.
  explicit Maintenance(std::shared_ptr<CacheState> state);

  void run(std::string_view operation, FunctionRef<void()> call) const;
  template <class Extension>
  Extension& ability(std::string_view operation, std::string_view lack) const;

  std::shared_ptr<CacheState> state_;
  MaintenanceExtension* store_;  // of the state's factory
};

}  // namespace polycache
