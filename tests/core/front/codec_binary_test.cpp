#include "polycache/codec_binary.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using namespace std::string_literals;

namespace sample {

enum class Kind : std::int16_t { none = 0, some = -2 };
enum class Switch : bool { off, on };

struct Nothing {
  bool operator==(const Nothing&) const = default;
};
struct Corner {
  std::int32_t x = 0;
  std::int32_t y = 0;
  bool operator==(const Corner&) const = default;
};
struct Shape {
  std::string name;
  std::vector<Corner> corners;
  std::optional<double> area;
  bool operator==(const Shape&) const = default;
};
struct Numbers {
  bool flag = false;
  char letter = 0;
  std::int8_t i8 = 0;
  std::uint16_t u16 = 0;
  std::int32_t i32 = 0;
  std::uint64_t u64 = 0;
  float f32 = 0;
  double f64 = 0;
  long double text = 0;
  Kind kind = Kind::none;
  std::byte raw{};
  std::chrono::milliseconds wait{};
  std::chrono::sys_seconds moment{};
  char16_t wide = 0;
  Switch state = Switch::off;
  long long last = 0;  // the sixteenth member
  bool operator==(const Numbers&) const = default;
};
struct Containers {
  std::vector<int> plain;
  std::vector<bool> bits;
  std::vector<std::byte> bytes;
  std::deque<int> deque;
  std::list<std::string> list;
  std::set<std::string> set;
  std::multiset<int> multiset;
  std::unordered_set<int> hashed;
  std::map<std::string, std::vector<Corner>> map;
  std::unordered_map<int, std::optional<std::string>> hashed_map;
  std::multimap<int, int> multimap;
  std::u16string wide;
  bool operator==(const Containers&) const = default;
};
struct Fixed {
  int built_in[3] = {};
  std::array<std::string, 2> texts;
  Corner matrix[2][2] = {};
  std::array<int, 0> none{};
  Nothing nothing;
  bool operator==(const Fixed&) const = default;
};
struct Sums {
  std::variant<std::monostate, int, std::string, Corner> variant;
  std::tuple<int, std::pair<char, bool>, std::tuple<>> tuple;
  std::optional<std::optional<int>> twice;
  bool operator==(const Sums&) const = default;
};
struct Tree {
  std::int32_t value = 0;
  std::vector<Tree> children;
  std::map<std::string, Tree> named;
  bool operator==(const Tree&) const = default;
};
struct Chain {
  std::optional<std::vector<Chain>> next;
  bool operator==(const Chain&) const = default;
};
struct LikeCorner {  // the same structure by another name
  int a = 0;
  int b = 0;
};
struct WiderCorner {
  std::int32_t x = 0;
  std::int64_t y = 0;
};
struct LongerCorner {
  std::int32_t x = 0;
  std::int32_t y = 0;
  std::int32_t z = 0;
};
// Its codec adds a byte to what BinaryCodec makes of its members.
struct Marked {
  int value = 0;
};
struct HoldsMarked {
  Marked first;
  Marked second;
};

}  // namespace sample

template <>
struct polycache::Codec<sample::Shape> : polycache::BinaryCodec<sample::Shape> {};
template <>
struct polycache::Codec<sample::Marked> {
  static std::string_view encode(const sample::Marked& value, std::string& scratch) {
    BinaryCodec<sample::Marked>::encode(value, scratch);
    return scratch += '!';
  }
  static std::optional<sample::Marked> decode(std::string_view bytes) {
    if (!bytes.ends_with('!')) return std::nullopt;
    return BinaryCodec<sample::Marked>::decode(bytes.substr(0, bytes.size() - 1));
  }
};

