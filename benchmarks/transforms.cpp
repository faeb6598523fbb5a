// What the transforms "zstd", "lz4", "zlib" and "aead" cost beyond their libraries: the same value,
// the same level, contexts that are kept, buffers that are kept.
//
//   transforms [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal Z1: zstd at least 0.9 times as fast as bare compress and decompress.

#include <polycache/backends/locmem.h>
#include <polycache/polycache.h>
#include <polycache/testing/test_context.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "duel.h"
#include "transforms/stock_transforms.h"

#ifdef WITH_ZSTD
#include <zstd.h>
#endif
#ifdef WITH_LZ4
#include <lz4.h>
#endif
#ifdef WITH_ZLIB
#include <zlib.h>
#endif
#ifdef WITH_AEAD
#include <sodium.h>
#endif

namespace {

using polycache::testing::StockTransform;

constexpr polycache::TransformContext usual_context{.final_key = ":1:user:12345678",
                                                    .head = "12345678901234567890123456789012"};

// Records as JSON has them, of which no two are equal.
std::string records(std::size_t size, unsigned seed) {
  std::string text = "[";
  for (unsigned i = seed; text.size() < size; ++i) {
    const std::string number = std::to_string(i * 2654435761U);
    text += R"({"id": )" + number + R"(, "name": "Ada the )" + std::to_string(i % 97) +
            R"(th", "mail": "ada.)" + number.substr(0, 5) +
            R"(@example.org", "active": true, "groups": [1, 2, )" + std::to_string(i % 13) + "]}, ";
  }
  text.resize(size);
  return text;
}

std::vector<std::string> values(std::size_t size) {
  std::vector<std::string> all;
  for (unsigned i = 0; i < 16; ++i) all.push_back(records(size, i * 1000));
  return all;
}

// A library as a program would use it by itself. Each direction writes into `out`, which is large
// enough, and returns how much it wrote.
class Bare {
 public:
  virtual ~Bare() = default;
  virtual std::size_t apply(std::string_view value, std::span<char> out) = 0;
  virtual std::size_t revert(std::string_view stored, std::span<char> out) = 0;
};

#ifdef WITH_ZSTD
class BareZstd final : public Bare {
 public:
  BareZstd() { ZSTD_CCtx_setParameter(compressing_.get(), ZSTD_c_compressionLevel, 3); }
  std::size_t apply(std::string_view value, std::span<char> out) override {
    return ZSTD_compress2(compressing_.get(), out.data(), out.size(), value.data(), value.size());
  }
  std::size_t revert(std::string_view stored, std::span<char> out) override {
    return ZSTD_decompressDCtx(decompressing_.get(), out.data(), out.size(), stored.data(),
                               stored.size());
  }

 private:
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> compressing_{ZSTD_createCCtx(),
                                                                    ZSTD_freeCCtx};
  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> decompressing_{ZSTD_createDCtx(),
                                                                      ZSTD_freeDCtx};
};
#endif

#ifdef WITH_LZ4
class BareLz4 final : public Bare {
 public:
  std::size_t apply(std::string_view value, std::span<char> out) override {
    return static_cast<std::size_t>(LZ4_compress_default(
        value.data(), out.data(), static_cast<int>(value.size()), static_cast<int>(out.size())));
  }
  std::size_t revert(std::string_view stored, std::span<char> out) override {
    return static_cast<std::size_t>(LZ4_decompress_safe(
        stored.data(), out.data(), static_cast<int>(stored.size()), static_cast<int>(out.size())));
  }
};
#endif

#ifdef WITH_ZLIB
// zlib's functions for whole buffers make a context for each call.
class BareZlib final : public Bare {
 public:
  BareZlib() {
    duel::expect(deflateInit(&deflating_, 6) == Z_OK && inflateInit(&inflating_) == Z_OK);
  }
  BareZlib(const BareZlib&) = delete;
  BareZlib& operator=(const BareZlib&) = delete;
  ~BareZlib() override {
    deflateEnd(&deflating_);
    inflateEnd(&inflating_);
  }
  std::size_t apply(std::string_view value, std::span<char> out) override {
    deflateReset(&deflating_);
    give(deflating_, value, out);
    deflate(&deflating_, Z_FINISH);
    return deflating_.total_out;
  }
  std::size_t revert(std::string_view stored, std::span<char> out) override {
    inflateReset(&inflating_);
    give(inflating_, stored, out);
    inflate(&inflating_, Z_FINISH);
    return inflating_.total_out;
  }

