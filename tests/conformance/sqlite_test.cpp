#include "polycache/backends/sqlite.h"

#include <unistd.h>

#include <atomic>

#include "stores.h"
#include "support/server.h"

namespace polycache::testing {
namespace {

// A new file for each test, all in one folder that lives as long as the program.
std::vector<std::string> fresh_file() {
  static const TemporaryFolder folder;
  static std::atomic<int> number{0};
  return {folder.path() / (std::to_string(++number) + ".db")};
}

std::vector<std::string> fresh_memory() {
  static std::atomic<int> number{0};
  return {":memory:conformance" + std::to_string(++number)};
}

constexpr std::size_t too_large = (std::size_t{2} << 20U) + 1;

// 32 threads under a sanitizer, on a machine with other work, keep a database busy for seconds.
const OptionMap options{{"max_value_bytes", std::string("2MiB")},
                        {"busy_timeout", std::string("1m")}};

}  // namespace

INSTANTIATE_TEST_SUITE_P(SqliteFile, BackendConformance,
                         ::testing::ValuesIn(linked_and_loaded(
                             {.backend = "sqlite",
                              .location = fresh_file,
                              .options = options,
                              .quirks = {.has_tag_stamps = true, .refuses_value_of = too_large}},
                             sqlite::plugin)),
                         case_name);

INSTANTIATE_TEST_SUITE_P(SqliteFileWithChecksums, BackendConformance,
                         ::testing::Values(ConformanceCase{
                             .store = {.name = "Linked",
                                       .backend = "sqlite",
                                       .location = fresh_file,
                                       .options = {{"checksum", true},
                                                   {"busy_timeout", std::string("1m")},
                                                   {"max_entries", std::int64_t{1'000'000}}},
                                       .linked_plugins = {&sqlite::plugin},
                                       .quirks = {.has_tag_stamps = true}},
                             .variant = KeyVariant::plain}),
                         case_name);

INSTANTIATE_TEST_SUITE_P(SqliteFileWithNearTier, BackendConformance,
                         ::testing::Values(ConformanceCase{
                             .store = {.name = "Linked",
                                       .backend = "sqlite",
                                       .location = fresh_file,
                                       .options = {{"near", std::string("16MiB")},
                                                   {"busy_timeout", std::string("1m")}},
                                       .linked_plugins = {&sqlite::plugin},
                                       .quirks = {.has_tag_stamps = true}},
                             .variant = KeyVariant::plain}),
                         case_name);

INSTANTIATE_TEST_SUITE_P(
    SqliteMemory, BackendConformance,
    ::testing::ValuesIn(conformance_cases({.name = "Linked",
                                           .backend = "sqlite",
                                           .location = fresh_memory,
                                           .options = options,
                                           .linked_plugins = {&sqlite::plugin},
                                           .quirks = {.shared_between_processes = false,
                                                      .has_tag_stamps = true,
                                                      .refuses_value_of = too_large}})),
    case_name);

}  // namespace polycache::testing
