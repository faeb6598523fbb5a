// For cache.h: the keys of a bulk operation.

#pragma once

#include <concepts>
#include <cstddef>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "polycache/detail/refusals.h"
#include "polycache/key.h"

namespace polycache::detail {

// The texts of a range of keys. Owns the strings if the range creates them during iteration.
template <KeyRange R>
class KeyList {
 public:
  explicit KeyList(R& keys) {
    using Reference = std::ranges::range_reference_t<R>;
    if constexpr (std::ranges::sized_range<R>) {
      texts_.reserve(static_cast<std::size_t>(std::ranges::size(keys)));
    }
    // A single-pass range may present each key at the same address.
    if constexpr (!std::ranges::forward_range<R>) {
      for (auto&& key : keys) owned_.emplace_back(KeyView(key).text());
      texts_.assign(owned_.begin(), owned_.end());
    } else if constexpr (std::is_reference_v<Reference> ||
                         std::same_as<Reference, std::string_view> ||
                         std::is_pointer_v<Reference>) {
      for (auto&& key : keys) texts_.push_back(KeyView(key).text());
    } else {
      for (auto&& key : keys) owned_.emplace_back(KeyView(key).text());
      texts_.assign(owned_.begin(), owned_.end());
    }
  }

  std::span<const std::string_view> texts() const noexcept { return texts_; }

 private:
  std::vector<std::string> owned_;
  std::vector<std::string_view> texts_;
};

}  // namespace polycache::detail