 private:
  static void give(z_stream& stream, std::string_view in, std::span<char> out) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
    stream.avail_in = static_cast<uInt>(in.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
  }
  z_stream deflating_{};
  z_stream inflating_{};
};
#endif

#ifdef WITH_AEAD
class BareSodium final : public Bare {
 public:
  BareSodium() { crypto_aead_xchacha20poly1305_ietf_keygen(key_); }
  std::size_t apply(std::string_view value, std::span<char> out) override {
    auto* const bytes = reinterpret_cast<unsigned char*>(out.data());
    randombytes_buf(bytes, nonce_bytes);
    unsigned long long size = 0;
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + nonce_bytes, &size,
                                               reinterpret_cast<const unsigned char*>(value.data()),
                                               value.size(), nullptr, 0, nullptr, bytes, key_);
    return nonce_bytes + size;
  }
  std::size_t revert(std::string_view stored, std::span<char> out) override {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(stored.data());
    unsigned long long size = 0;
    duel::expect(crypto_aead_xchacha20poly1305_ietf_decrypt(
                     reinterpret_cast<unsigned char*>(out.data()), &size, nullptr,
                     bytes + nonce_bytes, stored.size() - nonce_bytes, nullptr, 0, bytes,
                     key_) == 0);
    return size;
  }

 private:
  static constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
  unsigned char key_[crypto_aead_xchacha20poly1305_ietf_KEYBYTES] = {};
};
#endif

std::unique_ptr<Bare> bare(const std::string& name) {
#ifdef WITH_LZ4
  if (name == "lz4") return std::make_unique<BareLz4>();
#endif
#ifdef WITH_ZLIB
  if (name == "zlib") return std::make_unique<BareZlib>();
#endif
#ifdef WITH_AEAD
  if (name == "aead") return std::make_unique<BareSodium>();
#endif
#ifdef WITH_ZSTD
  if (name == "zstd") return std::make_unique<BareZstd>();
#endif
  duel::give_up("there is no bare library for " + name);
}

// One transform and its library, on values of one size.
class Contest {
 public:
  Contest(polycache::testing::TestContext& context, const StockTransform& stock, std::size_t size)
      : transform_(context.make_transform(*stock.plugin, stock.options)),
        bare_(bare(stock.name())),
        values_(values(size)),
        theirs_(2 * size + 1024, '\0') {
    for (const std::string& value : values_) {
      std::string stored;
      duel::expect(transform_->apply(value, usual_context, stored));
      stored_.push_back(stored);
      bare_stored_.push_back(theirs_.substr(0, bare_->apply(value, theirs_)));
      duel::expect(bare_->revert(bare_stored_.back(), theirs_) == value.size());
    }
  }

  duel::Contender apply() {
    return duel::each([this](std::size_t i) {
      ours_.clear();
      duel::expect(transform_->apply(values_[i % values_.size()], usual_context, ours_));
      duel::keep(ours_.data());
    });
  }
  duel::Contender revert() {
    return duel::each([this](std::size_t i) {
      ours_.clear();
      duel::expect(transform_->revert(stored_[i % stored_.size()], usual_context, ours_));
      duel::keep(ours_.data());
    });
  }
  duel::Contender bare_apply() {
    return duel::each([this](std::size_t i) {
      duel::keep(bare_->apply(values_[i % values_.size()], theirs_));
      duel::keep(theirs_.data());
    });
  }
  duel::Contender bare_revert() {
    return duel::each([this](std::size_t i) {
      duel::keep(bare_->revert(bare_stored_[i % bare_stored_.size()], theirs_));
      duel::keep(theirs_.data());
    });
  }
  double ratio() const {
    return static_cast<double>(values_[0].size()) / static_cast<double>(stored_[0].size());
  }

 private:
  std::unique_ptr<polycache::Transform> transform_;
  std::unique_ptr<Bare> bare_;
  std::vector<std::string> values_;
  std::vector<std::string> stored_;
  std::vector<std::string> bare_stored_;
  std::string ours_;
  std::string theirs_;
};

