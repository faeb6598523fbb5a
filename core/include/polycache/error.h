// Everything this library throws. A miss is not an error: it is an empty
// std::optional or a false.
//
// Messages name the alias (BackendErrors: the server), the offending value and, where
// there is one, the remedy; never stored values, passwords or whole URLs.
//
// Each class has its destructor out of line, so that its vtable and typeinfo
// exist once, in libpolycache, and `catch` works across plugin boundaries.

#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "polycache/export.h"

namespace polycache {

class POLYCACHE_API CacheError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~CacheError() override;
};

// The configuration is wrong. Thrown by Config and CacheRegistry only, never by
// an operation on a Cache.
class POLYCACHE_API ConfigError : public CacheError {
 public:
  using CacheError::CacheError;
  ~ConfigError() override;
};

// A plugin was not found, is not a plugin, or does not fit this program.
class POLYCACHE_API PluginError : public ConfigError {
 public:
  using ConfigError::ConfigError;
  ~PluginError() override;
};

// The key cannot be used with this backend. Programming error; do not retry.
class POLYCACHE_API InvalidKey : public CacheError {
 public:
  using CacheError::CacheError;
  ~InvalidKey() override;
};

// incr() or decr() met a value that is not a decimal 64-bit integer, or would
// overflow one. Nothing changed.
class POLYCACHE_API ValueError : public CacheError {
 public:
  using CacheError::CacheError;
  ~ValueError() override;
};

// incr(), decr() or incr_version() met no live entry.
class POLYCACHE_API KeyNotFound : public ValueError {
 public:
  using ValueError::ValueError;
  ~KeyNotFound() override;
};

// The backend failed. The operation may or may not have taken effect; retrying may
// help. Plugins throw this, or a class of their own derived from it.
class POLYCACHE_API BackendError : public CacheError {
 public:
  enum class Kind : unsigned char {
    unreachable,  // no connection, or it broke
    timeout,
    protocol,    // the other side talks nonsense
    denied,      // authentication, permissions
    overloaded,  // out of memory, too many clients, loading, busy
    read_only,
    storage,      // disk, file, database
    unsupported,  // the store cannot do that
  };

  // `server` names which of several ("127.0.0.1:6379"), without credentials.
  BackendError(Kind kind, std::string server, const std::string& message);
  ~BackendError() override;

  Kind kind() const noexcept { return kind_; }
  const std::string& server() const noexcept { return server_; }

 private:
  Kind kind_;
  std::string server_;
};

// "unreachable" and so on; for logs and tests.
POLYCACHE_API std::string_view to_string(BackendError::Kind kind) noexcept;

}  // namespace polycache
