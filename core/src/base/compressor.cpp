#include "polycache/author/compressor.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <stdexcept>

#include "polycache/author/crc32c.h"

namespace polycache {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie");

constexpr std::size_t size_bytes = sizeof(std::uint32_t);
constexpr std::size_t header_bytes = size_bytes + sizeof(std::uint32_t);

constexpr std::int64_t default_min_bytes = 1024;
// As much as locmem's whole default store, and what a reply of memcached or redis may have: larger
// values are no cache entries.
constexpr std::int64_t default_max_bytes = std::int64_t{64} << 20U;
constexpr std::int64_t largest_max_bytes = std::int64_t{1} << 30U;  // sqlite stores no more

std::uint32_t read_u32(std::string_view bytes) noexcept {
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return number;
}

std::uint32_t checksum(std::string_view size, std::string_view compressed) noexcept {
  return crc32c(compressed, crc32c(size));
}

}  // namespace

Compressor::Compressor(const OptionReader& options, std::size_t largest_ratio)
    : min_bytes_(static_cast<std::size_t>(options.bytes("min_bytes", default_min_bytes))),
      max_bytes_(static_cast<std::size_t>(options.bytes("max_bytes", default_max_bytes, 1))),
      largest_ratio_(largest_ratio) {
  if (max_bytes_ > largest_max_bytes) options.reject("max_bytes", "expected at most 1GiB");
  if (min_bytes_ > max_bytes_) {
    options.reject("min_bytes", "is larger than max_bytes, so that nothing would be compressed");
  }
}

Compressor::~Compressor() = default;

bool Compressor::apply(std::string_view value, const TransformContext& context, std::string& out) {
  if (value.size() < min_bytes_ || value.size() > max_bytes_) return false;
  // A value that is stored as it is needs no head.
  const std::size_t overhead = header_bytes + context.head.size();
  const std::size_t a_tenth_smaller = value.size() / 10 * 9;
  if (a_tenth_smaller <= overhead) return false;
  out.resize(header_bytes + a_tenth_smaller - overhead);
  const std::size_t size = compress(value, {out.data() + header_bytes, out.size() - header_bytes});
  out.resize(size == 0 ? 0 : header_bytes + size);
  if (size == 0) return false;
  const std::string_view all = out;
  const auto value_size = static_cast<std::uint32_t>(value.size());
  std::memcpy(out.data(), &value_size, size_bytes);
  const std::uint32_t crc = checksum(all.substr(0, size_bytes), all.substr(header_bytes));
  std::memcpy(out.data() + size_bytes, &crc, sizeof(crc));
  return true;
}

bool Compressor::revert(std::string_view stored, const TransformContext&, std::string& out) {
  if (stored.size() <= header_bytes) return false;
  const std::string_view compressed = stored.substr(header_bytes);
  const std::uint32_t crc = checksum(stored.substr(0, size_bytes), compressed);
  if (read_u32(stored.substr(size_bytes)) != crc) return false;
  const std::size_t size = read_u32(stored);
  if (size > max_bytes_) {
    throw std::length_error("it claims " + std::to_string(size) +
                            " bytes, and the option max_bytes allows " +
                            std::to_string(max_bytes_));
  }
  if (size <= compressed.size() || size > compressed.size() * largest_ratio_) return false;
  out.resize(size);
  return decompress(compressed, out);
}

}  // namespace polycache
