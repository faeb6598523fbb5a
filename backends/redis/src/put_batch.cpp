#include "put_batch.h"

#include <unordered_set>
#include <utility>

#include "compose.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

// Large enough to make the trip cheap, small enough that neither side buffers much and the server
// keeps serving other clients.
constexpr std::size_t most_commands = 1000;
constexpr std::size_t most_bytes = std::size_t{1} << 20U;

}  // namespace

bool PutBatch::next() noexcept {
  begin_ = end_;
  return begin_ < items_.size();
}

void PutBatch::compose(CommandBuffer& commands, bool may_psetex) {
  sent_.clear();
  too_large_.clear();
  by_psetex_ = false;
  begin_replies();
  commands.clear();
  for (end_ = begin_;
       end_ < items_.size() && sent_.size() < most_commands && commands.bytes().size() < most_bytes;
       ++end_) {
    const Item& item = items_[end_];
    if (item.value.size() > max_value_bytes_) {
      too_large_.push_back(end_);
      continue;
    }
    const bool by_psetex = may_psetex && suits_psetex(item, mode_);
    by_psetex_ = by_psetex_ || by_psetex;
    compose_put(commands, item, mode_, by_psetex);
    sent_.push_back(end_);
  }
}

void PutBatch::refuse_all() noexcept {
  refused_.swap(sent_);
  sent_.clear();
}

void PutBatch::begin_replies() noexcept {
  failed_.clear();
  refused_.clear();
  error_.clear();
}

bool PutBatch::take_failure(std::size_t command, const Element& reply) {
  const std::size_t item = sent_[command];
  switch (reply.type) {
    case Element::Type::nil:
      failed_.push_back(item);
      return true;
    case Element::Type::error:
      if (is_out_of_memory(reply.text)) {
        refused_.push_back(item);
      } else if (error_.empty()) {
        error_ = reply.text;
      }
      return true;
    default:
      return false;
  }
}

bool PutBatch::is_psetex_denied() const noexcept { return by_psetex_ && is_denied_command(error_); }

std::vector<std::string_view> PutBatch::keys_to_erase() const {
  std::vector<std::string_view> keys;
  if (refused_.empty() && too_large_.empty()) return keys;
  std::vector<bool> refused(end_ - begin_);
  for (const auto* part : {&refused_, &too_large_}) {
    for (const std::size_t i : *part) refused[i - begin_] = true;
  }
  std::unordered_set<std::string_view> later;
  for (std::size_t i = end_; i-- > begin_;) {
    const std::string_view key = items_[i].key;
    if (later.insert(key).second && refused[i - begin_]) keys.push_back(key);
  }
  return keys;
}

}  // namespace polycache::redis
