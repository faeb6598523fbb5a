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

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "polycache/codec.h"

namespace polycache {

template <class T>
struct BinaryCodec;

namespace detail::binary {

inline constexpr std::size_t max_members = 16;
inline constexpr int max_depth = 128;

// The hash of a type's description.
class Signature {
 public:
  constexpr void add(std::string_view text) noexcept {
    for (const char c : text)
      state_ = (state_ ^ static_cast<unsigned char>(c)) * std::uint64_t{0x100000001b3};
  }
  constexpr void add(std::intmax_t number) noexcept {
    if (number >= 10) add(number / 10);
    const char digit = static_cast<char>('0' + number % 10);
    add(std::string_view(&digit, 1));
  }
  constexpr std::uint64_t value() const noexcept { return state_; }

 private:
  std::uint64_t state_ = 0xcbf29ce484222325;
};

// Counts the nested structs during the traversal of a value.
class Depth {
 public:
  explicit Depth(int& depth) noexcept : depth_(depth) { ++depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;
  ~Depth() { --depth_; }

 private:
  int& depth_;
};

template <class T>
std::array<char, sizeof(T)> to_little_endian(T number) noexcept {
  auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(number);
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(bytes);
  return bytes;
}

template <class T>
T from_little_endian(const char* at) noexcept {
  std::array<char, sizeof(T)> bytes;
  std::memcpy(bytes.data(), at, sizeof(T));
  if constexpr (std::endian::native == std::endian::big) std::ranges::reverse(bytes);
  return std::bit_cast<T>(bytes);
}

// Appends to a string whose size is kept ahead of the written bytes, so that a number costs one
// comparison and a copy. finish() corrects the size.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {
    if (out_.size() < first_size) out_.resize(first_size);
    at_ = out_.data();
    end_ = at_ + out_.size();
  }

  template <class T>
  void put(T number) {
    const auto bytes = to_little_endian(number);
    std::memcpy(take(sizeof(T)), bytes.data(), sizeof(T));
  }
  void put_bytes(const void* bytes, std::size_t size) {
    if (size != 0) std::memcpy(take(size), bytes, size);
  }
  void put_size(std::uint64_t size) {
    for (; size >= 0x80; size >>= 7) *take(1) = static_cast<char>(size | 0x80);
    *take(1) = static_cast<char>(size);
  }
  std::string_view finish() {
    out_.resize(static_cast<std::size_t>(at_ - out_.data()));
    return out_;
  }
  int& depth() noexcept { return depth_; }

 private:
  static constexpr std::size_t first_size = 128;

  char* take(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) [[unlikely]]
      grow(size);
    return std::exchange(at_, at_ + size);
  }
  void grow(std::size_t size) {
    const auto used = static_cast<std::size_t>(at_ - out_.data());
    out_.resize(std::max(out_.size() * 2, used + size));
    at_ = out_.data() + used;
    end_ = out_.data() + out_.size();
  }

  std::string& out_;
  char* at_;
  char* end_;
  int depth_ = 0;
};

// Each function returns whether the input contained the requested item.
class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept
      : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}

  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - at_); }

  template <class T>
  bool get(T& number) noexcept {
    if (left() < sizeof(T)) return false;
    number = from_little_endian<T>(at_);
    at_ += sizeof(T);
    return true;
  }
  bool get_bytes(void* bytes, std::size_t size) noexcept {
    if (left() < size) return false;
    if (size != 0) std::memcpy(bytes, at_, size);
    at_ += size;
    return true;
  }
  // The next `size` bytes, not copied. REQUIRES: size <= left().
  std::string_view view(std::size_t size) noexcept {
    return {std::exchange(at_, at_ + size), size};
  }
  bool get_flag(bool& flag) noexcept {
    std::uint8_t byte = 0;
    if (!get(byte) || byte > 1) return false;
    flag = byte == 1;
    return true;
  }
  // Reads a number of elements, each of which takes at least `least` bytes.
  bool get_size(std::size_t& size, std::size_t least) noexcept {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      std::uint8_t byte = 0;
      if (!get(byte)) return false;
      const std::uint64_t bits = byte & 0x7fU;
      if ((bits << shift) >> shift != bits) return false;
      number |= bits << shift;
      if (byte >= 0x80) continue;
      if ((byte == 0 && shift != 0) || number > left() / least) return false;
      size = static_cast<std::size_t>(number);
      return true;
    }
    return false;
  }
  int& depth() noexcept { return depth_; }

 private:
  const char* at_;
  const char* end_;
  int depth_ = 0;
};

