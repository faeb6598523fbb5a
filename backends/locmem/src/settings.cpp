#include "settings.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "entry.h"

namespace polycache::locmem {
namespace {

constexpr std::int64_t default_max_bytes = 64 << 20;
// In the order of Policy.
constexpr std::string_view policy_names[] = {"s3-fifo", "lru", "fifo", "lfu", "django"};

std::string_view name_of(Policy policy) { return policy_names[static_cast<std::size_t>(policy)]; }

Policy policy_named(std::string_view name) {
  const auto* const found = std::find(std::begin(policy_names), std::end(policy_names), name);
  return static_cast<Policy>(found - std::begin(policy_names));
}

}  // namespace

Settings Settings::read(const OptionReader& options) {
  Settings result;
  result.max_bytes = static_cast<std::uint64_t>(options.bytes(
      "max_bytes", default_max_bytes, static_cast<std::int64_t>(Entry::charge(0, 0))));
  result.max_entries = static_cast<std::uint64_t>(
      options.integer("max_entries", static_cast<std::int64_t>(no_limit), 1));
  result.policy = policy_named(options.choice("policy", {"s3-fifo", "lru", "fifo", "lfu", "django"},
                                              name_of(result.policy)));
  result.cull_frequency = static_cast<std::uint64_t>(options.integer("cull_frequency", 3, 0));
  if (options.has("cull_frequency") && result.policy != Policy::django) {
    options.reject(
        "cull_frequency",
        "applies to the policy \"django\" only; remove it, or set \"policy\" to \"django\"");
  }
  return result;
}

std::vector<SharedOption> Settings::shared() const {
  const auto limit = [](std::uint64_t number) {
    return number == no_limit ? "without limit" : std::to_string(number);
  };
  return {{"max_bytes", limit(max_bytes)},
          {"max_entries", limit(max_entries)},
          {"policy", std::string(name_of(policy))},
          {"cull_frequency", std::to_string(cull_frequency)}};
}

}  // namespace polycache::locmem
