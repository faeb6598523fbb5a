// Invalid calls, and the single sentence that the compiler prints for each.
//
// Without these, a timeout without a unit or a numeric key causes a page of candidates. Each
// function here accepts only arguments that no function of Cache accepts, so it never affects a
// valid call, and it fails in a static_assert. Its return value can stand in for the real result,
// so that no second error follows.

#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/codec.h"
#include "polycache/detail/export.h"
#include "polycache/detail/null_text.h"
#include "polycache/entry.h"
#include "polycache/key.h"
#include "polycache/load.h"
#include "polycache/load_options.h"
#include "polycache/options.h"
#include "polycache/scan.h"
#include "polycache/typed_key.h"

namespace polycache {

class ItemView;

// A duration, a moment or `never` in place of WriteOptions: set("k", v, 30s).
template <class T>
concept TimeoutLike = std::convertible_to<T, Timeout>;

namespace detail {

template <class R>
concept KeyRange = std::ranges::input_range<R> &&
    std::constructible_from<KeyView, std::ranges::range_reference_t<R>>;

template <class R>
concept PairRange = std::ranges::input_range<R> && requires(std::ranges::range_reference_t<R> p) {
  KeyView(p.first);
  p.second;
};

template <class T>
concept Callable = std::is_function_v<T> || requires {
  &T::operator();
};

// Of get_or_set(): the type of the values (T if given, else that of the value or of what the
// function returns), and the result type.
struct Nothing {};
template <class T>
struct Given {
  using Value = T;
};
template <class T, class Make>
struct MadeBy {
  using value = std::conditional_t<std::is_void_v<T>, Stored<std::remove_cvref_t<Make>>, T>;
  using type = value;
};
template <class T, class Make>
requires MakesValue<CallableOf<Make>>
struct MadeBy<T, Make> {
  using Return = std::remove_cvref_t<typename ReturnOf<CallableOf<Make>>::type>;
  using value = typename std::conditional_t<std::is_void_v<T>, LoadResult<Return>, Given<T>>::Value;
  using type = std::conditional_t<LoadResult<Return>::may_be_nothing, std::optional<value>, value>;
};
template <class T, class Make>
requires MakesValue<CallableOf<Make>> && std::is_void_v<typename ReturnOf<CallableOf<Make>>::type>
struct MadeBy<T, Make> {
  using value = Nothing;
  using type = Nothing;
};

// --- The messages. ---

template <class T>
constexpr void refuse_value() {
  if constexpr (AnyOf<T, std::nullptr_t, std::nullopt_t>) {
    static_assert(refused<T>,
                  "polycache: no value is null: erase() the key, or store a value that means it");
  } else if constexpr (is_optional<T>) {
    static_assert(refused<T>,
                  "polycache: an optional has no Codec: store *x, and nothing where x is empty");
  } else if constexpr (Characters<T>) {
    static_assert(refused<T>,
                  "polycache: a view has nothing to view after the call: read a std::string, or "
                  "use visit()");
  } else if constexpr (std::is_const_v<T> || std::is_reference_v<T> || std::is_void_v<T>) {
    static_assert(refused<T>, "polycache: name the type itself, without const or &: get<int>(key)");
  } else if constexpr (Callable<T>) {
    static_assert(refused<T>,
                  "polycache: a function is no value: store what it returns, or write "
                  "get_or_set(key, f), whose f takes no argument and which calls it on a miss");
  } else if constexpr (requires { typename Codec<T>::NoJson; }) {
    static_assert(
        refused<T>,
        "polycache: this type has no Codec: nlohmann/json does not know it, or what is in "
        "it: write NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(T, its members...) after the struct");
  } else if constexpr (
      requires { &Codec<T>::encode; } || requires { &Codec<T>::decode; }) {
    static_assert(
        refused<T>,
        "polycache: the Codec of this type needs static std::string_view encode(const T&, "
        "std::string& scratch) and static std::optional<T> decode(std::string_view)");
  } else {
    static_assert(
        has_codec<T>,
        "polycache: this type has no Codec: include <polycache/codec_json.h> and write "
        "NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(T, its members...) after the struct, or include "
        "<polycache/codec_binary.h> and write template <> struct polycache::Codec<T> : "
        "polycache::BinaryCodec<T> {};");
  }
}

template <class T>
constexpr void require_codec() {
  if constexpr (!Cacheable<T>) refuse_value<T>();
}

template <class D>
constexpr void refuse_timeout() {
  using T = std::remove_cvref_t<D>;
  if constexpr (std::is_arithmetic_v<T>) {
    static_assert(refused<D>,
                  "polycache: a number has no unit: write 30s, std::chrono::seconds(n) or "
                  "{.timeout = 30s}, after using namespace std::chrono_literals");
  } else if constexpr (AnyOf<T, std::nullptr_t, std::nullopt_t>) {
    static_assert(refused<D>,
                  "polycache: for ever is polycache::never; {} means the timeout of the alias");
  } else if constexpr (requires(T moment) { moment.time_since_epoch(); }) {
    static_assert(refused<D>,
                  "polycache: a moment is one of std::chrono::system_clock: other clocks mean "
                  "nothing to a store");
  } else {
    static_assert(
        refused<D>,
        "polycache: a timeout is a duration, a moment of system_clock, polycache::never, or "
        "options such as {.timeout = 30s, .version = 2}");
  }
}

template <class O>
constexpr void refuse_read_options() {
  if constexpr (std::integral<std::remove_cvref_t<O>>) {
    static_assert(refused<O>,
                  "polycache: a version is written {.version = 2}; a default is written after the "
                  "call: get<int>(key).value_or(0)");
  } else {
    static_assert(refused<O>, "polycache: the options are written {.version = 2}");
  }
}

template <class D>
constexpr void refuse_delta() {
  static_assert(
      refused<D>,
      "polycache: a delta is a whole number: no fraction, no bool, no text, and of a type "
      "that always fits; for a wider type, static_cast<std::int64_t>(n)");
}

// --- Invalid arguments. ---

// Where a typed key is accepted, too.
template <class K>
concept NoKey = WrongKey<K> && !AnyTypedKey<K>;

template <class D, class Options = WriteOptions>
concept WrongTimeout = !std::convertible_to<D, Options> && !TimeoutLike<std::remove_cvref_t<D>>;

// A list of ItemViews is not a range of pairs, but set_many() accepts it.
template <class R>
concept WrongItems =
    !PairRange<R> && !std::same_as<std::remove_cvref_t<R>, std::initializer_list<ItemView>>;

template <class O, class Options = ReadOptions>
concept WrongRead = !std::convertible_to<O, Options>;

template <class D, class Int>
concept WrongDelta = !WholeNumber<D, Int>;

// A typed key with valid options: of an operation that takes none.
template <class K, class O>
constexpr void refuse_read() {
  constexpr bool are_options = std::convertible_to<O, ReadOptions> ||
                               std::convertible_to<O, KeyOptions> ||
                               std::convertible_to<O, ScanOptions>;
  if constexpr (NoKey<K> || (AnyTypedKey<K> && are_options)) {
    refuse_key<K>();
  } else {
    refuse_read_options<O>();
  }
}

template <class K, class D>
constexpr void refuse_write() {
  if constexpr (NoKey<K>) {
    refuse_key<K>();
  } else {
    refuse_timeout<D>();
  }
}

// For get_many() and others: an argument that should be a range of keys.
template <class R, class O>
constexpr void refuse_keys() {
  if constexpr (KeyRange<R>) {
    refuse_read_options<O>();
  } else if constexpr (std::ranges::input_range<R> && !std::convertible_to<R, std::string_view>) {
    refuse_key<std::ranges::range_reference_t<R>>();
  } else {
    static_assert(refused<R>,
                  "polycache: this takes a range of keys or a braced list: {\"a\", \"b\"}");
  }
}

template <class K, class D, class Int, class O>
constexpr void refuse_counter() {
  if constexpr (WrongKey<K>) {
    refuse_key<K>();
  } else if constexpr (WrongDelta<D, Int>) {
    refuse_delta<D>();
  } else {
    static_assert(
        refused<O>,
        "polycache: the options are written {.timeout = 30s, .version = 2, .initial = 0}");
  }
}

// Stands in for an optional<T>, or for the T that a call with a default value would return.
template <class T>
using Object = std::conditional_t<std::is_object_v<T>, std::remove_cv_t<T>, std::string>;
template <class T>
struct Refused : std::optional<Object<T>> {
  operator Object<T>() const;  // NOLINT: implicit, and never defined
  template <class Stream>
  friend Stream& operator<<(Stream& stream, const Refused&) {
    return stream;
  }
};

// The functions of Cache by name. `int&...` matches no type, so that an explicit type argument, as
// in set<double>("k", 1), does not become the key's type.
class RefusedCalls {
 public:
  template <class T = std::string, class K, class O = ReadOptions>
  requires(NoKey<K> || WrongRead<O>) Refused<T> get(K&&, O&& = {}) {
    if constexpr (NoKey<K>) {
      refuse_key<K>();
    } else if constexpr (std::integral<std::remove_cvref_t<O>>) {
      refuse_read_options<O>();
    } else if constexpr (TimeoutLike<std::remove_cvref_t<O>>) {
      static_assert(refused<O>,
                    "polycache: a lifetime that a read renews is written {.touch = 30min}");
    } else {
      static_assert(refused<O>,
                    "polycache: get() takes no default: write get(key).value_or(\"default\"); its "
                    "options are written {.version = 2}");
    }
    return {};
  }
  template <class T = std::string, class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) Refused<T> pop(K&&, O&& = {}) {
    if constexpr (NoKey<K>) {
      refuse_key<K>();
    } else if constexpr (std::integral<std::remove_cvref_t<O>>) {
      refuse_read_options<O>();
    } else {
      static_assert(refused<O>,
                    "polycache: pop() takes no default: write pop(key).value_or(\"default\"); its "
                    "options are written {.version = 2}");
    }
    return {};
  }

