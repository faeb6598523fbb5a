// What is known of one entry: Cache::get_entry() and Cache::pop_entry().
//
//   const Entry<User> entry = cache.get_entry<User>("user:42");
//   if (entry.status == EntryStatus::error) log(entry.error);
//   if (entry.status == EntryStatus::hit && entry.left && *entry.left < 10s) prepare_new_one();
//   if (entry.status == EntryStatus::stale) use_with_care(*entry.value);
//
// An Entry is a plain value: it refers to no cache and no store.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/detail/export.h"

namespace polycache {

// New ones are appended.
enum class EntryStatus : std::uint8_t {
  miss,      // there is no entry, or it counts as absent: a tag was erased, it is unreadable, ...
  hit,       // there is a live entry
  stale,     // its time is over, or expire() marked it; the value is kept as a fallback
  negative,  // the entry says that the value does not exist
  error,     // the store failed
};

// "hit".
POLYCACHE_API std::string_view name_of(EntryStatus status) noexcept;

namespace detail {

using EntryMoment = std::chrono::sys_time<std::chrono::milliseconds>;

// An Entry without its value.
struct EntryFacts {
  EntryStatus status = EntryStatus::miss;
  std::optional<EntryMoment> created = {};
  std::optional<std::chrono::milliseconds> left = {};
  std::vector<std::string> tags = {};
  std::string error = {};
};

}  // namespace detail

template <class T = std::string>
struct Entry {
  EntryStatus status = EntryStatus::miss;

  // hit, stale: the value. Otherwise empty.
  std::optional<T> value = {};

  // When the entry was made, by the clock of the machine that made it. Empty if the entry does not
  // say so: entries of set() and add() do not.
  std::optional<std::chrono::sys_time<std::chrono::milliseconds>> created = {};

  // How long the entry stays what it is. hit: until it is stale or gone. stale: zero. negative:
  // until it is gone. Empty if it has no end, or if the store does not report lifetimes.
  std::optional<std::chrono::milliseconds> left = {};

  // The tags that the entry carries (tags.h), sorted.
  std::vector<std::string> tags = {};

  // error: what the store reported. hit: why the entry was not renewed (ReadOptions::touch), which
  // is normally empty.
  std::string error = {};
};

}  // namespace polycache
