// For codec_binary.h: how values, sequences and maps are described, written and read.
//
// Wire<T>::least          the fewest bytes a T takes; never 0, so that the input bounds sizes
// Wire<T>::describe       adds the type to a signature; Enclosing lists the structs around it
// Wire<T>::write, read    read returns whether the bytes are a T

#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/detail/binary_io.h"
#include "polycache/detail/binary_kinds.h"

namespace polycache::detail::binary {

// Reports an unsupported type at compile time, once for each type.
template <class T>
struct Refusal {
  static_assert(!std::same_as<T, T>,
                "polycache::BinaryCodec cannot store this type: it is a pointer, a view, a "
                "reference, a union, const, or a class with private members and no Codec; "
                "specialise polycache::Codec for it, or store something else");
};

template <class T>
struct Wire {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature&) noexcept {}
  static void write(Writer&, const T&) noexcept { static_cast<void>(Refusal<T>()); }
  static bool read(Reader&, T&) noexcept { return static_cast<void>(Refusal<T>()), false; }
};

template <>
struct Wire<bool> {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("b");
  }
  static void write(Writer& out, bool value) { out.put(static_cast<std::uint8_t>(value)); }
  static bool read(Reader& in, bool& value) noexcept { return in.get_flag(value); }
};

template <Plain T>
struct Wire<T> {
  static constexpr std::size_t least = sizeof(T);
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    if constexpr (std::is_enum_v<T>) {
      signature.add("e(u8)");  // std::byte, described as every enum is
    } else {
      const bool is_float = std::is_floating_point_v<T>;
      signature.add(Character<T> ? "c" : is_float ? "f" : std::is_signed_v<T> ? "i" : "u");
      signature.add(static_cast<std::intmax_t>(sizeof(T) * 8));
    }
  }
  static void write(Writer& out, T value) { out.put(value); }
  static bool read(Reader& in, T& value) noexcept { return in.get(value); }
};

// The bits differ between machines and are partly meaningless, so the text is stored.
template <>
struct Wire<long double> {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("ft");
  }
  static void write(Writer& out, long double value) {
    NumberBuffer buffer;
    const char* const end = write_number(buffer, buffer + sizeof buffer, value);
    const auto size = static_cast<std::size_t>(end - buffer);
    out.put_size(size);
    out.put_bytes(buffer, size);
  }
  static bool read(Reader& in, long double& value) noexcept {
    std::size_t size = 0;
    if (!in.get_size(size, 1)) return false;
    const std::optional<long double> number = parse_number<long double>(in.view(size));
    if (!number) return false;
    value = *number;
    return true;
  }
};

template <class T>
requires(Enum<T> && !Plain<T>) struct Wire<T> {
  using Underlying = std::underlying_type_t<T>;
  static constexpr std::size_t least = Wire<Underlying>::least;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("e(");
    Wire<Underlying>::describe(signature);
    signature.add(")");
  }
  static void write(Writer& out, T value) {
    Wire<Underlying>::write(out, static_cast<Underlying>(value));
  }
  static bool read(Reader& in, T& value) noexcept {
    Underlying number{};
    if (!Wire<Underlying>::read(in, number)) return false;
    value = static_cast<T>(number);
    return true;
  }
};

template <Number Rep, class Period>
struct Wire<std::chrono::duration<Rep, Period>> {
  using Duration = std::chrono::duration<Rep, Period>;
  static constexpr std::size_t least = Wire<Rep>::least;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("d(");
    Wire<Rep>::describe(signature);
    signature.add(",");
    signature.add(Period::type::num);
    signature.add("/");
    signature.add(Period::type::den);
    signature.add(")");
  }
  static void write(Writer& out, Duration value) { Wire<Rep>::write(out, value.count()); }
  static bool read(Reader& in, Duration& value) noexcept {
    Rep count{};
    if (!Wire<Rep>::read(in, count)) return false;
    value = Duration(count);
    return true;
  }
};

template <class Duration>
struct Wire<std::chrono::time_point<std::chrono::system_clock, Duration>> {
  using Moment = std::chrono::time_point<std::chrono::system_clock, Duration>;
  static constexpr std::size_t least = Wire<Duration>::least;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("t(");
    Wire<Duration>::describe(signature);
    signature.add(")");
  }
  static void write(Writer& out, Moment value) {
    Wire<Duration>::write(out, value.time_since_epoch());
  }
  static bool read(Reader& in, Moment& value) noexcept {
    Duration since{};
    if (!Wire<Duration>::read(in, since)) return false;
    value = Moment(since);
    return true;
  }
};

template <class Sequence, class... Enclosing>
constexpr void describe_sequence(Signature& signature) noexcept {
  signature.add("[");
  Wire<typename Sequence::value_type>::template describe<Enclosing...>(signature);
  signature.add("]");
}

template <StoredAtOnce T>
struct Wire<T> {
  using Element = typename T::value_type;
  static constexpr std::size_t least = 1;
  static constexpr bool copied_at_once =
      sizeof(Element) == 1 || std::endian::native == std::endian::little;

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    describe_sequence<T>(signature);
  }
  static void write(Writer& out, const T& values) {
    out.put_size(values.size());
    if constexpr (copied_at_once) {
      out.put_bytes(values.data(), values.size() * sizeof(Element));
    } else {
      for (const Element& element : values) out.put(element);
    }
  }
  static bool read(Reader& in, T& values) {
    std::size_t size = 0;
    if (!in.get_size(size, sizeof(Element))) return false;
    if constexpr (std::same_as<T, std::string>) {
      values.assign(in.view(size));
      return true;
    } else if constexpr (copied_at_once) {
      values.resize(size);
      return in.get_bytes(values.data(), size * sizeof(Element));
    } else {
      values.resize(size);
      return std::ranges::all_of(values, [&in](Element& element) { return in.get(element); });
    }
  }
};

// Reserves memory for the elements that the input announces, but at most 16 times the size of the
// input: a small encoded element may become a large object.
template <class T>
void reserve_for(T& values, std::size_t size, const Reader& in) {
  if constexpr (requires { values.reserve(size); })
    values.reserve(std::min(size, in.left() / sizeof(typename T::value_type) * 16 + 1));
}

template <StoredOneByOne T>
struct Wire<T> {
  using Element = typename T::value_type;
  static constexpr std::size_t least = 1;

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    describe_sequence<T, Enclosing...>(signature);
  }
  static void write(Writer& out, const T& values) {
    out.put_size(values.size());
    for (const auto& element : values) Wire<Element>::write(out, element);
  }
  static bool read(Reader& in, T& values) {
    std::size_t size = 0;
    if (!in.get_size(size, Wire<Element>::least)) return false;
    values.clear();
    reserve_for(values, size, in);
    for (; size != 0; --size)
      if (!read_one(in, values)) return false;
    return true;
  }

 private:
  static bool read_one(Reader& in, T& values) {
    if constexpr (std::same_as<Element, bool>) {  // std::vector<bool> has no bool&
      bool element = false;
      if (!Wire<bool>::read(in, element)) return false;
      values.push_back(element);
      return true;
    } else {
      return Wire<Element>::read(in, values.emplace_back());
    }
  }
};

}  // namespace polycache::detail::binary
