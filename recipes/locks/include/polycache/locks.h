// Locks between threads and processes, over the store of a cache: Lock, RecursiveLock, Semaphore,
// Barrier. The headers say what each promises, docs/locks.md what a lock over a cache is good for.

#pragma once

#include "polycache/barrier.h"    // IWYU pragma: export
#include "polycache/lock.h"       // IWYU pragma: export
#include "polycache/semaphore.h"  // IWYU pragma: export
