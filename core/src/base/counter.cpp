#include "polycache/author/counter.h"

#include <charconv>
#include <string>

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

std::optional<std::int64_t> parse_counter(std::string_view bytes) noexcept {
  const std::string_view digits = bytes.starts_with('-') ? bytes.substr(1) : bytes;
  if (digits.empty() || digits.front() < '0' || digits.front() > '9') return std::nullopt;
  if (digits.front() == '0' && bytes.size() > 1) return std::nullopt;  // "007", "-0"
  std::int64_t value = 0;
  const char* const end = bytes.data() + bytes.size();
  const auto [rest, error] = std::from_chars(bytes.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

std::int64_t add_to_counter(std::string_view bytes, std::int64_t delta) {
  const std::optional<std::int64_t> value = parse_counter(bytes);
  if (!value)
    throw ValueError(ValueError::Kind::not_a_counter,
                     "the stored value is not a decimal 64-bit integer; set() a number first");
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*value, delta, &sum)) {
    throw ValueError(ValueError::Kind::overflow, "the sum of " + std::to_string(*value) + " and " +
                                                     std::to_string(delta) + " is beyond 64 bits");
  }
  return sum;
}

}  // namespace polycache
