// The header fields of a request or an answer, in their order. page_cache.h includes it.

#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/key.h"

namespace polycache {

// A plain value. Names are compared without case (RFC 9110, 5.1); a name may occur several times.
// A null pointer as a name throws InvalidKey.
class PageHeaders {
 public:
  using Field = std::pair<std::string, std::string>;

  PageHeaders() = default;
  PageHeaders(std::initializer_list<Field> fields) : fields_(fields) {}
  explicit PageHeaders(std::vector<Field> fields) : fields_(std::move(fields)) {}

  // Appends a field, whatever other fields of that name there are.
  void add(KeyView name, std::string value);
  // Replaces all fields of that name by one, at the end.
  void set(KeyView name, std::string value);
  // Removes all fields of that name. Returns how many there were.
  std::size_t erase(KeyView name);

  bool contains(KeyView name) const noexcept { return find(name) != nullptr; }
  // The value of the first field of that name, or null. Valid until the next change.
  const std::string* find(KeyView name) const noexcept;
  // The values of all fields of that name, in their order.
  std::vector<std::string_view> all(KeyView name) const;

  const std::vector<Field>& fields() const noexcept { return fields_; }
  auto begin() const noexcept { return fields_.begin(); }
  auto end() const noexcept { return fields_.end(); }
  std::size_t size() const noexcept { return fields_.size(); }
  bool empty() const noexcept { return fields_.empty(); }

 private:
  std::vector<Field> fields_;
};

}  // namespace polycache
