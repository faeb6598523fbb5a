#include "polycache/load.h"

#include <utility>

#include "front/loading.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

namespace detail {
LoadTask::~LoadTask() = default;
LoadManyTask::~LoadManyTask() = default;

void throw_wrong_count(std::size_t values, std::size_t keys) {
  throw ValueError("the function of get_or_set_many() returned " + std::to_string(values) +
                   " values for " + std::to_string(keys) +
                   " keys; it returns one for each, in their order, or a map");
}

}  // namespace detail

PartialLoad::PartialLoad(const std::string& message, std::vector<std::string> keys, std::any values)
    : CacheError(message), keys_(std::move(keys)), values_(std::move(values)) {}
PartialLoad::~PartialLoad() = default;

void Load::timeout(const Timeout& timeout) noexcept { state_.timeout = timeout; }

void Load::tag(KeyView name) {
  constexpr std::size_t most_tags = 64;
  if (state_.tags.size() == most_tags) {
    throw ValueError(state_.cache.alias() + ": the computation of " + quote(state_.key) +
                     " gives more than 64 tags");
  }
  state_.tags.push_back(state_.cache.tags(Tags{name.text()}));
}

void Load::do_not_store() noexcept { state_.is_stored = false; }

std::optional<std::string_view> Load::stale_bytes() const noexcept { return state_.stale; }

NotModified Load::not_modified() const {
  if (state_.stale) return {};
  throw CacheError(state_.cache.alias() + ": not_modified(): there is no older value of the key " +
                   quote(state_.key));
}

Failed Load::fail(std::string_view why) const { return {std::string(why)}; }

}  // namespace polycache