struct Size {
  const char* name;
  std::size_t bytes;
  std::size_t operations;  // of one slice
};
constexpr Size sizes[] = {{"4 KiB", 4096, 100}, {"64 KiB", 65536, 10}};

bool run_alone(const duel::Options& options, polycache::testing::TestContext& context,
               const StockTransform& stock) {
  duel::Table table(options,
                    {.title = "the transform " + stock.name() + " against its library alone",
                     .theirs = "bare " + stock.name()});
  for (const Size& size : sizes) {
    Contest contest(context, stock, size.bytes);
    const auto add = [&](const char* verb, duel::Contender ours, duel::Contender theirs) {
      table.add(
          {.name = std::string(size.name) + ' ' + verb,
           .operations = size.operations,
           .slices = 300,
           .goal = stock.name() == "zstd" ? std::optional(duel::at_least("Z1", 0.9)) : std::nullopt,
           .ours = std::move(ours),
           .theirs = std::move(theirs)});
    };
    const bool encrypts = !stock.options.empty();
    add(encrypts ? "encrypt" : "compress", contest.apply(), contest.bare_apply());
    add(encrypts ? "decrypt" : "decompress", contest.revert(), contest.bare_revert());
    if (!encrypts) table.add_figure(std::string(size.name) + " shrinks", "times", contest.ratio());
  }
  return table.met();
}

#ifdef WITH_ZSTD
// What a program gains by writing the two calls itself, in front of the same store.
void run_in_front_of_a_store(const duel::Options& options) {
  polycache::CacheConfig plain{.backend = "locmem", .location = {"transforms"}};
  plain.options["max_bytes"] = std::string("64MiB");
  polycache::CacheConfig compressed = plain;
  compressed.transform = {{"zstd"}};
  polycache::CacheRegistry registry(
      {.caches = {{"plain", plain}, {"zstd", compressed}}},
      {.linked_plugins = {&polycache::locmem::plugin, &polycache::zstd::plugin}});
  polycache::Cache& ours = registry["zstd"];
  polycache::Cache& theirs = registry["plain"];
  BareZstd bare;
  duel::Table table(options, {.title = "zstd in front of locmem, against bare zstd and locmem",
                              .theirs = "bare zstd, then locmem"});
  for (const Size& size : sizes) {
    const std::vector<std::string> all = values(size.bytes);
    std::string buffer(2 * size.bytes, '\0');
    const auto key = [](const char* name, std::size_t i) { return name + std::to_string(i % 16); };
    const auto set_bare = [&](std::size_t i) {
      const std::size_t written = bare.apply(all[i % all.size()], buffer);
      duel::expect(theirs.set(key("bare", i), std::string_view(buffer.data(), written)));
    };
    const auto set = [&](std::size_t i) {
      duel::expect(ours.set(key("ours", i), all[i % all.size()]));
    };
    for (std::size_t i = 0; i < all.size(); ++i) {
      set(i);
      set_bare(i);
    }
    const auto add = [&](const char* verb, duel::Contender one, duel::Contender other) {
      table.add({.name = std::string(size.name) + ' ' + verb,
                 .operations = size.operations,
                 .slices = 300,
                 .ours = std::move(one),
                 .theirs = std::move(other)});
    };
    add("set", duel::each(set), duel::each(set_bare));
    add("get", duel::each([&](std::size_t i) {
          duel::expect(ours.get(key("ours", i))->size() == size.bytes);
        }),
        duel::each([&](std::size_t i) {
          std::string value(size.bytes, '\0');
          theirs.visit(key("bare", i), [&](std::string_view stored) {
            duel::expect(bare.revert(stored, value) == size.bytes);
          });
          duel::keep(value.data());
        }));
  }
}
#endif

bool run_all(const duel::Options& options) {
  polycache::testing::TestContext context;
  bool met = true;
  for (const StockTransform& stock : polycache::testing::stock_transforms()) {
    met = run_alone(options, context, stock) && met;
  }
#ifdef WITH_ZSTD
  run_in_front_of_a_store(options);
#endif
  return met;
}

}  // namespace

int main(int argc, char** argv) { return duel::run("transforms", argc, argv, run_all); }
