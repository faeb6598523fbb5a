// Which stores of polycache have which ability, as the build knows them: each store's
// CMakeLists.txt says what its own offers, by polycache_store_offers(). The core itself knows none.

#pragma once

#include <span>
#include <string>
#include <string_view>

namespace polycache {

struct StockAbility {
  std::string_view store;
  std::string_view id;      // of the extension: "polycache.scan/1"
  std::string_view remark;  // "with the protocol \"ascii\"", or empty
};

// Defined in a source that the build writes (cmake/stock_plugins.cpp.in).
std::span<const StockAbility> stock_abilities() noexcept;

// "dummy, locmem, redis": those with that extension, for messages.
std::string stores_that_offer(std::string_view id);

}  // namespace polycache
