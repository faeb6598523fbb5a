// Whether a process may fork while its other threads allocate memory.

#pragma once

namespace polycache::testing {

// The allocator of AddressSanitizer has locks that a child inherits held: the child then hangs in
// its first malloc(). With it, tests fork without busy threads; the other builds try both.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool allocator_survives_forks = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool allocator_survives_forks = false;
#else
inline constexpr bool allocator_survives_forks = true;
#endif
#else
inline constexpr bool allocator_survives_forks = true;
#endif

}  // namespace polycache::testing
