// Functions by name: what a configuration file or another program can call.
//
//   // libshop.so (function_library.h)
//   std::vector<Foo> filter_foos(std::int64_t size, std::string_view colour);
//   POLYCACHE_FUNCTION(filter_foos);
//
//   // the program
//   auto foos = polycache::call_function<std::vector<Foo>>("./libshop.so:filter_foos", 3, "red");
//
//   polycache::register_function("all_foos", get_all_foos);  // of the program itself
//   auto all = polycache::call_function<std::vector<Foo>>("all_foos");
//
// Arguments and results cross as bytes (codec_binary.h), and each side knows its types as text:
// "(i64,[c8]) -> [s(i32,[c8])]", as docs/values.md describes them. So caller and function share no
// type of C++, and a call that does not fit is an error, not undefined behaviour:
//
//   - arguments become what the parameters are: integers and floating-point numbers of any width,
//     texts, T for std::optional<T>, and sequences and optionals of these; ValueError if a number
//     would lose by it (300 for an unsigned char, 0.1 for a float, 2^60 + 1 for a double). A
//     floating-point number is never an integer;
//   - any other difference, and a result of another type than the caller's, is a ConfigError that
//     shows both sides.
//
// A parameter is any type that the binary codec stores; also std::string_view, const char* and
// std::span<const T>. A result is such a type, or void. What a function throws reaches the caller
// unchanged if it is a std::exception; anything else becomes a CacheError that names the function.
//
// "library:function" names a function of a shared library. A library with a '/', or that ends in
// ".so", is a file, relative to the configuration's folder; any other is a plugin of that name
// (polycache_add_plugin(shop ...) makes polycache_shop.so), which is searched for as stores are. It
// is checked as they are before any of its code runs (docs/plugins.md), and stays loaded for ever.

#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "polycache/detail/function_entry.h"
#include "polycache/detail/null_text.h"
#include "polycache/error.h"
#include "polycache/key.h"

namespace polycache {

class CacheRegistry;

namespace detail::functions {

// One argument, as the caller has it.
struct Argument {
  std::string_view type;
  std::string bytes;
};

template <class T>
Argument argument_of(const T& value) {
  Argument argument{.type = text_of_type<T>, .bytes = {}};
  binary::Writer out(argument.bytes);
  write_carried(out, value);
  out.finish();
  return argument;
}

template <class F>
concept NotText = !std::convertible_to<const F&, std::string_view>;

}  // namespace detail::functions

// A function whose types are known at run time. A copy refers to the same function. Thread-safe if
// the function is.
class Function {
 public:
  // Of a callable of the program. It is called as a const object. Throws ConfigError for a pointer
  // that is null and an empty std::function.
  template <detail::functions::NotText F>
  requires(!std::same_as<std::remove_cvref_t<F>, Function>)  //
      Function(F f)  // NOLINT(google-explicit-constructor): a callable is a function
      : entry_(hold(std::move(f))) {}

  // "./libshop.so:filter_foos", or the name of a registered function. Empty: made of a callable.
  const std::string& name() const noexcept { return name_; }
  // "(i64,[c8])", "[s(i32,[c8])]".
  std::string_view parameters() const noexcept { return entry_->parameters; }
  std::string_view result() const noexcept { return entry_->result; }

  // Throws ConfigError if the types do not fit, ValueError if an argument loses by its conversion,
  // and what the function throws.
  template <class R, class... A>
  R call(const A&... arguments) const {
    if constexpr (std::is_void_v<R> || std::same_as<detail::functions::Carried<R>, R>) {
      return decode<R>(call_encoded(encode<R>(arguments...)));
    } else {
      static_assert(detail::refused<R>,
                    "polycache: the result of a function by name is a value: a std::string for a "
                    "text, a container for a span, and no reference");
    }
  }

  // What a key has of these arguments: ":3:red", with each as the function's parameter (key_of.h).
  // Throws as call() does, and ConfigError if a parameter has no text for a key.
  template <class... A>
  std::string key(const A&... arguments) const {
    return key_of_encoded(encode_for<A...>({}, arguments...));
  }

  // --- For recipes: a name that messages begin with, and the steps of a call. ---

  Function owned_by(std::string owner) const {
    Function function = *this;
    function.owner_ = std::move(owner);
    return function;
  }

