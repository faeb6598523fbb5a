#include "polycache/error.h"

#include <utility>

namespace polycache {

CacheError::~CacheError() = default;
ConfigError::~ConfigError() = default;
PluginError::~PluginError() = default;

InvalidKey::InvalidKey(const std::string& message) : InvalidKey("", message, message) {}

InvalidKey::InvalidKey(std::string key, std::string reason, const std::string& message)
    : CacheError(message), key_(std::move(key)), reason_(std::move(reason)) {}

InvalidKey::~InvalidKey() = default;

ValueError::ValueError(Kind kind, const std::string& message) : CacheError(message), kind_(kind) {}

ValueError::~ValueError() = default;
KeyNotFound::~KeyNotFound() = default;

BackendError::BackendError(Kind kind, std::string server, const std::string& message)
    : CacheError(server.empty() ? message : server + ": " + message),
      kind_(kind),
      server_(std::move(server)) {}

BackendError::BackendError(const std::string& start, const BackendError& cause)
    : CacheError(start + cause.what()), kind_(cause.kind_), server_(cause.server_) {}

BackendError::~BackendError() = default;
TimeoutError::~TimeoutError() = default;
LoadFailed::~LoadFailed() = default;

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

std::string_view to_string(ValueError::Kind kind) noexcept {
  switch (kind) {
    case ValueError::Kind::invalid_value:
      return "invalid_value";
    case ValueError::Kind::not_a_counter:
      return "not_a_counter";
    case ValueError::Kind::overflow:
      return "overflow";
    case ValueError::Kind::not_found:
      return "not_found";
  }
  return "unknown";
}

}  // namespace polycache
