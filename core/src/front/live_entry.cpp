#include "front/live_entry.h"

#include <chrono>

#include "front/lease.h"
#include "front/reading.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "polycache/author/counter.h"
#include "polycache/author/extension.h"

namespace polycache {

bool read_authoritative(Backend& session, std::string_view key, const CacheState& state,
                        ValueSink sink) {
  if (state.reads_latest()) return session.get(key, sink);
  if (auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id))) {
    return ttl->get(key, [&](std::string_view value, Ttl) { sink(value); });
  }
  return session.get(key, sink);
}

// A head is at least 64 bytes, or the whole value; no counter is as long.
bool is_plain_accepted(std::string_view stored, const CacheState& state) noexcept {
  return state.reads_plain() || parse_counter(without_blanks(stored)).has_value();
}

bool is_live(Backend& session, std::string_view stored, const CacheState& state,
             std::optional<Ttl> lasting) {
  if (!is_framed(stored)) return is_plain_accepted(stored, state);
  const JudgedEntry entry = judge_frame(stored, state.clock());
  if (entry.state != EntryState::live) return false;
  return entry.tags.empty() || tags_are_current(session, state, entry.tags, lasting);
}

bool contains_live(Backend& session, std::string_view key, const CacheState& state) {
  return is_live_by_head(session, key, state,
                         [&](auto&& head) { return session.contains(key, head); });
}

std::optional<std::string> find_not_live(Backend& session, std::string_view key,
                                         const CacheState& state) {
  std::optional<std::string> found;
  read_authoritative(session, key, state, [&](std::string_view stored) {
    if (is_framed(stored) || !is_plain_accepted(stored, state)) found = std::string(stored);
  });
  if (found && is_live(session, *found, state)) found.reset();
  return found;
}

bool replace_not_live(Backend& session, std::string_view key, std::string_view old,
                      std::string_view value, Ttl ttl) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  if (compare != nullptr) return compare->put_if_equal(key, old, value, ttl);
  session.erase(key);
  return session.put(key, value, ttl, PutMode::if_absent);
}

bool erase_unchanged(Backend& session, std::string_view key, std::string_view stored) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  return compare != nullptr ? compare->erase_if_equal(key, stored) : session.erase(key);
}

bool put_if_not_live(Backend& session, std::string_view key, std::string_view value, Ttl ttl,
                     const CacheState& state) {
  // Ends when no other writer changes the entry between the two steps.
  constexpr int most_tries = 100;
  for (int tries = 0; tries < most_tries; ++tries) {
    if (session.put(key, value, ttl, PutMode::if_absent)) return true;
    bool may_be_dead = false;  // a plain value is usually live and need not be read
    session.contains(key, [&](std::string_view head) {
      may_be_dead = is_framed(head) || !is_plain_accepted(head, state);
    });
    if (!may_be_dead) return false;
    const std::optional<std::string> old = find_not_live(session, key, state);
    if (!old) return false;
    if (replace_not_live(session, key, *old, value, ttl)) return true;
  }
  return false;
}

namespace {

// How often a step is repeated because another writer changed the entry in between.
constexpr int most_changes = 100;

struct StoredEntry {
  std::string bytes = {};
  std::optional<Ttl> left = {};  // empty: the store cannot tell
};

std::optional<StoredEntry> read_whole(Backend& session, std::string_view key) {
  StoredEntry entry;
  bool found = false;
  if (auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id))) {
    found = ttl->get(key, [&](std::string_view stored, Ttl left) {
      entry.bytes = stored;
      entry.left = left;
    });
  } else {
    found = session.get(key, [&](std::string_view stored) { entry.bytes = stored; });
  }
  if (!found) return std::nullopt;
  return entry;
}

// Replaces an entry if it is unchanged. Without a ttl, keeps its lifetime. Returns whether it did.
// Without compare/1 it is replaced in any case; the alias's default stands in for a lifetime that
// the store cannot tell.
bool replace_entry(Backend& session, std::string_view key, const StoredEntry& old,
                   std::string_view value, std::optional<Ttl> ttl, const CacheState& state) {
  if (auto* const compare =
          static_cast<CompareExtension*>(session.extension(CompareExtension::id))) {
    return compare->put_if_equal(key, old.bytes, value, ttl);
  }
  if (!ttl) ttl = old.left ? old.left : state.resolve({});
  return ttl ? session.put(key, value, *ttl, PutMode::always) : session.erase(key);
}

std::int64_t moment_after(std::chrono::milliseconds time, const Clock& clock) noexcept {
  return (std::chrono::floor<std::chrono::milliseconds>(clock.system_now()) + time)
      .time_since_epoch()
      .count();
}

// One try. Empty: another writer was faster.
std::optional<bool> move_freshness(Backend& session, std::string_view key, Ttl ttl,
                                   const CacheState& state) {
  const std::optional<StoredEntry> entry = read_whole(session, key);
  if (!entry) return false;
  if (!has_fresh_until(entry->bytes)) return std::nullopt;
  EntryHead head = head_of_frame(entry->bytes);
  const Ttl life =
      ttl.is_forever() ? ttl : Ttl(ttl.value() + std::chrono::seconds(head.stale_seconds));
  if (!is_live(session, entry->bytes, state, life)) return false;
  head.fresh_until = ttl.is_forever() ? 0 : moment_after(ttl.value(), state.clock());
  const std::string moved = rewritten_form(state, key, entry->bytes, head);
  if (replace_entry(session, key, *entry, moved, life, state)) return true;
  return std::nullopt;
}

}  // namespace

bool touch_live(Backend& session, std::string_view key, Ttl ttl, const CacheState& state) {
  // What is not live must not stay for ever.
  if (ttl.is_forever() && !contains_live(session, key, state)) return false;
  for (int tries = 0; tries < most_changes; ++tries) {
    bool moves = false;
    std::string placeholder;
    const auto touch = [&](auto&& head) {
      return session.touch(key, ttl, [&](std::string_view shown) {
        moves = has_fresh_until(shown);
        if (is_placeholder(shown)) placeholder = shown;
        head(shown);
      });
    };
    const bool live = is_live_by_head(session, key, state, touch, ttl);
    if (!placeholder.empty()) keep_lease_time(session, key, placeholder, state.clock());
    if (!live || !moves) return live;
    if (const std::optional<bool> done = move_freshness(session, key, ttl, state)) return *done;
  }
  return false;
}

std::optional<bool> expire_live(Backend& session, std::string_view key, const CacheState& state) {
  for (int tries = 0; tries < most_changes; ++tries) {
    const std::optional<StoredEntry> entry = read_whole(session, key);
    if (!entry || !is_live(session, entry->bytes, state)) return false;
    EntryHead head;
    if (is_framed(entry->bytes)) head = head_of_frame(entry->bytes);
    head.flags |= flag_marked_stale;
    const std::string marked = is_framed(entry->bytes)
                                   ? rewritten_form(state, key, entry->bytes, head)
                                   : make_frame(head, {}, entry->bytes);
    if (replace_entry(session, key, *entry, marked, std::nullopt, state)) return true;
  }
  return std::nullopt;
}

bool take_entry(Backend& session, std::string_view key,
                FunctionRef<void(std::string_view stored, std::optional<Ttl> left)> sink) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  // Ends when no other writer changed the entry between the two steps.
  for (;;) {
    const std::optional<StoredEntry> entry = read_whole(session, key);
    if (!entry) return false;
    const bool mine =
        compare != nullptr ? compare->erase_if_equal(key, entry->bytes) : session.erase(key);
    if (!mine) continue;
    sink(entry->bytes, entry->left);
    return true;
  }
}

}  // namespace polycache