  template <class T = std::string, class K, class O = ReadOptions>
  requires(NoKey<K> || WrongRead<O>) Entry<Object<T>> get_entry(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <class T = std::string, class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) Entry<Object<T>> pop_entry(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }

  template <int&..., class K, class V, class D = WriteOptions>
  requires(NoKey<K> || WrongTimeout<D>) bool set(K&&, V&&, D&& = {}) {
    refuse_write<K, D>();
    return {};
  }
  template <int&..., AnyTypedKey K, class V, class D = WriteOptions>
  requires(WrongValue<V, K> && !WrongTimeout<D>) bool set(K&&, V&&, D&& = {}) {
    refuse_value_of_key<V, K>();
    return {};
  }
  template <int&..., class K, class V, class D, class E>
  bool set(K&&, V&&, D&&, E&&) {
    refuse_two_options<E>();
    return {};
  }
  template <int&..., class K, class V, class D = WriteOptions>
  requires(NoKey<K> || WrongTimeout<D>) bool add(K&&, V&&, D&& = {}) {
    refuse_write<K, D>();
    return {};
  }
  template <int&..., AnyTypedKey K, class V, class D = WriteOptions>
  requires(WrongValue<V, K> && !WrongTimeout<D>) bool add(K&&, V&&, D&& = {}) {
    refuse_value_of_key<V, K>();
    return {};
  }
  template <int&..., class K, class V, class D, class E>
  bool add(K&&, V&&, D&&, E&&) {
    refuse_two_options<E>();
    return {};
  }
  template <class T = void, class K, class M, class D = LoadOptions>
  requires(NoKey<K> || WrongTimeout<D, LoadOptions>)  //
      typename MadeBy<T, M>::type get_or_set(K&&, M&&, D&& = {}) {
    refuse_write<K, D>();
    __builtin_unreachable();
  }
  template <class T = void, AnyTypedKey K, class M, class D = LoadOptions>
  requires(WrongMake<M, K> && !WrongTimeout<D, LoadOptions>)  //
      ValueOf<K> get_or_set(K&&, M&&, D&& = {}) {
    refuse_value_of_key<M, K>();
    __builtin_unreachable();
  }
  template <class T = void, class K, class F, class D = WriteOptions>
  requires(NoKey<K> || WrongTimeout<D> || (std::is_void_v<T> && !AnyTypedKey<K>))  //
      bool update(K&&, F&&, D&& = {}) {
    if constexpr (NoKey<K> || WrongTimeout<D>) {
      refuse_write<K, D>();
    } else {
      static_assert(refused<K>, "polycache: name the type of the value: update<int>(key, f)");
    }
    return {};
  }
  template <int&..., class K, class D = TouchOptions>
  requires(NoKey<K> || WrongTimeout<D, TouchOptions>) bool touch(K&&, D&& = {}) {
    refuse_write<K, D>();
    return {};
  }

