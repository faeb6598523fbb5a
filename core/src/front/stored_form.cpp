#include "front/stored_form.h"

#include <utility>

#include "polycache/author/counter.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// Empty if the value is to be stored as it is.
std::string framed_form(const CacheState& state, std::string_view final_key, std::string_view value,
                        EntryHead head, std::string_view tags) {
  const std::string fields = tags.empty() ? std::string() : tags_field(tags);
  if (!tags.empty()) head.flags |= flag_tagged;
  std::string changed;
  if (!state.transforms().empty() && !parse_counter(value)) {
    const std::string bound = bound_head(head, tags);
    const std::string names =
        state.transforms().apply(value, {.final_key = final_key, .head = bound}, changed);
    if (!names.empty()) {
      head.flags |= flag_transformed;
      return make_frame(head, fields + transforms_field(names), changed);
    }
  }
  const bool needs_frame = head != EntryHead() || is_framed(value);
  return needs_frame ? make_frame(head, fields, value) : std::string();
}

}  // namespace

std::string_view changed_form(const CacheState& state, std::string_view final_key,
                              std::string_view value, const EntryHead& head, std::string_view tags,
                              std::string& framed) {
  framed = framed_form(state, final_key, value, head, tags);
  return framed.empty() ? value : std::string_view(framed);
}

std::string negative_form(Ttl ttl, std::string_view tags, const Clock& clock) {
  EntryHead head{.flags = flag_negative};
  if (!ttl.is_forever()) {
    head.created = entry_time(clock);
    if (__builtin_add_overflow(head.created, ttl.value().count(), &head.fresh_until)) {
      head.fresh_until = 0;
    }
  }
  if (tags.empty()) return make_frame(head, {}, {});
  head.flags |= flag_tagged;
  return make_frame(head, tags_field(tags), {});
}

namespace {

// The payload is bound to a key and a head; this binds it to others.
std::string rebound_form(const CacheState& state, std::string_view from, std::string_view to,
                         std::string_view stored, const JudgedEntry& entry, EntryHead head) {
  const std::string bound = bound_head(head_of_frame(stored), entry.tags);
  std::string value;
  const std::string problem = state.transforms().revert(entry.transforms, entry.payload,
                                                        {.final_key = from, .head = bound}, value);
  if (!problem.empty()) throw ValueError("the entry " + problem);
  head.flags &= static_cast<std::uint8_t>(~flag_transformed);
  std::string framed = framed_form(state, to, value, head, entry.tags);
  return framed.empty() ? make_frame(head, {}, value) : framed;
}

}  // namespace

std::string rewritten_form(const CacheState& state, std::string_view final_key,
                           std::string_view stored, const EntryHead& head) {
  const JudgedEntry entry = judge_frame(stored, state.clock());
  const bool is_bound =
      !entry.transforms.empty() &&
      bound_head(head_of_frame(stored), entry.tags) != bound_head(head, entry.tags);
  return is_bound ? rebound_form(state, final_key, final_key, stored, entry, head)
                  : with_head(stored, head);
}

std::string moved_form(const CacheState& state, std::string_view from, std::string_view to,
                       std::string stored) {
  if (!is_framed(stored)) return stored;
  const JudgedEntry entry = judge_frame(stored, state.clock());
  if (entry.transforms.empty()) return stored;
  return rebound_form(state, from, to, stored, entry, head_of_frame(stored));
}

}  // namespace polycache
