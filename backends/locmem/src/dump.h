// Between a store and the bytes of its dump.

#pragma once

#include <cstdint>
#include <string>

#include "polycache/author/clock.h"
#include "store.h"

namespace polycache::locmem {

// Writes the live entries to a descriptor, shard by shard; returns how many. Each entry is as it
// was at one moment, but not all at the same. Needs memory for a copy of the largest shard, without
// its large values. `name` is for messages. Throws BackendError and bad_alloc.
std::uint64_t write_dump(Store& store, const Clock& clock, int descriptor, const std::string& name);

// Stores the entries of a dump that have not expired by the wall clock. If it was set back since
// the dump, none lives longer than it had left then. Throws UnusableDump before it stores any entry
// if a byte of the file is not as it was written.
void load_dump(Store& store, const Clock& clock, int descriptor);

}  // namespace polycache::locmem
