#include "prices.h"

#include <polycache/polycache.h>

#include <utility>

using polycache::caches;
using polycache::key;

Prices::Prices(Database database) : database_(std::move(database)) {}

Cents Prices::of(std::string_view product) {
  return caches["prices"].get_or_set(key("price", product), [&] { return database_(product); });
}

void Prices::changed(std::string_view product) { caches["prices"].erase(key("price", product)); }
