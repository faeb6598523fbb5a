// The hash of keys that are too long, or that must not be forged. For recipes. Thread-safe.

#pragma once

#include <string>
#include <string_view>

namespace polycache::detail {

// 64 hex digits: the SHA-256 of the text. Throws CacheError if libcrypto does not have it.
std::string sha256(std::string_view text);

}  // namespace polycache::detail
