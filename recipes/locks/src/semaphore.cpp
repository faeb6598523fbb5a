#include "polycache/semaphore.h"

#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

constexpr std::int64_t most_permits = 1000;

}  // namespace

std::uint32_t Semaphore::checked(KeyView name, std::int64_t permits) {
  if (permits >= 1 && permits <= most_permits) return static_cast<std::uint32_t>(permits);
  throw ValueError("semaphore " + quote(name.text()) + ": " + std::to_string(permits) +
                   " permits; give 1 to " + std::to_string(most_permits));
}

}  // namespace polycache
