// What reading an entry has found.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "front/cache_state.h"
#include "front/entry.h"
#include "polycache/author/function_ref.h"

namespace polycache {

// The result of reading an entry.
enum class Outcome : unsigned char {
  absent,
  value,
  undecodable,
  not_live,  // it counts as absent (EntryState)
  damaged,
  tagged,  // it has been decoded, and counts if its tags are current: tag_versions.h finds out
  // Only if asked for (Reading::head); else such entries are not_live.
  stale,     // there is a value
  negative,  // the entry says that there is none
};

struct Reading {
  // What only few entries have.
  struct Details {
    std::string thrown;   // message of a codec's exception
    std::string refused;  // why a transform could not be reverted
    std::string tags;     // if they are many
  };

  Outcome outcome = Outcome::absent;
  Outcome decoded = Outcome::absent;  // of an entry with tags: what it is if these are current
  bool is_stale = false;              // it was when it was judged, while its value is decoded
  std::unique_ptr<Details> details;
  // If not null: stale and negative entries are found as well, and the head of a framed entry that
  // was found is copied to it.
  EntryHead* head = nullptr;
  std::int64_t now = 0;  // when it was judged, if it has times: milliseconds since 1970

  Details& more() {
    if (!details) details = std::make_unique<Details>();
    return *details;
  }
  bool has_value() const noexcept { return outcome == Outcome::value; }
  bool unreadable() const noexcept {
    return outcome == Outcome::undecodable || outcome == Outcome::damaged;
  }

  // The content of the field of tags; empty if it has none.
  std::string_view tags() const noexcept {
    if (tags_size_ == 0) return {};
    if (tags_size_ <= few_tags_.size()) return {few_tags_.data(), tags_size_};
    return details->tags;
  }
  // `stored`: the bytes from there to the end of the entry.
  void keep_tags(std::string_view content, std::string_view stored) {
    if (keep_few_tags(content, stored)) return;
    more().tags = content;
    tags_size_ = content.size();
  }
  // The same without an allocation. Returns false, and keeps nothing, if they are many.
  bool keep_few_tags(std::string_view content, std::string_view stored) noexcept {
    if (content.size() > few_tags_.size()) [[unlikely]]
      return false;
    if (stored.size() >= few_tags_.size()) [[likely]] {
      std::memcpy(few_tags_.data(), stored.data(), few_tags_.size());  // a size that is known
    } else {
      content.copy(few_tags_.data(), content.size());
    }
    tags_size_ = content.size();
    return true;
  }
  // Of an entry with Outcome::tagged: asks `are_current()`, which is false for damaged tags. If
  // that throws, the entry does not count.
  template <class AreCurrent>
  void check_tags(AreCurrent&& are_current) {
    outcome = Outcome::not_live;
    if (are_current()) {
      outcome = decoded;
    } else if (!are_tags(tags())) {
      outcome = Outcome::damaged;
    }
  }
  // Whether a value was decoded that must not be used: its tags are not current, or not known to
  // be.
  bool has_dead_value() const noexcept {
    return tags_size_ != 0 && (outcome == Outcome::not_live || outcome == Outcome::tagged ||
                               outcome == Outcome::damaged);
  }

 private:
  std::size_t tags_size_ = 0;
  std::array<char, 64> few_tags_;  // the first so many are set
};

// Passes a value to `decode`. Never throws: it runs inside the store's code.
template <class Decode>
void read_value(Reading& reading, std::string_view value, Decode&& decode) noexcept {
  reading.outcome = Outcome::undecodable;
  try {
    if (decode(value)) reading.outcome = Outcome::value;
  } catch (const std::exception& error) {
    try {
      reading.more().thrown = error.what();
    } catch (...) {  // out of memory: the warning says less
    }
  } catch (...) {  // a user's codec may throw anything
  }
}

// The digits of a number that is followed only by blanks, else nothing.
std::string_view digits_before_blanks(std::string_view bytes) noexcept;

// A number without the blanks that a store has appended to it; other bytes unchanged.
inline std::string_view without_blanks(std::string_view bytes) noexcept {
  const std::string_view digits = digits_before_blanks(bytes);
  return digits.empty() ? bytes : digits;
}

// The same for a frame, or for a plain value that the alias's transforms do not accept. The caller
// drops the value of an entry with tags if these are not current.
void read_special(const CacheState& state, std::string_view final_key, Reading& reading,
                  std::string_view stored, FunctionRef<bool(std::string_view)> decode) noexcept;

// First extracts a value from its frame and reverts its transforms. Bytes that are not a T may be a
// number that the store itself padded; this is tried last, so a T may contain blanks.
template <class Decode>
void read_entry(const CacheState& state, std::string_view final_key, Reading& reading,
                std::string_view stored, Decode&& decode) noexcept {
  if (is_framed(stored) || !state.reads_plain()) [[unlikely]]
    return read_special(state, final_key, reading, stored, decode);
  read_value(reading, stored, decode);
  if (reading.outcome == Outcome::undecodable && state.shared().store_pads_numbers()) [[unlikely]] {
    const std::string_view digits = digits_before_blanks(stored);
    if (!digits.empty()) read_value(reading, digits, decode);
  }
}

// Warns if the entry is there and cannot be read.
void warn_unreadable(const CacheState& state, std::string_view final_key, const Reading& reading);

}  // namespace polycache
