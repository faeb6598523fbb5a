// A report that is kept for a minute, under a key that is named once.

#include <polycache/cached.h>
#include <polycache/polycache.h>

#include <iostream>

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  const polycache::Cached<> report("report:42");
  std::cout << (report.exists() ? "kept" : "not there") << '\n';

  report.set({{"title", "Sales"}, {"total", 17}}, 60);  // seconds; 1h, or a moment, or for ever
  if (const auto value = report.value()) std::cout << value->dump() << '\n';

  std::cout << (report.erase() ? "erased" : "was not there") << '\n';
}
