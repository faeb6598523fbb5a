// How one alias makes its final keys. Immutable; shared between threads.

#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "front/key_bytes.h"
#include "polycache/author/backend.h"
#include "polycache/key.h"

namespace polycache {

// A final key, on the stack unless it is long: composing it needs no allocation and no buffer that
// a nested operation could overwrite.
class FinalKey {
 public:
  FinalKey() noexcept {}  // NOLINT: the text stays as it is until KeyPolicy::compose()
  FinalKey(const FinalKey&) = delete;
  FinalKey& operator=(const FinalKey&) = delete;

  std::string_view view() const noexcept { return {text_, size_}; }

 private:
  friend class KeyPolicy;

  const char* text_;
  std::size_t size_;
  std::unique_ptr<std::string> large_;
  char small_[max_portable_key_bytes + 6];
};

class KeyPolicy {
 public:
  // An empty function means the default one. `keeps_head`: all final keys of one prefix and version
  // begin with the same text, "prefix:version:".
  KeyPolicy(std::string prefix, int version, KeyFunction function, bool keeps_head);

  // The keys of a collection: "prefix:~c:name", with the name escaped as a part of a key is, is
  // their prefix.
  KeyPolicy collection(std::string_view name) const;

  int version() const noexcept { return version_; }
  const std::string& prefix() const noexcept { return prefix_; }

  // "prefix:version:" if every final key of the alias's version begins with it, else empty.
  std::string_view head() const noexcept { return keeps_head_ ? head_ : std::string_view(); }

  // The same text for any version, whether the keys begin with it or not.
  std::string head_of(int version) const;

  // Whether the user's key has that final key.
  bool makes(std::string_view final_key, std::string_view key, int version) const;

  // Makes the key under which the store keeps the version of a tag (polycache/tags.h), and returns
  // why memcached would refuse it: "prefix:~t:name", with the name escaped as a part of a key is;
  // where that exceeds memcached's limit, "prefix:~t#" and a hash. Two names with one hash are only
  // invalidated together.
  KeyIssues compose_tag_key(FinalKey& out, std::string_view name) const;
  // The key of a separate lease on the entry with that final key (lease.h):
  // "prefix:~l:" and the final key, or "prefix:~l#" and a hash of it.
  std::string lease_key(std::string_view final_key) const;
  // The key of a lock (extension.h, LockExtension): "prefix:~k:{name}", with the name escaped as a
  // part of a key is; where that exceeds memcached's limit with 8 bytes more, which a store may
  // append, "prefix:~k#{hash}". The braces make a redis cluster keep what is appended to the key on
  // the same server.
  std::string lock_key(std::string_view name) const;
  // How the keys of this alias's own bookkeeping begin: "prefix:~". No key of a user does.
  const std::string& reserved_head() const noexcept { return reserved_head_; }

  // Makes the final key and returns why memcached would refuse it. Throws InvalidKey for a key with
  // the reserved head, which only a key function can make.
  KeyIssues compose(FinalKey& out, std::string_view key, std::optional<int> version) const {
    if (room_ > max_portable_key_bytes + 1) __builtin_unreachable();  // for GCC's warnings
    if (key.size() >= room_ || (version && *version != version_)) [[unlikely]] {
      return compose_large(out, key, version.value_or(version_));
    }
    // Heads are short: the text is copied in one piece, together with some zeros after it.
    std::memcpy(out.small_, short_head_.data(), short_head_.size());
    if (head_.size() > short_head_.size()) [[unlikely]] {
      std::memcpy(out.small_, head_.data(), head_.size());
    }
    bool bad_byte = head_has_bad_byte_;
    bad_byte |= copy_key(out.small_ + head_.size(), key.data(), key.size());
    out.text_ = out.small_;
    out.size_ = head_.size() + key.size();
    return {.bad_byte = bad_byte};
  }

 private:
  KeyIssues compose_large(FinalKey& out, std::string_view key, int version) const;
  std::string large_tag_key(std::string_view name) const;

  std::string prefix_;
  std::string head_;
  std::string reserved_head_;
  std::string tag_head_;               // "prefix:~t:"
  std::array<char, 16> short_head_{};  // the beginning of head_
  std::array<char, 16> short_tag_head_{};
  KeyFunction function_;
  std::size_t room_ = 0;  // shorter keys are copied unchanged after the head
  int version_;
  bool keeps_head_;
  bool head_has_bad_byte_;
};

}  // namespace polycache
