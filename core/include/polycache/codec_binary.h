// Stores values as compact bytes, without a schema or a macro. One line chooses it for a type; the
// compiler finds the members:
//
//   struct Point { int x; int y; std::string label; };
//   template <> struct polycache::Codec<Point> : polycache::BinaryCodec<Point> {};
//
// It can store bool, integers, characters, floating point, enums, durations and time points of
// system_clock; strings, sequences, sets and maps with the interface of the standard containers;
// arrays, optional, variant, pair, tuple; structs of up to 16 public members without a base class;
// and any of these inside any other, even a type inside itself (through a container). A member may
// also be a class with its own Codec. All types must be default constructible. Pointers, views and
// references fail to compile.
//
// The format is little endian and has no padding.
//
//   signature    8 bytes, a hash of the types of all members in order: after a change of the
//                struct, old entries are misses. It ignores names: after swapping two members of
//                one type or changing the meaning of one, use a new version or prefix.
//   bool         1 byte, 0 or 1
//   number, character, enum      as many bytes as the type; long double as text
//   size         7 bits per byte, lowest first; the high bit is set in all bytes but the last
//   sequence, string, set, map   size, then the elements; those of a map are key, value
//   array, pair, tuple, struct   its elements in order; a 0 byte if there are none
//   optional     a bool, then the value if it is true
//   variant      1 byte, the index, then that alternative
//   duration     its count; a time point is the duration since the Unix epoch
//   a type with its own Codec    size, then the bytes that its Codec gives
//
// The signature is FNV-1a (64 bits) over a text that docs/values.md defines; it is the same for
// every compiler. Reading trusts no input: each size is compared with the remaining input before
// memory is allocated, and nesting is limited to 128 structs. It rejects bytes after the value, a
// bool or optional that is neither 0 nor 1, an index that does not exist, a size in more bytes than
// needed, and a set or map with a repeated element.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/codec.h"
#include "polycache/detail/binary_structs.h"

namespace polycache {

namespace detail::binary {

// If a struct's own Codec is built on BinaryCodec, uses its members instead of calling that Codec.
template <class T>
struct Whole : Wire<T> {};
template <StoredByOwnCodec T>
struct Whole<T> : StructWire<T> {};

template <class T>
inline constexpr std::uint64_t signature_of = [] {
  Signature signature;
  signature.add("polycache 1 ");
  Whole<T>::describe(signature);
  return signature.value();
}();

// The description of a type (docs/values.md), ended by a null character: "s(i64,[c8])".
template <class T>
[[gnu::visibility("hidden")]] inline constexpr auto description_of = [] {
  constexpr std::size_t size = [] {
    Signature signature;
    Wire<T>::describe(signature);
    return signature.size();
  }();
  std::array<char, size + 1> text{};
  Signature signature(text.data());
  Wire<T>::describe(signature);
  return text;
}();

}  // namespace detail::binary

template <class T>
struct BinaryCodec {
  // Throws std::length_error for a value nested deeper than 128 structs,
  // std::bad_variant_access for a variant that lost its value, and what the Codec of a member
  // throws.
  static std::string_view encode(const T& value, std::string& scratch) {
    detail::binary::Writer out(scratch);
    out.put(detail::binary::signature_of<T>);
    detail::binary::Whole<T>::write(out, value);
    return out.finish();
  }

  // Empty if the bytes are damaged, not from this codec, or of a type with other members.
  static std::optional<T> decode(std::string_view bytes) {
    detail::binary::Reader in(bytes);
    std::uint64_t signature = 0;
    if (!in.get(signature) || signature != detail::binary::signature_of<T>) return std::nullopt;
    if constexpr (detail::binary::MadeOfNothing<T>) {
      std::optional<T> value;
      if (!detail::binary::Whole<T>::read(in, detail::binary::renew(value)) || in.left() != 0)
        return std::nullopt;
      return value;
    } else {
      return std::nullopt;  // rejected at compile time, with the reason
    }
  }
};

}  // namespace polycache
