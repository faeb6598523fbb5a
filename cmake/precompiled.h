// What most sources of the product include, parsed once if POLYCACHE_PRECOMPILE is ON. Sources
// include what they use nevertheless: the preset "release" builds them without it.

#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "polycache/author/backend.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"
