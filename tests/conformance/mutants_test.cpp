// The suite itself: it passes a store of exactly the five functions that a store must have, and
// a store with all of them; check_mutants.py runs it over stores with one mistake each.

#include "mutant_store.h"
#include "polycache/testing/backend_conformance.h"

namespace polycache::testing {
namespace {

// Its factory and its sessions share a map.
class FiveFunctions final : public Backend {
 public:
  FiveFunctions(std::shared_ptr<MutantTable> table, const Clock& clock)
      : table_(std::move(table)), clock_(clock) {}

  bool get(std::string_view key, ValueSink sink) override {
    std::string value;
    {
      const std::lock_guard lock(table_->mutex);
      const MutantEntry* const entry = find(key);
      if (entry == nullptr) return false;
      value = entry->value;
    }
    sink(value);
    return true;
  }
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    const std::lock_guard lock(table_->mutex);
    if (mode == (find(key) == nullptr ? PutMode::if_present : PutMode::if_absent)) return false;
    table_->entries.insert_or_assign(std::string(key), MutantEntry{std::string(value), end(ttl)});
    return true;
  }
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    const std::lock_guard lock(table_->mutex);
    MutantEntry* const entry = find(key);
    if (entry == nullptr) return false;
    entry->deadline = end(ttl);
    head(entry->value);
    return true;
  }
  bool erase(std::string_view key) override {
    const std::lock_guard lock(table_->mutex);
    const bool there = find(key) != nullptr;
    table_->entries.erase(std::string(key));
    return there;
  }
  void clear() override {
    const std::lock_guard lock(table_->mutex);
    table_->entries.clear();
  }

 private:
  std::int64_t now() const {
    return std::chrono::floor<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch())
        .count();
  }
  std::int64_t end(Ttl ttl) const {
    constexpr std::int64_t last = std::numeric_limits<std::int64_t>::max();
    return ttl.is_forever() ? last : now() + ttl.value().count();
  }
  MutantEntry* find(std::string_view key) {
    const auto entry = table_->entries.find(key);
    return entry == table_->entries.end() || entry->second.deadline <= now() ? nullptr
                                                                             : &entry->second;
  }

  std::shared_ptr<MutantTable> table_;
  const Clock& clock_;
};

class FiveFunctionsFactory final : public BackendFactory {
 public:
  explicit FiveFunctionsFactory(const Clock& clock) : clock_(clock) {}
  std::unique_ptr<Backend> connect() override {
    return std::make_unique<FiveFunctions>(table_, clock_);
  }

 private:
  std::shared_ptr<MutantTable> table_ = std::make_shared<MutantTable>();
  const Clock& clock_;
};

constexpr PluginDescriptor five_functions = backend_plugin(
    "five_functions", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<FiveFunctionsFactory>(context.clock);
    });

constexpr PluginDescriptor mutant = backend_plugin(
    "mutant", POLYCACHE_VERSION,
    [](const OptionReader&, const BackendContext& context) -> std::unique_ptr<BackendFactory> {
      return std::make_unique<MutantFactory>(context);
    });

StoreUnderTest mutant_under_test() {
  return {.name = "Alone",
          .backend = "mutant",
          .linked_plugins = {&mutant},
          .quirks = {.lateness = std::chrono::milliseconds(0),
                     .shared_between_processes = false,
                     .has_tag_stamps = true,
                     .has_limits = true,
                     .refuses_value_of = MutantSession::most_bytes + 1},
          .time_limit = std::chrono::seconds(makes("sink_under_the_lock") ? 3 : 60)};
}

INSTANTIATE_TEST_SUITE_P(
    FiveFunctions, BackendConformance,
    ::testing::ValuesIn(conformance_cases({.name = "Alone",
                                           .backend = "five_functions",
                                           .linked_plugins = {&five_functions},
                                           .quirks = {.lateness = std::chrono::milliseconds(0),
                                                      .shared_between_processes = false,
                                                      .has_ttl = false,
                                                      .has_compare = false,
                                                      .has_erase_prefix = false,
                                                      .has_scan = false,
                                                      .has_renew = false,
                                                      .has_tag_index = false,
                                                      .has_indexes = false,
                                                      .has_locks = false,
                                                      .has_deques = false,
                                                      .has_maintenance = false,
                                                      .has_counters = false}})),
    case_name);

INSTANTIATE_TEST_SUITE_P(Mutant, BackendConformance,
                         ::testing::ValuesIn(conformance_cases(mutant_under_test())), case_name);

}  // namespace
}  // namespace polycache::testing
