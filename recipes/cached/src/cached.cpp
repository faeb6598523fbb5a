#include "polycache/cached.h"

#include <utility>

namespace polycache::detail {

CachedKey::CachedKey(CacheHandle cache, KeyView key) : cache_(std::move(cache)), key_(key.text()) {}

bool CachedKey::exists() const { return cache_.get().contains(key_); }

bool CachedKey::erase() const { return cache_.get().erase(key_); }

}  // namespace polycache::detail
