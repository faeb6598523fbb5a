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
bool read_authoritative(Backend& session, std::string_view key, ValueSink sink);

// Whether a plain value can be one: an alias may require transforms (Transform::reads_plain()).
bool is_plain_accepted(std::string_view stored, const CacheState& state) noexcept;

inline bool is_live(std::string_view stored, const CacheState& state) noexcept {
  if (!state.reads_plain() && !is_framed(stored)) return is_plain_accepted(stored, state);
  return judge_entry(stored, state.clock()).state == EntryState::live;
}

// Whether there is a live entry. `ask(head)` passes the head of the stored entry to `head` and
// returns whether there is one. If the head is not enough, reads the whole entry.
template <class Ask>
bool is_live_by_head(Backend& session, std::string_view key, const CacheState& state, Ask&& ask) {
  std::optional<EntryState> judged;
  const bool found = ask([&](std::string_view head) {
    if (!state.reads_plain() && !is_framed(head)) {
      judged = is_plain_accepted(head, state) ? EntryState::live : EntryState::unreadable;
    } else {
      judged = judge_head(head, state.clock());
    }
  });
  if (!found || judged) return found && judged == EntryState::live;
  bool live = false;
  read_authoritative(session, key, [&](std::string_view stored) { live = is_live(stored, state); });
  return live;
}

bool contains_live(Backend& session, std::string_view key, const CacheState& state);

// The stored bytes of an entry that counts as absent; empty if there is none, or a live one.
std::optional<std::string> find_not_live(Backend& session, std::string_view key,
                                         const CacheState& state);

// Replaces an entry that counts as absent, if it is unchanged. Returns whether it did. Without
// compare/1 it is erased first, and another writer may store in between.
bool replace_not_live(Backend& session, std::string_view key, std::string_view old,
                      std::string_view value, Ttl ttl);

// Stores if there is no live entry. Returns whether it did.
bool put_if_not_live(Backend& session, std::string_view key, std::string_view value, Ttl ttl,
                     const CacheState& state);

}  // namespace polycache
