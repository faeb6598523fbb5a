// Deadlines of jobs, ordered by time: the earliest is taken first, whichever thread or, with
// "sqlite" or "redis" as the backend, whichever process asks.

#include <polycache/index.h>
#include <polycache/polycache.h>

#include <chrono>
#include <iostream>
#include <string>
#include <tuple>

using Due = std::tuple<std::chrono::seconds, std::string>;  // when, and which

int main() {
  using namespace std::chrono_literals;
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  polycache::Index<Due, int> jobs("jobs");
  jobs.insert({90s, "report"}, 3);
  jobs.insert({-30s, "mail"}, 1);  // it is late
  jobs.insert({2h, "backup"}, 7);

  for (const auto& [due, pages] : jobs.until({100s, ""})) {
    std::cout << std::get<1>(due) << " is due in " << std::get<0>(due).count() << " s\n";
  }
  while (const auto job = jobs.popitem(polycache::IndexEnd::first)) {
    std::cout << std::get<1>(job->first) << ": " << job->second << " pages\n";
  }
}
