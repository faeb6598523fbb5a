#include "command.h"

#include <array>
#include <charconv>

namespace polycache::memcached {
namespace {

template <class Number>
void append(std::string& text, Number number) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  text += ' ';
  text.append(digits.data(), end);
}

}  // namespace

void CommandBuffer::get(std::span<const std::string_view> keys, Want want) {
  bytes_ += want == Want::value ? "get" : "gets";
  for (const std::string_view key : keys) {
    bytes_ += ' ';
    bytes_ += key;
  }
  bytes_ += "\r\n";
}

void CommandBuffer::begin_store(How how, const NewItem& item, std::uint64_t version) {
  bytes_ += how == How::set ? "set " : how == How::add ? "add " : "cas ";
  bytes_ += item.key;
  append(bytes_, item.lifetime.flags);
  append(bytes_, item.lifetime.expiration);
  append(bytes_, item.value.size());
  if (how == How::replace_version) append(bytes_, version);
  bytes_ += "\r\n";
}

// Reads the item in the request that deletes it, since the reply to a deletion contains no flags.
// If another client replaces an expired item between the two, the new item is deleted but counts as
// the expired one.
void CommandBuffer::erase(std::string_view key, Look look, bool has_meta) {
  if (look == Look::at_flags) {
    bytes_ += has_meta ? "mg " : "get ";
    bytes_ += key;
    bytes_ += has_meta ? " f\r\n" : "\r\n";
  }
  bytes_ += "delete ";
  bytes_ += key;
  bytes_ += "\r\n";
}

}  // namespace polycache::memcached
