// Prices of products. The database is slow, so a price is cached, for the time that the
// configuration of the cache "prices" sets.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

using Cents = std::int64_t;

class Prices {
 public:
  // Throws std::out_of_range for a product that it does not know.
  using Database = std::function<Cents(std::string_view product)>;

  explicit Prices(Database database);

  // Also works when the cache is down, at the speed of the database.
  Cents of(std::string_view product);

  // Call this when a price has changed. Throws polycache::BackendError if the old price could not
  // be erased: then it may be shown for some minutes.
  void changed(std::string_view product);

 private:
  Database database_;
};
