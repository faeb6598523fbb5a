#include "front/backend_call.h"

namespace polycache {

constinit thread_local BackendCall* BackendCall::current_ = nullptr;

}  // namespace polycache
