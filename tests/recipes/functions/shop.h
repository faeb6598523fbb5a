// What the library of functions and its test have in common, each compiled on its own.

#pragma once

#include <polycache/codec_binary.h>

#include <cstdint>
#include <string>

namespace shop {

struct Foo {
  std::int32_t id = 0;
  std::string colour;
  friend bool operator==(const Foo&, const Foo&) = default;
};

}  // namespace shop

template <>
struct polycache::Codec<shop::Foo> : polycache::BinaryCodec<shop::Foo> {};
