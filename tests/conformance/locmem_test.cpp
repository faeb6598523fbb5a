#include "polycache/backends/locmem.h"

#include "stores.h"

namespace polycache::testing {

INSTANTIATE_TEST_SUITE_P(
    Locmem, BackendConformance,
    ::testing::ValuesIn(linked_and_loaded({.backend = "locmem",
                                           .options = {{"max_bytes", std::string("8MiB")}},
                                           .quirks = {.shared_between_processes = false,
                                                      .has_tag_stamps = true,
                                                      .refuses_value_of = std::size_t{9} << 20U}},
                                          locmem::plugin)),
    case_name);

}  // namespace polycache::testing
