#include "registry/process_wide.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/cold_mutex.h"
#include "base/no_destructor.h"

namespace polycache {

std::shared_ptr<void> process_wide_object(std::string_view id,
                                          FunctionRef<std::shared_ptr<void>()> make) {
  static NoDestructor<std::map<std::string, std::weak_ptr<void>, std::less<>>> objects;
  {
    const std::lock_guard lock(cold_mutex());
    const auto it = objects->find(id);
    if (it != objects->end()) {
      if (std::shared_ptr<void> known = it->second.lock()) return known;
    }
  }
  std::shared_ptr<void> made = make();  // an author's code: not under our lock
  const std::lock_guard lock(cold_mutex());
  std::erase_if(*objects, [](const auto& object) { return object.second.expired(); });
  std::weak_ptr<void>& slot = (*objects)[std::string(id)];
  if (std::shared_ptr<void> others = slot.lock()) return others;
  slot = made;
  return made;
}

}  // namespace polycache