namespace polycache {
namespace {

using namespace sample;

template <class T>
std::string encoded(const T& value) {
  std::string scratch;
  return std::string(BinaryCodec<T>::encode(value, scratch));
}

template <class T>
std::optional<T> decoded(std::string_view bytes) {
  return BinaryCodec<T>::decode(bytes);
}

// The bytes after the signature.
template <class T>
std::string payload(const T& value) {
  return encoded(value).substr(8);
}

template <class T>
std::string with_signature(std::string_view rest) {
  return encoded(T{}).substr(0, 8).append(rest);
}

// FNV-1a of a description, least significant byte first: what the format says of signatures.
std::string signature(std::string_view description) {
  std::uint64_t state = 0xcbf29ce484222325;
  for (const char c : "polycache 1 " + std::string(description)) {
    state ^= static_cast<unsigned char>(c);
    state *= 0x100000001b3;
  }
  std::string bytes;
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(state >> shift);
  return bytes;
}

Shape some_shape() { return {"ab", {{1, -1}, {2, 3}}, 0.5}; }

Numbers some_numbers() {
  return {.flag = true,
          .letter = 'x',
          .i8 = -1,
          .u16 = 0x1234,
          .i32 = std::numeric_limits<std::int32_t>::min(),
          .u64 = std::numeric_limits<std::uint64_t>::max(),
          .f32 = 1.5F,
          .f64 = -0.0,
          .text = 0.1L,
          .kind = Kind::some,
          .raw = std::byte{0xee},
          .wait = 5ms,
          .moment = std::chrono::sys_seconds(1700000000s),
          .wide = u'\u6e05',
          .state = Switch::on,
          .last = -2};
}

Containers some_containers() {
  return {.plain = {1, -2, 3},
          .bits = {true, false, true},
          .bytes = {std::byte{0}, std::byte{255}},
          .deque = {4, 5},
          .list = {"", "a\0b"s},
          .set = {"x", "y"},
          .multiset = {7, 7, 8},
          .hashed = {1, 2, 3},
          .map = {{"a", {{1, 2}}}, {"b", {}}},
          .hashed_map = {{1, "one"}, {2, std::nullopt}},
          .multimap = {{1, 1}, {1, 2}},
          .wide = u"w\u00e9"};
}

Fixed some_fixed() {
  return {{1, 2, 3}, {"one", ""}, {{{1, 2}, {3, 4}}, {{5, 6}, {7, 8}}}, {}, {}};
}

Sums some_sums() { return {Corner{1, 2}, {5, {'c', true}, {}}, std::optional<int>()}; }

Tree some_tree() { return {1, {{2, {}, {}}, {3, {{4, {}, {}}}, {}}}, {{"five", {5, {}, {}}}}}; }

Chain chain_of(int length) {
  Chain chain;
  for (int i = 1; i < length; ++i) {
    Chain outer;
    outer.next.emplace().push_back(std::move(chain));
    chain = std::move(outer);
  }
  return chain;
}

template <class T>
void expect_round_trip(const T& value) {
  const std::string bytes = encoded(value);
  const std::optional<T> back = decoded<T>(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, value);
}

TEST(BinaryCodec, IsChosenInOneLine) {
  EXPECT_TRUE(Cacheable<Shape>);
  EXPECT_FALSE(Cacheable<Corner>);
  std::string scratch;
  EXPECT_EQ(encode_value(some_shape(), scratch), encoded(some_shape()));
}

TEST(BinaryCodec, StoresAStructAsDocumented) {
  EXPECT_EQ(encoded(some_shape()), signature("s([c8],[s(i32,i32)],?(f64))") +
                                       "\x02"
                                       "ab"
                                       "\x02"
                                       "\x01\0\0\0\xff\xff\xff\xff"
                                       "\x02\0\0\0\x03\0\0\0"
                                       "\x01\0\0\0\0\0\0\xe0\x3f"s);
}

TEST(BinaryCodec, StoresNumbersAsDocumented) {
  const std::string wait = "\x05\0\0\0\0\0\0\0"s;
  const std::string moment = "\x00\xf1\x53\x65\0\0\0\0"s;
  EXPECT_EQ(encoded(some_numbers()),
            signature("s(b,c8,i8,u16,i32,u64,f32,f64,ft,e(i16),e(u8),d(i64,1/1000),"
                      "t(d(i64,1/1)),c16,e(b),i64)") +
                "\x01x\xff\x34\x12\0\0\0\x80\xff\xff\xff\xff\xff\xff\xff\xff"s +
                "\0\0\xc0\x3f\0\0\0\0\0\0\0\x80\x03"s + "0.1" + "\xfe\xff\xee"s + wait + moment +
                "\x05\x6e\x01\xfe\xff\xff\xff\xff\xff\xff\xff"s);
}

TEST(BinaryCodec, StoresContainersAsDocumented) {
  Containers value;
  value.plain = {1};
  value.bits = {true, false};
  value.list = {"a"};
  value.set = {"x", "y"};
  value.multiset = {7, 7};
  value.map = {{"k", {{1, 2}}}};
  value.wide.push_back(u'w');
  EXPECT_EQ(encoded(value), signature("s([i32],[b],[e(u8)],[i32],[[c8]],{[c8]},{i32},{i32},"
                                      "{[c8]:[s(i32,i32)]},{i32:?([c8])},{i32:i32},[c16])") +
                                "\x01\x01\0\0\0"s + "\x02\x01\0"s + "\0\0"s +
                                "\x01\x01"
                                "a"s +
                                "\x02\x01x\x01y"s + "\x02\x07\0\0\0\x07\0\0\0"s + "\0"s +
                                "\x01\x01k\x01\x01\0\0\0\x02\0\0\0"s + "\0\0"s + "\x01w\0"s);
}

TEST(BinaryCodec, StoresArraysTuplesAndVariantsAsDocumented) {
  Fixed fixed;
  fixed.built_in[2] = 9;
  EXPECT_EQ(encoded(fixed), signature("s([i32;3],[[c8];2],[[s(i32,i32);2];2],[i32;0],s())") +
                                std::string(8, '\0') + "\x09\0\0\0"s + "\0\0"s +
                                std::string(32, '\0') + "\0\0"s);
  EXPECT_EQ(encoded(some_sums()),
            signature("s(|((),i32,[c8],s(i32,i32)),(i32,(c8,b),()),?(?(i32)))") +
                "\x03\x01\0\0\0\x02\0\0\0"s + "\x05\0\0\0c\x01\0"s + "\x01\0"s);
}

TEST(BinaryCodec, DescribesATypeInsideItselfByItsDistance) {
  EXPECT_EQ(encoded(Tree{1, {}, {}}), signature("s(i32,[^1],{[c8]:^1})") + "\x01\0\0\0\0\0"s);
  EXPECT_EQ(encoded(Chain{}), signature("s(?([^1]))") + "\0"s);
}

TEST(BinaryCodec, TakesTypesThatAreNoStructs) {
  EXPECT_EQ(encoded(std::vector<int>{1}), signature("[i32]") + "\x01\x01\0\0\0"s);
  expect_round_trip(std::map<std::string, std::vector<int>>{{"a", {1, 2}}});
  expect_round_trip(std::string("text"));
  expect_round_trip(42);
}

TEST(BinaryCodec, RoundTripsEveryKindOfMember) {
  expect_round_trip(some_shape());
  expect_round_trip(Shape{});
  expect_round_trip(some_numbers());
  expect_round_trip(Numbers{});
  expect_round_trip(some_containers());
  expect_round_trip(Containers{});
  expect_round_trip(some_fixed());
  expect_round_trip(some_sums());
  expect_round_trip(Sums{});
  expect_round_trip(Sums{"text", {}, std::optional<std::optional<int>>(5)});
  expect_round_trip(some_tree());
  expect_round_trip(Nothing{});
}

TEST(BinaryCodec, RoundTripsExtremeNumbers) {
  using Doubles = std::numeric_limits<double>;
  using LongDoubles = std::numeric_limits<long double>;
  expect_round_trip(std::vector<double>{Doubles::min(), Doubles::max(), Doubles::lowest(),
                                        Doubles::denorm_min(), Doubles::infinity()});
  expect_round_trip(std::vector<long double>{LongDoubles::max(), LongDoubles::denorm_min(), -0.5L,
                                             -LongDoubles::infinity()});
  expect_round_trip(std::vector<std::int64_t>{std::numeric_limits<std::int64_t>::min(),
                                              std::numeric_limits<std::int64_t>::max()});
  const auto nan = decoded<double>(encoded(Doubles::quiet_NaN()));
  EXPECT_TRUE(nan && std::isnan(*nan));
}

TEST(BinaryCodec, RoundTripsSizesOfEveryWidth) {
  for (const std::size_t size : {0U, 1U, 127U, 128U, 129U, 16383U, 16384U, 2097152U})
    expect_round_trip(std::string(size, 'x'));
  EXPECT_EQ(payload(std::string(300, 'x')).substr(0, 3), "\xac\x02x");
}

TEST(BinaryCodec, LeavesNothingOfTheScratchBehind) {
  std::string scratch(100000, '?');
  EXPECT_EQ(BinaryCodec<Shape>::encode(some_shape(), scratch), encoded(some_shape()));
  EXPECT_EQ(BinaryCodec<Shape>::encode(Shape{}, scratch), encoded(Shape{}));
}

TEST(BinaryCodec, ReadsFromAnyAddress) {
  const std::string bytes = encoded(some_numbers());
  for (std::size_t offset = 0; offset < 8; ++offset) {
    const std::string moved = std::string(offset, ' ') + bytes;
    EXPECT_EQ(decoded<Numbers>(std::string_view(moved).substr(offset)), some_numbers());
  }
}

TEST(BinaryCodec, MissesWhatAnotherStructWrote) {
  const std::string bytes = encoded(Corner{1, 2});
  EXPECT_TRUE(decoded<LikeCorner>(bytes));
  EXPECT_FALSE(decoded<WiderCorner>(bytes));
  EXPECT_FALSE(decoded<LongerCorner>(bytes));
  EXPECT_FALSE(decoded<Nothing>(bytes));
  EXPECT_FALSE((decoded<std::pair<int, int>>(bytes)));
  EXPECT_FALSE((decoded<std::array<int, 2>>(bytes)));
}

TEST(BinaryCodec, ReadsASequenceAsAnother) {
  const std::string bytes = encoded(std::vector<int>{1, 2, 3});
  EXPECT_EQ(decoded<std::deque<int>>(bytes), (std::deque<int>{1, 2, 3}));
  EXPECT_EQ(decoded<std::list<int>>(bytes), (std::list<int>{1, 2, 3}));
}

TEST(BinaryCodec, HonoursTheCodecThatAMemberChose) {
  const std::string inner = encoded(Marked{7}) + "!";
  const std::string size(1, static_cast<char>(inner.size()));
  EXPECT_EQ(encoded(HoldsMarked{{7}, {7}}), signature("s(x,x)") + size + inner + size + inner);
  const auto back = decoded<HoldsMarked>(encoded(HoldsMarked{{7}, {-8}}));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->second.value, -8);
  std::string damaged = encoded(HoldsMarked{{7}, {7}});
  damaged.back() = '?';
  EXPECT_FALSE(decoded<HoldsMarked>(damaged));
}

// ---- what must be refused ------------------------------------------------------------

// Every prefix is refused, and every flipped bit gives another value or nothing. Each input
// is a heap block of its own size, so that a read beyond it is seen.
template <class T>
void expect_damage_is_survived(const T& value) {
  const std::string bytes = encoded(value);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::vector<char> prefix(bytes.begin(),
                                   bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_FALSE(decoded<T>({prefix.data(), prefix.size()})) << size;
  }
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::vector<char> flipped(bytes.begin(), bytes.end());
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const std::optional<T> back = decoded<T>({flipped.data(), flipped.size()});
    if (bit < 64) {
      EXPECT_FALSE(back) << bit;
    }
    if (back) {
      EXPECT_NE(encoded(*back), bytes) << bit;
    }
  }
  EXPECT_FALSE(decoded<T>(bytes + '\0'));
}

