#include "convert.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace polycache::detail::functions {
namespace {

using binary::Reader;
using binary::Writer;
using Number = std::variant<std::int64_t, std::uint64_t, double>;

// What is between the brackets of "[i32]" or "?(i32)"; empty if the type is of another form.
std::string_view inside(std::string_view type, std::string_view open) noexcept {
  if (!type.starts_with(open)) return {};
  return type.substr(open.size(), type.size() - open.size() - 1);
}

std::string_view element_of(std::string_view sequence) noexcept {
  const std::string_view element = inside(sequence, "[");
  std::string_view rest = element;
  return take_type(rest) == element ? element : std::string_view();  // no array: "[i32;3]"
}

// "i32" is 'i' and 4.
struct Scalar {
  char kind = 0;
  int bytes = 0;
};
Scalar scalar_of(std::string_view type) noexcept {
  if (type == "b") return {'b', 1};
  if (type.size() < 2 || std::string_view("iufc").find(type[0]) == std::string_view::npos) {
    return {};
  }
  const std::string_view bits = type.substr(1);
  for (const int bytes : {1, 2, 4, 8}) {
    if (bits == std::to_string(bytes * 8)) return {type[0], bytes};
  }
  return {};
}
bool is_number(const Scalar& scalar) noexcept {
  return scalar.kind == 'i' || scalar.kind == 'u' || scalar.kind == 'f';
}

template <class T>
std::optional<Number> read_as(Reader& in) {
  T value{};
  if (!in.get(value)) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>) {
    return Number(static_cast<double>(value));
  } else if constexpr (std::is_signed_v<T>) {
    return Number(static_cast<std::int64_t>(value));
  } else {
    return Number(static_cast<std::uint64_t>(value));
  }
}
std::optional<Number> read_number(const Scalar& type, Reader& in) {
  if (type.kind == 'f') return type.bytes == 4 ? read_as<float>(in) : read_as<double>(in);
  const bool is_signed = type.kind == 'i';
  switch (type.bytes) {
    case 1:
      return is_signed ? read_as<std::int8_t>(in) : read_as<std::uint8_t>(in);
    case 2:
      return is_signed ? read_as<std::int16_t>(in) : read_as<std::uint16_t>(in);
    case 4:
      return is_signed ? read_as<std::int32_t>(in) : read_as<std::uint32_t>(in);
    default:
      return is_signed ? read_as<std::int64_t>(in) : read_as<std::uint64_t>(in);
  }
}

// Whether a T is the very same number.
template <class T, class N>
bool is_exactly(N number) noexcept {
  if constexpr (std::is_integral_v<T>) {
    return std::in_range<T>(number);
  } else if constexpr (std::is_integral_v<N>) {
    const T value = static_cast<T>(number);
    // 2^63 or 2^64, which a large number may have been rounded to.
    const T beyond = std::ldexp(T{1}, std::numeric_limits<N>::digits);
    return value < beyond && static_cast<N>(value) == number;
  } else {
    const bool is_beyond = std::fabs(number) > static_cast<N>(std::numeric_limits<T>::max());
    return !std::isfinite(number) ||
           (!is_beyond && static_cast<N>(static_cast<T>(number)) == number);
  }
}

template <class T>
bool write_as(const Number& number, Writer& out) {
  return std::visit(
      [&]<class N>(N value) {
        if constexpr (std::is_integral_v<T> && !std::is_integral_v<N>) {
          return false;  // convert_scalar() refuses it
        } else {
          if (!is_exactly<T>(value)) return false;
          out.put(static_cast<T>(value));
          return true;
        }
      },
      number);
}
bool write_number(const Scalar& type, const Number& number, Writer& out) {
  if (type.kind == 'f') {
    return type.bytes == 4 ? write_as<float>(number, out) : write_as<double>(number, out);
  }
  const bool is_signed = type.kind == 'i';
  switch (type.bytes) {
    case 1:
      return is_signed ? write_as<std::int8_t>(number, out) : write_as<std::uint8_t>(number, out);
    case 2:
      return is_signed ? write_as<std::int16_t>(number, out) : write_as<std::uint16_t>(number, out);
    case 4:
      return is_signed ? write_as<std::int32_t>(number, out) : write_as<std::uint32_t>(number, out);
    default:
      return is_signed ? write_as<std::int64_t>(number, out) : write_as<std::uint64_t>(number, out);
  }
}

