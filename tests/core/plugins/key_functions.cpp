// A library of key functions: no plugin, but it bears the ABI mark.

#include <algorithm>
#include <string>
#include <string_view>

#include "polycache/author/plugin.h"

POLYCACHE_ABI_MARK;

extern "C" {
POLYCACHE_API void backwards_key(std::string& out, std::string_view key, std::string_view prefix,
                                 int version);
POLYCACHE_API extern const int no_function;
}

void backwards_key(std::string& out, std::string_view key, std::string_view prefix, int version) {
  out.append(key.rbegin(), key.rend()).append("/").append(prefix);
  out.append("/").append(std::to_string(version));
}

const int no_function = 1;
