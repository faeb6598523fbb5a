# What `cmake --install` puts where:
#
#   <libdir>/libpolycache.so*, <includedir>/polycache/*.h     to use it
#   <libdir>/polycache/polycache_*.so                         stores and transforms, loaded when named
#   <includedir>/polycache/testing/*.h                        to test a store of one's own
#   <libdir>/libpolycache_*.a, <includedir>/polycache/backends/*.h   to derive from stock stores
#   <includedir>/polycache/transforms/*.h                     to link stock transforms
#   <libdir>/cmake/polycache/, <libdir>/pkgconfig/polycache.pc
#   <datadir>/polycache/config.schema.json
include(CMakePackageConfigHelpers)

get_property(polycache_static_libraries GLOBAL PROPERTY POLYCACHE_STATIC_LIBRARIES)
get_property(polycache_header_dirs GLOBAL PROPERTY POLYCACHE_BACKEND_HEADER_DIRS)
get_property(polycache_plugins GLOBAL PROPERTY POLYCACHE_PLUGINS)
set(polycache_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/polycache)

install(TARGETS polycache polycache_testing EXPORT polycache-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT polycache-targets NAMESPACE polycache:: DESTINATION ${polycache_package_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/testing/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# A file of targets for each static library, so that find_package(polycache) alone asks for
# no client library, and a component for no other's.
foreach(target IN LISTS polycache_static_libraries)
  get_target_property(component ${target} EXPORT_NAME)
  install(TARGETS ${target} EXPORT polycache-${component}-targets
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT polycache-${component}-targets NAMESPACE polycache:: DESTINATION ${polycache_package_dir})
endforeach()
foreach(folder IN LISTS polycache_header_dirs)
  install(DIRECTORY ${folder}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endforeach()

# Recipes that need a library of the user's are components, too.
foreach(component program_options)
  if(TARGET polycache_${component})
    install(TARGETS polycache_${component} EXPORT polycache-${component}-targets)
    install(EXPORT polycache-${component}-targets NAMESPACE polycache:: DESTINATION ${polycache_package_dir})
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/recipes/${component}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endif()
endforeach()

foreach(target IN LISTS polycache_plugins)
  install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/polycache)
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/polycacheConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/polycacheConfig.cmake
  INSTALL_DESTINATION ${polycache_package_dir}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/polycacheConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)  # until 1.0, each 0.x may break what 0.y promised
install(FILES
  ${PROJECT_BINARY_DIR}/package/polycacheConfig.cmake
  ${PROJECT_BINARY_DIR}/package/polycacheConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/PolycacheAddPlugin.cmake
  DESTINATION ${polycache_package_dir})

# Paths below a prefix that is the file's own, so that the installed tree can be moved.
file(RELATIVE_PATH polycache_pc_to_prefix
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${CMAKE_CURRENT_LIST_DIR}/polycache.pc.in ${PROJECT_BINARY_DIR}/package/polycache.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/polycache.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

if(EXISTS ${PROJECT_SOURCE_DIR}/docs/config.schema.json)
  install(FILES ${PROJECT_SOURCE_DIR}/docs/config.schema.json DESTINATION ${CMAKE_INSTALL_DATADIR}/polycache)
endif()
