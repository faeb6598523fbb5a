// The bytes of keys: their order is that of the values, they can be read back, and no key's bytes
// are the beginning of another's. Values are random; a failure prints the seed (POLYCACHE_SEED).

#include "polycache/ordered_key.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "support/message_of.h"

namespace shop {

enum class Size : signed char { small = -1, medium, large };

struct Item {
  std::string name;
  int count = 0;
  auto operator<=>(const Item&) const = default;
};

// A type whose members cannot be seen.
class Version {
 public:
  Version() = default;
  Version(int major, int minor) : parts_(major, minor) {}
  const std::pair<int, int>& parts() const { return parts_; }
  auto operator<=>(const Version&) const = default;

 private:
  std::pair<int, int> parts_;
};

struct Pointer {
  int* target = nullptr;
};

}  // namespace shop

template <>
struct polycache::OrderedKey<shop::Version> {
  using As = std::pair<int, int>;
  static As to(const shop::Version& version) { return version.parts(); }
  static shop::Version from(const As& as) { return {as.first, as.second}; }
};

namespace polycache {
namespace {

using std::string_literals::operator""s;

std::uint32_t chosen_seed() {
  const char* const text = std::getenv("POLYCACHE_SEED");
  return text != nullptr ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10))
                         : std::random_device()();
}

// --- Random values, among them many that lie close together, and the limits ---

class Source {
 public:
  explicit Source(std::uint32_t seed) : random_(seed) {}

  std::size_t below(std::size_t limit) { return random_() % limit; }

  void make(bool& value) { value = below(2) == 0; }
  template <std::integral T>
  void make(T& value) {
    using Limits = std::numeric_limits<T>;
    switch (below(4)) {
      case 0:
        value = below(2) == 0 ? Limits::min() : Limits::max();
        break;
      case 1:
        value = static_cast<T>(below(7));
        if constexpr (std::is_signed_v<T>) value = static_cast<T>(value - 3);
        break;
      default:
        value = static_cast<T>(wide_(random_));
        value = static_cast<T>(value >> below(8 * sizeof(T)));
    }
  }
  template <std::floating_point T>
  void make(T& value) {
    using Limits = std::numeric_limits<T>;
    constexpr std::array<T, 9> special{0,
                                       T{-0.0},
                                       Limits::infinity(),
                                       -Limits::infinity(),
                                       Limits::denorm_min(),
                                       -Limits::denorm_min(),
                                       Limits::max(),
                                       Limits::lowest(),
                                       1};
    if (below(3) == 0) {
      value = special.at(below(special.size()));
    } else {
      const auto exponent = static_cast<int>(below(80)) - 40;
      value = std::ldexp(static_cast<T>(static_cast<int>(below(2001)) - 1000), exponent);
    }
  }
  void make(std::string& value) {
    static const std::string bytes(
        "\0\x01\xFF\xFE"
        "ab",
        6);
    value.clear();
    for (std::size_t left = below(5); left > 0; --left) value += bytes[below(bytes.size())];
  }
  void make(std::monostate&) {}
  void make(shop::Size& value) { value = static_cast<shop::Size>(static_cast<int>(below(3)) - 1); }
  void make(shop::Item& value) { make(value.name), make(value.count); }
  void make(shop::Version& value) {
    value = {static_cast<int>(below(5)) - 2, static_cast<int>(below(3))};
  }
  template <class Rep, class Period>
  void make(std::chrono::duration<Rep, Period>& value) {
    Rep count{};
    make(count);
    value = std::chrono::duration<Rep, Period>(count);
  }
  void make(std::chrono::system_clock::time_point& value) {
    std::chrono::system_clock::duration since{};
    make(since);
    value = std::chrono::system_clock::time_point(since);
  }
  template <class T>
  void make(std::optional<T>& value) {
    value.reset();
    if (below(3) != 0) make(value.emplace());
  }
  template <class A, class B>
  void make(std::pair<A, B>& value) {
    make(value.first), make(value.second);
  }
  template <class... T>
  void make(std::tuple<T...>& value) {
    std::apply([&](auto&... item) { (make(item), ...); }, value);
  }
  template <class T, std::size_t n>
  void make(std::array<T, n>& value) {
    for (T& item : value) make(item);
  }
  template <class A, class B>
  void make(std::variant<A, B>& value) {
    if (below(2) == 0) {
      make(value.template emplace<0>());
    } else {
      make(value.template emplace<1>());
    }
  }
  template <class T>
  void make(std::vector<T>& value) {
    value.clear();
    for (std::size_t left = below(4); left > 0; --left) {
      T item{};
      make(item);
      value.push_back(std::move(item));
    }
  }

