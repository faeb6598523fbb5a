// What products cost. The database is slow, so a price is remembered for as long as the
// configuration of the cache "prices" says.
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

  // Works without the cache, too, as slowly as the database is.
  Cents of(std::string_view product);

  // To be called when a price has changed. Throws polycache::BackendError if the old one could
  // not be forgotten: then it may be shown for some minutes.
  void changed(std::string_view product);

 private:
  Database database_;
};
