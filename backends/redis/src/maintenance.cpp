// What the servers say of themselves.

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "compose.h"
#include "polycache/error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

// The number in the line "used_memory:1048576"; empty if there is none.
std::optional<std::uint64_t> number_in(std::string_view info, std::string_view name) {
  const std::string begin = "\n" + std::string(name) + ":";
  const std::size_t at = info.find(begin);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = info.substr(at + begin.size());
  std::uint64_t number = 0;
  const auto read = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  return read.ec == std::errc() ? std::optional(number) : std::nullopt;
}

}  // namespace

std::uint64_t Session::used_memory() {
  std::uint64_t sum = 0;
  topology_->for_each_primary([&](Place place) {
    commands_.clear();
    commands_.begin("*2\r\n$4\r\nINFO\r\n$6\r\nmemory\r\n");
    std::string info;
    ask(place, {}, Purpose::read_latest, deadline(), Repeat::if_broken,
        {.types = one_of(Type::string)}, [&](std::string_view text) { info = text; });
    const auto used = number_in(info, "used_memory");
    if (!used) {
      throw BackendError(BackendError::Kind::protocol, place.server->name(),
                         "the server does not say how much memory it uses");
    }
    sum += *used;
  });
  return sum;
}

std::uint64_t Session::key_count() {
  std::uint64_t sum = 0;
  topology_->for_each_primary([&](Place place) {
    commands_.clear();
    commands_.begin("*1\r\n$6\r\nDBSIZE\r\n");
    sum +=
        static_cast<std::uint64_t>(ask(place, {}, Purpose::read_latest, deadline(),
                                       Repeat::if_broken, {.types = one_of(Type::integer)}, ignore)
                                       .integer);
  });
  return sum;
}

}  // namespace polycache::redis
