// Values of every kind and size, for tests of transforms.

#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace polycache::testing {

// Text that repeats itself, as JSON does.
inline std::string structured(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) {
    text += R"({"id": )" + std::to_string(i * 7919 % 1000) + R"(, "name": "a user", "on": true},)";
  }
  text.resize(size);
  return text;
}

// Bytes that do not get shorter.
inline std::string random_bytes(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

// Around the limits of the transforms and of their algorithms (blocks of 64 KiB and 128 KiB).
inline std::vector<std::size_t> interesting_sizes() {
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size < 40; ++size) sizes.push_back(size);
  for (const std::size_t around : {255U, 1024U, 4096U, 65536U, 131072U, 1U << 20U}) {
    for (const std::size_t size : {around - 1, around, around + 1}) sizes.push_back(size);
  }
  return sizes;
}

inline std::vector<std::string> samples() {
  std::vector<std::string> all;
  for (const std::size_t size : interesting_sizes()) {
    all.push_back(structured(size));
    all.push_back(random_bytes(size));
    all.emplace_back(size, '\0');
  }
  return all;
}

}  // namespace polycache::testing
