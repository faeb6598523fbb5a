// The keys of a bulk operation.

#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "front/cache_state.h"
#include "front/key_policy.h"

namespace polycache {

// The final keys of a bulk operation, in one allocation.
class FinalKeys {
 public:
  FinalKeys(const CacheState& state, std::optional<int> version, std::size_t count)
      : state_(state), version_(version), count_(count) {
    ends_.reserve(count);
  }

  void add(std::string_view key) {
    FinalKey final_key;
    state_.compose(final_key, key, version_);
    if (text_.empty()) {  // the others usually have a similar length
      text_.reserve(std::min(count_ * final_key.view().size(), most_reserved));
    }
    text_.append(final_key.view());
    ends_.push_back(text_.size());
  }

  // After the last add().
  std::vector<std::string_view> views() const {
    std::vector<std::string_view> views;
    views.reserve(ends_.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      views.push_back(std::string_view(text_).substr(begin, end - begin));
      begin = end;
    }
    return views;
  }

 private:
  static constexpr std::size_t most_reserved = std::size_t{64} << 10U;

  const CacheState& state_;
  std::optional<int> version_;
  const std::size_t count_;
  std::string text_;
  std::vector<std::size_t> ends_;
};

}  // namespace polycache
