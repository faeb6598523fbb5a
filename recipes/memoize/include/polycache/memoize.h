// Functions that remember their results in a cache.
//
//   auto area = polycache::memoize("area", compute_area, {.timeout = 1h, .tags = {"geo"}});
//   double a = area(3, 4);        // computes compute_area(3, 4), or reads what it has returned
//   area.invalidate(3, 4);        // the next call computes
//   area.refresh(3, 4);           // computes now, and stores
//
//   auto users = polycache::memoize_many("user", load_users, {.timeout = 1h});
//   std::vector<std::optional<User>> found = users({1, 2, 3});   // loads the absent ones in one
//   call
//
// The function may be a function, a lambda, a std::function or a const member function, whose
// object is then the first argument. Its arguments are converted to its parameters before they
// become the key, so area(3, 4) and area(3.0, 4.0) are one call if the parameters are doubles.
// Defaults of parameters are lost: wrap them in a lambda. Of an overloaded function, say which: a
// lambda, or a static_cast.
//
// The key is "name@1", where 1 is the version, and the arguments, as polycache::key() joins them
// (key_of.h says how each becomes a text): area.key(3, 4) is "area@1:3:4". A key of more than 200
// bytes is "name@1:%#" and 128 bits of the SHA-256 of the arguments. The name is yours, since C++
// has no name of a function that would be the same in another program; raise the version when the
// function changes.
//
// The result is stored as get_or_set() does it, with its options; a function that returns an
// optional or a Loaded can say that there is no such thing (load.h). It runs where it is called.
// One that is given as in_background(f) owns its captures: refresh_after, early, soft_limit and
// hard_limit may run it on the registry's executor, with copies of its arguments. Without it,
// soft_limit and hard_limit are a ValueError at the first call, as for get_or_set().
//
// A memoized function can be copied. One that is made with an alias may be used by all threads at
// once, if the function may; one that is made with a Cache belongs to that cache's thread. Neither
// must be used after its registry has ended.

#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/author/glob.h"
#include "polycache/cache.h"
#include "polycache/key_of.h"
#include "polycache/load.h"
#include "polycache/load_options.h"
#include "polycache/registry.h"

namespace polycache {

struct MemoizeOptions {
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
  int version = 1;                    // of the function: another one has other keys
  // Puts the type of each argument into the key: for a generic function, whose results for 1, 1u
  // and "1" differ. Other functions convert their arguments first. Types other than numbers and
  // texts have the name that the compiler gives them, so programs of two compilers may not share
  // such results.
  bool typed = false;
};

// The positions of parameters that do not matter for the result, such as a connection; 0 is the
// first. They need no key_of(), and may be pointers:
//
//   auto rows = polycache::memoize<polycache::Ignoring<0>>("rows", rows_of, {.timeout = 1min});
template <std::size_t... positions>
struct Ignoring {
  static constexpr bool has(std::size_t position) noexcept {
    return ((position == positions) || ...);
  }
  static constexpr bool fits(std::size_t count) noexcept { return ((positions < count) && ...); }
};

namespace detail::memo {

template <class... Ts>
struct List {};

// The parameters of a function. Void: it is generic, or overloaded.
template <class F>
struct ParametersOf {
  using type = void;
};
template <class R, class... A>
struct ParametersOf<R (*)(A...)> {
  using type = List<A...>;
};
template <class R, class... A>
struct ParametersOf<R (*)(A...) noexcept> : ParametersOf<R (*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const> {
  using type = List<const C&, A...>;
};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const noexcept> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const&> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) const& noexcept> : ParametersOf<R (C::*)(A...) const> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)> {
  using type = List<C&, A...>;
};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...) noexcept> : ParametersOf<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)&> : ParametersOf<R (C::*)(A...)> {};
template <class R, class C, class... A>
struct ParametersOf<R (C::*)(A...)& noexcept> : ParametersOf<R (C::*)(A...)> {};

template <class L>
struct WithoutFirst {
  using type = void;
};
template <class T, class... Ts>
struct WithoutFirst<List<T, Ts...>> {
  using type = List<Ts...>;
};
template <class F>
requires requires { &F::operator(); }
struct ParametersOf<F> {
  using type = typename WithoutFirst<typename ParametersOf<decltype(&F::operator())>::type>::type;
};

