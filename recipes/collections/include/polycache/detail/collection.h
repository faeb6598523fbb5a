// What collections have in common: a name, the cache whose store keeps them, and how their values
// become bytes. deque.h includes it.

#pragma once

#include <atomic>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/author/extension.h"
#include "polycache/cache.h"
#include "polycache/cache_handle.h"
#include "polycache/collection_options.h"
#include "polycache/key.h"
#include "polycache/observer.h"

namespace polycache::detail {

// Thread-safe if it is made with an alias; otherwise used by the thread of its cache.
class Collection {
 public:
  // How a kind of collection is called, in messages and in keys.
  struct Kind {
    std::string_view what;  // "deque"
    std::string_view lack;  // "has no deques", of a store without the extension
    std::string_view head;  // "d.": no two kinds have the same
  };

  // `cache`: null if the options name an alias. `mark`: of the type of the values (type_mark.h).
  // Throws ValueError for an empty name.
  Collection(Cache* cache, Kind kind, KeyView name, std::string mark, CollectionOptions options);
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  const std::string& name() const noexcept { return name_; }
  Cache& cache() const { return cache_.get(); }

  // As Cache::with_extension(); f must not throw. Also throws ConfigError if the store may evict
  // the collection, unless the options accept that.
  template <class Extension, class F>
  bool run(Op op, F f) const {
    return cache().template with_extension<Extension>(
        op, stored_as_, kind_.lack, [&](Extension& extension, std::string_view key) {
          refuse_if_evicting([&] { return extension.keeping(); });
          return f(extension, key);
        });
  }

  // Throws what run() throws if the store cannot keep the collection. A store that fails now is
  // asked again by the first operation.
  template <class Extension>
  void check_store() const {
    try {
      run<Extension>(Op::check_collections, [](Extension&, std::string_view) { return true; });
    } catch (const BackendError& error) {
      if (error.kind() == BackendError::Kind::unsupported) throw;
    }
  }

  // What to store for the bytes of a codec: with the mark, changed by the alias's transforms.
  std::string pack(std::string_view bytes) const;
  // The reverse: the codec's bytes. Throws ValueError if they are of another type, damaged, or
  // refused by a transform.
  std::string unpack(std::string_view stored) const;

  // Throws ValueError: "deque 'jobs': ..."
  [[noreturn]] void throw_value_error(const std::string& problem) const;
  // A codec could not read its bytes.
  [[noreturn]] void throw_undecodable() const;

 private:
  template <class Keeping>
  void refuse_if_evicting(Keeping keeping) const {
    if (is_checked_.load(std::memory_order_relaxed)) return;
    if (options_.evicting_store == EvictingStore::refuse &&
        keeping() == LockExtension::Keeping::may_evict) {
      throw_evicts();
    }
    is_checked_.store(true, std::memory_order_relaxed);
  }
  [[noreturn]] void throw_evicts() const;

  const Kind kind_;
  const std::string name_;
  const std::string stored_as_;  // Cache::with_extension() makes the key of it
  const std::string mark_;
  const CollectionOptions options_;
  const CacheHandle cache_;
  mutable std::atomic<bool> is_checked_{false};  // whether the store may evict; orders nothing
};

}  // namespace polycache::detail
