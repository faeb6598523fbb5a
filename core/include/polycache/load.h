// What the function that get_or_set() calls on a miss may say beyond a value.
//
//   auto user = cache.get_or_set("user:42", [&] { return db.find_user(42); }, 1h);
//       // find_user returns an optional<User>, so user is one: empty means "there is no such user"
//
//   auto report = cache.get_or_set("report", [&](polycache::Load& load) ->
//   polycache::Loaded<Report> {
//     const Answer answer = origin.fetch("/report", load.stale<Report>());
//     if (answer.status == 304) return load.not_modified();
//     if (answer.status != 200) return load.fail("the origin says " + answer.reason);
//     load.timeout(answer.max_age);
//     load.tag("reports");
//     return answer.report;
//   }, {.stale_if_error = 1h});
//
//   cache.get_or_set("page:/", polycache::in_background([db] { return render(*db); }),
//                    {.timeout = 5min, .refresh_after = 0.8});

#pragma once

#include <any>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "polycache/codec.h"
#include "polycache/detail/export.h"
#include "polycache/detail/null_text.h"
#include "polycache/error.h"
#include "polycache/key.h"
#include "polycache/options.h"

namespace polycache {

namespace detail {
struct LoadState;  // in the library
}

// The value of Load::not_modified().
struct NotModified {};

// The value of Load::fail().
struct Failed {
  std::string why;
};

// What a function of get_or_set() may return in place of a T; the result of get_or_set() is then an
// optional<T>.
template <class T>
class Loaded {
 public:
  // NOLINTBEGIN(google-explicit-constructor): return value; return std::nullopt;
  Loaded(T value) : said_(std::in_place_index<0>, std::move(value)) {}
  template <class U>
  requires(std::convertible_to<U, T> && !std::same_as<std::remove_cvref_t<U>, Loaded> &&
           !std::same_as<std::remove_cvref_t<U>, T> && !std::convertible_to<U, NotModified> &&
           !std::same_as<std::remove_cvref_t<U>, std::nullopt_t> &&
           !std::same_as<std::remove_cvref_t<U>, Failed>)  //
      Loaded(U&& value)
      : said_(std::in_place_index<0>, std::forward<U>(value)) {}
  Loaded(std::nullopt_t) : said_(std::in_place_index<1>) {}  // there is no such thing
  Loaded(NotModified)
      : said_(std::in_place_index<2>) {}  // the stale value is good for another lifetime
  Loaded(Failed failed) : said_(std::move(failed)) {}  // as an exception would, without one
  // NOLINTEND(google-explicit-constructor)

  // One of them is true, or has_value().
  bool is_nothing() const noexcept { return said_.index() == 1; }
  bool is_not_modified() const noexcept { return said_.index() == 2; }
  const Failed* failed() const noexcept { return std::get_if<Failed>(&said_); }
  bool has_value() const noexcept { return said_.index() == 0; }

  // REQUIRES: has_value()
  T& operator*() noexcept { return *std::get_if<0>(&said_); }
  const T& operator*() const noexcept { return *std::get_if<0>(&said_); }

 private:
  std::variant<T, std::monostate, NotModified, Failed> said_;
};

// One computation, while it runs. A function that takes a Load& gets it; valid until the function
// returns, on the thread that runs it.
class POLYCACHE_API Load {
 public:
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  // The lifetime of this value, in place of the call's. Zero or less: it is not stored.
  void timeout(const Timeout& timeout) noexcept;

  // Adds a tag (tags.h) to the entry. Reads its version now, so call it before you read what the
  // tag stands for: if the tag is erased afterwards, the entry counts as absent from the beginning.
  // Throws ValueError for a tag that a write would refuse. If the store fails and "on_error" is
  // "miss", the value is not stored.
  void tag(KeyView name);

  // The value is returned, also to the threads that wait for it, and not stored.
  void do_not_store() noexcept;

  // The value that is being replaced, if the store still has it: one to refresh, or one whose time
  // is over (LoadOptions::stale_if_error). Empty if there is none, or if it is not a T.
  template <class T = std::string>
  std::optional<T> stale() const {
    const std::optional<std::string_view> bytes = stale_bytes();
    if (!bytes) return std::nullopt;
    return Codec<T>::decode(*bytes);
  }
  bool has_stale() const noexcept { return stale_bytes().has_value(); }

