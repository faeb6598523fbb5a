#include "polycache/codec_json.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/codec_binary.h"

using namespace std::string_literals;

namespace shop {

struct Item {
  std::string name;
  int count = 0;
  bool operator==(const Item&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Item, name, count)

struct Order {
  std::int64_t id = 0;
  std::vector<Item> items;
  std::map<std::string, double> prices;
  bool operator==(const Order&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, items, prices)

// Has no default constructor.
class Price {
 public:
  explicit Price(int cents) : cents_(cents) {}
  int cents() const { return cents_; }

 private:
  int cents_;
};

enum class Color { red, green };
NLOHMANN_JSON_SERIALIZE_ENUM(Color, {{Color::red, "red"}, {Color::green, "green"}})
enum class Size { small, large };
NLOHMANN_JSON_SERIALIZE_ENUM(Size, {{Size::small, "small"}, {Size::large, "large"}})

// Convert to JSON as well, and have codecs of their own.
struct Sealed {
  int value = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Sealed, value)
struct Packed {
  int value = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Packed, value)
template <class T>
struct Box {
  T value{};
};
template <class T>
void to_json(nlohmann::json& json, const Box<T>& box) {
  json = box.value;
}
template <class T>
void from_json(const nlohmann::json& json, Box<T>& box) {
  json.get_to(box.value);
}

struct Touchy {};
void to_json(nlohmann::json&, const Touchy&) { throw std::runtime_error("not this one"); }
void from_json(const nlohmann::json&, Touchy&) { throw std::runtime_error("nor back"); }

// A binary value, two members of which have codecs of their own.
struct Envelope {
  int version = 0;
  nlohmann::json body;
  Sealed seal;
};

}  // namespace shop

template <>
struct nlohmann::adl_serializer<shop::Price> {
  static shop::Price from_json(const json& from) { return shop::Price(from.get<int>()); }
  static void to_json(json& to, const shop::Price& price) { to = price.cents(); }
};

template <>
struct polycache::Codec<shop::Sealed> {
  static std::string_view encode(const shop::Sealed&, std::string&) { return "sealed"; }
  static std::optional<shop::Sealed> decode(std::string_view) { return shop::Sealed{1}; }
};
template <>
struct polycache::Codec<shop::Packed> : polycache::BinaryCodec<shop::Packed> {};
template <class T>
struct polycache::Codec<shop::Box<T>> {
  static std::string_view encode(const shop::Box<T>&, std::string&) { return "boxed"; }
  static std::optional<shop::Box<T>> decode(std::string_view) { return shop::Box<T>{}; }
};
template <>
struct polycache::Codec<shop::Size> : polycache::JsonCodec<shop::Size> {};
template <>
struct polycache::Codec<shop::Envelope> : polycache::BinaryCodec<shop::Envelope> {};

namespace polycache {
namespace {

using shop::Order;

template <class T>
std::string encoded(const T& value) {
  std::string scratch;
  return std::string(encode_value(value, scratch));
}

Order some_order() { return {7, {{"tea", 2}, {"milk ☕", 1}}, {{"tea", 3.25}}}; }

TEST(JsonCodec, StoresCompactJson) {
  EXPECT_EQ(encoded(shop::Item{"tea", 2}), R"({"count":2,"name":"tea"})");
  EXPECT_EQ(encoded(std::vector<int>{1, 2}), "[1,2]");
  EXPECT_EQ(encoded(std::map<std::string, shop::Item>{}), "{}");
}

TEST(JsonCodec, RoundTrips) {
  EXPECT_EQ(Codec<Order>::decode(encoded(some_order())), some_order());
  EXPECT_EQ(Codec<Order>::decode(encoded(Order{})), Order{});
  const std::vector<std::pair<int, std::string>> pairs{{1, "a\0b"s}, {2, ""}};
  EXPECT_EQ((Codec<std::vector<std::pair<int, std::string>>>::decode(encoded(pairs))), pairs);
}

TEST(JsonCodec, TakesJsonItself) {
  const nlohmann::json json{{"b", 1}, {"a", {1, 2, nullptr}}};
  EXPECT_EQ(encoded(json), R"({"a":[1,2,null],"b":1})");
  EXPECT_EQ(Codec<nlohmann::json>::decode(encoded(json)), json);
  const nlohmann::ordered_json ordered{{"b", 1}, {"a", 2}};
  EXPECT_EQ(encoded(ordered), R"({"b":1,"a":2})");
  EXPECT_EQ(encoded(*Codec<nlohmann::ordered_json>::decode(encoded(ordered))), encoded(ordered));
}

TEST(JsonCodec, TakesATypeWithoutADefaultConstructor) {
  EXPECT_EQ(encoded(shop::Price(250)), "250");
  EXPECT_EQ(Codec<shop::Price>::decode("250")->cents(), 250);
  EXPECT_FALSE(Codec<shop::Price>::decode("\"250\""));
}

TEST(JsonCodec, GivesWayToEveryOtherCodec) {
  EXPECT_EQ(encoded(shop::Sealed{5}), "sealed");
  EXPECT_EQ(encoded(shop::Box<int>{5}), "boxed");
  EXPECT_EQ(encoded(shop::Packed{5}).size(), 8U + 4U);
  EXPECT_EQ(encoded("text"s), "text");
  EXPECT_EQ(encoded(true), "1");
  EXPECT_EQ(encoded(shop::Color::green), "1");
}

TEST(JsonCodec, CanBeChosenByName) {
  EXPECT_EQ(encoded(shop::Size::large), "\"large\"");
  EXPECT_EQ(Codec<shop::Size>::decode("\"large\""), shop::Size::large);
}

TEST(JsonCodec, LeavesTypesWithoutAConversionWithoutACodec) {
  struct Unknown {};
  EXPECT_FALSE(Cacheable<Unknown>);
  EXPECT_FALSE(Cacheable<std::vector<Unknown>>);
  EXPECT_FALSE((Cacheable<std::map<std::string, Unknown>>));
  EXPECT_FALSE(Cacheable<std::string_view>);
  EXPECT_FALSE(Cacheable<const char*>);
  EXPECT_FALSE(Cacheable<int*>);
  EXPECT_FALSE(Cacheable<int[2]>);
  EXPECT_FALSE(Cacheable<wchar_t>);
  EXPECT_FALSE(Cacheable<std::nullptr_t>);
  EXPECT_FALSE(Cacheable<const Order>);
  EXPECT_FALSE(Cacheable<std::unique_ptr<Order>>);
  EXPECT_FALSE(Cacheable<std::chrono::steady_clock::time_point>);
}

TEST(JsonCodec, RefusesWhatIsNotJsonOrNotThatType) {
  for (const std::string& text :
       {""s, "{"s, "{}"s, "[]"s, "null"s, "7"s, "\xff"s, R"({"id":1,"items":[],"prices":[]})"s,
        R"({"id":"1","items":[],"prices":{}})"s, R"({"id":1,"items":[{}],"prices":{}})"s,
        R"({"id":1,"items":[],"prices":{}}x)"s, "\0"s})
    EXPECT_FALSE(Codec<Order>::decode(text)) << text;
  EXPECT_FALSE(Codec<nlohmann::json>::decode("[1,"));
  EXPECT_FALSE(Codec<nlohmann::json>::decode(std::string_view()));
}

TEST(JsonCodec, SurvivesTruncationAndFlippedBits) {
  const std::string bytes = encoded(some_order());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(Codec<Order>::decode(std::string(bytes, 0, size)));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NO_THROW(static_cast<void>(Codec<Order>::decode(flipped))) << flipped;
  }
}

TEST(JsonCodec, SurvivesDeepNesting) {
  const std::string deep = std::string(20000, '[') + std::string(20000, ']');
  EXPECT_TRUE(Codec<nlohmann::json>::decode(deep));
  EXPECT_FALSE(Codec<Order>::decode(deep));
  EXPECT_FALSE(Codec<nlohmann::json>::decode(std::string(20000, '[')));
}

TEST(JsonCodec, LetsExceptionsOfTheEncoderFly) {
  EXPECT_THROW(encoded(shop::Item{"\xff", 1}), nlohmann::json::exception);
  EXPECT_THROW(encoded(shop::Touchy{}), std::runtime_error);
}

TEST(JsonCodec, LetsForeignExceptionsOfTheDecoderFly) {
  EXPECT_THROW(static_cast<void>(Codec<shop::Touchy>::decode("{}")), std::runtime_error);
  EXPECT_FALSE(Codec<shop::Touchy>::decode("{"));
}

TEST(JsonCodec, MayServeAMemberOfABinaryValue) {
  const shop::Envelope envelope{3, {{"a", {1, 2}}}, {5}};
  const std::string bytes = encoded(envelope);
  EXPECT_EQ(bytes.substr(8), "\x03\0\0\0"s + "\x0b{\"a\":[1,2]}" + "\x06sealed");
  const auto back = Codec<shop::Envelope>::decode(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->version, 3);
  EXPECT_EQ(back->body, envelope.body);
  EXPECT_EQ(back->seal.value, 1);
  std::string damaged = bytes;
  damaged[8 + 4 + 1] = '[';
  EXPECT_FALSE(Codec<shop::Envelope>::decode(damaged));
}

}  // namespace
}  // namespace polycache
