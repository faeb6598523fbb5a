#include "base/stock_abilities.h"

#include <algorithm>
#include <vector>

namespace polycache {

std::string stores_that_offer(std::string_view id) {
  std::vector<std::string> names;
  for (const StockAbility& ability : stock_abilities()) {
    if (ability.id != id) continue;
    std::string& name = names.emplace_back(ability.store);
    if (!ability.remark.empty()) name.append(" ").append(ability.remark);
  }
  std::sort(names.begin(), names.end());
  std::string list;
  for (const std::string& name : names) {
    if (!list.empty()) list += ", ";
    list += name;
  }
  return list;
}

}  // namespace polycache