  // return load.not_modified(): the value of stale() is stored for another lifetime, and returned.
  // Throws CacheError if there is none.
  NotModified not_modified() const;

  // return load.fail("the origin is down"): as if the function threw, without an exception. The
  // caller gets the stale value where it accepts one, else LoadFailed with that text.
  Failed fail(std::string_view why) const;

 private:
  friend struct detail::LoadState;
  explicit Load(detail::LoadState& state) noexcept : state_(state) {}
  std::optional<std::string_view> stale_bytes() const noexcept;

  detail::LoadState& state_;
};

// Marks a function that may run on another thread, after the call to which it was given: it owns
// what it needs. Any other function runs where get_or_set() was called, so that [&] is safe.
//
//   polycache::in_background([db = db_pool] { return db->find_user(42); })
//
// Runs on the registry's executor (executor.h), with caches of its own. A refresh (refresh_after,
// early) is then done without a reader that waits; soft_limit and hard_limit end the wait, and the
// computation goes on. In the other cases, it runs where it was given. It is called at most once.
template <class F>
class Background {
 public:
  explicit Background(F f) : f_(std::move(f)) {}

  // For get_or_set(). A named one is copied to the other thread: it can be given again.
  F& function() & noexcept { return f_; }
  const F& function() const& noexcept { return f_; }
  F&& function() && noexcept { return std::move(f_); }

 private:
  F f_;
};

template <class F>
requires std::constructible_from<std::decay_t<F>, F> Background<std::decay_t<F>> in_background(
    F&& f) {
  return Background<std::decay_t<F>>(std::forward<F>(f));
}
template <class F>
requires(!std::constructible_from<std::decay_t<F>, F>) int in_background(F&&) {
  static_assert(detail::refused<F>,
                "polycache: in_background(f) takes a function that can be moved into it: "
                "in_background(std::move(f)), whose captures can be moved, too");
  return 0;
}

// The function of get_or_set_many() threw: for some keys there is no value. What it threw is nested
// (std::rethrow_if_nested). The values that are known have been stored.
class POLYCACHE_API PartialLoad : public CacheError, public std::nested_exception {
 public:
  // `values`: a shared pointer to a const map from keys to values. REQUIRES: what was thrown is
  // being handled
  PartialLoad(const std::string& message, std::vector<std::string> keys, std::any values);
  ~PartialLoad() override;

  // Those without a value, in the order of the call.
  const std::vector<std::string>& keys() const noexcept { return keys_; }
  // Of the other keys that have one. Throws std::bad_any_cast if T is not that of the call.
  template <class T>
  const std::map<std::string, T, std::less<>>& values() const {
    return *std::any_cast<std::shared_ptr<const std::map<std::string, T, std::less<>>>>(values_);
  }

 private:
  std::vector<std::string> keys_;
  std::any values_;
};

namespace detail {

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

// Throws ValueError for a null char pointer, which must not become a std::string.
template <class Make>
decltype(auto) not_null(Make&& made) {
  if constexpr (std::is_pointer_v<std::remove_cvref_t<Make>> &&
                std::convertible_to<Make, std::string_view>) {
    if (made == nullptr) throw_null_value();
  }
  return std::forward<Make>(made);
}

// What a function of get_or_set() returns, and what get_or_set() makes of it.
template <class R>
struct LoadResult {
  using Value = Stored<R>;
  static constexpr bool may_be_nothing = false;
};
template <>
struct LoadResult<void> {
  using Value = void;
  static constexpr bool may_be_nothing = false;
};
template <class T>
struct LoadResult<std::optional<T>> {
  using Value = Stored<T>;
  static constexpr bool may_be_nothing = true;
};
template <class T>
struct LoadResult<Loaded<T>> : LoadResult<std::optional<T>> {};

// The T of an optional<T> or Loaded<T>; other types as they are.
template <class R>
struct MaybeOf {
  using type = R;
};
template <class R>
requires LoadResult<std::remove_cvref_t<R>>::may_be_nothing struct MaybeOf<R> {
  using type = typename LoadResult<std::remove_cvref_t<R>>::Value;
};

template <class Make>
inline constexpr bool is_background = false;
template <class F>
inline constexpr bool is_background<Background<F>> = true;

// What is called, as it is called: the function that a Background owns, else Make itself.
template <class Make, bool background = is_background<std::remove_cvref_t<Make>>>
struct CallableIn {
  using type = Make;
};
template <class Make>
struct CallableIn<Make, true> {
  using type = std::remove_cvref_t<decltype(std::declval<Make>().function())>;
};
template <class Make>
using CallableOf = typename CallableIn<Make>::type;

template <class F>
concept PlainFunction = std::invocable<F>;
template <class F>
concept LoadFunction = std::invocable<F, Load&> && !PlainFunction<F>;
template <class F>
concept MakesValue = PlainFunction<F> || LoadFunction<F>;

template <class F>
struct ReturnOf {
  using type = std::invoke_result_t<F>;
};
template <LoadFunction F>
struct ReturnOf<F> {
  using type = std::invoke_result_t<F, Load&>;
};

enum class LoadAnswer : std::uint8_t { value, nothing, not_modified, failed };

// What get_or_set() does with the values of one type. On its caller's stack, or owned by a job.
class POLYCACHE_API LoadTask {
 public:
  LoadTask() = default;
  LoadTask(const LoadTask&) = delete;
  LoadTask& operator=(const LoadTask&) = delete;
  virtual ~LoadTask();

