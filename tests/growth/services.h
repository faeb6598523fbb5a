// What the program gives to these plugins (Environment::services).

#pragma once

#include <atomic>
#include <cstddef>
#include <string_view>

namespace growth {

// How many factories of "growth_pair" were made.
struct FactoryCount {
  static constexpr std::string_view id = "growth.factories/1";
  std::size_t made = 0;
};

// How many calls "growth_layer" has seen.
struct CallCount {
  static constexpr std::string_view id = "growth.calls/1";
  std::atomic<int> seen{0};
};

}  // namespace growth
