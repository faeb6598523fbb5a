#include "polycache/load.h"

#include <algorithm>
#include <exception>
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

std::string partial_message(const std::string& alias, const std::vector<std::string>& failed,
                            std::size_t keys, const std::exception_ptr& cause) {
  constexpr std::size_t most_shown = 3;
  std::string message = alias + ": get_or_set_many: no value for " + std::to_string(failed.size()) +
                        " of " + std::to_string(keys) + " keys (";
  for (std::size_t i = 0; i < std::min(failed.size(), most_shown); ++i) {
    message += (i > 0 ? ", " : "") + quote(failed[i]);
  }
  message += failed.size() > most_shown ? ", ...): " : "): ";
  try {
    std::rethrow_exception(cause);
  } catch (const std::exception& error) {
    message += error.what();
  } catch (...) {
    message += "its function threw something that is not a std::exception";
  }
  return message;
}

}  // namespace detail

PartialLoad::PartialLoad(const std::string& message, std::vector<std::string> keys, std::any values)
    : CacheError(message), keys_(std::move(keys)), values_(std::move(values)) {}
PartialLoad::~PartialLoad() = default;

void Load::timeout(const Timeout& timeout) noexcept { state_.timeout = timeout; }

void Load::tag(KeyView name) {
  constexpr std::size_t most_tags = 64;
  if (state_.tags.size() == most_tags) {
    throw ValueError(
        state_.cache.alias() + ": the computation of " + quote(state_.key) +
        " gives more than 64 tags; give one tag to entries that are always erased together");
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
