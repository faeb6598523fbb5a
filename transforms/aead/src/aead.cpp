#include "polycache/transforms/aead.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "keys.h"
#include "polycache/abi.h"
#include "polycache/author/text.h"
#include "polycache/author/transform.h"
#include "polycache/error.h"

namespace polycache::aead {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they lie");

// What is stored:
//   u8      1: XChaCha20-Poly1305 (IETF)
//   u8      length of the key's id
//           the id
//   24      nonce, random
//           the value, encrypted, of the same size
//   16      authentication tag
constexpr char xchacha20_poly1305 = 1;
constexpr std::size_t fixed_bytes = 2;
constexpr std::size_t nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

const unsigned char* bytes_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

// What is authenticated with a value: the length of its final key, the key, the head. The length
// makes the place unambiguous where the key ends.
std::string additional_data(const TransformContext& context) {
  std::array<char, sizeof(std::uint64_t)> length{};
  const std::uint64_t size = context.final_key.size();
  std::memcpy(length.data(), &size, length.size());
  std::string data(length.data(), length.size());
  return data.append(context.final_key).append(context.head);
}

struct Sealed {
  std::string_view id;
  std::string_view nonce;
  std::string_view encrypted;  // with the tag
};

// Throws if the bytes do not have the form above.
Sealed parse(std::string_view stored) {
  if (stored.size() >= fixed_bytes && stored[0] != xchacha20_poly1305) {
    throw std::runtime_error("it is encrypted in a way that this version does not know");
  }
  const std::size_t id_size =
      stored.size() < fixed_bytes ? 0 : static_cast<unsigned char>(stored[1]);
  if (stored.size() < fixed_bytes + id_size + nonce_bytes + tag_bytes) {
    throw std::runtime_error("it is too short");
  }
  const std::string_view id = stored.substr(fixed_bytes, id_size);
  if (!is_id(id)) throw std::runtime_error("it names no key");
  return {id, stored.substr(fixed_bytes + id_size, nonce_bytes),
          stored.substr(fixed_bytes + id_size + nonce_bytes)};
}

class Aead final : public Transform {
 public:
  // Without keys, which the options were rejected for, the registry drops it unused.
  Aead(std::vector<Key> keys, bool require) : keys_(std::move(keys)), require_(require) {}

  bool apply(std::string_view value, const TransformContext& context, std::string& out) override {
    const Key& key = keys_.front();
    const std::size_t before = fixed_bytes + key.id.size() + nonce_bytes;
    out.reserve(before + value.size() + tag_bytes);
    out.push_back(xchacha20_poly1305);
    out.push_back(static_cast<char>(key.id.size()));
    out.append(key.id);
    out.resize(before + value.size() + tag_bytes);
    auto* const bytes = reinterpret_cast<unsigned char*>(out.data());
    unsigned char* const nonce = bytes + before - nonce_bytes;
    // 24 random bytes do not repeat, however many processes encrypt with one key.
    randombytes_buf(nonce, nonce_bytes);
    const std::string bound = additional_data(context);
    crypto_aead_xchacha20poly1305_ietf_encrypt(bytes + before, nullptr, bytes_of(value),
                                               value.size(), bytes_of(bound), bound.size(), nullptr,
                                               nonce, key.secret.data());
    return true;
  }

  bool revert(std::string_view stored, const TransformContext& context, std::string& out) override {
    const Sealed sealed = parse(stored);
    const auto key = std::find_if(keys_.begin(), keys_.end(),
                                  [&](const Key& one) { return one.id == sealed.id; });
    if (key == keys_.end()) {
      throw std::runtime_error("its key " + quote(sealed.id) + " is not in the option keys");
    }
    const std::string bound = additional_data(context);
    out.resize(sealed.encrypted.size() - tag_bytes);
    const int code = crypto_aead_xchacha20poly1305_ietf_decrypt(
        reinterpret_cast<unsigned char*>(out.data()), nullptr, nullptr, bytes_of(sealed.encrypted),
        sealed.encrypted.size(), bytes_of(bound), bound.size(), bytes_of(sealed.nonce),
        key->secret.data());
    if (code == 0) return true;
    throw std::runtime_error(
        "it was changed, moved from another key, or encrypted with another key "
        "that is called " +
        quote(sealed.id));
  }

  bool reads_plain() const noexcept override { return !require_; }
  TransformEffect effect() const noexcept override { return TransformEffect::encrypts; }

 private:
  std::vector<Key> keys_;  // the first one encrypts
  bool require_;
};

std::unique_ptr<Transform> create(const OptionReader& options, const BackendContext&) {
  if (sodium_init() < 0) throw ConfigError("libsodium cannot be initialised on this machine");
  std::vector<Key> keys = read_keys(options);
  const bool require = options.boolean("require", false);
  return std::make_unique<Aead>(std::move(keys), require);
}

}  // namespace

const PluginDescriptor plugin = transform_plugin("aead", POLYCACHE_VERSION, create);

}  // namespace polycache::aead
