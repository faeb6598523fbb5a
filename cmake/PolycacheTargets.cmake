# How targets of this project are made, so that the folders' own lists stay short.

# Modules lie below the library, in the build as after install, so that libpolycache finds
# them by its own path and a build tree works like an installed one.
set(POLYCACHE_LIB_OUTPUT_DIR "${CMAKE_CURRENT_BINARY_DIR}/lib")
get_property(polycache_multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(polycache_multi_config)  # or CMake would put each configuration into a folder below these
  string(APPEND POLYCACHE_LIB_OUTPUT_DIR "/$<CONFIG>")
endif()
set(POLYCACHE_PLUGIN_OUTPUT_DIR "${POLYCACHE_LIB_OUTPUT_DIR}/polycache")
set(POLYCACHE_PLUGIN_SYMBOLS "${CMAKE_CURRENT_LIST_DIR}/plugin_symbols.map")
set_property(GLOBAL PROPERTY POLYCACHE_SUMMARY "")

# Language level, warnings, sanitizers and visibility of one target of ours.
function(polycache_target_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON
    UNITY_BUILD OFF)  # whatever a host says: anonymous namespaces of ours have equal names
  if(PROJECT_IS_TOP_LEVEL OR POLYCACHE_WARNINGS_AS_ERRORS)
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
      $<$<BOOL:${POLYCACHE_WARNINGS_AS_ERRORS}>:-Werror>)
    # g++ 12 gives -Wrestrict for "x" + std::string (GCC bug 105651), when it optimises.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
      target_compile_options(${target} PRIVATE -Wno-restrict)
    endif()
  endif()
  if(POLYCACHE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${POLYCACHE_SANITIZE} -fno-omit-frame-pointer
      -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${POLYCACHE_SANITIZE})
  endif()
endfunction()