 private:
  std::mt19937 random_;
  std::uniform_int_distribution<long long> wide_{std::numeric_limits<long long>::min(),
                                                 std::numeric_limits<long long>::max()};
};

template <class T>
class OrderedKeys : public ::testing::Test {};

using Types = ::testing::Types<
    bool, char, signed char, unsigned char, short, int, unsigned, long, unsigned long long, float,
    double, std::string, shop::Size, shop::Item, shop::Version, std::chrono::milliseconds,
    std::chrono::duration<double>, std::chrono::system_clock::time_point, std::optional<int>,
    std::optional<std::string>, std::optional<std::optional<std::string>>,
    std::pair<std::string, int>, std::pair<std::string, std::string>,
    std::tuple<int, double, std::string>, std::tuple<std::optional<std::string>, std::string>,
    std::array<short, 3>, std::variant<int, std::string>, std::vector<std::string>,
    std::vector<std::optional<int>>, std::vector<bool>,
    std::tuple<std::vector<std::string>, std::variant<double, shop::Item>>>;
TYPED_TEST_SUITE(OrderedKeys, Types);

TYPED_TEST(OrderedKeys, BytesAreOrderedAsValuesAre) {
  const std::uint32_t seed = chosen_seed();
  Source source(seed);
  for (int turn = 0; turn < 20'000; ++turn) {
    TypeParam a{};
    TypeParam b{};
    source.make(a);
    source.make(b);
    const std::string bytes_of_a = ordered_bytes(a);
    const std::string bytes_of_b = ordered_bytes(b);
    ASSERT_EQ(a < b, bytes_of_a < bytes_of_b) << "seed " << seed << ", turn " << turn;
    ASSERT_EQ(a == b, bytes_of_a == bytes_of_b) << "seed " << seed << ", turn " << turn;
    ASSERT_TRUE(a == b || !bytes_of_b.starts_with(bytes_of_a)) << "seed " << seed;
    const std::optional<TypeParam> read = from_ordered_bytes<TypeParam>(bytes_of_a);
    ASSERT_TRUE(read.has_value()) << "seed " << seed << ", turn " << turn;
    ASSERT_TRUE(*read == a) << "seed " << seed << ", turn " << turn;
    if (!bytes_of_a.empty()) {
      ASSERT_FALSE(from_ordered_bytes<TypeParam>(bytes_of_a.substr(0, bytes_of_a.size() - 1)))
          << "seed " << seed << ", turn " << turn;
    }
    ASSERT_FALSE(from_ordered_bytes<TypeParam>(bytes_of_a + "x")) << "seed " << seed;
  }
}

// --- The bytes, which are stored ---

TEST(OrderedBytes, AreAsEver) {
  EXPECT_EQ(ordered_bytes(true), "\1"s);
  EXPECT_EQ(ordered_bytes(0), "\x80\0\0\0\0\0\0\0"s);
  EXPECT_EQ(ordered_bytes(-1), "\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"s);
  EXPECT_EQ(ordered_bytes(std::int8_t{5}), ordered_bytes(std::int64_t{5})) << "one type of keys";
  EXPECT_EQ(ordered_bytes(258U), "\0\0\0\0\0\0\1\2"s);
  EXPECT_EQ(ordered_bytes(1.0), "\xBF\xF0\0\0\0\0\0\0"s);
  EXPECT_EQ(ordered_bytes(-1.0), "\x40\x0F\xFF\xFF\xFF\xFF\xFF\xFF"s);
  EXPECT_EQ(ordered_bytes(1.0F), ordered_bytes(1.0));
  EXPECT_EQ(ordered_bytes("a\0b"s), "a\0\xFF"s + "b\0\1"s);
  EXPECT_EQ(ordered_bytes(std::optional<bool>()), "\0"s);
  EXPECT_EQ(ordered_bytes(std::optional(true)), "\1\1"s);
  EXPECT_EQ(ordered_bytes(std::vector<bool>{false, true}), "\1\0\1\1\0"s);
  EXPECT_EQ(ordered_bytes(std::variant<int, bool>(true)), "\1\1"s);
  EXPECT_EQ(ordered_bytes(std::chrono::milliseconds(0)), ordered_bytes(0));
}