// ---- the kinds of types --------------------------------------------------------------

template <class T>
concept Character = AnyOf<T, char, wchar_t, char8_t, char16_t, char32_t>;

// A type that may be copied as raw memory: every bit pattern is a value.
template <class T>
concept Plain = Integer<T> || Character<T> || AnyOf<T, float, double, std::byte>;

template <class T>
concept Sized = requires(const T& values) {
  typename T::value_type;
  { values.size() } -> std::convertible_to<std::size_t>;
  values.begin();
  values.end();
};

// Contiguous elements that can be copied at once: std::string, std::vector<int>.
template <class T>
concept PlainSequence = Sized<T> && Plain<typename T::value_type> &&
    std::contiguous_iterator<decltype(std::declval<const T&>().begin())> &&
    requires(T& values, std::size_t size) {
  values.resize(size);
  values.data();
};

// Any other sequence. A class that contains itself, as nlohmann::json does, is not one.
template <class T>
concept Growing = Sized<T> && !std::same_as<typename T::value_type, T> && !requires {
  typename T::key_type;
}
&&requires(T& values) {
  values.clear();
  values.emplace_back();
};

template <class T>
concept Associative = Sized<T> && requires(T& values) {
  typename T::key_type;
  values.clear();
  values.end();
};

template <class T>
concept Map = Associative<T> && requires {
  typename T::mapped_type;
};

// A class whose Codec the user wrote or chose: neither our default nor this one.
template <class T>
concept ChosenCodec =
    std::is_class_v<T> && !AnyOf<T, std::string, std::vector<std::byte>> &&
    !std::derived_from<Codec<T>, FallbackCodec<T>> && !std::derived_from<Codec<T>, BinaryCodec<T>>;

template <class T>
concept Container = !ChosenCodec<T> && (PlainSequence<T> || Growing<T> || Associative<T>);

template <class T>
concept Class = std::is_class_v<T> && std::same_as<T, std::remove_cv_t<T>> && !Container<T>;

template <class T>
concept OwnCodec = Class<T> && Cacheable<T> && !std::derived_from<Codec<T>, BinaryCodec<T>> &&
                   (ChosenCodec<T> || !std::is_aggregate_v<T>);

template <class T>
concept Struct = Class<T> && std::is_aggregate_v<T>;

// Does not use std::default_initializable: for a struct that contains itself through a map, clang
// 14 evaluates that concept too early and remembers a false result.
template <class T>
concept MadeOfNothing = requires {
  T{};
};

// Creates a new T in `value`.
template <class T>
T& renew(std::optional<T>& value) {
  if constexpr (std::is_default_constructible_v<T>) {
    return value.emplace();
  } else {
    return value.emplace(T{});
  }
}

// ---- the members of a struct ---------------------------------------------------------

// Converts to a base class of T and to nothing else.
template <class T>
struct BaseOf {
  template <class U>
  requires(std::is_base_of_v<U, T> && !std::same_as<U, T>)
  // NOLINTNEXTLINE(google-explicit-constructor): converting is its purpose
  operator U() const;
};

template <class T>
inline constexpr bool has_base = requires {
  T{BaseOf<T>{}};
};

