#include "keys.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "polycache/author/text.h"

namespace polycache::aead {
namespace {

constexpr std::string_view blanks = " \t\r\n";

constexpr std::string_view form =
    "ID:KEY, where ID is a word of at most 32 letters, digits, '-', "
    "'_' and '.', and KEY is 64 hexadecimal digits";

// The strings of the option, overwritten at the end.
class Texts {
 public:
  explicit Texts(std::vector<std::string> texts) noexcept : texts_(std::move(texts)) {}
  Texts(const Texts&) = delete;
  Texts& operator=(const Texts&) = delete;
  ~Texts() {
    for (std::string& text : texts_) sodium_memzero(text.data(), text.size());
  }

  // Each may hold several keys. The views are valid while this object is.
  std::vector<std::string_view> words() const {
    std::vector<std::string_view> words;
    for (const std::string_view text : texts_) {
      std::size_t begin = text.find_first_not_of(blanks);
      while (begin != std::string_view::npos) {
        const std::size_t end = std::min(text.find_first_of(blanks, begin), text.size());
        words.push_back(text.substr(begin, end - begin));
        begin = text.find_first_not_of(blanks, end);
      }
    }
    return words;
  }

 private:
  std::vector<std::string> texts_;
};

// Why a word is no key; shows its id only if that cannot be a key by mistake.
std::string problem_of(std::string_view word, std::size_t number) {
  const std::size_t colon = word.find(':');
  const std::string_view id = word.substr(0, colon);
  std::string text = "key " + std::to_string(number);
  if (colon == std::string_view::npos || !is_id(id)) {
    return text.append(" does not have the form ").append(form);
  }
  const std::size_t size = word.size() - colon - 1;
  text.append(", ").append(quote(id)).append(", ");
  if (size != 2 * key_bytes) {
    return text + "has " + std::to_string(size) + " characters after the colon; expected " +
           std::to_string(2 * key_bytes) + " hexadecimal digits (openssl rand -hex 32)";
  }
  return text + "has a character that is not a hexadecimal digit after the colon";
}

std::optional<Key> read_key(std::string_view word) {
  const std::size_t colon = word.find(':');
  if (colon == std::string_view::npos || !is_id(word.substr(0, colon))) return std::nullopt;
  SecretKey secret = SecretKey::from_hex(word.substr(colon + 1));
  if (!secret) return std::nullopt;
  return Key{std::string(word.substr(0, colon)), std::move(secret)};
}

}  // namespace

bool is_id(std::string_view text) noexcept {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !text.empty() && text.size() <= longest_id &&
         text.find_first_not_of(allowed) == std::string_view::npos;
}

SecretKey SecretKey::from_hex(std::string_view hex) {
  SecretKey key;
  if (hex.size() != 2 * key_bytes) return key;
  key.bytes_.reset(static_cast<unsigned char*>(sodium_malloc(key_bytes)));
  if (!key) throw std::bad_alloc();
  std::size_t size = 0;
  const int code =
      sodium_hex2bin(key.bytes_.get(), key_bytes, hex.data(), hex.size(), nullptr, &size, nullptr);
  if (code != 0 || size != key_bytes) return {};
  sodium_mprotect_readonly(key.bytes_.get());
  return key;
}

std::vector<Key> read_keys(const OptionReader& options) {
  const Texts texts(options.strings("keys"));
  std::vector<Key> keys;
  std::size_t number = 0;
  for (const std::string_view word : texts.words()) {
    ++number;
    std::optional<Key> key = read_key(word);
    if (!key) {
      options.reject("keys", problem_of(word, number));
      continue;
    }
    const bool is_known =
        std::any_of(keys.begin(), keys.end(), [&](const Key& one) { return one.id == key->id; });
    if (is_known) {
      options.reject("keys", "the id " + quote(key->id) +
                                 " is given twice; an entry names its key "
                                 "by its id, so give each key its own");
      continue;
    }
    keys.push_back(std::move(*key));
  }
  if (number == 0) {
    options.reject("keys", "is missing; expected a list of " + std::string(form) +
                               R"(, e.g. ["2026a:${file:/run/secrets/cache_key}"])");
  }
  return keys;
}

}  // namespace polycache::aead
