#include "polycache/transforms/zlib.h"

#include <zlib.h>

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <stdexcept>
#include <string_view>

#include "polycache/abi.h"
#include "polycache/author/compressor.h"
#include "polycache/author/object_pool.h"

namespace polycache::zlib {
namespace {

// By zlib's own account (zlib_tech.html, "Maximum Compression Factor").
constexpr std::size_t largest_ratio = 1032;

constexpr int fastest_level = 1;
constexpr int default_level = 6;
constexpr int smallest_level = 9;

// zlib does not change what it reads. A Compressor's values and buffers have at most 1 GiB.
void give(z_stream& stream, std::string_view in, std::span<char> out) noexcept {
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
}

void require_ok(int code) {
  if (code == Z_MEM_ERROR) throw std::bad_alloc();
  if (code != Z_OK) throw std::runtime_error("zlib: it is of another version than its headers");
}

class CompressionStream {
 public:
  explicit CompressionStream(int level) { require_ok(deflateInit(&stream_, level)); }
  CompressionStream(const CompressionStream&) = delete;
  CompressionStream& operator=(const CompressionStream&) = delete;
  ~CompressionStream() { deflateEnd(&stream_); }

  // 0: it does not fit.
  std::size_t compress(std::string_view value, std::span<char> out) {
    deflateReset(&stream_);
    give(stream_, value, out);
    return deflate(&stream_, Z_FINISH) == Z_STREAM_END ? out.size() - stream_.avail_out : 0;
  }

 private:
  z_stream stream_{};
};

class DecompressionStream {
 public:
  DecompressionStream() { require_ok(inflateInit(&stream_)); }
  DecompressionStream(const DecompressionStream&) = delete;
  DecompressionStream& operator=(const DecompressionStream&) = delete;
  ~DecompressionStream() { inflateEnd(&stream_); }

  bool decompress(std::string_view compressed, std::span<char> out) {
    inflateReset(&stream_);
    give(stream_, compressed, out);
    return inflate(&stream_, Z_FINISH) == Z_STREAM_END && stream_.avail_in == 0 &&
           stream_.avail_out == 0;
  }

 private:
  z_stream stream_{};
};

class Zlib final : public Compressor {
 public:
  explicit Zlib(const OptionReader& options)
      : Compressor(options, largest_ratio),
        level_(static_cast<int>(
            options.integer("level", default_level, fastest_level, smallest_level))) {}

 private:
  std::size_t compress(std::string_view value, std::span<char> out) override {
    const auto stream =
        compressing_.take([&] { return std::make_unique<CompressionStream>(level_); });
    return stream->compress(value, out);
  }
  bool decompress(std::string_view compressed, std::span<char> out) override {
    const auto stream = decompressing_.take([] { return std::make_unique<DecompressionStream>(); });
    return stream->decompress(compressed, out);
  }

  int level_;
  ObjectPool<CompressionStream> compressing_;
  ObjectPool<DecompressionStream> decompressing_;
};

std::unique_ptr<Transform> create(const OptionReader& options, const BackendContext&) {
  return std::make_unique<Zlib>(options);
}

}  // namespace

const PluginDescriptor plugin = transform_plugin("zlib", POLYCACHE_VERSION, create);

}  // namespace polycache::zlib
