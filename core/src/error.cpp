#include "polycache/error.h"

#include <utility>

namespace polycache {

CacheError::~CacheError() = default;
ConfigError::~ConfigError() = default;
PluginError::~PluginError() = default;
InvalidKey::~InvalidKey() = default;
ValueError::~ValueError() = default;
KeyNotFound::~KeyNotFound() = default;

BackendError::BackendError(Kind kind, std::string server, const std::string& message)
    : CacheError(server.empty() ? message : server + ": " + message),
      kind_(kind),
      server_(std::move(server)) {}

BackendError::~BackendError() = default;

std::string_view to_string(BackendError::Kind kind) noexcept {
  switch (kind) {
    case BackendError::Kind::unreachable:
      return "unreachable";
    case BackendError::Kind::timeout:
      return "timeout";
    case BackendError::Kind::protocol:
      return "protocol";
    case BackendError::Kind::denied:
      return "denied";
    case BackendError::Kind::overloaded:
      return "overloaded";
    case BackendError::Kind::read_only:
      return "read_only";
    case BackendError::Kind::storage:
      return "storage";
    case BackendError::Kind::unsupported:
      return "unsupported";
  }
  return "unknown";
}

}  // namespace polycache
