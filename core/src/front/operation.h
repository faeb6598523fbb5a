// One public operation of a Cache: its final key, the policy for failures of the store
// ("on_error"), what is counted and observed. The only place where what a plugin throws is caught.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "front/backend_call.h"
#include "front/cache_state.h"
#include "front/current_tags.h"
#include "front/tally.h"
#include "polycache/author/extension.h"
#include "polycache/cache.h"
#include "polycache/error.h"
#include "polycache/observer.h"

namespace polycache {

// From before a key is made to the end of an operation: what runs meanwhile (key functions,
// validation, handlers, codecs) must not move the cache to another state.
class Cache::Busy {
 public:
  explicit Busy(Cache& cache) noexcept : cache_(cache) { ++cache_.depth_; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { --cache_.depth_; }

  Cache& cache() const noexcept { return cache_; }

 private:
  Cache& cache_;
};

class Cache::Operation {
 public:
  using Keys = std::span<const std::string_view>;

  // Of one key. Throws InvalidKey, and what a key function or a warning handler throws.
  Operation(Cache& cache, Op op, std::string_view key, std::optional<int> version)
      : busy_(cache),
        observer_(state().observer()),
        op_(op),
        key_(state().compose(final_key_, key, version)) {
    begin(1);
  }
  // Of several keys, which are final, or of none.
  Operation(Cache& cache, Op op, Keys keys) noexcept
      : busy_(cache),
        observer_(state().observer()),
        op_(op),
        key_(keys.empty() ? std::string_view() : keys.front()) {
    begin(keys.size());
  }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  ~Operation() {
    if (observer_ != nullptr) [[unlikely]]
      end();
  }

  // The final key.
  std::string_view key() const noexcept { return key_; }
  // Stays the same: a busy cache is not moved to another one.
  CacheState& state() const noexcept { return *busy_.cache().state_; }
  Tally& tally() const noexcept { return *busy_.cache().tally_; }
  CurrentTags& current_tags() const noexcept { return *busy_.cache().current_tags_; }

  // One step: runs f(session). If the store fails or its breaker refuses the call, returns
  // `instead` or throws a BackendError, depending on the alias's "on_error" for that access.
  template <class R, class F>
  R read(R instead, F&& f) {
    return run<R>(Access::read, Failing::as_configured, {&key_, 1}, std::move(instead),
                  std::forward<F>(f));
  }
  template <class R, class F>
  R write(R instead, F&& f) {
    return run<R>(Access::write, Failing::as_configured, {&key_, 1}, std::move(instead),
                  std::forward<F>(f));
  }
  // The same for several keys, one of which is enough for the store to be called.
  template <class R, class F>
  R run_many(Access access, Keys keys, R instead, F&& f) {
    return run<R>(access, Failing::as_configured, keys, std::move(instead), std::forward<F>(f));
  }
  // For what must not fail silently.
  template <class F>
  auto must(F&& f) {
    using R = decltype(f(std::declval<Backend&>()));
    return run<R>(Access::write, Failing::loudly, {&key_, 1}, R{}, std::forward<F>(f));
  }
  template <class F>
  auto must_read(F&& f) {
    using R = decltype(f(std::declval<Backend&>()));
    return run<R>(Access::read, Failing::loudly, {&key_, 1}, R{}, std::forward<F>(f));
  }

  // "set of the key 'shop:1:user'", for messages.
  std::string what() const;

  // Whether a step met a failure of the store, or was refused.
  bool failed() const noexcept { return failure_ != Result::hit; }

  // --- How it went, once: counts it. Without one of these it ends as an error. ---

