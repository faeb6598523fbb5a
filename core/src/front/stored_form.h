// Between the bytes of a value and those that are stored.

#pragma once

#include <string>
#include <string_view>

#include "front/cache_state.h"
#include "front/entry.h"

namespace polycache {

// The same for a value that a transform may change, that has tags or times, or that would look like
// a frame.
std::string_view changed_form(const CacheState& state, std::string_view final_key,
                              std::string_view value, const EntryHead& head, std::string_view tags,
                              std::string& framed);

// The bytes to store: the value itself, or a frame around it, in `framed`. `tags`: the content of
// their field (entry.h). Throws what a transform throws.
inline std::string_view stored_form(const CacheState& state, std::string_view final_key,
                                    std::string_view value, std::string_view tags,
                                    std::string& framed) {
  if (!is_framed(value) && state.transforms().empty() && tags.empty()) [[likely]]
    return value;
  return changed_form(state, final_key, value, {}, tags, framed);
}

// The same with a head.
inline std::string_view stored_form(const CacheState& state, std::string_view final_key,
                                    std::string_view value, const EntryHead& head,
                                    std::string_view tags, std::string& framed) {
  if (head == EntryHead()) return stored_form(state, final_key, value, tags, framed);
  return changed_form(state, final_key, value, head, tags, framed);
}

// An entry that says that there is no such thing.
std::string negative_form(Ttl ttl, std::string_view tags, const Clock& clock);

// The bytes of a framed entry with other times or marks in its head: a transform may have bound the
// payload to the old ones.
// Throws ValueError if a transform refuses them. REQUIRES: judge_frame() says that it is readable
std::string rewritten_form(const CacheState& state, std::string_view final_key,
                           std::string_view stored, const EntryHead& head);

// The bytes of a live entry that moves to another key: a transform may have bound them to the old
// one. Throws ValueError if a transform refuses them.
std::string moved_form(const CacheState& state, std::string_view from, std::string_view to,
                       std::string stored);

}  // namespace polycache
