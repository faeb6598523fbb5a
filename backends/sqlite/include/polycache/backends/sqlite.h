// The store "sqlite": entries in a table of an SQLite file, shared by threads and processes and
// kept over restarts; or in memory, shared by the threads of this process.
//
//   location        path of the file, created at first use; or ":memory:", ":memory:NAME"
//   table           name of the table; default "cache". Two aliases whose table names differ only
//                   in case are refused, since SQLite treats them as the same table
//   max_entries     how many entries are kept; default: no limit. A write that would exceed a limit
//                   makes room: expired entries go first, then by eviction_policy
//   size_limit      how many bytes of keys and values, and 64 for each entry; default: no limit
//   eviction_policy "least-recently-stored" (default; a touch counts as storing) or "none": only
//                   expired entries make room
//   eviction_order  "approximate" (default): the oldest of 16 neighbours go; "exact": the oldest of
//                   all, by an index
//   cull_limit      how many entries one write removes at most to keep the limits; default 10. 0:
//                   writes remove none, expired ones included
//   max_value_bytes larger values are refused; default: SQLite's limit (1 GB)
//   busy_timeout    how long one operation waits in total for other threads and processes that use
//                   the file; default 1s
//   synchronous     "off", "normal" (default; survives a killed process, and a power failure
//                   without damage), "full" (a power failure loses nothing)
//   wal_autocheckpoint  pages of the write-ahead log before it is copied back. If overlapping
//                   readers make the log grow a quarter beyond that, a write empties it, and waits
//                   for them for up to 200 ms (or a quarter of busy_timeout)
//   page_cache      memory for pages, for each thread's session
//   near            memory of this process for entries that were read, such as "64MiB"; default:
//                   none. A read that finds one there calls no function of SQLite, and is never
//                   older than a write, of any process, that was acknowledged before it began. Any
//                   commit to the file makes all of them invalid, so it is for files that are read
//                   far more often than written. Items that indexes find may take as much memory
//                   again. At least 64KiB; not for a store in memory
//   checksum        true: entries carry a checksum; an entry whose bytes have changed on disk is
//                   absent to reads, with a warning; default false. Adds a column to the file,
//                   which programs without the option can still use
//   on_corrupt      "move" (default): a damaged polycache file is moved aside and a new one
//                   created; "throw": operations fail until the file is repaired
//
// A file that is not a polycache store is refused and not changed.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::sqlite {

// The same store under two names: "sqlite", and "db" as an alternative name.
extern const PluginDescriptor plugin;
extern const PluginDescriptor db_plugin;

// Thread-safe. To change which keys are allowed, derive, pass KeyRules::custom and override
// validate_key().
class Factory : public BackendFactory {
 public:
  // Reports wrong options and an unusable location to the reader. Inspects the location, but
  // creates and changes nothing.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  // MaintenanceExtension, CheckExtension, VacuumExtension.
  void* extension(std::string_view id) noexcept override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace polycache::sqlite
