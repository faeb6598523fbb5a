#include "front/cache_state.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "front/load_rules.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

CacheState::CacheState(std::shared_ptr<AliasShared> shared, KeySpace space)
    : shared_(std::move(shared)),
      space_(std::move(space)),
      key_rules_(shared_->traits().key_rules),
      default_is_fixed_(!space_.timeout.is_moment()),
      default_ttl_(lifetime(space_.timeout)),
      reads_plain_(shared_->transforms().reads_plain()),
      is_local_(shared_->traits().is_private && shared_->tag_versions() == nullptr),
      reads_latest_(shared_->traits().reads_latest),
      has_load_policy_(says_anything(space_.load)),
      observer_(shared_->observer()) {}

std::optional<Ttl> CacheState::lifetime(const Timeout& timeout) const {
  using std::chrono::milliseconds;
  const Timeout& wish = timeout.is_default() ? space_.timeout : timeout;
  if (wish.is_never()) return Ttl::forever();
  milliseconds left = wish.value();
  if (wish.is_moment()) {
    left -= std::chrono::floor<milliseconds>(clock().system_now().time_since_epoch());
  }
  if (left <= milliseconds::zero()) return std::nullopt;
  return Ttl(left);
}

std::string CacheState::lease_key(std::string_view final_key) const {
  std::string key = space_.keys.lease_key(final_key);
  check_tag_key(key, check_key(key));
  return key;
}

std::string CacheState::lock_key(std::string_view name) const {
  std::string key = space_.keys.lock_key(name);
  check_tag_key(key, check_key(key));
  return key;
}

void CacheState::check_tag_key(std::string_view key, KeyIssues issues) const {
  if (key_rules_ == KeyRules::custom || (key_rules_ == KeyRules::strict && issues.any())) {
    check_final_key(key, issues);
  }
}

void CacheState::check_final_key(std::string_view final_key, KeyIssues issues) const {
  if (key_rules_ == KeyRules::custom) {
    try {
      shared_->factory()->validate_key(final_key, [&](std::string_view sentence) {
        if (space_.key_warnings) warn(Warning::Kind::key_custom, final_key, sentence);
      });
    } catch (InvalidKey& error) {
      if (error.key().empty()) error.set_key(std::string(final_key));
      throw;
    }
    return;
  }
  const std::string shown = quote(final_key);
  const std::string length = "is " + std::to_string(final_key.size()) + " bytes long, more than " +
                             std::to_string(max_portable_key_bytes);
  const std::string_view bytes = "has a space or a control character";
  const std::string_view remedy = R"( (shorten or escape it, or set "key_function": "hashed"))";
  if (key_rules_ == KeyRules::strict) {
    const std::string reason = "it " + (issues.too_long ? length : std::string(bytes));
    throw InvalidKey(std::string(final_key), reason,
                     alias() + ": this store cannot have the key " + shown + ": " + reason +
                         std::string(remedy));
  }
  if (!space_.key_warnings) return;
  const std::string start = "memcached would refuse the key " + shown + ": it ";
  if (issues.too_long) {
    warn(Warning::Kind::key_too_long, final_key, start + length + std::string(remedy));
  }
  if (issues.bad_byte) {
    warn(Warning::Kind::key_bad_byte, final_key, start + std::string(bytes) + std::string(remedy));
  }
}

}  // namespace polycache
