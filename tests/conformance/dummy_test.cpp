#include "polycache/backends/dummy.h"

#include "stores.h"

namespace polycache::testing {

INSTANTIATE_TEST_SUITE_P(Dummy, KeepsNothingConformance,
                         ::testing::ValuesIn(linked_and_loaded({.backend = "dummy"},
                                                               dummy::plugin)),
                         case_name);

}  // namespace polycache::testing
