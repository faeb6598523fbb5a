#include "front/alias_shared.h"

#include <utility>

#include "polycache/author/extension.h"
#include "polycache/error.h"

namespace polycache {

AliasShared::AliasShared(Parts parts)
    : parts_(std::move(parts)),
      traits_(parts_.factory->traits()),
      observer_(parts_.environment->observer.get()),
      retries_(*parts_.environment->clock),
      tag_versions_(parts_.tag_version_cache.count() > 0
                        ? std::make_unique<TagVersionCache>(clock(), parts_.tag_version_cache)
                        : nullptr) {}

std::unique_ptr<Backend> AliasShared::connect() const {
  std::unique_ptr<Backend> session = parts_.factory->connect();
  if (!session) {
    throw BackendError(BackendError::Kind::unreachable, "", plugin() + " opened no session");
  }
  if (session->extension(PaddedNumbersExtension::id) != nullptr) {
    store_pads_numbers_.store(true, std::memory_order_relaxed);
  }
  if (!tag_versions_ && session->extension(TagStampExtension::id) != nullptr) {
    has_tag_stamps_.store(true, std::memory_order_relaxed);
  }
  return session;
}

std::string AliasShared::plugin() const {
  const CacheInfo& info = parts_.info;
  return info.backend + (info.plugin_file.empty() ? "" : " (" + info.plugin_file + ")");
}

void AliasShared::warn(Warning::Kind kind, std::string_view key, std::string_view message,
                       std::uint64_t count) const {
  const WarningHandler& handler = parts_.environment->on_warning;
  if (!handler) return;
  handler({.kind = kind, .alias = alias(), .key = key, .message = message, .count = count});
}

void AliasShared::deliver(BackendCall& call) const {
  const WarningHandler& handler = parts_.environment->on_warning;
  while (!call.quiet()) {  // a handler that closes a session may cause more warnings
    for (const BackendCall::Kept& kept : call.take()) {
      if (handler) handler(kept.warning());
    }
  }
}

}  // namespace polycache
