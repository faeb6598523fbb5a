// What is known about an alias: its configuration and its plugin (CacheRegistry::describe()).

#pragma once

#include <map>
#include <string>
#include <vector>

#include "polycache/load_options.h"
#include "polycache/options.h"
#include "polycache/policy.h"

namespace polycache {

struct CacheInfo {
  std::string alias;
  std::string backend;      // name of the plugin
  std::string plugin_file;  // empty if linked into the program
  std::string plugin_version;
  std::vector<std::string> layers;      // outermost first
  std::vector<std::string> transforms;  // in the order in which a write applies them
  std::string key_prefix;
  int version = 1;
  std::string error;  // with defer_errors: why the alias does not work

  // As configured. "..." replaces a value that may be secret: one that contained a ${...}, an
  // option whose name suggests a password or the like or whose value may be a connection string,
  // and parts of a location that may hold credentials. An alias that does not work shows no
  // location.
  std::vector<std::string> location;
  std::map<std::string, std::string> options;  // only options that are set; values as text
  Timeout timeout;                             // used if a call gives none
  OnError on_error;
  ClearScope clear = ClearScope::store;
  std::string key_function;
  bool key_warnings = true;
  LoadPolicy load;

  // Whether only this process sees the entries, as with locmem. A lease (LoadOptions::lease) then
  // reaches its threads and nothing else.
  bool is_private = false;
};

}  // namespace polycache
