#include "front/cache_state.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "front/backend_call.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

CacheState::CacheState(Parts parts)
    : parts_(std::move(parts)),
      traits_(parts_.factory ? parts_.factory->traits() : StoreTraits()),
      default_is_fixed_(!parts_.timeout.is_moment()),
      default_ttl_(lifetime(parts_.timeout)),
      failsafe_(parts_.clock, traits_) {}

std::unique_ptr<Backend> CacheState::connect() const {
  std::unique_ptr<Backend> session = parts_.factory->connect();
  if (!session) {
    throw BackendError(BackendError::Kind::unreachable, "", plugin() + " opened no session");
  }
  if (session->extension(PaddedNumbersExtension::id) != nullptr) {
    store_pads_numbers_.store(true, std::memory_order_relaxed);
  }
  return session;
}

std::string CacheState::plugin() const {
  const CacheInfo& info = parts_.info;
  return info.backend + (info.plugin_file.empty() ? "" : " (" + info.plugin_file + ")");
}

std::optional<Ttl> CacheState::lifetime(const Timeout& timeout) const {
  using std::chrono::milliseconds;
  const Timeout& wish = timeout.is_default() ? parts_.timeout : timeout;
  if (wish.is_never()) return Ttl::forever();
  milliseconds left = wish.value();
  if (wish.is_moment()) {
    left -= std::chrono::floor<milliseconds>(parts_.clock.system_now().time_since_epoch());
  }
  if (left <= milliseconds::zero()) return std::nullopt;
  return Ttl(left);
}

void CacheState::warn(Warning::Kind kind, std::string_view key, std::string_view message,
                      std::uint64_t count) const {
  if (!parts_.on_warning) return;
  parts_.on_warning(
      {.kind = kind, .alias = alias(), .key = key, .message = message, .count = count});
}

void CacheState::deliver(const BackendCall::Kept& kept) const {
  if (parts_.on_warning) parts_.on_warning(kept.warning());
}

void CacheState::judge_key(std::string_view final_key, KeyIssues issues) const {
  if (traits_.key_rules == KeyRules::custom) {
    try {
      parts_.factory->validate_key(final_key, [&](std::string_view sentence) {
        if (parts_.key_warnings) warn(Warning::Kind::key_custom, final_key, sentence);
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
  if (traits_.key_rules == KeyRules::strict) {
    const std::string reason = "it " + (issues.too_long ? length : std::string(bytes));
    throw InvalidKey(std::string(final_key), reason,
                     alias() + ": this store cannot have the key " + shown + ": " + reason +
                         std::string(remedy));
  }
  if (!parts_.key_warnings) return;
  const std::string start = "memcached would refuse the key " + shown + ": it ";
  if (issues.too_long) {
    warn(Warning::Kind::key_too_long, final_key, start + length + std::string(remedy));
  }
  if (issues.bad_byte) {
    warn(Warning::Kind::key_bad_byte, final_key, start + std::string(bytes) + std::string(remedy));
  }
}

}  // namespace polycache
