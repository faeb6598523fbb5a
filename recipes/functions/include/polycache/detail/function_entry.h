// What a function by name is at run time (function.h): a table with its types as text, and with
// functions that take encoded arguments and give encoded bytes.

#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/codec_binary.h"
#include "polycache/detail/binary_structs.h"
#include "polycache/detail/memoize_parameters.h"
#include "polycache/detail/null_text.h"
#include "polycache/key_of.h"

namespace polycache::detail::functions {

// The layout is frozen, since libraries contain it. Fields are only ever appended, and a reader
// reads no field beyond `size`.
struct FunctionEntry {
  std::uint32_t size;
  std::uint32_t reserved;
  const char* name;        // "filter_foos"
  const char* parameters;  // "(i64,[c8])", as docs/values.md describes types
  const char* result;
  // Return false if the arguments cannot be decoded. Throw what the function throws.
  bool (*call)(const FunctionEntry& self, std::string_view arguments, std::string& result);
  // Appends ":" and the text of each argument. Null: an argument has no text (key_of.h).
  bool (*append_key)(const FunctionEntry& self, std::string_view arguments, std::string& key);
  const FunctionEntry* next;  // of the same library
};

// What a library of functions has behind PluginPayload::data. Frozen in the same way.
struct FunctionLibrary {
  std::uint32_t size;
  std::uint32_t reserved;
  const FunctionEntry* const* first;
};

// How a value is carried: a text or what a span refers to by value, nothing as an empty tuple.
template <class T>
struct CarriedAs {
  using type = T;
};
template <>
struct CarriedAs<void> {
  using type = std::tuple<>;
};
template <class T>
requires(std::same_as<T, std::string_view> || std::same_as<T, const char*> ||
         std::same_as<T, char*> || keys::is_text_array<T>)  //
    struct CarriedAs<T> {
  using type = std::string;
};
template <class T>
struct CarriedAs<std::span<const T>> {
  using type = std::vector<T>;
};
template <class T>
using Carried = typename CarriedAs<std::remove_cvref_t<T>>::type;

template <class T>
inline constexpr std::string_view text_of_type{binary::description_of<Carried<T>>.data()};

template <class T>
void write_carried(binary::Writer& out, const T& value) {
  if constexpr (std::same_as<Carried<T>, T>) {
    binary::Wire<T>::write(out, value);
  } else if constexpr (std::is_pointer_v<T>) {
    if (value == nullptr) throw_null_value();
    binary::Wire<std::string>::write(out, value);
  } else if constexpr (std::is_array_v<T>) {
    binary::Wire<std::string>::write(out, static_cast<const char*>(value));
  } else {
    binary::Wire<Carried<T>>::write(out, Carried<T>(value.begin(), value.end()));
  }
}

// A decoded argument, as the parameter P wants it.
template <class P>
decltype(auto) as_parameter(Carried<P>& value) {
  using Plain = std::remove_cvref_t<P>;
  if constexpr (std::same_as<Plain, Carried<P>>) {
    return static_cast<P&&>(value);
  } else if constexpr (std::is_pointer_v<Plain>) {
    return static_cast<const char*>(value.c_str());
  } else {
    return Plain(value);
  }
}

template <class F, class R, class... P>
bool call(const F& f, std::string_view arguments, std::string& result) {
  binary::Reader in(arguments);
  std::tuple<Carried<P>...> decoded;
  if (!binary::read_elements(in, decoded) || in.left() != 0) return false;
  binary::Writer out(result);
  const auto invoked = [&](Carried<P>&... argument) -> R {
    return std::invoke(f, as_parameter<P>(argument)...);
  };
  if constexpr (std::is_void_v<R>) {
    std::apply(invoked, decoded);
    binary::Wire<std::tuple<>>::write(out, {});
  } else {
    const std::remove_cvref_t<R>& made = std::apply(invoked, decoded);
    write_carried(out, made);
  }
  out.finish();
  return true;
}

template <class... P>
bool append_key(std::string_view arguments, std::string& key) {
  binary::Reader in(arguments);
  std::tuple<Carried<P>...> decoded;
  if (!binary::read_elements(in, decoded) || in.left() != 0) return false;
  std::apply([&](const auto&... argument) { (keys::append_part(key, argument), ...); }, decoded);
  return true;
}

template <class T>
constexpr bool is_refused_pointer =
    std::is_pointer_v<std::remove_cvref_t<T>> && !std::same_as<Carried<T>, std::string>;

// Whether a function can be called by name; else, one sentence of the compiler. P: the list of its
// parameters, or void.
template <class F, class P>
struct Check {
  static constexpr bool fits() {
    static_assert(refused<F>,
                  "polycache: a function by name has parameters of known types: of a generic or "
                  "overloaded one, take a lambda that says which");
    return false;
  }
};
template <class F, class... A>
struct Check<F, memo::List<A...>> {
  static constexpr bool fits() {
    if constexpr ((memo::is_written_to<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: a function by name has no parameter that it may change: arguments "
                    "are copies, so take a value or a const reference");
    } else if constexpr ((is_refused_pointer<A> || ...)) {
      static_assert(refused<F>,
                    "polycache: a function by name takes no pointer: an address means nothing "
                    "elsewhere; take the value");
    } else if constexpr (!(binary::MadeOfNothing<Carried<A>> && ...)) {
      static_assert(refused<F>,
                    "polycache: the parameters of a function by name need a default constructor");
    } else if constexpr (!std::is_invocable_v<const F&, A...>) {
      static_assert(refused<F>,
                    "polycache: a function by name does not change when it is called, as a mutable "
                    "lambda does: several threads may call it");
    } else {
      return true;
    }
    return false;
  }
};

// The entry of a function of type F. Get: from an entry to the function.
template <class F, class P, auto get>
struct EntryOf;
template <class F, class... P, auto get>
struct EntryOf<F, memo::List<P...>, get> {
  using Result = std::invoke_result_t<const F&, P...>;

  static constexpr FunctionEntry make(const char* name) {
    FunctionEntry entry{sizeof(FunctionEntry),
                        0,
                        name,
                        binary::description_of<std::tuple<Carried<P>...>>.data(),
                        binary::description_of<Carried<Result>>.data(),
                        [](const FunctionEntry& self, std::string_view in, std::string& out) {
                          return functions::call<F, Result, P...>(get(self), in, out);
                        },
                        nullptr,
                        nullptr};
    if constexpr ((keys::has_text<Carried<P>>() && ...)) {
      entry.append_key = [](const FunctionEntry&, std::string_view in, std::string& out) {
        return functions::append_key<P...>(in, out);
      };
    }
    return entry;
  }
};

// A function object of the program, with its entry.
template <class F>
struct HeldFunction : FunctionEntry {
  using Parameters = typename memo::ParametersOf<F>::type;

  explicit HeldFunction(F f)
      : FunctionEntry(EntryOf<F, Parameters, &HeldFunction::of>::make("")),
        function(std::move(f)) {}

  static const F& of(const FunctionEntry& entry) noexcept {
    return static_cast<const HeldFunction&>(entry).function;
  }

  F function;
};

}  // namespace polycache::detail::functions
