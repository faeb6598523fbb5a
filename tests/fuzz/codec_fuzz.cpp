// Bytes from anywhere, read as each kind of value. The first byte of the input chooses the
// type, the rest is what a store would have returned; for the binary format the signature is
// put in front, since chance would not find it. What is accepted must be stable: written
// and read again, it gives the same bytes.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "polycache/codec_binary.h"
#include "polycache/codec_json.h"

namespace {

struct Leaf {
  bool flag = false;
  std::int16_t number = 0;
  std::string text;
};
struct Tree {
  Leaf leaf;
  std::vector<Tree> children;
  std::map<std::string, std::optional<Leaf>> named;
  std::variant<std::monostate, int, std::vector<bool>> choice;
};
struct Mixed {
  std::vector<std::uint32_t> plain;
  std::deque<std::string> texts;
  std::set<std::uint8_t> set;
  std::tuple<char, double, std::chrono::milliseconds> tuple;
  long double wide = 0;
  std::int32_t fixed[2] = {};
};
struct Point {  // no int: nlohmann/json converts a double to it even where it does not fit
  double x = 0;
  std::vector<std::string> names;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, names)

template <class Codec, class Value>
void expect_stable(const std::optional<Value>& value) {
  if (!value) return;
  std::string scratch;
  const std::string once(Codec::encode(*value, scratch));
  const std::optional<Value> again = Codec::decode(once);
  if (!again || Codec::encode(*again, scratch) != once) {
    std::fprintf(stderr, "a value that was read did not survive being written\n");
    std::abort();
  }
}

template <class Value>
void read_text(std::string_view bytes) {
  expect_stable<polycache::Codec<Value>>(polycache::Codec<Value>::decode(bytes));
}

template <class Value>
void read_binary(std::string_view bytes) {
  using Codec = polycache::BinaryCodec<Value>;
  std::string scratch;
  std::string input(Codec::encode(Value{}, scratch).substr(0, 8));
  expect_stable<Codec>(Codec::decode(input.append(bytes)));
}

constexpr void (*readers[])(std::string_view) = {
    read_text<bool>,
    read_text<int>,
    read_text<std::uint64_t>,
    read_text<double>,
    read_text<long double>,
    read_text<std::chrono::seconds>,
    read_text<std::chrono::duration<double, std::milli>>,
    read_text<std::chrono::system_clock::time_point>,
    read_text<nlohmann::json>,
    read_text<Point>,
    read_binary<Leaf>,
    read_binary<Tree>,
    read_binary<Mixed>,
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  readers[data[0] % std::size(readers)](bytes);
  return 0;
}