TEST(OrderedBytes, OfMinusZeroAreThoseOfZero) {
  EXPECT_EQ(ordered_bytes(-0.0), ordered_bytes(0.0));
  EXPECT_EQ(ordered_bytes(-0.0F), ordered_bytes(0.0F));
  EXPECT_FALSE(std::signbit(*from_ordered_bytes<double>(ordered_bytes(-0.0))));
}

TEST(OrderedBytes, RefuseNaN) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto message = testing::message_of<InvalidKey>([&] { ordered_bytes(nan); });
  EXPECT_NE(message.find("NaN"), std::string::npos) << message;
  EXPECT_THROW(ordered_bytes(-std::numeric_limits<float>::quiet_NaN()), InvalidKey);
  EXPECT_THROW(ordered_bytes(std::tuple(1, std::optional(nan))), InvalidKey);
}

TEST(OrderedBytes, OfAnotherTypeAreNotRead) {
  EXPECT_FALSE(from_ordered_bytes<bool>("\2"s));
  EXPECT_FALSE(from_ordered_bytes<std::int8_t>(ordered_bytes(128))) << "it is out of range";
  EXPECT_EQ(from_ordered_bytes<std::int8_t>(ordered_bytes(-128)), -128);
  EXPECT_FALSE(from_ordered_bytes<std::uint16_t>(ordered_bytes(65536U)));
  EXPECT_FALSE(from_ordered_bytes<float>(ordered_bytes(0.1)));
  EXPECT_FALSE(from_ordered_bytes<std::string>("a"s));
  EXPECT_FALSE(from_ordered_bytes<std::string>("a\0"s));
  EXPECT_FALSE(from_ordered_bytes<std::string>("a\0\2"s));
  EXPECT_FALSE(from_ordered_bytes<std::optional<int>>("\1"s));
  EXPECT_FALSE((from_ordered_bytes<std::variant<int, bool>>("\2\0"s)));
  EXPECT_FALSE(from_ordered_bytes<std::vector<bool>>("\1\1"s));
}

TEST(OrderedBytes, ArbitraryOnesAreReadOrRefused) {
  const std::uint32_t seed = chosen_seed();
  std::mt19937 random(seed);
  using Key = std::tuple<std::vector<std::variant<int, std::string>>, std::optional<double>>;
  for (int turn = 0; turn < 20'000; ++turn) {
    std::string bytes;
    for (std::size_t left = random() % 24; left > 0; --left) {
      bytes += static_cast<char>(random() % 4 == 0 ? random() % 256 : random() % 3);
    }
    static_cast<void>(from_ordered_bytes<Key>(bytes));
  }
}

// --- Which types ---

static_assert(Orderable<shop::Version> && Orderable<shop::Item>);
static_assert(!Orderable<shop::Pointer> && !Orderable<int*> && !Orderable<const char*>);
static_assert(!Orderable<std::string_view>, "a key that is read must own its text");
static_assert(!Orderable<long double>, "it has more digits than a double");
static_assert(!Orderable<std::chrono::steady_clock::time_point>, "it means nothing elsewhere");
static_assert(!Orderable<std::vector<int*>> && !Orderable<std::optional<long double>>);

TEST(OrderedTypes, AreNamedInWords) {
  using detail::ordered::type_text;
  EXPECT_EQ(type_text<long>(), "integer");
  EXPECT_EQ((type_text<std::tuple<std::string, std::optional<double>>>()),
            "(text, optional float)");
  EXPECT_EQ(type_text<shop::Item>(), "(text, integer)");
  EXPECT_EQ(type_text<shop::Version>(), "(integer, integer)");
  EXPECT_EQ(type_text<std::chrono::milliseconds>(), "integer times 1/1000 s");
  EXPECT_EQ((type_text<std::vector<std::variant<bool, unsigned>>>()), "[(bool or unsigned)]");
}

}  // namespace
}  // namespace polycache
