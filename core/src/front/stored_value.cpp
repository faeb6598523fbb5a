#include "polycache/detail/stored_value.h"

#include "front/cache_state.h"
#include "front/entry.h"
#include "front/stored_form.h"
#include "polycache/error.h"

namespace polycache::detail {

std::string_view stored_from_value(const CacheState& state, std::string_view final_key,
                                   std::string_view value, std::string& scratch) {
  return stored_form(state, final_key, value, {}, scratch);
}

std::string_view value_from_stored(const CacheState& state, std::string_view final_key,
                                   std::string_view stored, std::string& scratch) {
  if (!is_framed(stored) && state.reads_plain()) [[likely]]
    return stored;
  const JudgedEntry entry = judge_entry(stored, state.clock());
  if (entry.state != EntryState::live) throw ValueError("the stored bytes are damaged");
  if (entry.transforms.empty()) {
    if (!state.reads_plain())
      throw ValueError("the stored value " + state.transforms().missing({}));
    return entry.payload;
  }
  const std::string bound = bound_head(entry.head, entry.tags);
  const std::string problem = state.transforms().revert(
      entry.transforms, entry.payload, {.final_key = final_key, .head = bound}, scratch);
  if (!problem.empty()) throw ValueError("the stored value " + problem);
  return scratch;
}

}  // namespace polycache::detail