  template <int&..., class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) bool contains(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) bool expire(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) bool persist(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(NoKey<K> || WrongRead<O, KeyOptions>) bool erase(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(WrongKey<K> || WrongRead<O, KeyOptions>) std::size_t erase_pattern(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = ScanOptions>
  requires(WrongKey<K> ||
           !std::convertible_to<O, ScanOptions>) std::vector<EntryInfo> scan(K&&, O&& = {}) {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(WrongKey<K> || WrongRead<O, KeyOptions>) std::string final_key(K&&, O&& = {})
  const {
    refuse_read<K, O>();
    return {};
  }
  template <int&..., class K, class F, class O = ReadOptions>
  requires(WrongKey<K> || !std::invocable<F, std::string_view> || WrongRead<O>)  //
      bool visit(K&&, F&&, O&& = {}) {
    if constexpr (!WrongKey<K> && !std::invocable<F, std::string_view>) {
      static_assert(refused<F>, "polycache: visit() calls f(std::string_view bytes)");
    } else {
      refuse_read<K, O>();
    }
    return {};
  }

  template <class T = std::string, class R, class O = ReadOptions>
  requires(!KeyRange<R> || WrongRead<O>)  //
      std::vector<std::optional<Object<T>>> get_many(R&&, O&& = {}) {
    refuse_keys<R, O>();
    return {};
  }
  template <class T = std::string, class K, class O = ReadOptions>
  requires(WrongKey<const K&> || WrongRead<O>)  //
      std::vector<std::optional<Object<T>>> get_many(std::initializer_list<K>, O&& = {}) {
    refuse_read<const K&, O>();
    return {};
  }
  template <class T = std::string, class R, class O = ReadOptions>
  requires(!KeyRange<R> || WrongRead<O>)  //
      std::map<std::string, Object<T>, std::less<>> get_many_map(R&&, O&& = {}) {
    refuse_keys<R, O>();
    return {};
  }
  template <class T = std::string, class K, class O = ReadOptions>
  requires(WrongKey<const K&> || WrongRead<O>)  //
      std::map<std::string, Object<T>, std::less<>> get_many_map(std::initializer_list<K>,
                                                                 O&& = {}) {
    refuse_read<const K&, O>();
    return {};
  }
  template <int&..., class R, class O = KeyOptions>
  requires(!KeyRange<R> || WrongRead<O, KeyOptions>) std::size_t erase_many(R&&, O&& = {}) {
    refuse_keys<R, O>();
    return {};
  }
  template <int&..., class K, class O = KeyOptions>
  requires(WrongKey<const K&> || WrongRead<O, KeyOptions>)  //
      std::size_t erase_many(std::initializer_list<K>, O&& = {}) {
    refuse_read<const K&, O>();
    return {};
  }
  template <int&..., class R, class D = WriteOptions>
  requires(WrongItems<R> || WrongTimeout<D>)  //
      std::vector<std::string> set_many(R&&, D&& = {}) {
    if constexpr (!WrongItems<R>) {
      refuse_timeout<D>();
    } else if constexpr (requires(std::ranges::range_reference_t<R> p) { p.first, p.second; }) {
      refuse_key<decltype((std::declval<std::ranges::range_reference_t<R>>().first))>();
    } else {
      static_assert(refused<R>,
                    "polycache: set_many() takes pairs of a key and a value: a map, a range of "
                    "pairs, or {{\"a\", 1}, {\"b\", \"text\"}}");
    }
    return {};
  }

  template <int&..., class K, class D = std::int64_t, class O = CounterOptions>
  requires(WrongKey<K> || WrongDelta<D, std::int64_t> ||
           !std::convertible_to<O, CounterOptions>) std::int64_t incr(K&&, D&& = 1, O&& = {}) {
    refuse_counter<K, D, std::int64_t, O>();
    return {};
  }
  template <int&..., class K, class D = std::int64_t, class O = CounterOptions>
  requires(WrongKey<K> || WrongDelta<D, std::int64_t> ||
           !std::convertible_to<O, CounterOptions>) std::int64_t decr(K&&, D&& = 1, O&& = {}) {
    refuse_counter<K, D, std::int64_t, O>();
    return {};
  }
  template <int&..., class K, class D = int, class O = KeyOptions>
  requires(WrongKey<K> || WrongDelta<D, int> || WrongRead<O, KeyOptions>)  //
      int incr_version(K&&, D&& = 1, O&& = {}) {
    refuse_version<K, D, O>();
    return {};
  }
  template <int&..., class K, class D = int, class O = KeyOptions>
  requires(WrongKey<K> || WrongDelta<D, int> || WrongRead<O, KeyOptions>)  //
      int decr_version(K&&, D&& = 1, O&& = {}) {
    refuse_version<K, D, O>();
    return {};
  }

 private:
  template <class E>
  static constexpr void refuse_two_options() {
    static_assert(refused<E>,
                  "polycache: timeout and version go into one pair of braces: "
                  "{.timeout = 30s, .version = 2}");
  }
  template <class K, class D, class O>
  static constexpr void refuse_version() {
    if constexpr (!WrongKey<K> && WrongDelta<D, int>) {
      refuse_delta<D>();
    } else {
      refuse_read<K, O>();
    }
  }
};

}  // namespace detail
}  // namespace polycache
