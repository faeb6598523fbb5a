#include "polycache/codec.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace std::string_view_literals;

// Types of users, with codecs of their own.
struct Celsius {
  double degrees = 0;
};
enum class Suit : char { hearts = 'H', spades = 'S' };
struct Name {
  std::string text;
  operator std::string_view() const { return text; }
};
struct Tag {  // converts to text, and is more than its text
  std::string text;
  int weight = 0;
  operator std::string_view() const { return text; }
};

template <>
struct polycache::Codec<Celsius> {
  static std::string_view encode(const Celsius& value, std::string& scratch) {
    return scratch = std::to_string(std::lround(value.degrees)) + "C";
  }
  static std::optional<Celsius> decode(std::string_view bytes) {
    if (!bytes.ends_with('C')) return std::nullopt;
    const auto degrees = Codec<int>::decode(bytes.substr(0, bytes.size() - 1));
    if (!degrees) return std::nullopt;
    return Celsius{static_cast<double>(*degrees)};
  }
};
template <>
struct polycache::Codec<Tag> {
  static std::string_view encode(const Tag& value, std::string& scratch) {
    return scratch = value.text + "*" + std::to_string(value.weight);
  }
  static std::optional<Tag> decode(std::string_view) { return Tag{"read", 1}; }
};
// A partial specialisation by constraint, where codec.h has one of its own.
template <class T>
requires std::same_as<T, Suit>
struct polycache::Codec<T> {
  static std::string_view encode(const T& value, std::string& scratch) {
    return scratch.assign(1, static_cast<char>(value));
  }
  static std::optional<T> decode(std::string_view bytes) {
    if (bytes != "H" && bytes != "S") return std::nullopt;
    return static_cast<T>(bytes.front());
  }
};