// What is called, and whether it may be called on another thread.
template <class F>
struct Given {
  using Function = F;
  static constexpr bool in_background = false;
};
template <class F>
struct Given<Background<F>> {
  using Function = F;
  static constexpr bool in_background = true;
};

// How a job keeps an argument: a text, or what a span refers to, by value.
template <class T>
struct Owned {
  using type = T;
  static const T& as_argument(const T& owned) noexcept { return owned; }
};
template <>
struct Owned<std::string_view> {
  using type = std::string;
  static std::string_view as_argument(const std::string& owned) noexcept { return owned; }
};
template <>
struct Owned<const char*> {
  using type = std::string;
  static const char* as_argument(const std::string& owned) noexcept { return owned.c_str(); }
};
template <class T>
struct Owned<std::span<const T>> {
  using type = std::vector<T>;
  static std::span<const T> as_argument(const type& owned) noexcept { return owned; }
};
template <class T>
typename Owned<T>::type owned_copy(const T& argument) {
  if constexpr (std::same_as<typename Owned<T>::type, T>) {
    return argument;
  } else if constexpr (std::same_as<T, const char*>) {
    return std::string(KeyView(argument).text());
  } else {
    return typename Owned<T>::type(argument.begin(), argument.end());
  }
}

template <class A>
using Plain = std::remove_cvref_t<A>;
template <class A>
inline constexpr bool is_written_to =
    std::is_lvalue_reference_v<A> && !std::is_const_v<std::remove_reference_t<A>>;
template <class T>
inline constexpr bool is_address = std::is_pointer_v<T> && !std::same_as<T, const char*>;
// A by-value parameter that cannot be given a copy.
template <class A>
inline constexpr bool is_move_only = !std::is_reference_v<A> && !std::is_copy_constructible_v<A>;
template <class T>
inline constexpr bool is_sliced = std::is_polymorphic_v<T> && !std::is_final_v<T>;
// Whether a job can have an argument of its own.
template <class T>
inline constexpr bool can_be_owned = !std::same_as<typename Owned<T>::type, T> || keys::owns<T>();

template <class F>
constexpr void refuse_written_to() {
  static_assert(refused<F>,
                "polycache: memoize() takes no function with a parameter that it may change: a "
                "non-const reference, or the object of a member function that is not const");
}
template <class F>
constexpr void refuse_address() {
  static_assert(refused<F>,
                "polycache: a memoized function takes no pointer: an address is no key; take the "
                "value, or a reference to it, or say Ignoring<...> where it does not matter");
}
template <class F>
constexpr void refuse_view() {
  static_assert(refused<F>,
                "polycache: a function that is memoized in_background() keeps copies of its "
                "arguments, and this parameter would refer to the caller's: take a std::string "
                "for a std::string_view, a container for a span, no pointer, no base class");
}

template <class F>
constexpr void refuse_keyless() {
  static_assert(refused<F>,
                "polycache: an argument of this function has no text for the key: write "
                "std::string key_of(const T&) in its namespace (polycache/key_of.h)");
}

