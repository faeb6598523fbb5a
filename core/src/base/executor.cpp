#include "polycache/executor.h"

namespace polycache {

Executor::~Executor() = default;

}  // namespace polycache
