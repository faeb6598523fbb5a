# polycache_add_plugin(NAME sources... [LINK libraries...])
#
# Builds the loadable module polycache_NAME.so, which a configuration names as
# "backend": "NAME"; its target is polycache_plugin_NAME. Install it where POLYCACHE_PLUGIN_PATH
# or "plugin_path" of a configuration points, or beside the stock ones.
function(polycache_add_plugin name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(polycache_plugin_${name} MODULE ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(polycache_plugin_${name} PRIVATE polycache::polycache ${arg_LINK})
  # For POLYCACHE_FUNCTION, whose library has no descriptor of its own with a name.
  target_compile_definitions(polycache_plugin_${name} PRIVATE POLYCACHE_PLUGIN_NAME="${name}")
  set_target_properties(polycache_plugin_${name} PROPERTIES
    PREFIX "" OUTPUT_NAME polycache_${name}
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON
    POLYCACHE_PART ON)  # in polycache's own build: needs no other store
  # Never unloaded; and a static library inside it shows none of its symbols to others.
  target_link_options(polycache_plugin_${name} PRIVATE -Wl,-z,nodelete -Wl,--exclude-libs,ALL)
endfunction()
