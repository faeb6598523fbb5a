#include "front/collection.h"

#include <string>
#include <utility>

#include "front/key_policy.h"
#include "front/operation.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {
namespace {

constexpr std::size_t longest_name = 100;

}  // namespace

std::shared_ptr<CacheState> state_of_collection(const CacheState& state, std::string_view name) {
  return std::make_shared<CacheState>(state.shared_part(),
                                      state.space().within(state.keys().collection(name)));
}

Cache& Cache::collection(KeyView name) {
  const std::string_view text = name.text();
  const auto known = collections_.find(text);
  if (known != collections_.end()) return *known->second;
  if (text.empty() || text.size() > longest_name) {
    throw ValueError(alias() + ": collection: the name " + quote(text) + " has " +
                     std::to_string(text.size()) + " bytes; give one of 1 to " +
                     std::to_string(longest_name));
  }
  if (state_->keys().head().empty()) {
    static_cast<void>(final_key(name));  // throws another error if the registry has ended
    throw ConfigError(alias() + ": collection: the key function " +
                      quote(state_->shared().info().key_function) +
                      " does not begin its keys with prefix and version, so that a collection's "
                      "keys could meet others; use the key function \"default\" or \"hashed\"");
  }
  std::unique_ptr<Cache> made(new Cache(state_of_collection(*state_, text)));
  return *collections_.emplace(text, std::move(made)).first->second;
}

std::size_t Cache::count(KeyView pattern, KeyOptions options) {
  std::size_t count = 0;
  for ([[maybe_unused]] const EntryInfo& entry : scan(pattern, {.version = options.version})) {
    ++count;
  }
  return count;
}

}  // namespace polycache
