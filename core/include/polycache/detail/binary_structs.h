// For codec_binary.h: structs, by their members or by their own Codec.

#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "polycache/detail/binary_tuples.h"

namespace polycache::detail::binary {

template <OwnCodec T>
struct Wire<T> {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("x");
  }
  static void write(Writer& out, const T& value) {
    std::string scratch;
    const std::string_view bytes = Codec<T>::encode(value, scratch);
    out.put_size(bytes.size());
    out.put_bytes(bytes.data(), bytes.size());
  }
  static bool read(Reader& in, T& value) {
    std::size_t size = 0;
    if (!in.get_size(size, 1)) return false;
    std::optional<T> decoded = Codec<T>::decode(in.view(size));
    if (!decoded) return false;
    value = std::move(*decoded);
    return true;
  }
};

// Which of Enclosing T is, counted from the innermost as 1; 0 if it is none of them.
template <class T, class... Enclosing>
consteval std::size_t levels_out() {
  std::size_t level = 0;
  std::size_t found = 0;
  ((++level, found = found == 0 && std::same_as<T, Enclosing> ? level : found), ...);
  return found;
}

template <Struct T>
struct StructWire {
  static_assert(MadeOfNothing<T>,
                "polycache::BinaryCodec: this struct, or one of its members, has no default "
                "constructor");
  static_assert(!has_base<T>,
                "polycache::BinaryCodec: this struct has a base class; make the base a member");
  static_assert(has_base<T> || count_members<T>() <= max_members,
                "polycache::BinaryCodec: this struct has more than 16 members; group some of "
                "them in a struct of their own");
  using Members = decltype(members_of(std::declval<T&>()));
  static constexpr std::size_t least = least_of<Members>;

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    if constexpr (constexpr std::size_t level = levels_out<T, Enclosing...>(); level != 0) {
      signature.add("^");
      signature.add(static_cast<std::intmax_t>(level));
    } else {
      signature.add("s(");
      Described<Members, T, Enclosing...>::add_to(signature);
      signature.add(")");
    }
  }
  // Throws std::length_error for a value that read() would reject as too deep.
  static void write(Writer& out, const T& value) {
    const Depth inside(out.depth());
    if (out.depth() > max_depth)
      throw std::length_error("polycache::BinaryCodec: a value is nested deeper than 128 structs");
    write_elements(out, members_of(value));
  }
  static bool read(Reader& in, T& value) {
    const Depth inside(in.depth());
    return in.depth() <= max_depth && read_elements(in, members_of(value));
  }
};

template <StoredByMember T>
struct Wire<T> : StructWire<T> {};

}  // namespace polycache::detail::binary
