// A function that remembers its results for an hour: the second call reads what the first computed.

#include <polycache/memoize.h>
#include <polycache/polycache.h>

#include <chrono>
#include <iostream>

using namespace std::chrono_literals;

double compute_area(double width, double height) {
  std::cout << "computing " << width << " x " << height << '\n';
  return width * height;
}

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});

  const auto area = polycache::memoize("area", compute_area, {.timeout = 1h, .tags = {"geo"}});
  std::cout << area(3, 4) << '\n' << area(3, 4) << '\n';

  area.invalidate(3, 4);  // or polycache::cache().erase_tag("geo")
  std::cout << area(3, 4) << " under " << area.key(3, 4) << '\n';
}