# polycache_precompile(TARGET what): parses the header `what` once for all sources of the target; if
# `what` is a target, uses what that one has parsed.
function(polycache_precompile target what)
  # Without these flags, ccache keeps nothing that uses a precompiled header.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -fpch-preprocess)
  else()
    target_compile_options(${target} PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
  if(TARGET ${what})
    target_precompile_headers(${target} REUSE_FROM ${what})
  else()
    target_precompile_headers(${target} PRIVATE ${what})
  endif()
endfunction()

# With POLYCACHE_FUZZ, the code of the product tells fuzzers which parts of it ran. The address
# sanitizer brings empty functions for programs that are no fuzzers.
function(polycache_show_coverage target)
  if(POLYCACHE_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# What holds for each part of the product but the core, which has a precompiled header of its own.
function(polycache_product_part target)
  polycache_target_defaults(${target})
  polycache_show_coverage(${target})
  if(POLYCACHE_PRECOMPILE)
    polycache_precompile(${target} polycache_precompiled)
  endif()
endfunction()

# polycache_backend(NAME sources... LINK libraries...): the static library
# polycache::NAME from this folder; its public header is include/polycache/backends/NAME.h.
function(polycache_backend name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(polycache_${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  add_library(polycache::${name} ALIAS polycache_${name})
  polycache_product_part(polycache_${name})
  set_target_properties(polycache_${name} PROPERTIES EXPORT_NAME ${name} POLYCACHE_PART ON)
  target_include_directories(polycache_${name} PUBLIC
    $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(polycache_${name} PUBLIC polycache::polycache PRIVATE ${arg_LINK})
  set_property(GLOBAL APPEND PROPERTY POLYCACHE_STATIC_LIBRARIES polycache_${name})
  set_property(GLOBAL APPEND PROPERTY POLYCACHE_BACKEND_HEADER_DIRS ${CMAKE_CURRENT_SOURCE_DIR}/include)
endfunction()

# polycache_transform(NAME sources... LINK libraries...): the same for a transform, whose public header
# is include/polycache/transforms/NAME.h.
function(polycache_transform name)
  polycache_backend(${name} ${ARGN})
endfunction()

# polycache_recipe(NAME sources... LINK libraries...): the same for a recipe, whose public header is
# include/polycache/NAME.h.
function(polycache_recipe name)
  polycache_backend(${name} ${ARGN})
endfunction()

# polycache_plugin(NAME source LINK libraries...): the loadable module polycache_NAME.so.
function(polycache_plugin name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(polycache_plugin_${name} MODULE ${arg_UNPARSED_ARGUMENTS})
  polycache_product_part(polycache_plugin_${name})
  set_target_properties(polycache_plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME polycache_${name}
    LIBRARY_OUTPUT_DIRECTORY ${POLYCACHE_PLUGIN_OUTPUT_DIR}
    INSTALL_RPATH "$ORIGIN/.."
    POLYCACHE_PART ON)
  # A host's CMAKE_DEBUG_POSTFIX would give the file a name that nothing looks for.
  foreach(config DEBUG RELEASE RELWITHDEBINFO MINSIZEREL)
    set_target_properties(polycache_plugin_${name} PROPERTIES ${config}_POSTFIX "")
  endforeach()
  target_link_libraries(polycache_plugin_${name} PRIVATE polycache::polycache ${arg_LINK})
  # Only the descriptor's symbol leaves a module: not even the standard library's templates
  # in it, which would bind to those of whatever was loaded before.
  target_link_options(polycache_plugin_${name} PRIVATE -Wl,-z,nodelete -Wl,--exclude-libs,ALL
    -Wl,--version-script=${POLYCACHE_PLUGIN_SYMBOLS})
  set_property(TARGET polycache_plugin_${name} APPEND PROPERTY LINK_DEPENDS ${POLYCACHE_PLUGIN_SYMBOLS})
  if(NOT POLYCACHE_SANITIZE)
    target_link_options(polycache_plugin_${name} PRIVATE -Wl,-z,defs)
  endif()
  set_property(GLOBAL APPEND PROPERTY POLYCACHE_PLUGINS polycache_plugin_${name})
endfunction()

# polycache_decide(STORE found package [KIND]): decides whether to build a store, or what KIND says,
# whose client library may be missing: `found` is whether it is there, `package` what to install.
# Sets POLYCACHE_HAVE_<STORE> in the caller.
function(polycache_decide store found package)
  set(kind store)
  if(ARGC GREATER 3)
    set(kind ${ARGV3})
  endif()
  set(have OFF)
  if(POLYCACHE_WITH_${store} STREQUAL "OFF")
    set(note "off (POLYCACHE_WITH_${store}=OFF)")
  elseif(found)
    set(have ON)
    set(note "yes")
  elseif(POLYCACHE_WITH_${store} STREQUAL "ON")
    message(FATAL_ERROR "POLYCACHE_WITH_${store}=ON, but its client library was not found; install ${package}.")
  else()
    set(note "no (${package} is not installed)")
  endif()
  set(POLYCACHE_HAVE_${store} ${have} PARENT_SCOPE)
  string(TOLOWER ${store} word)
  polycache_note("${kind} ${word}" "${note}")
endfunction()

# polycache_client_library(NAME KIND TITLE PREFIX header library package): the same for a store
# (KIND backend) or transform whose client library has no CMake package on every system: looks for
# its header and library (PREFIX_INCLUDE_DIR, PREFIX_LIBRARY), decides, and names the stock plugin.
function(polycache_client_library name kind title prefix header library package)
  find_path(${prefix}_INCLUDE_DIR ${header})
  find_library(${prefix}_LIBRARY ${library})
  mark_as_advanced(${prefix}_INCLUDE_DIR ${prefix}_LIBRARY)
  set(found OFF)
  if(${prefix}_INCLUDE_DIR AND ${prefix}_LIBRARY)
    set(found ON)
  endif()
  string(TOUPPER ${name} word)
  string(REPLACE backend store shown ${kind})
  polycache_decide(${word} ${found} ${package} ${shown})
  set(POLYCACHE_HAVE_${word} ${POLYCACHE_HAVE_${word}} PARENT_SCOPE)
  polycache_stock_plugin(${name} ${kind}
    "needs ${title} (Debian: ${package}) and POLYCACHE_WITH_${word} other than OFF")
endfunction()

# polycache_stock_plugin(NAME KIND [REMARK]): names a plugin that belongs to polycache, whether or not
# it is built here. A search that does not find it prints the remark.
function(polycache_stock_plugin name kind)
  set_property(GLOBAL APPEND_STRING PROPERTY POLYCACHE_STOCK_ROWS
    "    {\"${name}\", PluginKind::${kind}, \"${ARGV2}\"},\n")
endfunction()

# polycache_store_offers(NAME ability...): what a store of polycache can do beyond the functions of a
# Backend: "scan" stands for the extension polycache.scan/1. After '=' follows on what it depends, for
# messages that name the stores that can.
function(polycache_store_offers name)
  foreach(ability IN LISTS ARGN)
    string(REGEX MATCH "^([^=]+)=?(.*)$" whole "${ability}")
    set(word "${CMAKE_MATCH_1}")
    set(remark "${CMAKE_MATCH_2}")
    set_property(GLOBAL APPEND_STRING PROPERTY POLYCACHE_STOCK_ABILITIES
      "    {\"${name}\", \"polycache.${word}/1\", R\"(${remark})\"},\n")
  endforeach()
endfunction()

# After all of them: writes the source with their lists, which core/CMakeLists.txt compiles.
function(polycache_write_stock_plugins)
  get_property(POLYCACHE_STOCK_ROWS GLOBAL PROPERTY POLYCACHE_STOCK_ROWS)
  get_property(POLYCACHE_STOCK_ABILITIES GLOBAL PROPERTY POLYCACHE_STOCK_ABILITIES)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/stock_plugins.cpp.in
    ${PROJECT_BINARY_DIR}/core/stock_plugins.cpp @ONLY)
endfunction()

function(polycache_note what value)
  set_property(GLOBAL APPEND_STRING PROPERTY POLYCACHE_SUMMARY "\n  ${what}: ${value}")
endfunction()

function(polycache_print_summary)
  get_property(summary GLOBAL PROPERTY POLYCACHE_SUMMARY)
  message(STATUS "polycache ${PROJECT_VERSION}${summary}")
endfunction()
