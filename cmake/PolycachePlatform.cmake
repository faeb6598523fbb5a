# Stops where polycache has not been built and tested, with one sentence that says so.
set(polycache_tested "Linux (ELF, x86-64 or arm64) with g++ 12 or later or clang 14 or later")
if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux")
  message(FATAL_ERROR "polycache builds on ${polycache_tested}; this is ${CMAKE_SYSTEM_NAME}.")
endif()
if(NOT ((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12)
        OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 14)))
  message(FATAL_ERROR "polycache builds on ${polycache_tested}; this compiler is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}.")
endif()