  // The arguments as the function takes them. Throws ConfigError also if the result is not an R.
  template <class R, class... A>
  std::string encode(const A&... arguments) const {
    const std::string_view wanted = detail::functions::text_of_type<R>;
    if (wanted != result()) refuse_result<A...>(wanted);
    return encode_for<A...>(wanted, arguments...);
  }
  // REQUIRES: they come from encode()
  std::string call_encoded(std::string_view arguments) const;
  std::string key_of_encoded(std::string_view arguments) const;
  template <class R>
  R decode(std::string_view bytes) const {
    if constexpr (!std::is_void_v<R>) {
      detail::binary::Reader in(bytes);
      std::optional<R> value;
      if (!detail::binary::Wire<R>::read(in, detail::binary::renew(value)) || in.left() != 0) {
        refuse_bytes();
      }
      return std::move(*value);
    }
  }

 private:
  friend Function find_function(std::string_view name, const CacheRegistry& registry);
  friend void register_function(std::string name, Function function);
  using Entry = detail::functions::FunctionEntry;

  Function(std::shared_ptr<const Entry> entry, std::string name)
      : entry_(std::move(entry)), name_(std::move(name)) {}

  template <class F>
  static std::shared_ptr<const Entry> hold(F f) {
    using Parameters = typename detail::memo::ParametersOf<F>::type;
    if constexpr (detail::functions::Check<F, Parameters>::fits()) {
      if (detail::memo::is_null(f)) refuse_null();
      return std::make_shared<const detail::functions::HeldFunction<F>>(std::move(f));
    } else {
      return nullptr;
    }
  }

  template <class... A>
  std::string encode_for(std::string_view result, const A&... arguments) const {
    namespace functions = detail::functions;
    const std::string_view types =
        detail::binary::description_of<std::tuple<functions::Carried<A>...>>.data();
    if (types != parameters()) {
      const std::array<functions::Argument, sizeof...(A)> each{
          functions::argument_of(arguments)...};
      return convert(each, types, result);
    }
    std::string bytes;
    detail::binary::Writer out(bytes);
    if constexpr (sizeof...(A) == 0) {
      detail::binary::Wire<std::tuple<>>::write(out, {});
    } else {
      (functions::write_carried(out, arguments), ...);
    }
    out.finish();
    return bytes;
  }
  std::string convert(std::span<const detail::functions::Argument> arguments,
                      std::string_view types, std::string_view result) const;
  template <class... A>
  [[noreturn]] void refuse_result(std::string_view wanted) const {
    refuse(detail::binary::description_of<std::tuple<detail::functions::Carried<A>...>>.data(),
           wanted, "");
  }
  std::string shown_name() const;
  [[noreturn]] void refuse(std::string_view types, std::string_view result,
                           const std::string& why) const;
  [[noreturn]] void refuse_bytes() const;
  [[noreturn]] static void refuse_null();

  std::shared_ptr<const Entry> entry_;
  std::string name_;
  std::string owner_;
};

// The function of that name: a registered one, or "library:function". The registry's configuration
// says where libraries are searched for; without one, that of polycache::caches. Throws ConfigError
// if there is none, with those that are known, and for a null pointer; PluginError if the library
// is not found or does not fit. Thread-safe, and usable in a child of fork().
Function find_function(std::string_view name, const CacheRegistry& registry);
Function find_function(std::string_view name);
template <detail::PointerText S>
Function find_function(S name, const CacheRegistry& registry) {
  return find_function(detail::text_of(name), registry);
}
template <detail::PointerText S>
Function find_function(S name) {
  return find_function(detail::text_of(name));
}

// Names a function of the program, for the whole process and for ever. Throws ConfigError if the
// name is empty or null, is taken, or has a ':'. Thread-safe, and usable in a child of fork().
void register_function(std::string name, Function function);
template <detail::PointerText S>
void register_function(S name, Function function) {
  register_function(std::string(detail::text_of(name)), std::move(function));
}

// find_function(name).call<R>(arguments...). Keep the Function where it is called often.
template <class R, class... A>
R call_function(std::string_view name, const A&... arguments) {
  return find_function(name).template call<R>(arguments...);
}
template <class R, detail::PointerText S, class... A>
R call_function(S name, const A&... arguments) {
  return call_function<R>(detail::text_of(name), arguments...);
}

}  // namespace polycache
