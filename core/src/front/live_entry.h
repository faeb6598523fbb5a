// Steps with a store in which an entry that is not live (entry.h) counts as absent.

#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "front/cache_state.h"
#include "front/entry.h"
#include "polycache/author/backend.h"

namespace polycache {

// Reads the entry itself, never a replica that may lag behind.
bool read_authoritative(Backend& session, std::string_view key, const CacheState& state,
                        ValueSink sink);

// Whether a plain value can be one: an alias may require transforms (Transform::reads_plain()).
bool is_plain_accepted(std::string_view stored, const CacheState& state) noexcept;

// Asks the store for the versions of the entry's tags, so it is not called inside a sink.
// `lasting`: of an entry whose life gets that long (tag_versions.h).
bool is_live(Backend& session, std::string_view stored, const CacheState& state,
             std::optional<Ttl> lasting = std::nullopt);

// Whether there is a live entry. `ask(head)` passes the head of the stored entry to `head` and
// returns whether there is one. If the head is not enough, reads the whole entry.
template <class Ask>
bool is_live_by_head(Backend& session, std::string_view key, const CacheState& state, Ask&& ask,
                     std::optional<Ttl> lasting = std::nullopt) {
  std::optional<EntryState> judged;
  const bool found = ask([&](std::string_view head) {
    if (!state.reads_plain() && !is_framed(head)) {
      judged = is_plain_accepted(head, state) ? EntryState::live : EntryState::unreadable;
    } else {
      judged = judge_head(head, state.clock());
    }
  });
  if (!found || judged) return found && judged == EntryState::live;
  std::optional<std::string> entry;
  read_authoritative(session, key, state,
                     [&](std::string_view stored) { entry = std::string(stored); });
  return entry && is_live(session, *entry, state, lasting);
}

bool contains_live(Backend& session, std::string_view key, const CacheState& state);

// The stored bytes of an entry that counts as absent; empty if there is none, or a live one.
std::optional<std::string> find_not_live(Backend& session, std::string_view key,
                                         const CacheState& state);

// Replaces an entry that counts as absent, if it is unchanged. Returns whether it did. Without
// compare/1 it is erased first, and another writer may store in between.
bool replace_not_live(Backend& session, std::string_view key, std::string_view old,
                      std::string_view value, Ttl ttl);

// Removes an entry, if it is unchanged. Returns whether it did. Without compare/1, whatever is
// there.
bool erase_unchanged(Backend& session, std::string_view key, std::string_view stored);

// Stores if there is no live entry. Returns whether it did.
bool put_if_not_live(Backend& session, std::string_view key, std::string_view value, Ttl ttl,
                     const CacheState& state);

// Gives a live entry a new lifetime. Returns whether there was one. Of an entry that ends to be
// fresh at some moment, moves that moment and keeps the stale window after it: one round trip more.
bool touch_live(Backend& session, std::string_view key, Ttl ttl, const CacheState& state);

// Marks a live entry as stale and keeps the rest of its lifetime. Returns whether there was one;
// empty if other writers, or the store, prevent it time and again.
std::optional<bool> expire_live(Backend& session, std::string_view key, const CacheState& state);

// Reads and removes an entry; `sink` gets the lifetime that it had left, if the store can tell. Of
// several concurrent callers, one gets it.
bool take_entry(Backend& session, std::string_view key,
                FunctionRef<void(std::string_view stored, std::optional<Ttl> left)> sink);

}  // namespace polycache