TEST(BinaryCodec, SurvivesTruncationFlippedBitsAndTrailingBytes) {
  expect_damage_is_survived(some_shape());
  expect_damage_is_survived(some_numbers());
  expect_damage_is_survived(some_fixed());
  expect_damage_is_survived(some_sums());
  expect_damage_is_survived(some_tree());
  expect_damage_is_survived(Nothing{});
  Containers value = some_containers();
  value.hashed = {1};  // what has no order of its own has one with one element
  value.hashed_map = {{1, "one"}};
  expect_damage_is_survived(value);
}

TEST(BinaryCodec, SurvivesNoise) {
  std::mt19937 random(20240607);
  std::size_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string noise(random() % 64, '\0');
    for (char& c : noise) c = static_cast<char>(random() % (round % 2 == 0 ? 4 : 256));
    accepted += decoded<Containers>(with_signature<Containers>(noise)) ? 1 : 0;
    accepted += decoded<Tree>(with_signature<Tree>(noise)) ? 1 : 0;
    accepted += decoded<Sums>(with_signature<Sums>(noise)) ? 1 : 0;
    accepted += decoded<Shape>(with_signature<Shape>(noise)) ? 1 : 0;
  }
  EXPECT_GT(accepted, 0U);
}

TEST(BinaryCodec, RefusesABoolThatIsNeitherOneNorZero) {
  EXPECT_TRUE(decoded<bool>(with_signature<bool>("\x01")));
  EXPECT_FALSE(decoded<bool>(with_signature<bool>("\x02")));
  EXPECT_FALSE(decoded<Switch>(with_signature<Switch>("\x02")));
  EXPECT_FALSE(decoded<std::vector<bool>>(with_signature<std::vector<bool>>("\x01\xff")));
  EXPECT_FALSE(decoded<std::optional<Nothing>>(with_signature<std::optional<Nothing>>("\x02\0"s)));
  EXPECT_FALSE(decoded<Nothing>(with_signature<Nothing>("\x01")));
}

