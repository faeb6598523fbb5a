#include "polycache/page_headers.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "page_rules.h"

namespace polycache {

using detail::pages::equal_names;

void PageHeaders::add(std::string name, std::string value) {
  fields_.emplace_back(std::move(name), std::move(value));
}

void PageHeaders::set(std::string name, std::string value) {
  erase(name);
  add(std::move(name), std::move(value));
}

std::size_t PageHeaders::erase(std::string_view name) {
  return std::erase_if(fields_, [&](const Field& field) { return equal_names(field.first, name); });
}

const std::string* PageHeaders::find(std::string_view name) const noexcept {
  for (const Field& field : fields_) {
    if (equal_names(field.first, name)) return &field.second;
  }
  return nullptr;
}

std::vector<std::string_view> PageHeaders::all(std::string_view name) const {
  std::vector<std::string_view> values;
  for (const Field& field : fields_) {
    if (equal_names(field.first, name)) values.emplace_back(field.second);
  }
  return values;
}

}  // namespace polycache
