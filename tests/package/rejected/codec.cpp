// A type that has no codec; a new one for each call, since a compiler says it once a type.
#include <polycache/polycache.h>

#include <map>
#include <string>

namespace {

template <int>
struct Plain {
  int* unknown = nullptr;
};

}  // namespace

void use(polycache::Cache& cache) {
  cache.set("k", 1);
  cache.set("k", Plain<1>());                         // WRONG
  cache.get<Plain<2>>("k");                           // WRONG
  cache.get_or_set("k", [] { return Plain<3>(); });   // WRONG
  cache.add("k", Plain<4>());                         // WRONG
  cache.pop<Plain<5>>("k");                           // WRONG
  cache.get_many<Plain<6>>({"k"});                    // WRONG
  cache.get_many_map<Plain<7>>({"k"});                // WRONG
  cache.set_many({{"k", Plain<8>()}});                // WRONG
  cache.set_many(std::map<std::string, Plain<9>>());  // WRONG
}