TEST(BinaryCodec, RefusesAnAlternativeThatDoesNotExist) {
  using Variant = std::variant<bool, std::uint8_t>;
  EXPECT_EQ(decoded<Variant>(with_signature<Variant>("\x01\x05")), Variant(std::uint8_t{5}));
  EXPECT_FALSE(decoded<Variant>(with_signature<Variant>("\x02\x05")));
  EXPECT_FALSE(decoded<Variant>(with_signature<Variant>("\xff\x05")));
}

TEST(BinaryCodec, RefusesASizeWithMoreBytesThanItNeeds) {
  EXPECT_TRUE(decoded<std::string>(with_signature<std::string>("\0"s)));
  EXPECT_FALSE(decoded<std::string>(with_signature<std::string>("\x80\0"s)));
  EXPECT_FALSE(decoded<std::string>(with_signature<std::string>("\x81\0x"s)));
  EXPECT_FALSE(decoded<std::string>(
      with_signature<std::string>("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01x")));
  EXPECT_FALSE(decoded<std::string>(
      with_signature<std::string>("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x02x")));
}

TEST(BinaryCodec, RefusesAnElementTwiceInASet) {
  using Set = std::set<std::uint8_t>;
  EXPECT_EQ(decoded<Set>(with_signature<Set>("\x02\x01\x02")), (Set{1, 2}));
  EXPECT_EQ(decoded<Set>(with_signature<Set>("\x02\x02\x01")), (Set{1, 2}));
  EXPECT_FALSE(decoded<Set>(with_signature<Set>("\x02\x01\x01")));
  using Map = std::unordered_map<std::uint8_t, std::uint8_t>;
  EXPECT_FALSE(decoded<Map>(with_signature<Map>("\x02\x01\x05\x01\x06")));
}

