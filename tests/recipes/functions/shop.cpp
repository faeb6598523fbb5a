// A library of functions by name.

#include "shop.h"

#include <polycache/error.h>
#include <polycache/function_library.h>

#include <chrono>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string_view>
#include <vector>

namespace shop {
namespace {

class OutOfStock : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::vector<Foo> filter_foos(std::int64_t size, std::string_view colour) {
  std::vector<Foo> foos;
  for (std::int32_t i = 0; i < size; ++i) foos.push_back({.id = i, .colour = std::string(colour)});
  return foos;
}

std::optional<Foo> find_foo(std::uint8_t id) {
  if (id == 0) return std::nullopt;
  return Foo{.id = id, .colour = "red"};
}

double sum(std::span<const double> values) {
  double total = 0;
  for (const double value : values) total += value;
  return total;
}

std::string greet(const char* name, bool loud) { return std::string(loud ? "HELLO " : "") + name; }

std::map<std::string, int> count(const Foo& foo, std::optional<std::int64_t> more) {
  return {{foo.colour, static_cast<int>(more.value_or(0)) + foo.id}};
}

int calls = 0;
void warm() { ++calls; }
int warmed() { return calls; }

int fail(int how) {
  switch (how) {
    case 0:
      throw OutOfStock("there is none");
    case 1:
      throw polycache::BackendError(polycache::BackendError::Kind::timeout, "db", "too slow");
    case 2:
      throw 42;
    default:
      return how;
  }
}

}  // namespace
}  // namespace shop

using shop::filter_foos;
POLYCACHE_FUNCTION(filter_foos);
POLYCACHE_FUNCTION(shop::find_foo);
POLYCACHE_FUNCTION(shop::sum);
POLYCACHE_FUNCTION(shop::greet);
POLYCACHE_FUNCTION(shop::count);
POLYCACHE_FUNCTION(shop::warm);
POLYCACHE_FUNCTION(shop::warmed);
POLYCACHE_FUNCTION(shop::fail);
