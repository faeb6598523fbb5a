// Stores values as JSON, for every type that nlohmann/json can convert: your own types with to_json
// and from_json (or NLOHMANN_DEFINE_TYPE_...), the standard containers of such types, and
// nlohmann::json itself. Including this header is enough. Any other codec of a type, built-in or a
// specialisation of Codec, takes precedence.
//
//   #include <polycache/codec_json.h>
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)
//   cache.set("origin", Point{0, 0});           // stored as {"x":0,"y":0}
//
// Choose it by name if another codec would be used, for example for an enum:
//
//   template <> struct polycache::Codec<Color> : polycache::JsonCodec<Color> {};
//
// Needs nlohmann/json 3.11 or later; no other header of polycache does.

#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "polycache/codec.h"

namespace polycache {

namespace detail {

template <class T>
concept JsonValue = AnyOf<T, nlohmann::json, nlohmann::ordered_json>;

template <class T>
concept WritesJson = requires(nlohmann::json& json, const T& value) {
  nlohmann::adl_serializer<T>::to_json(json, value);
};

// Reads into an existing object, or returns a new one, which also serves types without a default
// constructor.
template <class T>
concept ReadsJson = (std::default_initializable<T> &&
                     requires(const nlohmann::json& json, T& value) {
                       nlohmann::adl_serializer<T>::from_json(json, value);
                     }) ||
                    requires(const nlohmann::json& json) {
  { nlohmann::adl_serializer<T>::from_json(json) } -> std::same_as<T>;
};

// Numbers and enums have built-in codecs, and types that point elsewhere cannot be read back.
template <class T>
concept FitForJson = std::is_class_v<T> && std::same_as<T, std::remove_cv_t<T>> &&
    !std::same_as<T, std::string_view>;

}  // namespace detail

template <class T>
struct JsonCodec {
  // Compact JSON. Throws nlohmann::json::exception for values that JSON cannot express, such as
  // text that is not UTF-8, and what to_json throws.
  static std::string_view encode(const T& value, std::string& scratch) {
    if constexpr (detail::JsonValue<T>) {
      scratch = value.dump();
    } else {
      nlohmann::json json;
      nlohmann::adl_serializer<T>::to_json(json, value);
      scratch = json.dump();
    }
    return scratch;
  }

  // Empty if `bytes` is not JSON, or not the JSON of a T. Throws what from_json throws, except
  // exceptions of nlohmann/json.
  static std::optional<T> decode(std::string_view bytes) {
    using Json = std::conditional_t<detail::JsonValue<T>, T, nlohmann::json>;
    Json json = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) return std::nullopt;
    if constexpr (detail::JsonValue<T>) {
      return json;
    } else {
      try {
        return std::optional<T>(json.template get<T>());
      } catch (const nlohmann::json::exception&) {
        return std::nullopt;
      }
    }
  }
};

namespace detail {

template <FitForJson T>
requires(JsonValue<T> || (WritesJson<T> && ReadsJson<T>)) struct FallbackCodec<T> : JsonCodec<T> {
};

// Not a codec; the compiler's message (refusals.h) names the macro that would provide one.
template <FitForJson T>
requires(!JsonValue<T> && !(WritesJson<T> && ReadsJson<T>)) struct FallbackCodec<T> {
  struct NoJson {};
};

}  // namespace detail
}  // namespace polycache
