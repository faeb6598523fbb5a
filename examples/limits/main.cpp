// Three requests a minute for each address, and the mean of how long they took.

#include <polycache/averager.h>
#include <polycache/polycache.h>
#include <polycache/rate_limiter.h>

#include <iostream>

using namespace std::chrono_literals;

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  const polycache::RateLimiter requests("requests", {.limit = 3, .period = 1min});
  const polycache::Averager latency("latency");
  for (int i = 1; i <= 4; ++i) {
    const polycache::RateVerdict verdict = requests.allow("192.0.2.7");
    if (!verdict.allowed) {
      std::cout << "try again in "
                << std::chrono::ceil<std::chrono::seconds>(verdict.retry_after).count() << " s\n";
      continue;
    }
    latency.add(0.1 * i);
    std::cout << "allowed, " << verdict.left << " left\n";
  }
  std::cout << "mean: " << latency.mean().value_or(0) << " s\n";
}
