// The one mutex of libpolycache's cold paths, except configuring (ADR 0012): the registries'
// tables, process-wide objects, registered names. Held for a few lines only, never while foreign
// code runs.
//
// A single mutex, so that fork() can hold it: a child then never inherits it locked by a thread
// that does not exist there.

#pragma once

#include <mutex>

namespace polycache {

std::mutex& cold_mutex() noexcept;

}  // namespace polycache
