// The batches of put_many(): which items one round trip stores, and what became of them. No I/O.
//
//   PutBatch batch(items, mode, max_value_bytes);
//   while (batch.next()) {
//     batch.compose(commands, may_psetex);
//     send(commands);
//     for (std::size_t i = 0; i < batch.sent(); ++i) receive([&](const Element& reply) {
//     batch.take(i, reply); });
//   }

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "polycache/author/backend.h"
#include "reply.h"

namespace polycache::redis {

class PutBatch {
 public:
  // The items must outlive it. REQUIRES: mode != PutMode::if_present
  PutBatch(std::span<const Item> items, PutMode mode, std::size_t max_value_bytes) noexcept
      : items_(items), mode_(mode), max_value_bytes_(max_value_bytes) {}

  // Goes on to the items after the current batch. False if there are none.
  bool next() noexcept;
  // The first one's, sent or not.
  std::string_view first_key() const noexcept { return items_[begin_].key; }

  // Chooses the items of the batch, and composes their commands in the place of what `commands`
  // has.
  void compose(CommandBuffer& commands, bool may_psetex);
  // How many commands were composed.
  std::size_t sent() const noexcept { return sent_.size(); }
  // Nothing is sent, since the server has no room: all of them count as refused.
  void refuse_all() noexcept;

  // Forgets the replies of an attempt before.
  void begin_replies() noexcept;
  // The reply to that command. False if a put has no such reply.
  bool take(std::size_t command, const Element& reply) {
    return reply.type == Element::Type::status || take_failure(command, reply);
  }
  // The first error that is not about one item; empty if there was none.
  const std::string& error() const noexcept { return error_; }
  // Whether that is because PSETEX is denied: compose() again without it.
  bool is_psetex_denied() const noexcept;

  // The items, by their places in the whole, that were not stored: because of the mode, for lack of
  // room, since they are too large.
  const std::vector<std::size_t>& failed() const noexcept { return failed_; }
  const std::vector<std::size_t>& refused() const noexcept { return refused_; }
  const std::vector<std::size_t>& too_large() const noexcept { return too_large_; }
  // A failed item was stored later.
  void stored(std::size_t item) { std::erase(failed_, item); }

  // The keys under which a value may be that a refused or too large one should have replaced. Of
  // several items with one key the last counts: if a later one was stored, it stays.
  std::vector<std::string_view> keys_to_erase() const;

 private:
  bool take_failure(std::size_t command, const Element& reply);

  const std::span<const Item> items_;
  const PutMode mode_;
  const std::size_t max_value_bytes_;
  std::size_t begin_ = 0;  // the range of its items
  std::size_t end_ = 0;
  bool by_psetex_ = false;         // any of them
  std::vector<std::size_t> sent_;  // the item of each command
  std::vector<std::size_t> too_large_;
  std::vector<std::size_t> failed_;
  std::vector<std::size_t> refused_;
  std::string error_;
};

}  // namespace polycache::redis
