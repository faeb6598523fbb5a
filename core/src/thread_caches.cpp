#include "thread_caches.h"

#include "polycache/error.h"

namespace polycache {

constinit thread_local ThreadCaches* ThreadCaches::current_ = nullptr;

// Destroys a thread's caches when the thread ends. Apart from the pointer above, which
// needs no initialisation and so can be read before and after this object's life.
struct ThreadCachesOwner {
  ThreadCachesOwner() : caches(new ThreadCaches) { ThreadCaches::current_ = caches; }
  ThreadCachesOwner(const ThreadCachesOwner&) = delete;
  ThreadCachesOwner& operator=(const ThreadCachesOwner&) = delete;
  ~ThreadCachesOwner() {
    // While sessions close, what they run finds no caches rather than dying ones.
    ThreadCaches::current_ = nullptr;
    ended = true;
    delete caches;
  }

  ThreadCaches* caches;
  static constinit thread_local bool ended;
};

constinit thread_local bool ThreadCachesOwner::ended = false;

ThreadCaches& ThreadCaches::of_this_thread() {
  if (ThreadCachesOwner::ended) {
    throw CacheError("this thread is ending: its caches are gone; use registry.open()");
  }
  thread_local const ThreadCachesOwner owner;
  return *owner.caches;
}

}  // namespace polycache
