// Stores of a test whose processes share them, and memory that its processes share.

#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <new>
#include <ostream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/config.h"
#include "polycache/environment.h"
#include "support/server.h"
#include "support/sqlite_file.h"

namespace polycache::testing {

// Memory that children share with their parent.
template <class T>
class Shared {
 public:
  Shared() {
    void* const memory =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
    value_ = new (memory) T();
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { ::munmap(value_, sizeof(T)); }
  T* operator->() const noexcept { return value_; }

 private:
  T* value_;
};

// For a test with parameters.
struct ProcessStore {
  const char* name;  // of the backend
  std::function<std::vector<std::string>()> location;
  bool is_private = false;  // each process has its own

  // For GoogleTest: the bytes of the object differ from run to run.
  friend void PrintTo(const ProcessStore& store, std::ostream* out) { *out << store.name; }
};

// Its server is started by the first test that asks, in the process that asks.
inline const ProcessStore memcached_store{"memcached", [] {
                                            static const auto server = Server::memcached();
                                            return std::vector<std::string>{server->address()};
                                          }};
inline const ProcessStore redis_store{
    "redis", [] {
      static const auto server = Server::redis();
      return std::vector<std::string>{"redis://" + server->address()};
    }};
inline const ProcessStore sqlite_store{"sqlite", [] {
                                         static const SqliteFolder folder;
                                         return std::vector<std::string>{folder.file("cache.db")};
                                       }};

inline const ProcessStore locmem_store{"locmem", [] { return std::vector<std::string>(); }, true};

// Options with which a store waits for long on a busy machine, instead of failing.
inline OptionMap patient_options(const std::string& backend) {
  if (backend == "sqlite") return {{"busy_timeout", std::string("60s")}};
  if (backend == "redis" || backend == "memcached") return {{"timeout", std::string("60s")}};
  return {};
}

inline Environment environment_of_all_stores() {
  return {.linked_plugins = {&dummy::plugin, &locmem::plugin, &memcached::plugin, &redis::plugin,
                             &sqlite::plugin}};
}

// A test of what a recipe keeps in the alias "default" of each store.
class StoresTest : public ::testing::TestWithParam<ProcessStore> {
 protected:
  explicit StoresTest(std::string key_prefix) : key_prefix_(std::move(key_prefix)) {}

  Config config(OptionMap options = {}) const {
    options.merge(patient_options(GetParam().name));
    return {.caches = {{"default",
                        {.backend = GetParam().name,
                         .location = GetParam().location(),
                         .key_prefix = key_prefix_,
                         .options = std::move(options)}}}};
  }
  // Each test has locks and collections of its own.
  static std::string name() {
    return ::testing::UnitTest::GetInstance()->current_test_info()->name() +
           std::to_string(::getpid());
  }
  static bool is(const char* store) { return std::string(GetParam().name) == store; }

 private:
  const std::string key_prefix_;
};

inline std::string name_of(const ::testing::TestParamInfo<ProcessStore>& test) {
  return test.param.name;
}

}  // namespace polycache::testing
