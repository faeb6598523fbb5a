// The items of Cache::set_many().

#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>

#include "polycache/codec.h"
#include "polycache/detail/refusals.h"
#include "polycache/key.h"

namespace polycache {

// One item of set_many(): a key and a value of any cacheable type, held by reference.
class ItemView {
 public:
  template <class T>
  requires std::is_object_v<T> ItemView(KeyView key, const T& value)
  noexcept
      : key_(key), value_(std::addressof(value)), encode_([](const void* v, std::string& scratch) {
          return encode_value(*static_cast<const T*>(v), scratch);
        }) {
    detail::require_codec<Stored<T>>();
  }
  template <class F>
  requires std::is_function_v<F> ItemView(KeyView key, F&)
  noexcept : key_(key) { detail::refuse_value<F>(); }
  template <detail::WrongKey K, class T>
  ItemView(K&&, const T&) noexcept : key_("") {
    detail::refuse_key<K>();
  }

  std::string_view key() const noexcept { return key_.text(); }
  // The value's bytes, valid while the value and `scratch` are unchanged.
  std::string_view encode(std::string& scratch) const { return encode_(value_, scratch); }

 private:
  friend class Cache;

  template <class T>
  static std::string_view encode_value(const T& value, std::string& scratch) {
    if constexpr (std::same_as<T, std::nullptr_t>) {
      return {};  // require_codec() has reported it
    } else if constexpr (std::convertible_to<const T&, std::string_view>) {
      return detail::text_of_value(value);
    } else if constexpr (Cacheable<Stored<T>>) {
      return Codec<Stored<T>>::encode(value, scratch);
    } else {
      return {};  // require_codec() has reported it
    }
  }

  KeyView key_;
  const void* value_ = nullptr;
  std::string_view (*encode_)(const void* value, std::string& scratch) = nullptr;
};

}  // namespace polycache
