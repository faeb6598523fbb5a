// Objects that exist once in a process (BackendContext::process_wide).

#pragma once

#include <memory>
#include <string_view>

#include "polycache/author/function_ref.h"

namespace polycache {

// The object of that name: the one that something still holds, else what make() returns.
// Thread-safe; make() is called without a lock, and its result may be dropped for another thread's.
std::shared_ptr<void> process_wide_object(std::string_view id,
                                          FunctionRef<std::shared_ptr<void>()> make);

}  // namespace polycache
