// Everything this library throws. A miss is not an error: it is an empty std::optional or false.
//
// Messages name the alias and the operation, if any ("default: get: ..."), the server or the
// offending value and, if there is one, the remedy. They never contain stored values, passwords or
// whole URLs.
//
// Each class has its destructor out of line, so that its vtable and typeinfo exist once, in
// libpolycache, and `catch` works across plugin boundaries.

#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/detail/export.h"

namespace polycache {

class POLYCACHE_API CacheError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~CacheError() override;
};

// The configuration is wrong. Thrown by Config and CacheRegistry. Of the operations on a Cache,
// only scan() and erase_pattern() throw it, if the alias's key function rules them out.
class POLYCACHE_API ConfigError : public CacheError {
 public:
  using CacheError::CacheError;
  ~ConfigError() override;
};

// A plugin was not found, is not a plugin, or is incompatible with this program.
class POLYCACHE_API PluginError : public ConfigError {
 public:
  using ConfigError::ConfigError;
  ~PluginError() override;
};

// The key cannot be used with this backend. This is a programming error; do not retry.
class POLYCACHE_API InvalidKey : public CacheError {
 public:
  // `message` is also the reason. For BackendFactory::validate_key(): the core adds the key.
  explicit InvalidKey(const std::string& message);
  InvalidKey(std::string key, std::string reason, const std::string& message);
  ~InvalidKey() override;

  // The final key (prefix and version included), or the text in its place. Empty if the thrower did
  // not give it.
  const std::string& key() const noexcept { return key_; }
  // Why the key is refused: "it is 300 bytes long, more than 250". No secret, no remedy.
  const std::string& reason() const noexcept { return reason_; }

  // For the core: completes an exception during propagation, so that its type is preserved.
  void set_key(std::string key) noexcept { key_ = std::move(key); }

 private:
  std::string key_;
  std::string reason_;
};

// The operation is impossible with the stored value or with the arguments. Nothing changed.
class POLYCACHE_API ValueError : public CacheError {
 public:
  enum class Kind : unsigned char {
    invalid_value,  // an argument cannot be used; also if the thrower gave no kind
    not_a_counter,  // incr(), decr(): the stored value is not a decimal 64-bit integer
    overflow,       // the sum is beyond 64 bits, or the version beyond an int
    not_found,      // thrown as KeyNotFound
  };

  explicit ValueError(const std::string& message) : ValueError(Kind::invalid_value, message) {}
  ValueError(Kind kind, const std::string& message);
  ~ValueError() override;

  Kind kind() const noexcept { return kind_; }

 private:
  Kind kind_;
};

// incr(), decr() or incr_version() found no live entry.
class POLYCACHE_API KeyNotFound : public ValueError {
 public:
  explicit KeyNotFound(const std::string& message) : ValueError(Kind::not_found, message) {}
  ~KeyNotFound() override;
};

// The backend failed. The operation may or may not have taken effect; retrying may help. Plugins
// throw this class, or their own class derived from it.
class POLYCACHE_API BackendError : public CacheError {
 public:
  enum class Kind : unsigned char {
    unreachable,  // no connection, or the connection broke
    timeout,
    protocol,    // the reply is malformed
    denied,      // authentication, permissions
    overloaded,  // out of memory, too many clients, loading, busy
    read_only,
    storage,      // disk, file, database
    unsupported,  // the store does not support the operation
  };

  // `server` identifies the server ("127.0.0.1:6379"), without credentials.
  BackendError(Kind kind, std::string server, const std::string& message);
  ~BackendError() override;

  Kind kind() const noexcept { return kind_; }
  const std::string& server() const noexcept { return server_; }

 private:
  friend class Cache;        // prepends alias and operation
  friend class Maintenance;  // likewise
  BackendError(const std::string& start, const BackendError& cause);

  Kind kind_;
  std::string server_;
};

// The computation of get_or_set() took longer than LoadOptions::hard_limit, and there is no stale
// value. It goes on, and its result is stored.
class POLYCACHE_API TimeoutError : public CacheError {
 public:
  using CacheError::CacheError;
  ~TimeoutError() override;
};

// The function of get_or_set() said Load::fail(), and there is no stale value.
class POLYCACHE_API LoadFailed : public CacheError {
 public:
  using CacheError::CacheError;
  ~LoadFailed() override;
};

// "unreachable" etc.; for logs and tests.
POLYCACHE_API std::string_view to_string(BackendError::Kind kind) noexcept;
POLYCACHE_API std::string_view to_string(ValueError::Kind kind) noexcept;

}  // namespace polycache
