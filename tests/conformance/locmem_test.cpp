#include "polycache/backends/locmem.h"

#include "stores.h"

namespace polycache::testing {

INSTANTIATE_TEST_SUITE_P(Locmem, BackendConformance,
                         ::testing::ValuesIn(linked_and_loaded(
                             {.backend = "locmem", .quirks = {.shared_between_processes = false}},
                             locmem::plugin)),
                         case_name);

}  // namespace polycache::testing
