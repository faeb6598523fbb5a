#include "settings.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>

#include "entry.h"
#include "polycache/author/text.h"

namespace polycache::locmem {
namespace {

namespace fs = std::filesystem;

// A restart then recomputes what five minutes have changed.
constexpr std::chrono::minutes default_interval{5};
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

std::string_view Settings::policy_name() const noexcept { return name_of(policy); }

Persistent Persistent::read(const OptionReader& options) {
  Persistent result;
  const std::string given = options.string("persist", "");
  result.interval =
      options.duration("persist_interval", default_interval, std::chrono::milliseconds::zero());
  if (given.empty()) {
    if (options.has("persist")) options.reject("persist", "expected the path of a file");
    if (options.has("persist_interval")) {
      options.reject("persist_interval", "needs \"persist\", the file in which the store is saved");
    }
    return result;
  }
  std::error_code error;
  const fs::path file = fs::absolute(given, error).lexically_normal();
  if (error || !file.has_filename() || given.find('\0') != std::string::npos) {
    options.reject("persist", "expected the path of a file, got " + quote_path(given));
  } else if (const fs::path folder = fs::canonical(file.parent_path(), error); error) {
    options.reject("persist", "the folder " + quote_path(file.parent_path().string()) +
                                  " cannot be used (" + error.message() + "); create it");
  } else {
    // So that a file has one name, and stays the same when the program changes its folder.
    result.file = (folder / file.filename()).string();
  }
  return result;
}

void Persistent::add_to(std::vector<SharedOption>& shared) const {
  shared.push_back({"persist", file.empty() ? "not given" : quote_path(file)});
  shared.push_back({"persist_interval", std::to_string(interval.count()) + "ms"});
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
