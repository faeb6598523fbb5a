#include "front/key_policy.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// 128-bit FNV-1a, as 32 hex digits.
std::string hash_digits(std::string_view text) {
  __extension__ using Wide = unsigned __int128;
  constexpr Wide prime = (Wide{1} << 88U) | 0x13b;
  Wide hash = (Wide{0x6c62272e07bb0142} << 64U) | 0x62b821756295c58d;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
  std::string digits(32, '0');
  for (std::size_t i = digits.size(); i-- > 0; hash >>= 4U) {
    digits[i] = "0123456789abcdef"[static_cast<std::size_t>(hash & 0xfU)];
  }
  return digits;
}

// The bytes of a tag's name that its key has as they are.
constexpr std::array<bool, 256> plain_in_tags = [] {
  std::array<bool, 256> plain{};
  for (std::size_t byte = 0; byte < plain.size(); ++byte) {
    const char c = static_cast<char>(byte);
    plain[byte] = !is_bad_byte(c) && c != ':' && c != '%';
  }
  return plain;
}();

}  // namespace

KeyPolicy::KeyPolicy(std::string prefix, int version, KeyFunction function, bool keeps_head)
    : prefix_(std::move(prefix)),
      reserved_head_(prefix_ + ":~"),
      tag_head_(reserved_head_ + "t:"),
      function_(std::move(function)),
      version_(version),
      keeps_head_(keeps_head) {
  default_key_function(head_, "", prefix_, version_);
  head_.copy(short_head_.data(), short_head_.size());
  tag_head_.copy(short_tag_head_.data(), short_tag_head_.size());
  head_has_bad_byte_ = check_key(head_).bad_byte;
  if (!function_ && head_.size() <= max_portable_key_bytes) {
    room_ = max_portable_key_bytes - head_.size() + 1;
  }
}

KeyPolicy KeyPolicy::collection(std::string_view name) const {
  std::string prefix = reserved_head_ + 'c';
  detail::append_key_part(prefix, name);
  return {std::move(prefix), version_, function_, keeps_head_};
}

std::string KeyPolicy::head_of(int version) const {
  std::string head;
  default_key_function(head, "", prefix_, version);
  return head;
}

bool KeyPolicy::makes(std::string_view final_key, std::string_view key, int version) const {
  FinalKey made;
  compose(made, key, version);
  return made.view() == final_key;
}

KeyIssues KeyPolicy::compose_large(FinalKey& out, std::string_view key, int version) const {
  out.large_ = std::make_unique<std::string>();
  if (function_) {
    function_(*out.large_, key, prefix_, version);
    if (out.large_->starts_with(reserved_head_)) {
      const std::string reason = "it begins with " + quote(reserved_head_) + ", which is reserved";
      throw InvalidKey(*out.large_, reason,
                       "the key function made the key " + quote(*out.large_) + ": " + reason +
                           " for the versions of tags, for leases and for locks; give other keys");
    }
  } else {
    default_key_function(*out.large_, key, prefix_, version);
  }
  out.text_ = out.large_->data();
  out.size_ = out.large_->size();
  return check_key(out.view());
}

KeyIssues KeyPolicy::compose_tag_key(FinalKey& out, std::string_view name) const {
  out.size_ = tag_head_.size() + name.size();
  bool is_plain = out.size_ <= max_portable_key_bytes;
  if (is_plain) [[likely]] {
    // As in compose().
    std::memcpy(out.small_, short_tag_head_.data(), short_tag_head_.size());
    if (tag_head_.size() > short_tag_head_.size()) [[unlikely]] {
      std::memcpy(out.small_, tag_head_.data(), tag_head_.size());
    }
    char* to = out.small_ + tag_head_.size();
    for (const char c : name) {
      is_plain &= plain_in_tags[static_cast<unsigned char>(c)];
      *to++ = c;
    }
  }
  if (!is_plain) [[unlikely]] {
    out.large_ = std::make_unique<std::string>(large_tag_key(name));
    out.text_ = out.large_->data();
    out.size_ = out.large_->size();
    return check_key(out.view());
  }
  out.text_ = out.small_;
  return {.bad_byte = head_has_bad_byte_};
}

std::string KeyPolicy::lease_key(std::string_view final_key) const {
  std::string key = reserved_head_ + "l:";
  key.append(final_key);
  if (check_key(key).any()) {
    key.resize(reserved_head_.size() + 1);
    key.append(1, '#').append(hash_digits(final_key));
  }
  return key;
}

std::string KeyPolicy::lock_key(std::string_view name) const {
  constexpr std::size_t room_of_store = 8;
  std::string part;
  detail::append_key_part(part, name);  // with ':' before it
  std::string key = reserved_head_ + "k:{" + part.substr(1) + '}';
  if (key.size() + room_of_store > max_portable_key_bytes) {
    key = reserved_head_ + "k#{" + hash_digits(name) + '}';
  }
  return key;
}

std::string KeyPolicy::large_tag_key(std::string_view name) const {
  std::string key(tag_head_, 0, tag_head_.size() - 1);
  detail::append_key_part(key, name);
  if (key.size() > max_portable_key_bytes) {
    key.resize(tag_head_.size() - 1);
    key.append(1, '#').append(hash_digits(name));
  }
  return key;
}

}  // namespace polycache
