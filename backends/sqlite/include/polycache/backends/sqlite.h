// The store "sqlite": entries in a table of an SQLite file, shared by threads and
// processes, kept over restarts; or in memory, shared by the threads of this process.
//
//   location        path of the file, made at first use; or ":memory:", ":memory:NAME"
//   table           name of the table; default "cache". Two aliases whose names differ in case
//                   only are refused, since SQLite takes them for one
//   max_entries     how many entries are kept; beyond it expired ones go, then those
//                   written or touched longest ago, until a sixteenth is free; default: no limit
//   max_value_bytes a larger value is refused; default: what SQLite takes (1 GB)
//   busy_timeout    how long one operation waits, in all, for threads and processes that use
//                   the file; default 1s
//   synchronous     "off", "normal" (default; survives a killed process, and a power cut
//                   without damage), "full" (a power cut loses nothing)
//   wal_autocheckpoint  pages of the write-ahead log before it is copied back; a log that
//   overlapping
//                   readers let grow by a quarter more is emptied by a write, which waits for
//                   them up to 200 ms (or a quarter of busy_timeout)
//   page_cache      memory for pages, for each thread's session
//   checksum        true: entries carry a checksum, and one whose bytes have changed on the disk is
//                   absent to what reads it, with a warning; default false. Adds a column to the
//                   file, which programs without the option can still use
//   on_corrupt      "move" (default): a damaged file of ours is moved aside and a new one
//                   made; "throw": operations fail until somebody repairs it
//
// A file that is not a polycache store is refused and not touched.

#pragma once

#include <memory>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"

namespace polycache::sqlite {

// The same store under two names: "sqlite", and "db" for those who know it so.
extern const PluginDescriptor plugin;
extern const PluginDescriptor db_plugin;

// Thread-safe. To change what keys are allowed, derive, pass KeyRules::custom and override
// validate_key().
class Factory : public BackendFactory {
 public:
  // Reports wrong options and a location that cannot be used to the reader. Looks at the
  // location, but makes and changes nothing.
  explicit Factory(const OptionReader& options, const BackendContext& context,
                   KeyRules rules = KeyRules::portable);
  ~Factory() override;

  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace polycache::sqlite
