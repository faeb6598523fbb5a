// Limits how often something happens, in all programs that share a store.
//
//   polycache::RateLimiter api("api", {.limit = 100, .period = 1min});
//   const polycache::RateVerdict verdict = api.allow("ip:192.0.2.7");
//   if (!verdict.allowed) return too_many_requests(verdict.retry_after);
//
// Each subject ("ip:192.0.2.7") has a limit of its own, in one entry of the cache, which goes when
// it says nothing any more. The entry's key is that of polycache::key(name, subject), so that
// different pairs of a name and a subject never share a limit. Works on every store. On one that
// keeps nothing (dummy) everything is allowed; where the store evicts the entry, or a program
// clears it, the subject begins anew, so that more is allowed, never less. Programs on several
// machines compare their clocks: what these differ by, a period may be longer or shorter.
//
// A store with LimitExtension (redis) does all of that itself, in one round trip and by its own
// clock, which is the same for all programs. It keeps a subject under a key of the library's own,
// which is no entry: contains() and scan() do not find it.
//
// A store that fails allows nothing: allow() throws BackendError, whatever "on_error" is.
//
// An object that is made with an alias may be used by all threads at once; one that is made with a
// Cache belongs to that cache's thread. Neither must be used after its registry has ended.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/author/rate.h"  // IWYU pragma: export
#include "polycache/cache_handle.h"
#include "polycache/key.h"

namespace polycache {

struct RateLimiterOptions {
  std::int64_t limit = 0;              // uses in a period; to be given
  std::chrono::milliseconds period{};  // to be given
  RateAlgorithm algorithm = RateAlgorithm::token_bucket;
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
};

class RateLimiter {
 public:
  // `name` begins the keys: two limiters need two names. Does not look at the store. Throws
  // ValueError for an empty name, a limit of zero or less or over 10^9, and a period of zero or
  // less or over 10 years; InvalidKey for a null pointer, as do the functions below.
  RateLimiter(KeyView name, const RateLimiterOptions& options);
  // With one thread's cache; `cache` and `registry` of the options are not used.
  RateLimiter(Cache& cache, KeyView name, RateLimiterOptions options);

  // Uses the subject's limit `cost` times if that is allowed, in one step: of all programs that
  // ask, no more are allowed than the limit. What is not allowed counts for nothing. Throws
  // ValueError for a cost below one or over the limit, which would never be allowed; BackendError
  // as above.
  RateVerdict allow(KeyView subject, std::int64_t cost = 1) const;

  // Whether a use would be allowed now, and how many; uses nothing. Throws BackendError as above.
  RateVerdict peek(KeyView subject) const;

  // Forgets the uses of a subject. Returns whether there were any. With LimitExtension, throws
  // BackendError as above; otherwise does what "on_error" says, as erase() does.
  bool reset(KeyView subject) const;

  const std::string& name() const noexcept { return name_; }

 private:
  RateLimiter(CacheHandle cache, KeyView name, RateLimiterOptions options);

  std::string key_of(KeyView subject) const { return key(name_, subject.text()); }
  // Uses the limit `cost` times, in the way that the store has.
  RateVerdict use(KeyView subject, std::int64_t cost) const;

  CacheHandle cache_;
  std::string name_;
  RateLimiterOptions options_;
};

}  // namespace polycache
