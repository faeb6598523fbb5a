#include "polycache/transforms/lz4.h"

#include <lz4.h>
#include <lz4hc.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/compressor.h"

namespace polycache::lz4 {
namespace {

// A byte adds at most 255 to the length of a match (lz4_Block_format.md).
constexpr std::size_t largest_ratio = 255;

constexpr int fast_level = 1;

// Sizes are int in this library. A Compressor's values and buffers have at most 1 GiB.
int size_of(std::string_view bytes) noexcept { return static_cast<int>(bytes.size()); }
int size_of(std::span<char> bytes) noexcept { return static_cast<int>(bytes.size()); }

class Lz4 final : public Compressor {
 public:
  explicit Lz4(const OptionReader& options)
      : Compressor(options, largest_ratio),
        level_(
            static_cast<int>(options.integer("level", fast_level, fast_level, LZ4HC_CLEVEL_MAX))) {}

 private:
  std::size_t compress(std::string_view value, std::span<char> out) override {
    const int size =
        level_ < LZ4HC_CLEVEL_MIN
            ? LZ4_compress_default(value.data(), out.data(), size_of(value), size_of(out))
            : LZ4_compress_HC(value.data(), out.data(), size_of(value), size_of(out), level_);
    return size <= 0 ? 0 : static_cast<std::size_t>(size);
  }

  bool decompress(std::string_view compressed, std::span<char> out) override {
    return LZ4_decompress_safe(compressed.data(), out.data(), size_of(compressed), size_of(out)) ==
           size_of(out);
  }

  int level_;
};

std::unique_ptr<Transform> create(const OptionReader& options, const BackendContext&) {
  return std::make_unique<Lz4>(options);
}

}  // namespace

const PluginDescriptor plugin = transform_plugin("lz4", POLYCACHE_VERSION, create);

}  // namespace polycache::lz4
