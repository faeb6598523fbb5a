// What the replies of the text protocol mean for the command that they answer. No I/O.
//
// Nothing is trusted: each function says whether a reply can be one to its command.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "item.h"
#include "reply.h"
#include "reply_reader.h"

namespace polycache::memcached {

// The values that may arrive for a get or gets.
constexpr ReplyReader::Values values_of(Want want) noexcept {
  return want == Want::value ? ReplyReader::Values::plain : ReplyReader::Values::versioned;
}

// The version in the answer to "version": "1.6.18"; empty if it is none.
std::string_view version_in(const Reply& reply) noexcept;
// Whether a server of this version knows the command mg. Before 1.6.12 its replies differed.
bool has_meta_commands(std::string_view version) noexcept;

// Empty if it is no reply to such a store.
std::optional<Outcome> outcome_of(How how, const Reply& reply) noexcept;

// Matches items with requested keys. memcached replies in order and omits absent ones; a proxy that
// asks several servers may use another order.
class GetAnswer {
 public:
  // The keys must stay in place until the answer has been read.
  void begin(std::span<const std::string_view> keys);
  // The index of the key that an item belongs to; empty if it was not requested, or came before.
  std::optional<std::size_t> index_of(const Found& item) {
    if (next_ == keys_.size() || answered_[next_] || keys_[next_] != item.key) return search(item);
    answered_[next_] = true;
    return next_++;
  }

 private:
  std::optional<std::size_t> search(const Found& item);

  std::span<const std::string_view> keys_;
  std::size_t next_ = 0;
  std::vector<bool> answered_;  // kept for its memory
};

// The replies to one CommandBuffer::erase().
class EraseAnswer {
 public:
  enum class Step : std::uint8_t {
    more,   // further replies follow
    done,   // result() is complete
    wrong,  // no reply to this command
  };

  EraseAnswer(Look look, bool has_meta) noexcept
      : awaits_(look == Look::at_flags ? Awaits::item : Awaits::deletion), has_meta_(has_meta) {}

  Step take(const Reply& reply) noexcept;
  Removed result() const noexcept { return result_; }

 private:
  enum class Awaits : std::uint8_t { item, end_of_item, deletion };

  Awaits awaits_;
  bool has_meta_;
  Removed result_;
};

}  // namespace polycache::memcached
