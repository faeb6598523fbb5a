#include "front/reading.h"

#include <optional>
#include <utility>

#include "polycache/author/counter.h"
#include "polycache/author/text.h"

namespace polycache {

std::string_view digits_before_blanks(std::string_view bytes) noexcept {
  const std::size_t size = bytes.find_last_not_of(' ') + 1;  // 0 if there are only blanks
  const std::string_view digits = bytes.substr(0, size);
  const bool is_padded =
      size < bytes.size() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  return is_padded ? digits : std::string_view();
}

namespace {

// Reverts the transforms of a frame's payload. Empty if that is impossible.
std::optional<std::string> revert(const CacheState& state, std::string_view final_key,
                                  Reading& reading, const JudgedEntry& entry) noexcept {
  try {
    const std::string bound = bound_head(entry.head, entry.tags);
    std::string value;
    std::string problem = state.transforms().revert(entry.transforms, entry.payload,
                                                    {.final_key = final_key, .head = bound}, value);
    if (problem.empty()) return value;
    reading.more().refused = std::move(problem);
  } catch (...) {  // out of memory: the warning says less
  }
  reading.outcome = Outcome::undecodable;
  return std::nullopt;
}

void read_untransformed(const CacheState& state, Reading& reading, std::string_view payload,
                        FunctionRef<bool(std::string_view)> decode) noexcept {
  read_value(reading, payload, decode);
  if (reading.outcome == Outcome::undecodable && state.shared().store_pads_numbers()) {
    const std::string_view digits = digits_before_blanks(payload);
    if (!digits.empty()) read_value(reading, digits, decode);
  }
}

void read_payload(const CacheState& state, std::string_view final_key, Reading& reading,
                  const JudgedEntry& entry, FunctionRef<bool(std::string_view)> decode) noexcept {
  if (!entry.transforms.empty()) {
    if (const auto value = revert(state, final_key, reading, entry)) {
      read_value(reading, *value, decode);
    }
    return;
  }
  if (!state.reads_plain() && !parse_counter(without_blanks(entry.payload))) {
    reading.outcome = Outcome::undecodable;
    try {
      reading.more().refused = state.transforms().missing({});
    } catch (...) {  // out of memory: the warning says less
    }
    return;
  }
  read_untransformed(state, reading, entry.payload, decode);
}

}  // namespace

namespace {

void read_judged(const CacheState& state, std::string_view final_key, Reading& reading,
                 const JudgedEntry& entry, FunctionRef<bool(std::string_view)> decode) noexcept {
  if (reading.head != nullptr) *reading.head = entry.head;
  if (entry.state == EntryState::negative) {
    reading.outcome = Outcome::negative;
    return;
  }
  reading.now = entry.now;
  reading.is_stale = entry.state == EntryState::stale;
  read_payload(state, final_key, reading, entry, decode);
  if (reading.is_stale && reading.has_value()) reading.outcome = Outcome::stale;
}

// Whether a frame without any field but tags counts, as far as its head says.
bool is_found(const CacheState& state, Reading& reading, std::string_view stored) noexcept {
  if (reading.head == nullptr && !has_times(stored)) [[likely]]
    return true;
  EntryHead head;
  EntryHead& shown = reading.head != nullptr ? *reading.head : head;
  const EntryState judged = judge_simple_frame(stored, state.clock(), shown, reading.now);
  reading.is_stale = judged == EntryState::stale;
  if (judged == EntryState::live || (reading.is_stale && reading.head != nullptr)) return true;
  reading.outcome = Outcome::not_live;
  return false;
}

void read_simple(const CacheState& state, Reading& reading, std::string_view payload,
                 FunctionRef<bool(std::string_view)> decode) noexcept {
  read_untransformed(state, reading, payload, decode);
  if (reading.is_stale && reading.has_value()) reading.outcome = Outcome::stale;
}

// The value is decoded; whether it counts is found out later.
void await_tags(Reading& reading) noexcept {
  reading.decoded = reading.outcome;
  reading.outcome = Outcome::tagged;
}

// Of an entry that is live, but for its tags.
bool keep_tags(Reading& reading, std::string_view tags, std::string_view stored) noexcept {
  const std::string_view rest =
      stored.substr(static_cast<std::size_t>(tags.data() - stored.data()));
  try {
    reading.keep_tags(tags, rest);
    return true;
  } catch (...) {  // out of memory: a miss
    return false;
  }
}

// A frame whose only field has those tags.
void read_simple_tagged(const CacheState& state, Reading& reading, std::string_view stored,
                        std::string_view tags,
                        FunctionRef<bool(std::string_view)> decode) noexcept {
  if (!is_found(state, reading, stored)) return;
  const auto from = static_cast<std::size_t>(tags.data() - stored.data());
  const bool kept =
      reading.keep_few_tags(tags, stored.substr(from)) || keep_tags(reading, tags, stored);
  if (!kept) return;
  read_simple(state, reading, stored.substr(from + tags.size()), decode);
  await_tags(reading);
}

}  // namespace

void read_special(const CacheState& state, std::string_view final_key, Reading& reading,
                  std::string_view stored, FunctionRef<bool(std::string_view)> decode) noexcept {
  if (state.reads_plain()) [[likely]] {
    if (is_simple_frame(stored)) {
      if (is_found(state, reading, stored)) {
        read_simple(state, reading, stored.substr(entry_head_size), decode);
      }
      return;
    }
    const std::string_view tags = tags_of_simple_frame(stored);
    if (!tags.empty()) return read_simple_tagged(state, reading, stored, tags, decode);
  }
  const JudgedEntry entry = judge_entry(stored, state.clock());
  const bool counts = entry.state == EntryState::live ||
                      (reading.head != nullptr &&
                       (entry.state == EntryState::stale || entry.state == EntryState::negative));
  if (!counts) {
    reading.outcome = entry.state == EntryState::unreadable ? Outcome::damaged : Outcome::not_live;
    return;
  }
  if (!entry.tags.empty() && !keep_tags(reading, entry.tags, stored)) return;
  read_judged(state, final_key, reading, entry, decode);
  if (!entry.tags.empty()) await_tags(reading);
}

void warn_unreadable(const CacheState& state, std::string_view final_key, const Reading& reading) {
  if (reading.outcome == Outcome::damaged) {
    state.warn(
        Warning::Kind::entry_damaged, final_key,
        "the entry " + quote(final_key) + " is damaged or of a newer format; it counts as a miss");
  } else if (reading.outcome == Outcome::undecodable) {
    std::string message =
        "the entry " + quote(final_key) + " is not of the type that was asked for";
    if (reading.details && !reading.details->refused.empty()) {
      message = "the entry " + quote(final_key) + ' ' + reading.details->refused;
    }
    if (reading.details && !reading.details->thrown.empty()) {
      message += " (its codec threw: " + reading.details->thrown + ")";
    }
    state.warn(Warning::Kind::undecodable_value, final_key, message + "; it counts as a miss");
  }
}

}  // namespace polycache
