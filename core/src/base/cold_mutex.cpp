#include "base/cold_mutex.h"

namespace polycache {

std::mutex& cold_mutex() noexcept {
  static constinit std::mutex mutex;
  return mutex;
}

}  // namespace polycache
