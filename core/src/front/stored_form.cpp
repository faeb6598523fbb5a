#include "front/stored_form.h"

#include <utility>

#include "polycache/author/counter.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// Empty if the value is to be stored as it is.
std::string framed_form(const CacheState& state, std::string_view final_key, std::string_view value,
                        EntryHead head) {
  std::string changed;
  if (!state.transforms().empty() && !parse_counter(value)) {
    const std::string bound = bound_head(head);
    const std::string names =
        state.transforms().apply(value, {.final_key = final_key, .head = bound}, changed);
    if (!names.empty()) {
      head.flags |= flag_transformed;
      return make_frame(head, transforms_field(names), changed);
    }
  }
  return is_framed(value) ? make_frame(head, {}, value) : std::string();
}

}  // namespace

std::string_view changed_form(const CacheState& state, std::string_view final_key,
                              std::string_view value, std::string& framed) {
  framed = framed_form(state, final_key, value, {});
  return framed.empty() ? value : std::string_view(framed);
}

std::string moved_form(const CacheState& state, std::string_view from, std::string_view to,
                       std::string stored) {
  if (!is_framed(stored)) return stored;
  const JudgedEntry entry = judge_frame(stored, state.clock());
  if (entry.transforms.empty()) return stored;
  EntryHead head = head_of_frame(stored);
  const std::string bound = bound_head(head);
  std::string value;
  const std::string problem = state.transforms().revert(entry.transforms, entry.payload,
                                                        {.final_key = from, .head = bound}, value);
  if (!problem.empty()) throw ValueError("the entry " + problem);
  head.flags &= static_cast<std::uint8_t>(~flag_transformed);
  std::string framed = framed_form(state, to, value, head);
  return framed.empty() ? make_frame(head, {}, value) : framed;
}

}  // namespace polycache
