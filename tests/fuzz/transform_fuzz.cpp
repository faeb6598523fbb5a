// Bytes from anywhere, as a store would return them to each stock transform. The first byte of the
// input chooses the transform and what the rest is:
//
//   a value         comes back if it is applied
//   a stored form   is refused, or gives a value of at most max_bytes
//   a size of four bytes and compressed bytes   the same, with the header that makes them pass the
//                   checksum, which chance does not find

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/crc32c.h"
#include "polycache/author/transform.h"
#include "polycache/testing/test_context.h"
#include "transforms/stock_transforms.h"

namespace {

constexpr std::int64_t max_bytes = 1 << 20;
constexpr polycache::TransformContext usual_context{.final_key = ":1:key", .head = "head"};

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

struct Tested {
  std::unique_ptr<polycache::Transform> transform;
  bool compresses;
};

std::vector<Tested> make_all() {
  static polycache::testing::TestContext context;
  std::vector<Tested> all;
  for (const auto& stock : polycache::testing::stock_transforms()) {
    const bool compresses = stock.options.empty();
    polycache::OptionMap options = stock.options;
    if (compresses) options = {{"max_bytes", max_bytes}, {"min_bytes", std::int64_t{1}}};
    all.push_back({context.make_transform(*stock.plugin, options), compresses});
  }
  return all;
}

void round_trip(polycache::Transform& transform, std::string_view value) {
  std::string stored;
  if (!transform.apply(value, usual_context, stored)) return;
  std::string read;
  require(transform.revert(stored, usual_context, read) && read == value,
          "a value did not come back");
}

void revert(const Tested& tested, std::string_view stored) {
  std::string value;
  try {
    if (!tested.transform->revert(stored, usual_context, value)) return;
  } catch (const std::exception&) {
    return;
  }
  require(!tested.compresses || value.size() <= static_cast<std::size_t>(max_bytes),
          "a value is larger than max_bytes");
}

std::string with_checksum(std::string_view bytes) {
  const std::string_view size = bytes.substr(0, 4);
  const std::string_view compressed = bytes.substr(size.size());
  const std::uint32_t crc = polycache::crc32c(compressed, polycache::crc32c(size));
  std::string stored(size);
  stored.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  return stored.append(compressed);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Tested> all = make_all();
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Tested& tested = all[data[0] / 3U % all.size()];
  switch (data[0] % 3U) {
    case 0:
      round_trip(*tested.transform, bytes);
      break;
    case 1:
      revert(tested, bytes);
      break;
    default:
      revert(tested, with_checksum(bytes));
  }
  return 0;
}