  // Keeps the value. False if the bytes are not one: then the task has what it had.
  virtual bool decode(std::string_view bytes) = 0;
  // Calls the function; keeps the value if there is one.
  virtual LoadAnswer compute(Load& load, std::string& why) = 0;
  // Of the value that is kept.
  virtual std::string_view encode(std::string& scratch) = 0;
  // There is no value.
  virtual void clear() noexcept = 0;
  // Moves the function to a task of its own. Null if it must not leave the caller's stack.
  virtual std::unique_ptr<LoadTask> detach() { return nullptr; }
  // Takes the value of a task that this one was detached to.
  virtual void adopt(LoadTask& other) noexcept = 0;

  bool may_be_nothing = false;  // the result is an optional
  bool takes_load = false;      // the function may look at a stale value
  bool is_background = false;
};

template <class Value>
class LoadTaskOf : public LoadTask {
 public:
  bool decode(std::string_view bytes) final {
    std::optional<Value> stored = Codec<Value>::decode(bytes);
    if (!stored) return false;
    value = std::move(stored);
    return true;
  }
  std::string_view encode(std::string& scratch) final {
    return Codec<Value>::encode(*value, scratch);
  }
  void clear() noexcept final { value.reset(); }
  void adopt(LoadTask& other) noexcept final {
    value = std::move(static_cast<LoadTaskOf&>(other).value);
  }

  std::optional<Value> value;

 protected:
  template <class R>
  LoadAnswer keep(R&& made, std::string& why) {
    using Made = std::remove_cvref_t<R>;
    if constexpr (is_optional<Made>) {
      if (!made) return LoadAnswer::nothing;
      value.emplace(not_null(*std::forward<R>(made)));
    } else if constexpr (LoadResult<Made>::may_be_nothing) {
      if (made.failed() != nullptr) {
        why = made.failed()->why;
        return LoadAnswer::failed;
      }
      if (made.is_not_modified()) return LoadAnswer::not_modified;
      if (made.is_nothing()) return LoadAnswer::nothing;
      value.emplace(not_null(std::move(*made)));
    } else {
      value.emplace(not_null(std::forward<R>(made)));
    }
    return LoadAnswer::value;
  }
  template <class F>
  LoadAnswer call(F&& f, Load& load, std::string& why) {
    if constexpr (PlainFunction<F>) {
      return keep(std::invoke(std::forward<F>(f)), why);
    } else {
      return keep(std::invoke(std::forward<F>(f), load), why);
    }
  }
};

// The same for the keys of one get_or_set_many(), by their index.
class POLYCACHE_API LoadManyTask {
 public:
  LoadManyTask() = default;
  LoadManyTask(const LoadManyTask&) = delete;
  LoadManyTask& operator=(const LoadManyTask&) = delete;
  virtual ~LoadManyTask();

