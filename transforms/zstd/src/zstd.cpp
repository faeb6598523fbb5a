#include "polycache/transforms/zstd.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/compressor.h"
#include "polycache/author/object_pool.h"

namespace polycache::zstd {
namespace {

// A block of up to 128 KiB takes at least four bytes (RFC 8878, 3.1.1.2).
constexpr std::size_t largest_ratio = (std::size_t{128} << 10U) / 4;

constexpr int fastest_level = -50;
constexpr int default_level = 3;

class CompressionContext {
 public:
  explicit CompressionContext(int level) : context_(ZSTD_createCCtx()) {
    if (!context_) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level);
  }

  // 0: it does not fit.
  std::size_t compress(std::string_view value, std::span<char> out) {
    const std::size_t size =
        ZSTD_compress2(context_.get(), out.data(), out.size(), value.data(), value.size());
    if (ZSTD_isError(size) == 0) return size;
    if (ZSTD_getErrorCode(size) == ZSTD_error_dstSize_tooSmall) return 0;
    if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation) throw std::bad_alloc();
    throw std::runtime_error(std::string("zstd: ") + ZSTD_getErrorName(size));
  }

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const noexcept { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context_;
};

class DecompressionContext {
 public:
  DecompressionContext() : context_(ZSTD_createDCtx()) {
    if (!context_) throw std::bad_alloc();
  }

  // In one step, which takes no window: whatever the frame claims, it writes into `out` or fails.
  bool decompress(std::string_view compressed, std::span<char> out) {
    return ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), compressed.data(),
                               compressed.size()) == out.size();
  }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const noexcept { ZSTD_freeDCtx(context); }
  };
  std::unique_ptr<ZSTD_DCtx, Free> context_;
};

class Zstd final : public Compressor {
 public:
  explicit Zstd(const OptionReader& options)
      : Compressor(options, largest_ratio),
        level_(static_cast<int>(
            options.integer("level", default_level, fastest_level, ZSTD_maxCLevel()))) {}

 private:
  std::size_t compress(std::string_view value, std::span<char> out) override {
    const auto context =
        compressing_.take([&] { return std::make_unique<CompressionContext>(level_); });
    return context->compress(value, out);
  }
  bool decompress(std::string_view compressed, std::span<char> out) override {
    const auto context =
        decompressing_.take([] { return std::make_unique<DecompressionContext>(); });
    return context->decompress(compressed, out);
  }

  int level_;
  ObjectPool<CompressionContext> compressing_;
  ObjectPool<DecompressionContext> decompressing_;
};

std::unique_ptr<Transform> create(const OptionReader& options, const BackendContext&) {
  return std::make_unique<Zstd>(options);
}

}  // namespace

const PluginDescriptor plugin = transform_plugin("zstd", POLYCACHE_VERSION, create);

}  // namespace polycache::zstd
