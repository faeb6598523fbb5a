#include "front/key_policy.h"

#include <utility>

namespace polycache {

KeyPolicy::KeyPolicy(std::string prefix, int version, KeyFunction function, bool keeps_head)
    : prefix_(std::move(prefix)),
      function_(std::move(function)),
      version_(version),
      keeps_head_(keeps_head) {
  default_key_function(head_, "", prefix_, version_);
  head_.copy(short_head_.data(), short_head_.size());
  head_has_bad_byte_ = check_key(head_).bad_byte;
  if (!function_ && head_.size() <= max_portable_key_bytes) {
    room_ = max_portable_key_bytes - head_.size() + 1;
  }
}

KeyIssues KeyPolicy::compose_large(FinalKey& out, std::string_view key, int version) const {
  out.large_ = std::make_unique<std::string>();
  if (function_) {
    function_(*out.large_, key, prefix_, version);
  } else {
    default_key_function(*out.large_, key, prefix_, version);
  }
  out.text_ = out.large_->data();
  out.size_ = out.large_->size();
  return check_key(out.view());
}

}  // namespace polycache
