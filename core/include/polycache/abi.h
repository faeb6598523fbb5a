// The identity of the binary interface between this program and its plugins.
//
// It is written as text ("1_libstdcxx_1") into every plugin's descriptor, and as the name of an ELF
// section (".polycache_abi_1_libstdcxx_1") into its file. The loader reads the section name before
// any code of the file runs. A section name survives `strip`.

#pragma once

#include <cstddef>  // defines the standard library's own configuration macros

#define POLYCACHE_VERSION "0.1.0"

// Increase by one whenever the layout, virtual functions or meaning of anything reachable from
// backend.h or plugin.h changes.
#ifndef POLYCACHE_ABI_VERSION  // tests build plugins with another version
#define POLYCACHE_ABI_VERSION 3
#endif

// The standard library determines the layout of everything that crosses the boundary; the compiler
// does not (g++ and clang++ with the same libstdc++ are compatible).
#if defined(_GLIBCXX_DEBUG)
#define POLYCACHE_ABI_STDLIB libstdcxx_debug
#define POLYCACHE_ABI_SWITCH _GLIBCXX_USE_CXX11_ABI
#elif defined(_GLIBCXX_RELEASE)
#define POLYCACHE_ABI_STDLIB libstdcxx
#define POLYCACHE_ABI_SWITCH _GLIBCXX_USE_CXX11_ABI
#elif defined(_LIBCPP_VERSION)
#define POLYCACHE_ABI_STDLIB libcxx
#define POLYCACHE_ABI_SWITCH _LIBCPP_ABI_VERSION
#else
#error "polycache: unknown C++ standard library"
#endif

// A sanitizer's runtime must be loaded before the plugin; a plugin built with a sanitizer is
// incompatible with a plain program.
#if defined(__SANITIZE_ADDRESS__)
#define POLYCACHE_ABI_SANITIZER "_asan"
#elif defined(__SANITIZE_THREAD__)
#define POLYCACHE_ABI_SANITIZER "_tsan"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POLYCACHE_ABI_SANITIZER "_asan"
#elif __has_feature(thread_sanitizer)
#define POLYCACHE_ABI_SANITIZER "_tsan"
#endif
#endif
#ifndef POLYCACHE_ABI_SANITIZER
#define POLYCACHE_ABI_SANITIZER ""
#endif

#define POLYCACHE_STRINGIFY_(x) #x
#define POLYCACHE_STRINGIFY(x) POLYCACHE_STRINGIFY_(x)

// e.g. "1_libstdcxx_1"
#define POLYCACHE_ABI                        \
  POLYCACHE_STRINGIFY(POLYCACHE_ABI_VERSION) \
  "_" POLYCACHE_STRINGIFY(POLYCACHE_ABI_STDLIB) "_" POLYCACHE_STRINGIFY(POLYCACHE_ABI_SWITCH)

// Puts the mark into the file being compiled. "a": loaded, so that no strip tool mistakes it for
// debug information; "R": kept by --gc-sections. POLYCACHE_PLUGIN includes it; a library that
// contains only key functions uses POLYCACHE_ABI_MARK; once.
#define POLYCACHE_ABI_MARK                                                     \
  __asm__(".pushsection .polycache_abi_" POLYCACHE_ABI POLYCACHE_ABI_SANITIZER \
          ",\"aR\",%progbits\n\t.byte 0\n\t.popsection")