// An empty pair of braces initialises one member of any type; 17 means more than 16.
template <class T>
consteval std::size_t count_members() {
  // clang-format off
  if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 17;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 16;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 15;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 14;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 13;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{},{}}; }) return 12;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{},{}}; }) return 11;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{},{}}; }) return 10;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{},{}}; }) return 9;
  else if constexpr (requires { T{{},{},{},{},{},{},{},{}}; }) return 8;
  else if constexpr (requires { T{{},{},{},{},{},{},{}}; }) return 7;
  else if constexpr (requires { T{{},{},{},{},{},{}}; }) return 6;
  else if constexpr (requires { T{{},{},{},{},{}}; }) return 5;
  else if constexpr (requires { T{{},{},{},{}}; }) return 4;
  else if constexpr (requires { T{{},{},{}}; }) return 3;
  else if constexpr (requires { T{{},{}}; }) return 2;
  else if constexpr (requires { T{{}}; }) return 1;
  else return 0;
  // clang-format on
}

// References to the members, in order. Empty for a struct that is rejected anyway, so that the
// compiler reports only the reason.
template <class T>
auto members_of(T& value) {
  using Type = std::remove_const_t<T>;
  constexpr std::size_t n = count_members<Type>();
  // clang-format off
  if constexpr (has_base<Type> || n == 0 || n > max_members) return std::tuple<>();
  else if constexpr (n == 1) { auto& [a] = value; return std::tie(a); }
  else if constexpr (n == 2) { auto& [a, b] = value; return std::tie(a, b); }
  else if constexpr (n == 3) { auto& [a, b, c] = value; return std::tie(a, b, c); }
  else if constexpr (n == 4) { auto& [a, b, c, d] = value; return std::tie(a, b, c, d); }
  else if constexpr (n == 5) { auto& [a, b, c, d, e] = value; return std::tie(a, b, c, d, e); }
  else if constexpr (n == 6) { auto& [a, b, c, d, e, f] = value; return std::tie(a, b, c, d, e, f); }
  else if constexpr (n == 7) { auto& [a, b, c, d, e, f, g] = value; return std::tie(a, b, c, d, e, f, g); }
  else if constexpr (n == 8) { auto& [a, b, c, d, e, f, g, h] = value; return std::tie(a, b, c, d, e, f, g, h); }
  else if constexpr (n == 9) { auto& [a, b, c, d, e, f, g, h, i] = value; return std::tie(a, b, c, d, e, f, g, h, i); }
  else if constexpr (n == 10) { auto& [a, b, c, d, e, f, g, h, i, j] = value; return std::tie(a, b, c, d, e, f, g, h, i, j); }
  else if constexpr (n == 11) { auto& [a, b, c, d, e, f, g, h, i, j, k] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k); }
  else if constexpr (n == 12) { auto& [a, b, c, d, e, f, g, h, i, j, k, l] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l); }
  else if constexpr (n == 13) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m); }
  else if constexpr (n == 14) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o); }
  else if constexpr (n == 15) { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p); }
  else { auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q] = value; return std::tie(a, b, c, d, e, f, g, h, i, j, k, l, m, o, p, q); }
  // clang-format on
}

// ---- how each kind is described, written and read ------------------------------------
//
// Wire<T>::least          the fewest bytes a T takes; never 0, so that the input bounds sizes
// Wire<T>::describe       adds the type to a signature; Enclosing lists the structs around it
// Wire<T>::write, read    read returns whether the bytes are a T

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