  bool has_read(bool found) noexcept {
    if (found) [[likely]] {
      tally().hits.add();
      return ends(true);
    }
    tally().misses.add();
    return ends(false);
  }
  // A read that asks for all of an entry.
  void has_read(Result found) noexcept {
    (found == Result::hit        ? tally().hits
     : found == Result::stale    ? tally().stale
     : found == Result::negative ? tally().negative
                                 : tally().misses)
        .add();
    result_ = found;
  }
  bool has_written(bool done) noexcept {
    (done ? tally().writes : tally().refused_writes).add();
    return ends(done);
  }
  bool has_erased(bool found) noexcept {
    if (found) tally().erased.add();
    return ends(found);
  }
  // What is called next may throw.
  void may_throw() noexcept { result_ = Result::error; }
  bool ends(bool done) noexcept {
    result_ = done ? Result::hit : Result::miss;
    return done;
  }
  void ends_as(Result result) noexcept { result_ = result; }
  // Of several keys.
  void ends_many(std::size_t hits) noexcept {
    ends(hits > 0);
    hits_ = hits;
  }
  void have_been_read(std::size_t hits, std::size_t keys) noexcept {
    tally().hits.add(hits);
    tally().misses.add(keys - hits);
    ends_many(hits);
  }
  void have_been_written(std::size_t done, std::size_t keys) noexcept {
    tally().writes.add(done);
    tally().refused_writes.add(keys - done);
    ends_many(done);
  }
  void have_been_erased(std::size_t count) noexcept {
    tally().erased.add(count);
    ends_many(count);
  }

  // For a closer look within a step: the session's extension, or null.
  template <class Extension>
  static Extension* extension(Backend& session) noexcept {
    return static_cast<Extension*>(session.extension(Extension::id));
  }

 private:
  // Has the cache's session for the time of a step; a nested operation finds none, and opens its
  // own.
  class Session {
   public:
    explicit Session(Cache& cache) noexcept : cache_(cache), session_(std::move(cache.session_)) {}
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() {
      // Rather than one that a nested operation opened: Cache::backend() may have shown it.
      if (session_) cache_.session_ = std::move(session_);
    }

    // Null if none was opened yet.
    Backend* get() const noexcept { return session_.get(); }
    Backend& open() {
      if (!session_) [[unlikely]] {
        session_ = cache_.state_->shared().connect();
        cache_.current_tags_->forget_session();
      }
      return *session_;
    }

   private:
    Cache& cache_;
    std::unique_ptr<Backend> session_;
  };

  enum class Failing : unsigned char { as_configured, loudly };

  template <class R, class F>
  R run(Access access, Failing failing, Keys keys, R instead, F&& f) {
    Session session(busy_.cache());
    if (state().store_record().troubled() && !admitted(access, failing, keys, session)) [[unlikely]]
      return instead;
    BackendCall call;
    try {
      R result = std::forward<F>(f)(session.open());
      if (call.quiet() && !state().store_record().troubled()) [[likely]]
        return result;
      instead = std::move(result);
    } catch (...) {
      give_up(access, failing, call, session);  // rethrows, or the result is `instead`
      return instead;
    }
    settle(access, call, session);
    return instead;
  }

  void begin(std::size_t keys) noexcept {
    if (observer_ != nullptr) [[unlikely]]
      observe(keys);
  }
  void observe(std::size_t keys) noexcept;
  void end() noexcept;

  bool throws(Access access, Failing failing) const noexcept;
  bool admitted(Access access, Failing failing, Keys keys, const Session& session);
  [[noreturn]] void throw_refusal(Access access) const;
  const AdmissionExtension* admission(const Session& session) const noexcept;
  void settle(Access access, BackendCall& call, const Session& session);
  // The store's error with alias and key.
  [[noreturn]] void throw_named(const ValueError& error) const;
  // REQUIRES: called while `error` or its cause is handled
  [[noreturn]] void rethrow(const BackendError& error) const;
  void give_up(Access access, Failing failing, BackendCall& call, const Session& session);
  void note_failure(Access access, Failing failing, const BackendError& error);
  void report(const StoreRecord::News& news);
  std::string name() const { return std::string(name_of(op_)); }

  const Busy busy_;
  Observer* const observer_;
  const Op op_;
  Result failure_ = Result::hit;   // or what a step met: error, refused
  Result result_ = Result::error;  // until something is said about it
  FinalKey final_key_;
  const std::string_view key_;
  std::size_t keys_ = 0;             // set for an observer only
  std::optional<std::size_t> hits_;  // of several keys
};

}  // namespace polycache
