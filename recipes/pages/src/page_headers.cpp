#include "polycache/page_headers.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "page_rules.h"

namespace polycache {

using detail::pages::equal_names;

void PageHeaders::add(KeyView name, std::string value) {
  fields_.emplace_back(name.text(), std::move(value));
}

void PageHeaders::set(KeyView name, std::string value) {
  Field field(name.text(), std::move(value));  // `name` may be of a field that is erased
  erase(field.first);
  fields_.push_back(std::move(field));
}

std::size_t PageHeaders::erase(KeyView name) {
  return std::erase_if(fields_,
                       [&](const Field& field) { return equal_names(field.first, name.text()); });
}

const std::string* PageHeaders::find(KeyView name) const noexcept {
  for (const Field& field : fields_) {
    if (equal_names(field.first, name.text())) return &field.second;
  }
  return nullptr;
}

std::vector<std::string_view> PageHeaders::all(KeyView name) const {
  std::vector<std::string_view> values;
  for (const Field& field : fields_) {
    if (equal_names(field.first, name.text())) values.emplace_back(field.second);
  }
  return values;
}

}  // namespace polycache