template <class T>
requires(Container<T>&& PlainSequence<T>) struct Wire<T> {
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

template <class T>
requires(Container<T>&& Growing<T> && !PlainSequence<T>) struct Wire<T> {
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

template <class T>
requires(Container<T>&& Associative<T>) struct Wire<T> {
  using Key = typename T::key_type;
  static constexpr std::size_t least = 1;

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("{");
    Wire<Key>::template describe<Enclosing...>(signature);
    if constexpr (Map<T>) {
      signature.add(":");
      Wire<typename T::mapped_type>::template describe<Enclosing...>(signature);
    }
    signature.add("}");
  }
  static void write(Writer& out, const T& values) {
    out.put_size(values.size());
    for (const auto& element : values) {
      if constexpr (Map<T>) {
        Wire<Key>::write(out, element.first);
        Wire<typename T::mapped_type>::write(out, element.second);
      } else {
        Wire<Key>::write(out, element);
      }
    }
  }
  static bool read(Reader& in, T& values) {
    std::size_t size = 0;
    if (!in.get_size(size, least_of_element())) return false;
    values.clear();
    for (std::size_t i = 0; i != size; ++i)
      if (!read_one(in, values)) return false;
    return values.size() == size;
  }

 private:
  static constexpr std::size_t least_of_element() noexcept {
    if constexpr (Map<T>) {
      return Wire<Key>::least + Wire<typename T::mapped_type>::least;
    } else {
      return Wire<Key>::least;
    }
  }
  static bool read_one(Reader& in, T& values) {
    Key key{};
    if (!Wire<Key>::read(in, key)) return false;
    if constexpr (Map<T>) {
      using Mapped = typename T::mapped_type;
      Mapped mapped{};
      if (!Wire<Mapped>::read(in, mapped)) return false;
      values.emplace_hint(values.end(), std::move(key), std::move(mapped));
    } else {
      values.emplace_hint(values.end(), std::move(key));
    }
    return true;
  }
};

// An array of fixed size: std::array or built-in.
template <class Array, class Element, std::size_t size>
struct ArrayWire {
  static constexpr std::size_t least = size == 0 ? 1 : size * Wire<Element>::least;
  static constexpr bool copied_at_once =
      Plain<Element> && (sizeof(Element) == 1 || std::endian::native == std::endian::little);

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("[");
    Wire<Element>::template describe<Enclosing...>(signature);
    signature.add(";");
    signature.add(static_cast<std::intmax_t>(size));
    signature.add("]");
  }
  static void write(Writer& out, const Array& values) {
    if constexpr (size == 0) {
      out.put(std::uint8_t{0});
    } else if constexpr (copied_at_once) {
      out.put_bytes(std::data(values), size * sizeof(Element));
    } else {
      for (const Element& element : values) Wire<Element>::write(out, element);
    }
  }
  static bool read(Reader& in, Array& values) {
    if constexpr (size == 0) {
      std::uint8_t nothing = 1;
      return in.get(nothing) && nothing == 0;
    } else if constexpr (copied_at_once) {
      return in.get_bytes(std::data(values), size * sizeof(Element));
    } else {
      for (Element& element : values)
        if (!Wire<Element>::read(in, element)) return false;
      return true;
    }
  }
};

template <class T, std::size_t size>
struct Wire<std::array<T, size>> : ArrayWire<std::array<T, size>, T, size> {};
template <class T, std::size_t size>
struct Wire<T[size]> : ArrayWire<T[size], T, size> {};

template <class T>
struct Wire<std::optional<T>> {
  static constexpr std::size_t least = 1;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("?(");
    Wire<T>::template describe<Enclosing...>(signature);
    signature.add(")");
  }
  static void write(Writer& out, const std::optional<T>& value) {
    Wire<bool>::write(out, value.has_value());
    if (value) Wire<T>::write(out, *value);
  }
  static bool read(Reader& in, std::optional<T>& value) {
    bool is_there = false;
    if (!in.get_flag(is_there)) return false;
    value.reset();
    return !is_there || Wire<T>::read(in, renew(value));
  }
};

// Adds the types in order, separated by commas.
template <class Tuple, class... Enclosing>
struct Described;
template <class... Types, class... Enclosing>
struct Described<std::tuple<Types...>, Enclosing...> {
  static constexpr void add_to(Signature& signature) noexcept {
    [[maybe_unused]] bool first = true;
    ((signature.add(std::exchange(first, false) ? "" : ","),
      Wire<std::remove_reference_t<Types>>::template describe<Enclosing...>(signature)),
     ...);
  }
};

