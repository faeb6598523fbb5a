#include "front/live_entry.h"

#include "front/reading.h"
#include "polycache/author/counter.h"
#include "polycache/author/extension.h"

namespace polycache {

bool read_authoritative(Backend& session, std::string_view key, ValueSink sink) {
  if (auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id))) {
    return ttl->get(key, [&](std::string_view value, Ttl) { sink(value); });
  }
  return session.get(key, sink);
}

// A head is at least 64 bytes, or the whole value; no counter is as long.
bool is_plain_accepted(std::string_view stored, const CacheState& state) noexcept {
  return state.reads_plain() || parse_counter(without_blanks(stored)).has_value();
}

bool contains_live(Backend& session, std::string_view key, const CacheState& state) {
  return is_live_by_head(session, key, state,
                         [&](auto&& head) { return session.contains(key, head); });
}

std::optional<std::string> find_not_live(Backend& session, std::string_view key,
                                         const CacheState& state) {
  std::optional<std::string> found;
  read_authoritative(session, key, [&](std::string_view stored) {
    if (!is_live(stored, state)) found = std::string(stored);
  });
  return found;
}

bool replace_not_live(Backend& session, std::string_view key, std::string_view old,
                      std::string_view value, Ttl ttl) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  if (compare != nullptr) return compare->put_if_equal(key, old, value, ttl);
  session.erase(key);
  return session.put(key, value, ttl, PutMode::if_absent);
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

}  // namespace polycache
