#include "locmem_peers.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

#ifdef BENCHMARK_ROCKSDB
#include <rocksdb/cache.h>
#endif
#ifdef BENCHMARK_LEVELDB
#include <leveldb/cache.h>
#endif

namespace peers {
namespace {

constexpr std::size_t charge_of_entry = 50;

#if defined(BENCHMARK_ROCKSDB) || defined(BENCHMARK_LEVELDB)
template <class Slice>
void destroy_value(const Slice&, void* value) {
  delete static_cast<std::string*>(value);
}
#endif

#ifdef BENCHMARK_ROCKSDB
class RocksLru final : public Peer {
 public:
  explicit RocksLru(std::size_t capacity) : cache_(rocksdb::NewLRUCache(capacity)) {}

  std::optional<std::string> get(std::string_view key) override {
    auto* const handle = cache_->Lookup({key.data(), key.size()});
    if (handle == nullptr) return std::nullopt;
    std::optional<std::string> value(*static_cast<const std::string*>(cache_->Value(handle)));
    cache_->Release(handle);
    return value;
  }
  void set(std::string_view key, std::string_view value) override {
    cache_->Insert({key.data(), key.size()}, new std::string(value), value.size() + charge_of_entry,
                   destroy_value<rocksdb::Slice>);
  }

 private:
  std::shared_ptr<rocksdb::Cache> cache_;
};

class RocksHyperClock final : public Peer {
 public:
  explicit RocksHyperClock(std::size_t capacity)
      : cache_(rocksdb::HyperClockCacheOptions(capacity, 150).MakeSharedCache()) {}

  std::optional<std::string> get(std::string_view key) override {
    const Digest digest(key);
    auto* const handle = cache_->Lookup(digest.slice());
    if (handle == nullptr) return std::nullopt;
    std::optional<std::string> value(*static_cast<const std::string*>(cache_->Value(handle)));
    cache_->Release(handle);
    return value;
  }
  void set(std::string_view key, std::string_view value) override {
    const Digest digest(key);
    cache_->Insert(digest.slice(), new std::string(value), value.size() + charge_of_entry,
                   destroy_value<rocksdb::Slice>);
  }

 private:
  // The 16 bytes that it takes for a key, which it does not hash again.
  class Digest {
   public:
    explicit Digest(std::string_view key) {
      const std::uint64_t hash = std::hash<std::string_view>()(key);
      const std::uint64_t halves[2] = {hash, hash * 0x9e3779b97f4a7c15u};
      std::memcpy(bytes_, halves, sizeof bytes_);
    }
    rocksdb::Slice slice() const { return {bytes_, sizeof bytes_}; }

   private:
    char bytes_[16];
  };

  std::shared_ptr<rocksdb::Cache> cache_;
};
#endif

#ifdef BENCHMARK_LEVELDB
class LevelLru final : public Peer {
 public:
  explicit LevelLru(std::size_t capacity) : cache_(leveldb::NewLRUCache(capacity)) {}

  std::optional<std::string> get(std::string_view key) override {
    auto* const handle = cache_->Lookup({key.data(), key.size()});
    if (handle == nullptr) return std::nullopt;
    std::optional<std::string> value(*static_cast<const std::string*>(cache_->Value(handle)));
    cache_->Release(handle);
    return value;
  }
  void set(std::string_view key, std::string_view value) override {
    cache_->Release(cache_->Insert({key.data(), key.size()}, new std::string(value),
                                   value.size() + charge_of_entry, destroy_value<leveldb::Slice>));
  }

 private:
  std::unique_ptr<leveldb::Cache> cache_;
};
#endif

template <class Kind>
Maker maker_of() {
  return [](std::size_t capacity) { return std::make_unique<Kind>(capacity); };
}

constexpr const char* django_program = R"(
import sys, time
from django.conf import settings
settings.configure(CACHES={'default': {
    'BACKEND': 'django.core.cache.backends.locmem.LocMemCache',
    'OPTIONS': {'MAX_ENTRIES': 1000000}}})
from django.core.cache import cache
n = int(sys.argv[1])
keys = ['user:%08d' % i for i in range(10000)]
value = 'v' * 100
def timed(operation):
    for k in keys: operation(k)
    begin = time.perf_counter_ns()
    for i in range(n): operation(keys[i * 7919 % 10000])
    return (time.perf_counter_ns() - begin) / n
put = timed(lambda k: cache.set(k, value))
print(timed(cache.get), put)
)";

}  // namespace

Maker maker([[maybe_unused]] std::string_view name) {
#ifdef BENCHMARK_ROCKSDB
  if (name == "RocksDB LRU") return maker_of<RocksLru>();
  if (name == "HyperClock") return maker_of<RocksHyperClock>();
#endif
#ifdef BENCHMARK_LEVELDB
  if (name == "LevelDB LRU") return maker_of<LevelLru>();
#endif
  return {};
}

std::optional<Nanoseconds> django_nanoseconds(std::size_t operations) {
  // The system's Python: that is where a distribution's Django is.
  const std::string command = "/usr/bin/python3 -B -c \"" + std::string(django_program) + "\" " +
                              std::to_string(operations) + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> output(::popen(command.c_str(), "r"), ::pclose);
  Nanoseconds result{};
  if (!output || std::fscanf(output.get(), "%lf %lf", &result.get, &result.set) != 2) {
    return std::nullopt;
  }
  return result;
}

}  // namespace peers