// Whether a function with these parameters can be memoized; else, one sentence of the compiler.
template <class F, class Ignored, bool in_background, class P>
struct Check {
  static constexpr bool fits() { return true; }  // a generic function: its calls are checked
};
template <class F, class Ignored, bool in_background, class... A>
struct Check<F, Ignored, in_background, List<A...>> {
  static constexpr bool fits() {
    constexpr auto positions = std::index_sequence_for<A...>();
    if constexpr ((is_written_to<A> || ...)) {
      refuse_written_to<F>();
    } else if constexpr ((std::is_rvalue_reference_v<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function with a && parameter: take it by value");
    } else if constexpr (!Ignored::fits(sizeof...(A))) {
      static_assert(refused<F>,
                    "polycache: Ignoring<...> names a position that the function does not have; "
                    "the first parameter has the position 0");
    } else if constexpr (have_address(positions)) {
      refuse_address<F>();
    } else if constexpr ((is_move_only<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function with a parameter that can only be "
                    "moved");
    } else if constexpr (in_background && ((!std::is_copy_constructible_v<Plain<A>> ||
                                            is_sliced<Plain<A>> || !can_be_owned<Plain<A>>) ||
                                           ...)) {
      refuse_view<F>();
    } else if constexpr (!std::is_invocable_v<const F&, const Plain<A>&...>) {
      static_assert(refused<F>,
                    "polycache: memoize() takes no function object that changes when it is called, "
                    "such as a mutable lambda: several threads may call it");
    } else if constexpr (std::is_void_v<std::invoke_result_t<const F&, const Plain<A>&...>>) {
      static_assert(refused<F>, "polycache: memoize() takes no function without a result");
    } else if constexpr (!have_keys(positions)) {
      refuse_keyless<F>();
    } else {
      return true;
    }
    return false;
  }

 private:
  template <std::size_t... i>
  static consteval bool have_address(std::index_sequence<i...>) {
    return ((is_address<Plain<A>> && !Ignored::has(i)) || ...);
  }
  template <std::size_t... i>
  static consteval bool have_keys(std::index_sequence<i...>) {
    return ((Ignored::has(i) || keys::has_text<Plain<A>>()) && ...);
  }
};

// What memoize() returns after a sentence of the compiler, so that there is only that one.
struct Refused {
  template <class... A>
  int operator()(A&&...) const;
};

// 32 hex digits: 128 bits of the SHA-256.
std::string digest(std::string_view text);

inline constexpr std::size_t longest_key = 200;
inline constexpr std::size_t longest_name = 150;

// What all memoized functions have.
class Base {
 public:
  const std::string& name() const noexcept { return name_; }

  // Erases the results for all arguments that this version of the function has in the cache.
  // Returns how many entries went; one whose computation runs in another process under a lease
  // counts. Throws BackendError if the store cannot list its keys (memcached without the protocol
  // "ascii"); give the function a tag there, and erase that.
  std::size_t invalidate_all() const {
    Cache& cache = this->cache();
    const KeyOptions options{.version = options_.version};
    const std::size_t single = cache.erase(head_, options) ? 1 : 0;
    return single + cache.erase_pattern(Glob::escape(head_ + ":") + "*", options);
  }

 protected:
  Base(Cache* cache, KeyView name, LoadOptions options, MemoizeOptions memo)
      : name_(name.text()),
        head_(name_ + '@' + std::to_string(memo.version)),
        options_(std::move(options)),
        memo_(std::move(memo)),
        cache_(cache) {
    if (name_.empty() || name_.size() > longest_name) {
      throw ValueError("memoize: the name of a function has 1 to " + std::to_string(longest_name) +
                       " bytes, this one " + std::to_string(name_.size()) + "; give another");
    }
    for (const char c : name_) {
      if (c != '@' && c > ' ' && c != 0x7f) continue;
      if (static_cast<unsigned char>(c) >= 0x80) continue;
      throw ValueError("memoize: the name \"" + name_ +
                       "\" has a blank, a control character or '@'; give another");
    }
  }

  Cache& cache() const {
    if (cache_ != nullptr) return *cache_;
    return memo_.registry != nullptr ? (*memo_.registry)[memo_.cache] : caches[memo_.cache];
  }
  const LoadOptions& options() const noexcept { return options_; }

  template <class Ignored, class... Ts>
  std::string key_for(const Ts&... arguments) const {
    std::string key = head_;
    const auto add = [&]<std::size_t i, class T>(std::integral_constant<std::size_t, i>,
                                                 const T& argument) {
      if constexpr (!Ignored::has(i)) {
        if (memo_.typed) {
          key += ':';
          keys::append_kind<T>(key);
        }
        keys::append_part(key, argument);
      }
    };
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (add(std::integral_constant<std::size_t, i>(), arguments), ...);
    }
    (std::index_sequence_for<Ts...>());
    if (key.size() > longest_key) {
      // A '%' of an argument is followed by two digits, never by '#'.
      const std::string hash = digest(std::string_view(key).substr(head_.size()));
      key.resize(head_.size());
      key.append(":%#").append(hash);
    }
    return key;
  }

