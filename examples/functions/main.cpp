// Calls a function of a library by its name: functions FOLDER, where polycache_prices.so is.

#include <polycache/function.h>
#include <polycache/polycache.h>

#include <exception>
#include <iostream>
#include <optional>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}, .plugin_path = {argv[1]}});
  try {
    const polycache::Function price_of = polycache::find_function("prices:price_of");
    std::cout << price_of.parameters() << " -> " << price_of.result() << '\n';
    if (const auto price = price_of.call<std::optional<double>>("lamp", 2)) {
      std::cout << "a lamp: " << *price << '\n';
    }
    std::cout << price_of.call<int>("lamp", 2) << '\n';  // it returns no int
  } catch (const std::exception& error) {
    std::cout << error.what() << '\n';
  }
}