// Remembers the largest block that was asked for.
std::size_t largest_block = 0;
template <class T>
struct RecordingAllocator {
  using value_type = T;
  RecordingAllocator() = default;
  template <class U>
  explicit RecordingAllocator(const RecordingAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) {
    largest_block = std::max(largest_block, n * sizeof(T));
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* block, std::size_t n) { std::allocator<T>().deallocate(block, n); }
  bool operator==(const RecordingAllocator&) const = default;
};
template <class T>
using RecordedVector = std::vector<T, RecordingAllocator<T>>;

// The largest block taken for a size that was forged, with `rest` behind it.
template <class T>
std::size_t block_for_forged_size(std::string_view size, std::string_view rest) {
  largest_block = 0;
  EXPECT_FALSE(decoded<T>(with_signature<T>(std::string(size).append(rest))));
  return largest_block;
}

TEST(BinaryCodec, TakesNoMemoryForAForgedSize) {
  const std::string most = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";  // 2^64 - 1
  const std::string many = "\xff\xff\xff\xff\x0f";                      // 2^32 - 1
  for (const std::string& size : {most, many}) {
    EXPECT_EQ(block_for_forged_size<RecordedVector<int>>(size, "abcdefgh"), 0U);
    EXPECT_EQ(block_for_forged_size<RecordedVector<Shape>>(size, "abcdefgh"), 0U);
    EXPECT_EQ(block_for_forged_size<RecordedVector<Nothing>>(size, "abcdefgh"), 0U);
    EXPECT_EQ(block_for_forged_size<RecordedVector<std::monostate>>(size, "abcdefgh"), 0U);
    EXPECT_FALSE(decoded<std::string>(with_signature<std::string>(size)));
    EXPECT_FALSE(decoded<std::set<int>>(with_signature<std::set<int>>(size)));
    EXPECT_FALSE((decoded<std::vector<bool>>(with_signature<std::vector<bool>>(size))));
  }
}