template <class Tuple>
inline constexpr std::size_t least_of = 0;
template <class... Types>
inline constexpr std::size_t least_of<std::tuple<Types...>> =
    std::max(std::size_t{1}, (Wire<std::remove_reference_t<Types>>::least + ... + std::size_t{0}));

// Writes the elements of a tuple, of values or of references, in order.
template <class Tuple>
void write_elements(Writer& out, const Tuple& elements) {
  std::apply(
      [&out](const auto&... element) {
        if constexpr (sizeof...(element) == 0) out.put(std::uint8_t{0});
        (Wire<std::remove_cvref_t<decltype(element)>>::write(out, element), ...);
      },
      elements);
}

template <class Tuple>
bool read_elements(Reader& in, Tuple&& elements) {
  return std::apply(
      [&in](auto&... element) {
        if constexpr (sizeof...(element) == 0) {
          std::uint8_t nothing = 1;
          return in.get(nothing) && nothing == 0;
        } else {
          return (Wire<std::remove_cvref_t<decltype(element)>>::read(in, element) && ...);
        }
      },
      elements);
}

// A pair or tuple; Elements lists its types.
template <class T, class Elements>
struct TupleWire {
  static constexpr std::size_t least = least_of<Elements>;
  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("(");
    Described<Elements, Enclosing...>::add_to(signature);
    signature.add(")");
  }
  static void write(Writer& out, const T& value) { write_elements(out, value); }
  static bool read(Reader& in, T& value) { return read_elements(in, value); }
};

template <class First, class Second>
struct Wire<std::pair<First, Second>>
    : TupleWire<std::pair<First, Second>, std::tuple<First, Second>> {};
template <class... Types>
struct Wire<std::tuple<Types...>> : TupleWire<std::tuple<Types...>, std::tuple<Types...>> {};
template <>
struct Wire<std::monostate> : TupleWire<std::tuple<>, std::tuple<>> {
  static void write(Writer& out, std::monostate) { write_elements(out, std::tuple<>()); }
  static bool read(Reader& in, std::monostate&) noexcept {
    return read_elements(in, std::tuple<>());
  }
};

template <class... Types>
struct Wire<std::variant<Types...>> {
  using Variant = std::variant<Types...>;
  static_assert(sizeof...(Types) <= 255, "polycache::BinaryCodec: more than 255 alternatives");
  static constexpr std::size_t least = 1 + std::min({Wire<Types>::least...});

  template <class... Enclosing>
  static constexpr void describe(Signature& signature) noexcept {
    signature.add("|(");
    Described<std::tuple<Types...>, Enclosing...>::add_to(signature);
    signature.add(")");
  }
  // Throws std::bad_variant_access if the variant has lost its value.
  static void write(Writer& out, const Variant& value) {
    if (value.valueless_by_exception()) throw std::bad_variant_access();
    out.put(static_cast<std::uint8_t>(value.index()));
    std::visit([&out]<class T>(const T& held) { Wire<T>::write(out, held); }, value);
  }
  static bool read(Reader& in, Variant& value) {
    std::uint8_t index = 0;
    if (!in.get(index)) return false;
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      bool is_read = false;
      static_cast<void>(
          ((index == i && (is_read = Wire<Types>::read(in, value.template emplace<i>()), true)) ||
           ...));
      return is_read;
    }
    (std::index_sequence_for<Types...>());
  }
};

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

template <class T>
requires(Struct<T> && !OwnCodec<T>) struct Wire<T> : StructWire<T> {
};

// If a struct's own Codec is built on BinaryCodec, uses its members instead of calling that Codec.
template <class T>
struct Whole : Wire<T> {};
template <class T>
requires(Struct<T>&& OwnCodec<T>) struct Whole<T> : StructWire<T> {
};

template <class T>
inline constexpr std::uint64_t signature_of = [] {
  Signature signature;
  signature.add("polycache 1 ");
  Whole<T>::describe(signature);
  return signature.value();
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
