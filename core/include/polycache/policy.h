// What an alias does when its store fails, and what its clear() removes.

#pragma once

#include "polycache/detail/export.h"  // C++20

namespace polycache {

enum class ErrorPolicy : unsigned char { miss, throw_error };

// What an operation does when its store fails. erase, pop, clear, counters, incr_version, and a set
// that means erase always throw.
struct OnError {
  ErrorPolicy read = ErrorPolicy::miss;   // get, get_many, contains, visit: a miss
  ErrorPolicy write = ErrorPolicy::miss;  // set, set_many, add, touch: false
};

enum class ClearScope : unsigned char { store, prefix };

}  // namespace polycache
