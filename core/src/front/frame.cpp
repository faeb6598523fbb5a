#include "front/frame.h"

#include <cstdint>

namespace polycache::frame {
namespace {

constexpr char format = 1;
constexpr std::size_t length_size = 4;
constexpr std::size_t header_size = 3 + 1 + length_size;

std::uint32_t read_u32(std::string_view bytes) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = length_size; i-- > 0;) {
    value = (value << 8U) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

// Length of the fields, or empty if this is no frame of our format.
std::optional<std::size_t> fields_size(std::string_view stored) noexcept {
  if (stored.size() < header_size || stored[magic.size()] != format) return std::nullopt;
  return read_u32(stored.substr(magic.size() + 1));
}

bool all_fields_known(std::string_view fields) noexcept {
  while (!fields.empty()) {
    if (fields.size() < 1 + length_size) return false;
    const auto id = static_cast<unsigned char>(fields.front());
    const std::size_t length = read_u32(fields.substr(1));
    fields.remove_prefix(1 + length_size);
    if (id >= 0x80 || length > fields.size()) return false;
    fields.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::optional<std::string_view> payload(std::string_view stored) noexcept {
  const auto fields = fields_size(stored);
  if (!fields) return std::nullopt;
  stored.remove_prefix(header_size);
  if (*fields > stored.size() || !all_fields_known(stored.substr(0, *fields))) return std::nullopt;
  return stored.substr(*fields);
}

bool is_readable(std::string_view head) noexcept {
  const auto fields = fields_size(head);
  if (!fields) return false;
  head.remove_prefix(header_size);
  // Fields beyond what we were shown are judged when the value is read.
  return *fields > head.size() || all_fields_known(head.substr(0, *fields));
}

std::string wrap(std::string_view value) {
  std::string framed;
  framed.reserve(header_size + value.size());
  framed.append(magic).append(1, format).append(length_size, '\0').append(value);
  return framed;
}

}  // namespace polycache::frame