  // Before a value is computed anew: no caller may take the older one for the new one. A
  // computation of the key that runs already is not stored. With stale_if_error the older value
  // stays for when the computation fails.
  void retire(const std::string& key) const {
    const KeyOptions version{.version = options_.version};
    if (options_.stale_if_error.is_given()) {
      cache().expire(key, version);
    } else {
      cache().erase(key, version);
    }
  }

 private:
  std::string name_;
  std::string head_;  // "name@1"
  LoadOptions options_;
  MemoizeOptions memo_;
  Cache* cache_;  // null: that of the alias, of the calling thread
};

// A call of the function. Refers to its arguments; a copy has its own, so that a job can run it.
template <class F, class... Ts>
class Call {
 public:
  Call(const std::shared_ptr<const F>& function, const Ts&... arguments) noexcept
      : function_(&function), arguments_(&arguments...) {}
  Call(const Call& other) : owned_(other.owned_) {
    if (owned_) return;
    owned_ = std::apply(
        [&](const auto*... argument) {
          return std::make_shared<const Own>(
              Own{*other.function_, std::tuple(owned_copy<Ts>(*argument)...)});
        },
        other.arguments_);
  }
  Call(Call&&) noexcept = default;
  Call& operator=(const Call&) = delete;

  decltype(auto) operator()() const {
    if (!owned_) {
      return std::apply(
          [&](const auto*... argument) -> decltype(auto) {
            return std::invoke(**function_, *argument...);
          },
          arguments_);
    }
    return std::apply(
        [&](const auto&... argument) -> decltype(auto) {
          return std::invoke(*owned_->function, Owned<Ts>::as_argument(argument)...);
        },
        owned_->arguments);
  }

 private:
  struct Own {
    std::shared_ptr<const F> function;
    std::tuple<typename Owned<Ts>::type...> arguments;
  };

  const std::shared_ptr<const F>* function_ = nullptr;
  std::tuple<const Ts*...> arguments_;
  std::shared_ptr<const Own> owned_;
};

// For one type of function and the types of one call's arguments.
template <class F, class Ignored, bool in_background>
class Calls : public Base {
 protected:
  Calls(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Base(cache, name, std::move(options), std::move(memo)),
        function_(std::make_shared<const F>(std::move(function))) {}

  template <class... Ts>
  using Result = std::remove_cvref_t<std::invoke_result_t<const F&, const Ts&...>>;
  template <class... Ts>
  using Value = typename LoadResult<Result<Ts...>>::Value;

  template <class... Ts>
  auto load(const Ts&... arguments) const {
    return load_key(key_for<Ignored>(arguments...), arguments...);
  }
  template <class... Ts>
  auto reload(const Ts&... arguments) const {
    const std::string key = key_for<Ignored>(arguments...);
    retire(key);
    return load_key(key, arguments...);
  }
  template <class... Ts>
  auto find(const Ts&... arguments) const {
    return cache().template get<Value<Ts...>>(key_for<Ignored>(arguments...),
                                              {.version = options().version});
  }
  template <class V, class... Ts>
  bool store(const V& value, const Ts&... arguments) const {
    return cache().set(
        key_for<Ignored>(arguments...), value,
        {.timeout = options().timeout, .version = options().version, .tags = options().tags});
  }
  template <class... Ts>
  bool forget(const Ts&... arguments) const {
    return cache().erase(key_for<Ignored>(arguments...), {.version = options().version});
  }
  template <class... Ts>
  decltype(auto) call(const Ts&... arguments) const {
    return std::invoke(*function_, arguments...);
  }

 private:
  template <class... Ts>
  auto load_key(const std::string& key, const Ts&... arguments) const {
    if constexpr (in_background) {
      Background<Call<F, Ts...>> call{Call<F, Ts...>(function_, arguments...)};
      return cache().get_or_set(key, call, options());
    } else {
      return cache().get_or_set(
          key, [&]() -> decltype(auto) { return std::invoke(*function_, arguments...); },
          options());
    }
  }

  std::shared_ptr<const F> function_;
};

}  // namespace detail::memo

