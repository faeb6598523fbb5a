// What a registry takes from the program around it.

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "polycache/author/clock.h"
#include "polycache/executor.h"
#include "polycache/observer.h"
#include "polycache/section.h"
#include "polycache/warning.h"

namespace polycache {

struct PluginDescriptor;

struct Environment {
  // Must outlive every Cache made with it.
  const Clock* clock = &Clock::real();

  WarningHandler on_warning = log_first_of_each_kind;

  // Sees every operation (observer.h). May be null.
  std::shared_ptr<Observer> observer = {};

  // Runs work in the background (executor.h). If null, the registry makes a pool of two threads
  // when it has the first job. The registry keeps the executor, jobs do not. The program ends it,
  // after the registry or after CacheRegistry::shutdown(), and keeps a reference until then: a
  // thread that is in post() at that moment may release the registry's last one.
  std::shared_ptr<Executor> executor = {};

  // Plugins linked into the program (&polycache::locmem::plugin). They take precedence over plugin
  // files.
  std::vector<const PluginDescriptor*> linked_plugins = {};

  // If true, an alias that cannot be made throws its ConfigError (or PluginError) when it is used,
  // and the others work. Otherwise the registry's constructor throws all problems at once.
  bool defer_errors = false;

  // Services that stores look up by name (BackendContext::service), for stores that need something
  // from the program.
  std::map<std::string, std::shared_ptr<void>, std::less<>> services = {};

  // Sections of the configuration that this program reads (section.h), in addition to those that
  // register_section() has claimed. A section that is not claimed is an error, unless
  // `allow_unclaimed_sections` says that another program may read it.
  std::map<std::string, SectionCheck, std::less<>> sections = {};
  bool allow_unclaimed_sections = false;

  // The name of this registry in messages about several registries. If empty, the name is its
  // configuration's file, or "a registry made in code".
  std::string name = {};
};

}  // namespace polycache