TEST(BinaryCodec, TakesLittleMemoryAheadForLargeObjectsOfFewBytes) {
  using Large = std::optional<std::array<int, 10000>>;  // one byte when empty
  const std::string rest(100, '\x02');
  const std::size_t block = block_for_forged_size<RecordedVector<Large>>("\x64", rest);
  EXPECT_GT(block, 0U);
  EXPECT_LE(block, 2 * sizeof(Large));
}

TEST(BinaryCodec, LimitsNesting) {
  const Chain deepest = chain_of(128);
  const std::string bytes = encoded(deepest);
  expect_round_trip(deepest);
  EXPECT_THROW(encoded(chain_of(129)), std::length_error);
  // One more level around it, and very many.
  std::string deeper = bytes;
  deeper.insert(8, "\x01\x01");
  EXPECT_FALSE(decoded<Chain>(deeper));
  std::string forged = with_signature<Chain>("");
  for (int i = 0; i < 1000000; ++i) forged += "\x01\x01";
  EXPECT_FALSE(decoded<Chain>(forged + '\0'));
  EXPECT_TRUE(decoded<Chain>(bytes)) << "the limit is per value";
}

TEST(BinaryCodec, ThrowsForAVariantThatLostItsValue) {
  struct Explodes {
    operator Shape() const { throw std::runtime_error("no shape today"); }
  };
  std::variant<int, Shape> lost = 5;
  EXPECT_THROW(lost.emplace<Shape>(Explodes()), std::runtime_error);
  ASSERT_TRUE(lost.valueless_by_exception());
  EXPECT_THROW(encoded(lost), std::bad_variant_access);
}

}  // namespace
}  // namespace polycache