namespace polycache {
namespace {

template <class T>
std::string encoded(const T& value) {
  std::string scratch = "left over from before, and longer than any number is";
  return std::string(encode_value(value, scratch));
}

template <class T>
void expect_round_trip(const T& value) {
  const std::string bytes = encoded(value);
  const std::optional<T> back = Codec<T>::decode(bytes);
  ASSERT_TRUE(back) << bytes;
  EXPECT_EQ(*back, value) << bytes;
}

template <class T>
void expect_refused(std::initializer_list<std::string_view> texts) {
  for (const std::string_view text : texts) EXPECT_FALSE(Codec<T>::decode(text)) << text;
}

// Whatever the bytes, decode() gives a value or refuses; the sanitizers watch over the rest.
template <class T>
void decode_damaged_forms(const T& value) {
  const std::string bytes = encoded(value);
  for (std::size_t size = 0; size < bytes.size(); ++size)
    static_cast<void>(Codec<T>::decode(std::string(bytes, 0, size)));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const std::optional<T> back = Codec<T>::decode(flipped);
    if (back) {
      const std::string again = encoded(*back);
      EXPECT_EQ(encoded(Codec<T>::decode(again).value()), again) << flipped;
    }
  }
}

struct Unknown {};

TEST(Cacheable, IsFalseForATypeWithoutACodec) {
  EXPECT_FALSE(Cacheable<Unknown>);
  EXPECT_FALSE(Cacheable<void>);
  EXPECT_FALSE(Cacheable<int*>);
  EXPECT_FALSE(Cacheable<const int>);
  EXPECT_FALSE(Cacheable<int&>);
  EXPECT_FALSE(Cacheable<int[3]>);
  EXPECT_FALSE(Cacheable<wchar_t>);
  EXPECT_FALSE(Cacheable<char8_t>);
  EXPECT_FALSE(Cacheable<std::string_view>);
  EXPECT_FALSE(Cacheable<std::optional<int>>);
  EXPECT_FALSE(Cacheable<std::vector<int>>);
  EXPECT_FALSE(Cacheable<std::chrono::steady_clock::time_point>);
  EXPECT_FALSE(has_codec<Unknown>);
  EXPECT_TRUE(has_codec<int>);
}

TEST(Cacheable, IsTrueForATypeWithASpecialisation) {
  EXPECT_EQ(encoded(Celsius{21.3}), "21C");
  EXPECT_EQ(Codec<Celsius>::decode("-4C")->degrees, -4);
  EXPECT_FALSE(Codec<Celsius>::decode("-4F"));
}

TEST(Cacheable, PrefersASpecialisationToWhatIsBuiltIn) {
  EXPECT_EQ(encoded(Suit::spades), "S");
  EXPECT_EQ(Codec<Suit>::decode("H"), Suit::hearts);
  EXPECT_FALSE(Codec<Suit>::decode("72"));
}

TEST(Stored, OwnsWhatWasOnlySeen) {
  const auto same = []<class Given, class Expected>() {
    return std::same_as<Stored<Given>, Expected>;
  };
  EXPECT_TRUE((same.operator()<char[4], std::string>()));
  EXPECT_TRUE((same.operator()<const char(&)[4], std::string>()));
  EXPECT_TRUE((same.operator()<const char*, std::string>()));
  EXPECT_TRUE((same.operator()<char*&, std::string>()));
  EXPECT_TRUE((same.operator()<std::string_view, std::string>()));
  EXPECT_TRUE((same.operator()<const std::string&, std::string>()));
  EXPECT_TRUE((same.operator()<Name, std::string>()));
  EXPECT_TRUE((same.operator()<Tag, Tag>()));
  EXPECT_TRUE((same.operator()<std::span<const std::byte>, std::vector<std::byte>>()));
  EXPECT_TRUE((same.operator()<std::span<std::byte, 4>, std::vector<std::byte>>()));
  EXPECT_TRUE((same.operator()<const int&, int>()));
  EXPECT_TRUE((same.operator()<Unknown, Unknown>()));
}

TEST(EncodeValue, TakesViewsAsTheyAre) {
  EXPECT_EQ(encoded("literal"), "literal");
  EXPECT_EQ(encoded("a view"sv), "a view");
  EXPECT_EQ(encoded(Name{"Ada"}), "Ada");
  EXPECT_EQ(encoded(Tag{"t", 5}), "t*5");
  const std::array<std::byte, 3> bytes{std::byte{0}, std::byte{255}, std::byte{7}};
  EXPECT_EQ(encoded(std::span(bytes)), "\0\xff\a"s);
}

TEST(StringCodec, StoresTheBytesThemselves) {
  for (const std::string& text : {""s, "x"s, "a\0b\0"s, "\xff\xfe"s, std::string(1 << 20, 'z')}) {
    EXPECT_EQ(encoded(text), text);
    expect_round_trip(text);
  }
}

TEST(StringCodec, DoesNotCopyWhenEncoding) {
  const std::string text = "seen, not copied";
  std::string scratch;
  EXPECT_EQ(static_cast<const void*>(encode_value(text, scratch).data()), text.data());
}

TEST(BytesCodec, StoresTheBytesThemselves) {
  const std::vector<std::byte> bytes{std::byte{0}, std::byte{200}, std::byte{0}};
  EXPECT_EQ(encoded(bytes), "\0\xc8\0"s);
  expect_round_trip(bytes);
  expect_round_trip(std::vector<std::byte>{});
  EXPECT_TRUE(Codec<std::vector<std::byte>>::decode(std::string_view())->empty());
}

TEST(BoolCodec, IsOneOrZero) {
  EXPECT_EQ(encoded(true), "1");
  EXPECT_EQ(encoded(false), "0");
  expect_round_trip(true);
  expect_round_trip(false);
  expect_refused<bool>({"", "2", "true", "01", "1 "});
}

TEST(CharCodec, IsOneByteOfText) {
  EXPECT_EQ(encoded('x'), "x");
  for (int c = -128; c < 128; ++c) expect_round_trip(static_cast<char>(c));
  expect_refused<char>({"", "xy"});
}

TEST(IntegerCodec, IsDecimal) {
  EXPECT_EQ(encoded(0), "0");
  EXPECT_EQ(encoded(-42), "-42");
  EXPECT_EQ(encoded(std::int8_t{-128}), "-128");
  EXPECT_EQ(encoded(std::uint8_t{255}), "255");
  EXPECT_EQ(encoded(std::numeric_limits<std::int64_t>::min()), "-9223372036854775808");
  EXPECT_EQ(encoded(std::numeric_limits<std::uint64_t>::max()), "18446744073709551615");
}

template <class T>
class IntegerCodecOf : public testing::Test {};
using Integers = testing::Types<signed char, unsigned char, short, unsigned short, int, unsigned,
                                long, unsigned long, long long, unsigned long long>;
TYPED_TEST_SUITE(IntegerCodecOf, Integers);

TYPED_TEST(IntegerCodecOf, RoundTripsItsExtremesAndRefusesWhatLiesBeyond) {
  using Limits = std::numeric_limits<TypeParam>;
  expect_round_trip(Limits::min());
  expect_round_trip(Limits::max());
  expect_round_trip(TypeParam{0});
  decode_damaged_forms(Limits::max());
  EXPECT_FALSE(Codec<TypeParam>::decode(std::to_string(Limits::max()) + "0"));
  expect_refused<TypeParam>({"", "-", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "007", "00", "-0",
                             "-01", "99999999999999999999", "-99999999999999999999", "1\0"sv});
}

TEST(IntegerCodec, RefusesASignWhereThereIsNone) { expect_refused<unsigned>({"-1"}); }

template <class T>
class FloatCodecOf : public testing::Test {};
using Floats = testing::Types<float, double, long double>;
TYPED_TEST_SUITE(FloatCodecOf, Floats);

TYPED_TEST(FloatCodecOf, RoundTripsEveryKindOfNumber) {
  using Limits = std::numeric_limits<TypeParam>;
  for (const TypeParam value :
       {TypeParam{0}, TypeParam{1}, TypeParam{-1.5}, TypeParam{1} / 3, Limits::min(), Limits::max(),
        Limits::lowest(), Limits::epsilon(), Limits::denorm_min(), -Limits::denorm_min(),
        Limits::min() / 3, -Limits::min() / 7, Limits::infinity(), -Limits::infinity(),
        1 + Limits::epsilon(), TypeParam{16777215}})
    expect_round_trip(value);
  const auto zero = Codec<TypeParam>::decode(encoded(TypeParam{-0.0}));
  EXPECT_TRUE(zero && *zero == 0 && std::signbit(*zero));
  for (const TypeParam nan : {Limits::quiet_NaN(), -Limits::quiet_NaN()}) {
    const auto back = Codec<TypeParam>::decode(encoded(nan));
    EXPECT_TRUE(back && std::isnan(*back) && std::signbit(*back) == std::signbit(nan));
  }
}

TYPED_TEST(FloatCodecOf, RefusesWhatIsNoNumber) {
  expect_refused<TypeParam>({"", "-", "+1", " 1", "1 ", "1e", "x", "1,5", "0x1p3z", "--1", "0x",
                             "1.5.2", "1e99999", "1\0"sv});
}

TEST(FloatCodec, IsTheShortestDecimal) {
  EXPECT_EQ(encoded(0.1), "0.1");
  EXPECT_EQ(encoded(0.1F), "0.1");
  EXPECT_EQ(encoded(0.1L), "0.1");
  EXPECT_EQ(encoded(-2.0), "-2");
  EXPECT_EQ(encoded(1e300), "1e+300");
  EXPECT_EQ(encoded(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(encoded(std::numeric_limits<double>::quiet_NaN()), "nan");
  EXPECT_EQ(Codec<double>::decode("5"), 5.0);  // a counter, for example
}

TEST(FloatCodec, ReadsNothingBeyondTheEnd) {
  for (const std::string_view text :
       {"nam", "n", "na", "nan(", "i", "in", "infi", "-", "1e", "0x", "-0x"}) {
    const std::vector<char> block(text.begin(), text.end());  // on the heap, where it is seen
    const std::string_view bytes(block.data(), block.size());
    EXPECT_FALSE(Codec<float>::decode(bytes)) << text;
    EXPECT_FALSE(Codec<double>::decode(bytes)) << text;
    EXPECT_FALSE(Codec<long double>::decode(bytes)) << text;
  }
  EXPECT_FALSE(Codec<long double>::decode(std::string(100000, '1')));
}

TEST(FloatCodec, SurvivesDamage) {
  decode_damaged_forms(-1.2345e-67);
  decode_damaged_forms(std::numeric_limits<long double>::denorm_min());
}

enum class Level : std::int8_t { low = -1, high = 127 };
enum class Big : std::uint64_t { most = ~std::uint64_t{0} };
enum class Flag : bool { off, on };
enum class Letter : char { a = 'a' };
enum Old { first, second };

TEST(EnumCodec, IsItsIntegerInDecimal) {
  EXPECT_EQ(encoded(Level::low), "-1");
  EXPECT_EQ(encoded(Big::most), "18446744073709551615");
  EXPECT_EQ(encoded(Flag::on), "1");
  EXPECT_EQ(encoded(Letter::a), "97");
  EXPECT_EQ(encoded(second), "1");
  EXPECT_EQ(encoded(std::byte{200}), "200");
  expect_round_trip(Level::low);
  expect_round_trip(Level::high);
  expect_round_trip(Big::most);
  expect_round_trip(Flag::off);
  expect_round_trip(Letter::a);
  expect_round_trip(second);
  expect_round_trip(std::byte{200});
  decode_damaged_forms(Level::high);
}

TEST(EnumCodec, RefusesWhatItsTypeCannotHold) {
  expect_refused<Level>({"128", "-129", "", "low", "01"});
  expect_refused<Flag>({"2", "-1"});
  expect_refused<std::byte>({"256", "-1"});
}

TEST(DurationCodec, SaysItsUnit) {
  EXPECT_EQ(encoded(5s), "5*1/1");
  EXPECT_EQ(encoded(250ms), "250*1/1000");
  EXPECT_EQ(encoded(-2h), "-2*3600/1");
  EXPECT_EQ(encoded(std::chrono::duration<double>(0.5)), "0.5*1/1");
  EXPECT_EQ(encoded(std::chrono::duration<int, std::ratio<2, 4>>(3)), "3*1/2");
}

TEST(DurationCodec, RoundTripsItsExtremes) {
  expect_round_trip(std::chrono::nanoseconds::min());
  expect_round_trip(std::chrono::nanoseconds::max());
  expect_round_trip(std::chrono::hours::max());
  expect_round_trip(std::chrono::duration<std::uint64_t>::max());
  expect_round_trip(std::chrono::duration<std::int8_t, std::milli>::min());
  expect_round_trip(std::chrono::duration<double, std::nano>::max());
  expect_round_trip(std::chrono::duration<float, std::ratio<7, 3>>(0.1F));
  expect_round_trip(std::chrono::duration<double>(std::numeric_limits<double>::infinity()));
  expect_round_trip(
      std::chrono::duration<long double>(std::numeric_limits<long double>::denorm_min()));
  decode_damaged_forms(1234567ms);
  decode_damaged_forms(std::chrono::duration<double, std::micro>(-1.5e-7));
}

TEST(DurationCodec, ConvertsToAnotherUnitExactlyOrNotAtAll) {
  EXPECT_EQ(Codec<std::chrono::milliseconds>::decode("5*1/1"), 5000ms);
  EXPECT_EQ(Codec<std::chrono::seconds>::decode("5000*1/1000"), 5s);
  EXPECT_EQ(Codec<std::chrono::minutes>::decode("2*3600/1"), 120min);
  EXPECT_EQ(Codec<std::chrono::seconds>::decode("-3000*1/1000"), -3s);
  EXPECT_FALSE(Codec<std::chrono::seconds>::decode("5001*1/1000"));
  EXPECT_FALSE(Codec<std::chrono::nanoseconds>::decode("9223372037*1/1"));
  EXPECT_EQ(Codec<std::chrono::nanoseconds>::decode("9223372036*1/1"), 9223372036s);
  EXPECT_FALSE((Codec<std::chrono::duration<std::int8_t>>::decode("128*1/1")));
  EXPECT_FALSE((Codec<std::chrono::duration<unsigned>>::decode("-1*1/1")));
  EXPECT_FALSE(Codec<std::chrono::hours>::decode("1*9223372036854775807/9223372036854775806"));
}

TEST(DurationCodec, ConvertsBetweenFloatsAndIntegersExactlyOrNotAtAll) {
  using Seconds = std::chrono::duration<double>;
  using Millis = std::chrono::duration<double, std::milli>;
  EXPECT_EQ(Codec<Seconds>::decode("5*1/1"), Seconds(5));
  EXPECT_EQ(Codec<Seconds>::decode("100000*1/1"), Seconds(100000));
  EXPECT_EQ(Codec<Millis>::decode("2.5*1/1"), Millis(2500));
  EXPECT_EQ(Codec<Seconds>::decode("2500*1/1000"), Seconds(2.5));
  EXPECT_EQ(Codec<Seconds>::decode("9007199254740992*1/1"), Seconds(9007199254740992.0));
  EXPECT_FALSE(Codec<Seconds>::decode("9007199254740993*1/1"));
  EXPECT_FALSE(Codec<Seconds>::decode("9223372036854775807*1/1"));
  EXPECT_FALSE(Codec<Seconds>::decode("1*1/1000"));  // 0.001 is no double
  EXPECT_FALSE((Codec<std::chrono::duration<float>>::decode("0.12345678901*1/1")));
  EXPECT_FALSE(Codec<Millis>::decode("1e308*1/1"));
  EXPECT_EQ(Codec<std::chrono::seconds>::decode("5*1/1"), 5s);
  EXPECT_FALSE(Codec<std::chrono::seconds>::decode("0.5*1/1"));
}

TEST(DurationCodec, RefusesWhatIsNoDuration) {
  expect_refused<std::chrono::seconds>({"", "5", "5*", "5*1", "5*1/", "*1/1", "5*0/1", "5*1/0",
                                        "5*-1/1", "5*1/-1", "5*2/2", "5*1/1 ", "05*1/1", "5*01/1",
                                        "@5*1/1", "5s", "5/1*1", "x*1/1"});
}

TEST(TimePointCodec, CountsFromTheEpochAndSaysItsUnit) {
  using Clock = std::chrono::system_clock;
  const std::chrono::sys_seconds moment(1700000000s);
  EXPECT_EQ(encoded(moment), "@1700000000*1/1");
  EXPECT_EQ(encoded(std::chrono::sys_days(std::chrono::days(3))), "@3*86400/1");
  expect_round_trip(moment);
  expect_round_trip(Clock::now());
  expect_round_trip(Clock::time_point::min());
  expect_round_trip(Clock::time_point::max());
  EXPECT_EQ(Codec<Clock::time_point>::decode("@1700000000*1/1"), Clock::time_point(moment));
  EXPECT_FALSE(Codec<std::chrono::sys_days>::decode("@1700000001*1/1"));
  EXPECT_FALSE(Codec<Clock::time_point>::decode("1700000000*1/1"));
  EXPECT_FALSE(Codec<Clock::time_point>::decode("@"));
  EXPECT_FALSE(Codec<Clock::time_point>::decode(""));
  decode_damaged_forms(moment);
}

}  // namespace
}  // namespace polycache
