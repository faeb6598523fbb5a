// The mean of numbers that many programs add.
//
//   polycache::Averager latency("latency");
//   latency.add(0.017);
//   const std::optional<double> mean = latency.mean();
//
// Count and sum are one entry of the cache, so nothing is lost between threads and programs. Where
// the store evicts the entry, or a program clears it, the mean begins anew; on a store that keeps
// nothing (dummy) there never is one. If the store fails, add() and pop() throw BackendError, and
// mean() does what "on_error" says.
//
// An object that is made with an alias may be used by all threads at once; one that is made with a
// Cache belongs to that cache's thread. Neither must be used after its registry has ended.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "polycache/cache_handle.h"
#include "polycache/key.h"
#include "polycache/options.h"

namespace polycache {

struct AveragerOptions {
  Timeout timeout = Timeout::never();  // since the last add(): then it begins anew
  std::string cache = "default";       // the alias
  CacheRegistry* registry = nullptr;   // [that of polycache::caches]
};

class Averager {
 public:
  // `key` is the key of the entry. Does not look at the store. Throws ValueError for an empty one,
  // InvalidKey for a null pointer.
  explicit Averager(KeyView key, AveragerOptions options = {});
  // With one thread's cache; `cache` and `registry` of the options are not used.
  Averager(Cache& cache, KeyView key, const AveragerOptions& options = {});

  // Throws ValueError for a value that is not finite, or with which the sum would not be; and if
  // the entry is something else.
  void add(double value) const;

  // Empty if nothing was added. Throws ValueError if the entry is something else.
  std::optional<double> mean() const;

  // The same, and begins anew: every value counts for one pop(). Removes an entry that is something
  // else, and then throws ValueError.
  std::optional<double> pop() const;

 private:
  Averager(CacheHandle cache, KeyView key, Timeout timeout);

  CacheHandle cache_;
  std::string key_;
  Timeout timeout_;
};

}  // namespace polycache
