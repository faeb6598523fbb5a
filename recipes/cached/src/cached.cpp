#include "polycache/cached.h"

#include <utility>

namespace polycache::detail {

CachedKey::CachedKey(Cache* cache, KeyView key, CachedOptions options)
    : key_(key.text()), options_(std::move(options)), cache_(cache) {}

Cache& CachedKey::cache() const {
  if (cache_ != nullptr) return *cache_;
  return options_.registry != nullptr ? (*options_.registry)[options_.cache]
                                      : caches[options_.cache];
}

bool CachedKey::exists() const { return cache().contains(key_); }

bool CachedKey::erase() const { return cache().erase(key_); }

}  // namespace polycache::detail
