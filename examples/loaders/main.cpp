// Results of a function, cached under a label, with a log of what was created.

#include <polycache/loaders.h>
#include <polycache/polycache.h>

#include <iostream>
#include <string>

using namespace std::chrono_literals;

std::string describe_foo(int size, const std::string& colour) {
  std::cout << "computing\n";
  return colour + " foo of size " + std::to_string(size);
}

int main() {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});
  auto foos = polycache::global_loaders().add("foos", describe_foo, {.expires = 1h});

  std::cout << polycache::load<std::string>("foos", 3, "red") << '\n';  // computes
  std::cout << foos.get<std::string>(3, "red") << '\n';                 // reads
  foos.get<std::string>(4, "blue");
  for (const auto& entry : foos.log().entries) std::cout << entry.key << '\n';

  foos.invalidate(3, "red");
  foos.invalidate_if([](const auto& entry) { return entry.arguments[1] == "blue"; });
  foos.invalidate_all();
}
