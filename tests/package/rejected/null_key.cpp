// nullptr and 0 as keys: both would be a null pointer.
#include <polycache/polycache.h>

void use(polycache::Cache& cache) {
  cache.set("k", 1);
  cache.set(nullptr, 1);           // WRONG
  cache.set(0, 1);                 // WRONG
  cache.add(nullptr, 1);           // WRONG
  cache.add(0, 1);                 // WRONG
  cache.get(nullptr);              // WRONG
  cache.get(0);                    // WRONG
  cache.get_or_set(nullptr, 1);    // WRONG
  cache.get_or_set(0, 1);          // WRONG
  cache.get_many({nullptr});       // WRONG
  cache.get_many({0});             // WRONG
  cache.set_many({{nullptr, 1}});  // WRONG
  cache.set_many({{0, 1}});        // WRONG
  cache.erase_many({nullptr});     // WRONG
  cache.erase_many({0});           // WRONG
  cache.touch(nullptr);            // WRONG
  cache.touch(0);                  // WRONG
  cache.contains(nullptr);         // WRONG
  cache.contains(0);               // WRONG
  cache.erase(nullptr);            // WRONG
  cache.erase(0);                  // WRONG
  cache.pop(nullptr);              // WRONG
  cache.pop(0);                    // WRONG
  cache.incr(nullptr);             // WRONG
  cache.incr(0);                   // WRONG
  cache.incr_version(nullptr);     // WRONG
  cache.incr_version(0);           // WRONG
}
