// The transforms of an alias (author/transform.h), in the order in which a write applies them.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/transform.h"

namespace polycache {

// Immutable and thread-safe.
class Transforms {
 public:
  struct Named {
    std::string name;
    std::shared_ptr<Transform> transform;
    bool writes = true;  // false: reverts what older entries name, and is applied to no value
  };

  Transforms() = default;
  explicit Transforms(std::vector<Named> all) noexcept : all_(std::move(all)) {}

  // Why these cannot work together, as a sentence for the configuration's author. Empty if they
  // can. Members that are null were reported already.
  static std::string problem_of(const std::vector<Named>& all);

  bool empty() const noexcept { return all_.empty(); }
  // Whether an entry without transforms is a value.
  bool reads_plain() const noexcept;
  // Why an entry with those names is not a value: one is missing that does not read plain values.
  // Empty if none is.
  std::string missing(std::string_view names) const;

  // Applies them to a value. Returns the names of those that changed it, in order, and the result
  // in `out`; empty names: the value is to be stored as it is.
  std::string apply(std::string_view value, const TransformContext& context,
                    std::string& out) const;

  // Reverts those names. Returns why that is impossible; empty: `out` is the value. Never throws
  // but std::bad_alloc.
  std::string revert(std::string_view names, std::string_view payload,
                     const TransformContext& context, std::string& out) const;

 private:
  std::vector<Named> all_;
};

}  // namespace polycache
