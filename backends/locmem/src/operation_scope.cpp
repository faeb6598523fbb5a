#include "operation_scope.h"

#include <mutex>

namespace polycache::locmem {

void OperationScope::tell_and_free() noexcept {
  while (buried_ != nullptr) {
    Entry* const entry = buried_;
    buried_ = entry->older;
    if (listener_ != nullptr) {
      (*listener_)(static_cast<Removal>(entry->mark()), entry->key(), entry->value());
    }
    if (entry->is_from_heap()) {
      const std::lock_guard lock(Heap::of(entry).lock());
      Entry::destroy(entry);
    } else {
      Entry::destroy(entry);
    }
  }
}

}  // namespace polycache::locmem
