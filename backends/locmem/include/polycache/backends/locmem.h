// The store in this process's own memory: the fastest, and gone when the process ends.
//
//   "default": {"backend": "locmem", "location": "pages", "options": {"max_bytes": "256MiB"}}
//
// A location is a name ("" if there is none): all aliases, registries and plugins of the
// process that use one location, and one clock, share one store, and must agree on its
// limits. Options:
//
//   max_bytes       what the store may occupy, keys, values and overhead counted; 64MiB
//   max_entries     how many entries it may hold; no limit
//   policy          which entry goes when there is no room: s3-fifo (best for most; it
//                   adapts to what is asked for), lru, fifo, lfu, django (culls a share
//                   of all, for those who port tests)
//   cull_frequency  policy django: one entry in so many goes in a cull, 0 empties; 3
//
// Limits hold at every moment. A value that does not fit into max_bytes is refused. Expired
// entries are absent to the millisecond; their memory is given back as others are written.

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::locmem {

extern const PluginDescriptor plugin;

// Why an entry left the store. A counter that was increased has replaced its older value.
enum class Removal : std::uint8_t { size, expired, replaced, erased };

// Called on the thread whose operation removed the entry, after it and outside all locks: it
// may use any cache. The views are valid during the call. Thread-safe; must not throw.
using RemovalListener =
    std::function<void(Removal cause, std::string_view key, std::string_view value)>;

struct Statistics {
  std::uint64_t entries = 0;  // expired ones that are still in memory included
  std::uint64_t bytes = 0;    // as max_bytes counts
  // How many entries have left, and why.
  std::uint64_t evicted = 0;
  std::uint64_t expired = 0;
  std::uint64_t replaced = 0;
  std::uint64_t erased = 0;
};

// Thread-safe. Derive from it to change validate_key(), with the rules KeyRules::custom.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Uses `context` during this call only.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

  // Both are about the whole store, which other factories may share. A store has one
  // listener; a new one replaces it, an empty one ends it.
  void on_removal(RemovalListener listener);
  Statistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::locmem
