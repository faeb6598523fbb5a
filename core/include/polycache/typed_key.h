// Keys that know their type: the name, the type of the value and the options of a kind of entry
// stand in one place.
//
//   inline const polycache::Key<User> profile{"user:profile", {.timeout = 1h, .tags = {"users"}}};
//
//   cache.set(profile(id), user);                       // for an hour, with the tag "users"
//   std::optional<User> found = cache.get(profile(id));
//   User user = cache.get_or_set(profile(id), [&] { return load(id); });
//
// profile(7, "a:b") is a TypedKey<User> with the text "user:profile:7:a%3Ab", as key() makes it
// (key.h). Operations take it in place of a key: get, get_entry, set, add, get_or_set, touch,
// contains, erase, expire, persist, pop and pop_entry. A value of another type does not compile.
// For other operations, text() is the key.
//
// What a call's own options say replaces what the key says: cache.set(profile(id), user, 5min).
//
// Both classes are values. A Key that does not change may be used by all threads.

#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

#include "polycache/codec.h"
#include "polycache/detail/export.h"
#include "polycache/detail/null_text.h"
#include "polycache/key.h"
#include "polycache/load.h"
#include "polycache/load_options.h"
#include "polycache/options.h"

namespace polycache {

template <class T>
class Key;

// One key of that type, made by a Key.
template <class T>
class TypedKey {
 public:
  using Value = T;

  // The key as other operations take it. Valid while this object lives.
  const std::string& text() const noexcept { return text_; }
  const LoadOptions& options() const noexcept { return options_; }

  // The options of one call: what it does not say comes from the key.
  LoadOptions with(LoadOptions call) const {
    if (call.timeout.is_default()) call.timeout = options_.timeout;
    if (!call.version) call.version = options_.version;
    if (call.tags.empty()) call.tags = options_.tags;
    call.record_tags = call.record_tags || options_.record_tags;
    if (!call.refresh_after.is_said()) call.refresh_after = options_.refresh_after;
    if (!call.stale_if_error.is_said()) call.stale_if_error = options_.stale_if_error;
    if (!call.throttle.is_said()) call.throttle = options_.throttle;
    if (!call.early) call.early = options_.early;
    if (!call.jitter.is_said()) call.jitter = options_.jitter;
    if (!call.soft_limit.is_said()) call.soft_limit = options_.soft_limit;
    if (!call.hard_limit.is_said()) call.hard_limit = options_.hard_limit;
    if (call.negative_timeout.is_default()) call.negative_timeout = options_.negative_timeout;
    if (!call.lease.is_said()) call.lease = options_.lease;
    if (!call.wait.is_said()) call.wait = options_.wait;
    return call;
  }
  WriteOptions with(const WriteOptions& call) const {
    return {.timeout = call.timeout.is_default() ? options_.timeout : call.timeout,
            .version = call.version ? call.version : options_.version,
            .tags = call.tags.empty() ? options_.tags : call.tags};
  }
  TouchOptions with(const TouchOptions& call) const {
    return {.timeout = call.timeout.is_default() ? options_.timeout : call.timeout,
            .version = call.version ? call.version : options_.version};
  }
  ReadOptions with(ReadOptions call) const {
    if (!call.version) call.version = options_.version;
    return call;
  }
  KeyOptions with(KeyOptions call) const {
    if (!call.version) call.version = options_.version;
    return call;
  }

 private:
  friend class Key<T>;
  TypedKey(std::string text, LoadOptions options)
      : text_(std::move(text)), options_(std::move(options)) {}

  std::string text_;
  LoadOptions options_;
};

// The keys of one kind of entry, whose values are of type T.
template <class T>
class Key {
 public:
  static_assert(std::is_object_v<T> && std::is_same_v<T, std::remove_cv_t<T>>,
                "polycache: name the type itself, without const or &: Key<User>");

  // `options` are those of every write. Throws InvalidKey for a name that is a null pointer.
  explicit Key(KeyView name, LoadOptions options = {})
      : name_(name.text()), options_(std::move(options)) {}

  // The key with that name and these parts: strings, numbers, bools, enums. Throws InvalidKey for a
  // part that is a null pointer.
  template <class... Parts>
  TypedKey<T> operator()(const Parts&... parts) const {
    return TypedKey<T>(key(name_, parts...), options_);
  }

  const std::string& name() const noexcept { return name_; }
  const LoadOptions& options() const noexcept { return options_; }

 private:
  std::string name_;
  LoadOptions options_;
};

namespace detail {

template <class K>
inline constexpr bool is_typed_key = false;
template <class T>
inline constexpr bool is_typed_key<TypedKey<T>> = true;

template <class K>
concept AnyTypedKey = is_typed_key<std::remove_cvref_t<K>>;
template <class K>
using ValueOf = typename std::remove_cvref_t<K>::Value;

// Whether a number becomes a T without losing a part, whatever it is: no fraction, no bool.
template <class V, class T>
inline constexpr bool keeps_number = true;
template <class V, class T>
requires(std::is_arithmetic_v<V>&& std::is_arithmetic_v<T>)  //
    inline constexpr bool keeps_number<V, T> = std::is_same_v<V, bool> == std::is_same_v<T, bool> &&
                                               (std::is_integral_v<V> ||
                                                std::is_floating_point_v<T>)&&  //
                                               (sizeof(V) <= sizeof(T) ||
                                                std::is_floating_point_v<T>);

// A value of a typed key that is not stored as its type, nor becomes one.
template <class V, class K>
concept WrongValue =
    !std::is_same_v<Stored<V>, ValueOf<K>> &&
    !(std::is_convertible_v<V, ValueOf<K>> && !std::is_pointer_v<std::decay_t<V>> &&
      !std::is_null_pointer_v<std::remove_cvref_t<V>> &&
      keeps_number<std::remove_cvref_t<V>, ValueOf<K>>);

// The same for what get_or_set() takes: a value, or a function that returns one.
template <class Make>
struct Made {
  using type = Make;
};
template <class Make>
requires MakesValue<CallableOf<Make>>
struct Made<Make> {
  using Return = typename ReturnOf<CallableOf<Make>>::type;
  using type = typename MaybeOf<Return>::type;
};
template <class Make, class K>
concept WrongMake = WrongValue<typename Made<Make>::type, K>;

// A text stays where it is; other values are converted.
template <class K, class V>
decltype(auto) as_value_of(const V& value) {
  if constexpr (std::is_same_v<Stored<V>, ValueOf<K>>) {
    return (value);
  } else {
    return static_cast<ValueOf<K>>(value);
  }
}

// Checks the type of get<T>(typed key), which need not be given.
template <class T, class K>
constexpr void require_type_of_key() {
  static_assert(std::is_void_v<T> || std::is_same_v<T, ValueOf<K>>,
                "polycache: the key says which type its value has: write get(profile(id))");
}

template <class V, class K>
constexpr void refuse_value_of_key() {
  static_assert(refused<V>,
                "polycache: the value is not of the type that its key names: Key<User> takes a "
                "User");
}

}  // namespace detail
}  // namespace polycache