// A function with its results in a cache. Made by memoize(). P: a list of its parameters.
template <class F, class P, class Ignored, bool in_background>
class Memoized;

template <class F, class... A, class Ignored, bool in_background>
class Memoized<F, detail::memo::List<A...>, Ignored, in_background>
    : public detail::memo::Calls<F, Ignored, in_background> {
  using Calls = detail::memo::Calls<F, Ignored, in_background>;
  template <class T>
  using Plain = detail::memo::Plain<T>;

 public:
  using Value = typename Calls::template Value<Plain<A>...>;

  Memoized(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Calls(cache, name, std::move(function), std::move(options), std::move(memo)) {}

  // The function's result for these arguments: that of the cache, or computed and stored. Throws
  // what the function throws, and what get_or_set() throws.
  auto operator()(A... arguments) const { return this->template load<Plain<A>...>(arguments...); }

  // Removes the result, and computes it anew, as a call does; other callers wait for it. With
  // stale_if_error the older result stays as a fallback, which then also refresh() returns. Throws
  // BackendError if the older one could not be removed.
  auto refresh(A... arguments) const { return this->template reload<Plain<A>...>(arguments...); }

  // The result that is in the cache, or nothing.
  std::optional<Value> get(A... arguments) const {
    return this->template find<Plain<A>...>(arguments...);
  }
  // Stores a result that the caller knows, as Cache::set() does: for the timeout and with the tags;
  // it is not refreshed early, and is no fallback. Returns whether it is stored.
  bool set(const Value& value, A... arguments) const {
    return this->template store<Value, Plain<A>...>(value, arguments...);
  }
  // Removes the result; one that is being computed is not stored. Returns whether the store had an
  // entry.
  bool invalidate(A... arguments) const { return this->template forget<Plain<A>...>(arguments...); }
  // The key of the result, as the other operations of the cache take it.
  std::string key(A... arguments) const {
    return this->template key_for<Ignored, Plain<A>...>(arguments...);
  }
  // Calls the function, and neither reads nor stores.
  decltype(auto) original(A... arguments) const {
    return this->template call<Plain<A>...>(arguments...);
  }
};

// The same for a generic function: the arguments are those of each call.
template <class F, class Ignored, bool in_background>
class Memoized<F, void, Ignored, in_background>
    : public detail::memo::Calls<F, Ignored, in_background> {
  using Calls = detail::memo::Calls<F, Ignored, in_background>;
  template <class T>
  using Taken = std::decay_t<const T&>;

  template <class... T, std::size_t... i>
  static consteval bool have_keys(std::index_sequence<i...>) {
    return ((Ignored::has(i) || detail::keys::has_text<T>()) && ...);
  }
  template <class... T>
  static constexpr bool fits() {
    if constexpr (!Ignored::fits(sizeof...(T))) {
      static_assert(detail::refused<F>,
                    "polycache: Ignoring<...> names a position that the call does not have; the "
                    "first argument has the position 0");
    } else if constexpr ((detail::memo::is_address<T> || ...)) {
      detail::memo::refuse_address<F>();
    } else if constexpr (in_background &&
                         ((detail::memo::is_sliced<T> || !detail::memo::can_be_owned<T>) || ...)) {
      detail::memo::refuse_view<F>();
    } else if constexpr (!have_keys<T...>(std::index_sequence_for<T...>())) {
      detail::memo::refuse_keyless<F>();
    } else {
      return true;
    }
    return false;
  }

 public:
  Memoized(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Calls(cache, name, std::move(function), std::move(options), std::move(memo)) {}

  template <class... A>
  auto operator()(const A&... arguments) const {
    if constexpr (fits<Taken<A>...>()) {
      return this->template load<Taken<A>...>(arguments...);
    } else {
      return 0;
    }
  }
  template <class... A>
  auto refresh(const A&... arguments) const {
    if constexpr (fits<Taken<A>...>()) {
      return this->template reload<Taken<A>...>(arguments...);
    } else {
      return 0;
    }
  }
  template <class... A>
  auto get(const A&... arguments) const {
    return this->template find<Taken<A>...>(arguments...);
  }
  template <class V, class... A>
  bool set(const V& value, const A&... arguments) const {
    using Value = typename Calls::template Value<Taken<A>...>;
    return this->template store<Value, Taken<A>...>(value, arguments...);
  }
  template <class... A>
  bool invalidate(const A&... arguments) const {
    return this->template forget<Taken<A>...>(arguments...);
  }
  template <class... A>
  std::string key(const A&... arguments) const {
    return this->template key_for<Ignored, Taken<A>...>(arguments...);
  }
  template <class... A>
  decltype(auto) original(const A&... arguments) const {
    return this->template call<Taken<A>...>(arguments...);
  }
};

namespace detail::memo {

template <class Ignored, class Take>
auto make(Cache* cache, KeyView name, Take function, LoadOptions options, MemoizeOptions memo) {
  using F = typename Given<Take>::Function;
  using P = typename ParametersOf<F>::type;
  constexpr bool in_background = Given<Take>::in_background;
  if constexpr (!Check<F, Ignored, in_background, P>::fits()) {
    return Refused();
  } else if constexpr (in_background) {
    return Memoized<F, P, Ignored, true>(cache, name, std::move(function).function(),
                                         std::move(options), std::move(memo));
  } else {
    return Memoized<F, P, Ignored, false>(cache, name, std::move(function), std::move(options),
                                          std::move(memo));
  }
}

}  // namespace detail::memo

// Throws ValueError for a name that is empty, of more than 150 bytes, or has a blank, a control
// character or '@'. The options are those of get_or_set(), or a timeout alone; contradictions are
// found by the first call.
template <class Ignored = Ignoring<>, class F>
auto memoize(KeyView name, F function, LoadOptions options = {}, MemoizeOptions memo = {}) {
  return detail::memo::make<Ignored>(nullptr, name, std::move(function), std::move(options),
                                     std::move(memo));
}
template <class Ignored = Ignoring<>, class F, TimeoutLike D>
auto memoize(KeyView name, F function, const D& timeout, MemoizeOptions memo = {}) {
  return memoize<Ignored>(name, std::move(function), LoadOptions{.timeout = timeout},
                          std::move(memo));
}
// With one thread's cache; the alias and the registry in `memo` are not used.
template <class Ignored = Ignoring<>, class F>
auto memoize(Cache& cache, KeyView name, F function, LoadOptions options = {},
             MemoizeOptions memo = {}) {
  return detail::memo::make<Ignored>(&cache, name, std::move(function), std::move(options),
                                     std::move(memo));
}

namespace detail::memo {

// The argument of a function that takes several at once, a vector or a span; void for another one.
template <class P>
struct BatchOf {
  using Argument = void;
};
template <class C>
requires requires { typename Plain<C>::value_type; }
struct BatchOf<List<C>> {
  using V = std::remove_const_t<typename Plain<C>::value_type>;
  using Argument =
      std::conditional_t<std::convertible_to<const std::vector<V>&, C> && !is_written_to<C>, V,
                         void>;
};

// Its results: in a vector, in the order of the arguments, or in a map.
template <class M>
struct ValueIn {
  using type = typename MaybeOf<typename M::value_type>::type;
};
template <class M>
requires requires { typename M::mapped_type; }
struct ValueIn<M> {
  using type = typename MaybeOf<typename M::mapped_type>::type;
};

}  // namespace detail::memo

// A function that computes the results of several arguments in one call, which is given those that
// have none in the cache. Made by memoize_many(). The function runs where it is called.
template <class F>
class MemoizedMany : public detail::memo::Base {
 public:
  using Argument =
      typename detail::memo::BatchOf<typename detail::memo::ParametersOf<F>::type>::Argument;
  using Made = std::remove_cvref_t<std::invoke_result_t<const F&, const std::vector<Argument>&>>;
  using Value = typename detail::memo::ValueIn<Made>::type;

  MemoizedMany(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Base(cache, name, std::move(options), std::move(memo)),
        function_(std::make_shared<const F>(std::move(function))) {}

  // The results, in the order of the arguments; empty: there is no such thing. Throws as
  // get_or_set_many() does; a PartialLoad names the keys.
  std::vector<std::optional<Value>> operator()(std::span<const Argument> arguments) const {
    return load(arguments, keys_of(arguments));
  }
  std::vector<std::optional<Value>> operator()(std::initializer_list<Argument> arguments) const {
    return (*this)(std::span(arguments.begin(), arguments.size()));
  }
  // Removes the results, and computes them anew in one call.
  std::vector<std::optional<Value>> refresh(std::span<const Argument> arguments) const {
    const std::vector<std::string> keys = keys_of(arguments);
    for (const std::string& one : keys) retire(one);
    return load(arguments, keys);
  }
  // Calls the function, and neither reads nor stores.
  Made original(const std::vector<Argument>& arguments) const {
    return std::invoke(*function_, arguments);
  }

  // As those of Memoized.
  std::optional<Value> get(const Argument& argument) const {
    return cache().template get<Value>(key(argument), {.version = options().version});
  }
  bool set(const Value& value, const Argument& argument) const {
    return cache().set(
        key(argument), value,
        {.timeout = options().timeout, .version = options().version, .tags = options().tags});
  }
  bool invalidate(const Argument& argument) const {
    return cache().erase(key(argument), {.version = options().version});
  }
  std::string key(const Argument& argument) const {
    return this->template key_for<Ignoring<>>(argument);
  }

 private:
  std::vector<std::string> keys_of(std::span<const Argument> arguments) const {
    std::vector<std::string> keys;
    keys.reserve(arguments.size());
    for (const Argument& argument : arguments) keys.push_back(key(argument));
    return keys;
  }

  std::vector<std::optional<Value>> load(std::span<const Argument> arguments,
                                         const std::vector<std::string>& keys) const {
    std::map<std::string_view, const Argument*> by_key;
    for (std::size_t i = 0; i < keys.size(); ++i) by_key.emplace(keys[i], &arguments[i]);
    const auto load_absent = [&](std::span<const std::string> absent) {
      std::vector<Argument> wanted;
      wanted.reserve(absent.size());
      for (const std::string& one : absent) wanted.push_back(*by_key.find(one)->second);
      Made made = std::invoke(*function_, wanted);
      if constexpr (requires { typename Made::mapped_type; }) {
        std::vector<std::optional<Value>> values(wanted.size());
        for (std::size_t i = 0; i < wanted.size(); ++i) {
          const auto found = made.find(wanted[i]);
          if (found != made.end()) values[i] = std::move(found->second);
        }
        return values;
      } else {
        return made;
      }
    };
    return cache().template get_or_set_many<Value>(keys, load_absent, options());
  }

  std::shared_ptr<const F> function_;
};

namespace detail::memo {

template <class F>
auto make_many(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo) {
  using Argument = typename BatchOf<typename ParametersOf<F>::type>::Argument;
  if constexpr (std::is_void_v<Argument>) {
    static_assert(refused<F>,
                  "polycache: memoize_many() takes a function of one argument: a const "
                  "std::vector<T>& or a std::span<const T>");
    return Refused();
  } else if constexpr (!keys::has_text<Argument>()) {
    refuse_keyless<F>();
    return Refused();
  } else {
    return MemoizedMany<F>(cache, name, std::move(function), std::move(options), std::move(memo));
  }
}

}  // namespace detail::memo

// `function` takes a std::vector or std::span of arguments, and returns a vector of results in that
// order (T or std::optional<T>) or a map from arguments to results. soft_limit and hard_limit are a
// ValueError at the first call, as for get_or_set_many(). Throws as memoize() does.
template <class F>
auto memoize_many(KeyView name, F function, LoadOptions options = {}, MemoizeOptions memo = {}) {
  return detail::memo::make_many(nullptr, name, std::move(function), std::move(options),
                                 std::move(memo));
}
template <class F>
auto memoize_many(Cache& cache, KeyView name, F function, LoadOptions options = {},
                  MemoizeOptions memo = {}) {
  return detail::memo::make_many(&cache, name, std::move(function), std::move(options),
                                 std::move(memo));
}

}  // namespace polycache