  virtual bool decode(std::size_t i, std::string_view bytes) = 0;
  // Calls the function once. Key n has the index which[n].
  virtual void compute(std::span<const std::size_t> which, std::span<const std::string> keys) = 0;
  virtual std::string_view encode(std::size_t i, std::string& scratch) = 0;
  virtual bool has(std::size_t i) const noexcept = 0;
  virtual void clear(std::size_t i) noexcept = 0;
  virtual void copy(std::size_t from, std::size_t to) = 0;
};

// What the function of get_or_set_many() returns: a map, or the values in the order of the keys.
template <class Made>
concept MapOfValues = requires(const Made& made, const std::string& key) {
  made.find(key)->second;
  made.end();
};

[[noreturn]] POLYCACHE_API void throw_wrong_count(std::size_t values, std::size_t keys);
// The message of a PartialLoad, with the keys that failed and why.
POLYCACHE_API std::string partial_message(const std::string& alias,
                                          const std::vector<std::string>& failed, std::size_t keys,
                                          const std::exception_ptr& cause);

// F is a reference type.
template <class T, class F>
class LoadManyOf final : public LoadManyTask {
 public:
  LoadManyOf(std::size_t count, F f) : values(count), f_(static_cast<F>(f)) {}

  bool decode(std::size_t i, std::string_view bytes) override {
    std::optional<T> stored = Codec<T>::decode(bytes);
    if (!stored) return false;
    values[i] = std::move(stored);
    return true;
  }
  void compute(std::span<const std::size_t> which, std::span<const std::string> keys) override {
    auto made = std::invoke(f_, keys);
    if constexpr (MapOfValues<decltype(made)>) {
      for (std::size_t n = 0; n < keys.size(); ++n) {
        const auto found = made.find(keys[n]);
        keep(which[n], found == made.end() ? std::optional<T>() : std::optional<T>(found->second));
      }
    } else {
      if (std::size(made) != keys.size()) throw_wrong_count(std::size(made), keys.size());
      auto value = std::begin(made);
      for (std::size_t n = 0; n < keys.size(); ++n, ++value) keep(which[n], std::move(*value));
    }
  }
  std::string_view encode(std::size_t i, std::string& scratch) override {
    return Codec<T>::encode(*values[i], scratch);
  }
  bool has(std::size_t i) const noexcept override { return values[i].has_value(); }
  void clear(std::size_t i) noexcept override { values[i].reset(); }
  void copy(std::size_t from, std::size_t to) override { values[to] = values[from]; }

  std::vector<std::optional<T>> values;

 private:
  template <class V>
  void keep(std::size_t i, V&& value) {
    values[i] = std::forward<V>(value);
  }

  F f_;
};

// With a function of its own.
template <class Value, class F>
class OwnedLoad final : public LoadTaskOf<Value> {
 public:
  explicit OwnedLoad(F f) : f_(std::move(f)) {}
  LoadAnswer compute(Load& load, std::string& why) override {
    return this->call(std::move(f_), load, why);
  }

 private:
  F f_;
};

// With the caller's. `Make` is a reference type: what the caller forwards.
template <class Value, class Make>
class CalledLoad final : public LoadTaskOf<Value> {
 public:
  using Function = CallableOf<Make>;

  explicit CalledLoad(Make make) noexcept : make_(static_cast<Make>(make)) {
    this->is_background = detail::is_background<std::remove_cvref_t<Make>>;
    if constexpr (MakesValue<Function>) {
      using Return = std::remove_cvref_t<typename ReturnOf<Function>::type>;
      this->may_be_nothing = LoadResult<Return>::may_be_nothing;
      this->takes_load = LoadFunction<Function>;
    }
  }
  LoadAnswer compute(Load& load, std::string& why) override {
    if constexpr (detail::is_background<std::remove_cvref_t<Make>>) {
      return this->call(std::forward<Make>(make_).function(), load, why);
    } else if constexpr (MakesValue<Make>) {
      return this->call(std::forward<Make>(make_), load, why);
    } else {
      return this->keep(std::forward<Make>(make_), why);
    }
  }
  std::unique_ptr<LoadTask> detach() override {
    if constexpr (detail::is_background<std::remove_cvref_t<Make>>) {
      auto owned =
          std::make_unique<OwnedLoad<Value, Function>>(std::forward<Make>(make_).function());
      owned->may_be_nothing = this->may_be_nothing;
      owned->takes_load = this->takes_load;
      return owned;
    } else {
      return nullptr;
    }
  }

 private:
  Make make_;
};

}  // namespace detail
}  // namespace polycache
