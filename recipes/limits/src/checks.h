// What the recipes that limit and measure refuse.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/error.h"

namespace polycache::limits {

// "RateLimiter "api": PROBLEM".
ValueError refused(std::string_view kind, std::string_view name, const std::string& problem);

// Throws ValueError.
void check_name(std::string_view kind, std::string_view name);
void check_rate(std::string_view kind, std::string_view name, std::int64_t limit,
                std::chrono::milliseconds period);

}  // namespace polycache::limits
