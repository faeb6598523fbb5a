// One cache, many threads: each gets a Cache of its own from the same alias, and all use the same
// store. One thread computes a missing value while the others wait for it, and a counter stays
// correct.
//
//   threads            8 threads on the alias "default"
//   threads redis      ... on another one of the file that POLYCACHE_CONFIG names

#include <polycache/polycache.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using polycache::caches;

constexpr int thread_count = 8;
constexpr int visits_each = 1000;

std::atomic<int> computations{0};

std::string render_page() {
  ++computations;
  std::this_thread::sleep_for(100ms);  // a slow one
  return "<h1>the front page</h1>";
}

void visit(std::string_view alias) {
  auto& cache = caches[alias];  // this thread's own: do not pass it to another thread
  for (int i = 0; i < visits_each; ++i) {
    cache.get_or_set("page", render_page, 1min);
    cache.incr("visits");
  }
}

void visit_or_report(std::string_view alias, std::atomic<int>& failures) {
  try {
    visit(alias);
  } catch (const std::exception& error) {
    ++failures;
    std::cerr << std::string("threads: ") + error.what() + "\n";
  }
}

int run(std::string_view alias) {
  auto& cache = caches[alias];
  cache.erase("page");
  cache.set("visits", 0, 1min);

  std::atomic<int> failures{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < thread_count; ++i) {
      threads.emplace_back([&] { visit_or_report(alias, failures); });
    }
  }
  const auto visits = cache.get<std::int64_t>("visits").value_or(0);
  std::cout << thread_count << " threads, " << visits << " visits, the page was computed "
            << computations << (computations == 1 ? " time" : " times") << " on \"" << alias
            << "\"\n";
  return failures == 0 && visits == thread_count * visits_each ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "default");
  } catch (const std::exception& error) {
    std::cerr << "threads: " << error.what() << '\n';
    return 1;
  }
}
