// The store in this process's own memory: the fastest. Its content is lost when the process ends,
// or saved.
//
//   "default": {"backend": "locmem", "location": "pages", "options": {"max_bytes": "256MiB"}}
//
// A location is a name ("" if there is none). All aliases, registries and plugins of the process
// that use the same location and the same clock share one store, and must agree on its limits.
// Options:
//
//   max_bytes       how much memory the store may occupy, including keys, values and overhead;
//                   64MiB
//   max_entries     how many entries it may hold; no limit
//   policy          which entry is evicted when there is no room: s3-fifo (best for most uses;
//                   adapts to the access pattern), lru, fifo, lfu, django (culls a fraction of
//                   all entries; for ported tests)
//   cull_frequency  policy django: a cull evicts one entry in this many, 0 evicts all; 3
//   persist         the path of a file in which the store is saved and from which its next process
//                   loads it; not saved. In an existing folder; one process at a time
//   persist_interval  between two saves; 0: only on request and at the end; 5min
//
// With "persist", the file is loaded when a configuration names the store, without what has expired
// by the wall clock, and saved on Cache::maintenance().save(), at intervals, when no configuration
// names the store any more, and when the process exits by exit() or from main(). A file that is
// damaged, foreign or old is ignored with a warning (dump_failed). The child of a fork never saves.
// Locks, deques and indexes are not saved. docs/stores.md says more.
//
// Limits hold at every moment. A value that does not fit into max_bytes is refused. Expired
// entries are absent to the millisecond; later writes release their memory.

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

// Why an entry left the store. Increasing a counter counts as replacing its older value.
enum class Removal : std::uint8_t { size, expired, replaced, erased };

// Called on the thread whose operation removed the entry, after that operation and without any lock
// held, so it may use any cache. The views are valid during the call. Must be thread-safe and must
// not throw.
using RemovalListener =
    std::function<void(Removal cause, std::string_view key, std::string_view value)>;

struct Statistics {
  std::uint64_t entries = 0;  // includes expired entries that are still in memory
  std::uint64_t bytes = 0;    // counted as for max_bytes
  // How many entries have left the store, by reason.
  std::uint64_t evicted = 0;
  std::uint64_t expired = 0;
  std::uint64_t replaced = 0;
  std::uint64_t erased = 0;
};

// Thread-safe. To change validate_key(), derive and pass KeyRules::custom.
class Factory : public BackendFactory {
 public:
  // Reports wrong options to `options`. Uses `context` during this call only.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  // MaintenanceExtension, DumpExtension.
  void* extension(std::string_view id) noexcept override;

  // Both concern the whole store, which other factories may share. A store has one listener: a new
  // one replaces it, an empty one removes it.
  void on_removal(RemovalListener listener);
  Statistics statistics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::locmem
