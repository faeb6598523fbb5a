#include <polycache/polycache.h>

#include <iostream>

int main() {
  using namespace std::chrono_literals;
  auto& cache = polycache::cache();  // the alias "default"
  cache.set("greeting", "hello, world", 30s);
  std::cout << cache.get("greeting").value_or("has expired") << '\n';
}
