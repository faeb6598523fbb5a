// Marks memory as inaccessible for AddressSanitizer, if that is compiled in: memory that our own
// allocators hold but have not handed out.

#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define POLYCACHE_LOCMEM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POLYCACHE_LOCMEM_ASAN 1
#endif
#endif

#ifdef POLYCACHE_LOCMEM_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace polycache::locmem {

#ifdef POLYCACHE_LOCMEM_ASAN
inline constexpr bool under_address_sanitizer = true;
inline void poison(const void* from, std::size_t size) noexcept {
  __asan_poison_memory_region(from, size);
}
inline void unpoison(const void* from, std::size_t size) noexcept {
  __asan_unpoison_memory_region(from, size);
}
#undef POLYCACHE_LOCMEM_ASAN
#else
inline constexpr bool under_address_sanitizer = false;
inline void poison(const void*, std::size_t) noexcept {}
inline void unpoison(const void*, std::size_t) noexcept {}
#endif

}  // namespace polycache::locmem
