// What a fork of a process with several threads allows in this build.

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

// ThreadSanitizer ends a child that starts a thread if other threads ran in its parent. With it,
// such tests fork without other threads; the other builds try both.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool children_of_threads_start_threads = false;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool children_of_threads_start_threads = false;
#else
inline constexpr bool children_of_threads_start_threads = true;
#endif
#else
inline constexpr bool children_of_threads_start_threads = true;
#endif

}  // namespace polycache::testing
