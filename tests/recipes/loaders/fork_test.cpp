// A fork that meets other threads in loaders and functions. Each child must be able to use them:
// none of their mutexes may come locked into it.

#include <sys/wait.h>
#include <unistd.h>

#include <stop_token>

#include "fixture.h"
#include "support/forks.h"

namespace polycache {
namespace {

constexpr unsigned patience = 100;  // seconds; a deadlock ends by a signal

// What a child has not been able to do; 0: nothing.
int use_all(Loaders& loaders, CacheRegistry& registry, const std::string& name) {
  if (loaders["area"].get<std::int64_t>(3, 4) != 12) return 1;
  if (loaders["area"].invalidate_if([](const LogEntry&) { return true; }).removed != 1U) return 2;
  loaders.add("of_the_child", [] { return 1; });
  if (loaders.describe().size() != 2) return 3;
  if (find_function(name, registry).call<int>() != 42) return 4;
  register_function(name + ".of_the_child", [] { return 1; });
  if (find_function("shop:twice", registry).call<int>(4) != 8) return 5;
  return 0;
}

TEST_F(LoadersTest, AForkedChildIsNotStuckInLoadersAndFunctions) {
  if (!testing::allocator_survives_forks) GTEST_SKIP() << "busy threads hold malloc's locks";
  static int repeated = 0;  // a name stays for ever
  const std::string name = "loaders_test.fork" + std::to_string(repeated++);
  register_function(name, [] { return 42; });
  loaders_.add("area", area(), {.cache = "shared"});
  static_cast<void>(find_function("shop:twice", registry_));
  const auto busy = [](auto f) {
    return std::jthread([f](const std::stop_token& stop) {
      while (!stop.stop_requested()) f();
    });
  };
  const std::jthread loading = busy([&] { static_cast<void>(loaders_.contains("area")); });
  const std::jthread describing = busy([&] { static_cast<void>(loaders_.describe()); });
  const std::jthread finding = busy([&] { static_cast<void>(find_function(name, registry_)); });
  const std::jthread opening =
      busy([&] { static_cast<void>(find_function("shop:twice", registry_)); });
  for (int round = 0; round < 60; ++round) {
    const pid_t child = fork();
    ASSERT_NE(child, -1);
    if (child == 0) {
      alarm(patience);
      _exit(use_all(loaders_, registry_, name));
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << "in round " << round;
  }
}

}  // namespace
}  // namespace polycache
