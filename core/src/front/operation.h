// One operation of a Cache. Holds the session while it lives, and handles the store's failures
// according to "on_error". The only place that catches exceptions of plugins.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "front/backend_call.h"
#include "front/cache_state.h"
#include "polycache/author/extension.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {

class Cache::Operation {
 public:
  // Lives from before the key is made to the end of the operation: code that runs meanwhile (key
  // functions, validation, handlers, codecs) must not move the cache to another state, which would
  // destroy the current one. REQUIRES of every Operation: a Busy of its cache encloses it.
  class Busy {
   public:
    explicit Busy(Cache& cache) noexcept : cache_(cache) { ++cache_.depth_; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { --cache_.depth_; }

   private:
    Cache& cache_;
  };

  using Keys = std::span<const std::string_view>;

  // Takes the cache's session; a nested operation finds none and opens its own.
  Operation(Cache& cache, const char* name, std::string_view final_key) noexcept
      : cache_(cache), session_(std::move(cache.session_)), name_(name), key_(final_key) {}
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() {
    // Not a nested operation's session: Cache::backend() may have returned this one.
    if (session_) cache_.session_ = std::move(session_);
  }

  // Runs f(session). If the store fails or is known to be down, returns `instead` or throws a
  // BackendError, as "on_error" says for that access.
  template <class R, class F>
  R run(Access access, R instead, F&& f) {
    return run<R>(access, Failing::as_configured, {&key_, 1}, std::move(instead),
                  std::forward<F>(f));
  }
  // The same for several keys; the store is called if it admits at least one of them.
  template <class R, class F>
  R run_many(Access access, Keys keys, R instead, F&& f) {
    return run<R>(access, Failing::as_configured, keys, std::move(instead), std::forward<F>(f));
  }

  // For operations that must not fail silently.
  template <class F>
  auto run_or_throw(F&& f) {
    using R = decltype(f(std::declval<Backend&>()));
    return run<R>(Access::write, Failing::loudly, {&key_, 1}, R{}, std::forward<F>(f));
  }

  // Whether the store failed or the breaker refused the call.
  bool failed() const noexcept { return failed_; }

  // The session's extension, or null; for use within run().
  template <class Extension>
  static Extension* extension(Backend& session) noexcept {
    return static_cast<Extension*>(session.extension(Extension::id));
  }

 private:
  enum class Failing : unsigned char { as_configured, loudly };

  template <class R, class F>
  R run(Access access, Failing failing, Keys keys, R instead, F&& f) {
    if (state().failsafe().troubled() && !admitted(access, failing, keys)) [[unlikely]]
      return instead;
    BackendCall call;
    try {
      R result = std::forward<F>(f)(session());
      if (call.quiet() && !state().failsafe().troubled()) [[likely]]
        return result;
      instead = std::move(result);
    } catch (...) {
      give_up(access, failing, call);  // rethrows, or returns to use `instead`
      return instead;
    }
    settle(access, call);
    return instead;
  }

  Backend& session() {
    if (!session_) [[unlikely]]
      session_ = state().connect();
    return *session_;
  }

  bool throws(Access access, Failing failing) const noexcept;
  bool admitted(Access access, Failing failing, Keys keys);
  [[noreturn]] void throw_refusal(Access access) const;
  const AdmissionExtension* admission() const noexcept;
  void settle(Access access, BackendCall& call);
  // Throws the store's error with alias and key.
  [[noreturn]] void throw_named(const ValueError& error) const;
  // REQUIRES: called while `error` or its cause is handled
  [[noreturn]] void rethrow(const BackendError& error) const;
  void give_up(Access access, Failing failing, BackendCall& call);
  void note_failure(Access access, Failing failing, const BackendError& error);
  void tell(const Failsafe::News& news);
  void deliver(BackendCall& call);

  // Does not change: a busy cache is not moved to another state.
  CacheState& state() const noexcept { return *cache_.state_; }

  Cache& cache_;
  std::unique_ptr<Backend> session_;
  const char* name_;
  std::string_view key_;
  bool failed_ = false;
};

}  // namespace polycache