Conversion convert_scalar(const Scalar& from, Reader& in, const Scalar& to, Writer& out) {
  const bool same = from.kind == to.kind && from.bytes == to.bytes;
  if (same && from.bytes != 0) {
    const auto size = static_cast<std::size_t>(from.bytes);
    if (in.left() < size) return Conversion::other_types;
    out.put_bytes(in.view(size).data(), size);
    return Conversion::done;
  }
  if (!is_number(from) || !is_number(to)) return Conversion::other_types;
  if (from.kind == 'f' && to.kind != 'f') return Conversion::other_types;
  const auto number = read_number(from, in);
  if (!number) return Conversion::other_types;
  return write_number(to, *number, out) ? Conversion::done : Conversion::narrows;
}

Conversion convert_one(std::string_view from, Reader& in, std::string_view to, Writer& out);

// Whether the types fit where no value shows it: of the elements of an empty sequence, of an
// optional without a value.
Conversion convert_nothing(std::string_view from, std::string_view to) {
  if (from == to) return Conversion::done;
  const std::string zeroes(sizeof(std::uint64_t), '\0');
  std::string ignored;
  Reader zero(zeroes);
  Writer nowhere(ignored);
  return convert_one(from, zero, to, nowhere);
}

Conversion convert_one(std::string_view from, Reader& in, std::string_view to, Writer& out) {
  if (const std::string_view value = inside(to, "?("); !value.empty()) {
    bool is_there = true;
    const std::string_view of = inside(from, "?(");
    if (!of.empty() && !in.get_flag(is_there)) return Conversion::other_types;
    out.put(static_cast<std::uint8_t>(is_there));
    if (!is_there) return convert_nothing(of, value);
    return convert_one(of.empty() ? from : of, in, value, out);
  }
  const std::string_view element = element_of(from);
  const std::string_view wanted = element_of(to);
  if (element.empty() || wanted.empty()) {
    return convert_scalar(scalar_of(from), in, scalar_of(to), out);
  }
  std::size_t size = 0;
  if (!in.get_size(size, 1)) return Conversion::other_types;
  out.put_size(size);
  if (size == 0) return convert_nothing(element, wanted);
  for (; size != 0; --size) {
    const Conversion result = convert_one(element, in, wanted, out);
    if (result != Conversion::done) return result;
  }
  return Conversion::done;
}

}  // namespace

Conversion convert(std::string_view from, std::string_view bytes, std::string_view to,
                   binary::Writer& out) {
  if (inside(to, "?(") == from) {
    out.put(std::uint8_t{1});
  } else if (from != to) {
    Reader in(bytes);
    const Conversion result = convert_one(from, in, to, out);
    return result == Conversion::done && in.left() != 0 ? Conversion::other_types : result;
  }
  out.put_bytes(bytes.data(), bytes.size());
  return Conversion::done;
}

std::string_view take_type(std::string_view& rest) noexcept {
  int depth = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    const char c = rest[i];
    if (c == '(' || c == '[' || c == '{') ++depth;
    const bool closes = c == ')' || c == ']' || c == '}';
    if (depth == 0 && (closes || c == ',' || c == ';')) {
      const std::string_view type = rest.substr(0, i);
      rest.remove_prefix(c == ',' ? i + 1 : i);
      return type;
    }
    if (closes) --depth;
  }
  return std::exchange(rest, {});
}

}  // namespace polycache::detail::functions
