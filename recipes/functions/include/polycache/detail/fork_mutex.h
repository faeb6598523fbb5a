// A mutex for what recipes know of the whole process: registered functions, loaders.

#pragma once

#include <mutex>

namespace polycache::detail {

// fork() holds it, so that a child never inherits it locked by a thread that does not exist there.
// Hold it for a few lines only, and never while foreign code runs: no getter, no destructor of a
// callable, no call of a registry.
std::mutex& fork_mutex() noexcept;

}  // namespace polycache::detail
