#include <atomic>
#include <mutex>
#include <utility>

#include "front/backend_call.h"
#include "polycache/error.h"
#include "polycache/registry.h"
#include "registry/reports.h"

namespace polycache {
namespace {

// The program-wide registry: made once, never destroyed. All of these are constant-initialised, so
// that a static object's constructor may use caches, too.
constinit std::mutex making;                             // one maker at a time
constinit CacheRegistry* made = nullptr;                 // guarded by `making`
constinit ScopedGlobalRegistry* newest_scope = nullptr;  // of all threads; guarded by `making`

// `made`, if the calling thread does not matter: null before it is made and while scopes exist.
// Stored with release, loaded with acquire.
constinit std::atomic<CacheRegistry*> global{nullptr};

// Its address identifies the thread.
constinit thread_local char this_thread = 0;

}  // namespace

struct GlobalScopes {
  // The registry of the calling thread's newest scope; for a thread without scopes, the one that
  // all threads with scopes agree on. REQUIRES: `making` is held, and a scope exists.
  static CacheRegistry& current() {
    for (const ScopedGlobalRegistry* scope = newest_scope; scope != nullptr;
         scope = scope->older_) {
      if (scope->thread_ == &this_thread) return *scope->registry_;
    }
    for (const ScopedGlobalRegistry* scope = newest_scope; scope != nullptr;
         scope = scope->older_) {
      if (scope->registry_ == newest_scope->registry_ || !is_newest_of_its_thread(*scope)) continue;
      throw CacheError(
          "several threads have replaced the global registry, each with its own, and this thread "
          "has none: create a ScopedGlobalRegistry in this thread, or use a registry directly");
    }
    return *newest_scope->registry_;
  }

  static bool is_newest_of_its_thread(const ScopedGlobalRegistry& scope) {
    const ScopedGlobalRegistry* newest = newest_scope;
    while (newest->thread_ != scope.thread_) newest = newest->older_;
    return newest == &scope;
  }
};

namespace {

// REQUIRES: `making` is held.
CacheRegistry& make_global(Config config, Environment environment) {
  made = new CacheRegistry(std::move(config), std::move(environment));
  global.store(made, std::memory_order_release);
  return *made;
}

[[gnu::noinline]] CacheRegistry& find_global_registry() {
  BackendCall reports;
  Environment environment;
  const WarningHandler handler = environment.on_warning;
  CacheRegistry* found = nullptr;
  {
    std::unique_lock lock(making);
    if (newest_scope != nullptr) return GlobalScopes::current();
    if (made == nullptr) {
      try {
        make_global(Config::from_environment(), std::move(environment));
      } catch (...) {
        lock.unlock();
        deliver(reports, handler);
        throw;
      }
    }
    found = made;
    global.store(made, std::memory_order_release);
  }
  deliver(reports, handler);
  return *found;
}

}  // namespace

void configure(Config config, Environment environment) {
  BackendCall reports;
  const WarningHandler handler = environment.on_warning;
  {
    std::unique_lock lock(making);
    CacheRegistry* const registry = newest_scope != nullptr ? &GlobalScopes::current() : made;
    if (registry != nullptr) {
      lock.unlock();
      registry->reconfigure(std::move(config), std::move(environment));
    } else {
      try {
        make_global(std::move(config), std::move(environment));
      } catch (...) {
        lock.unlock();
        deliver(reports, handler);
        throw;
      }
    }
  }
  deliver(reports, handler);
}

CacheRegistry& global_registry() {
  CacheRegistry* const registry = global.load(std::memory_order_acquire);
  return registry != nullptr ? *registry : find_global_registry();
}

ScopedGlobalRegistry::ScopedGlobalRegistry(CacheRegistry& registry)
    : registry_(&registry), thread_(&this_thread) {
  const std::lock_guard lock(making);
  older_ = std::exchange(newest_scope, this);
  global.store(nullptr, std::memory_order_release);
}

ScopedGlobalRegistry::~ScopedGlobalRegistry() {
  const std::lock_guard lock(making);
  ScopedGlobalRegistry** link = &newest_scope;
  while (*link != this) link = &(*link)->older_;
  *link = older_;
  if (newest_scope == nullptr) global.store(made, std::memory_order_release);
}

}  // namespace polycache
