// Erasing one by one, in bulk, and all.

#include <algorithm>
#include <functional>
#include <string>

#include "compose.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;

constexpr std::size_t batch_keys = 1000;  // of one command: the server serves others in between

}  // namespace

bool Session::erase(std::string_view key) {
  commands_.clear();
  commands_.begin("*2\r\n$3\r\nDEL\r\n");
  commands_.word(key);
  bool erased = false;
  const bool in_doubt =
      run(key, Purpose::erase, deadline(), Repeat::in_doubt, [&](Connection& connection) {
        connection.send(commands_.bytes(), 1);
        erased = receive(connection, {.types = one_of(Type::integer)}, ignore).integer != 0;
      });
  if (!erased && in_doubt) {
    throw BackendError(Kind::unreachable, owner_of(key).name(),
                       "the connection broke while an entry was erased: it is gone, but whether "
                       "it was there is not known; repeat what depends on that");
  }
  return erased;
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  const Deadline limit = deadline();
  std::size_t erased = 0;
  for_each_part(*topology_, keys, std::identity(),
                [&](auto part, auto /*index_of*/) { erased += erase_part(part, limit); });
  return erased;
}

std::size_t Session::erase_part(std::span<const std::string_view> keys, Deadline deadline) {
  std::size_t erased = 0;
  for (std::size_t begin = 0; begin < keys.size(); begin += batch_keys) {
    const auto batch = keys.subspan(begin, std::min(batch_keys, keys.size() - begin));
    commands_.clear();
    compose(commands_, "DEL", batch);
    // The number of erased entries cannot be determined by repeating.
    run(batch.front(), Purpose::erase, deadline, Repeat::if_refused, [&](Connection& connection) {
      connection.send(commands_.bytes(), commands_.count());
      const Answer answer = receive(connection, {.types = one_of(Type::integer)}, ignore);
      erased += static_cast<std::size_t>(answer.integer);
    });
  }
  return erased;
}

// Asynchronous: the entries are gone at once, their memory later.
void Session::clear() {
  commands_.clear();
  commands_.begin(2);
  commands_.word("FLUSHDB");
  commands_.word("ASYNC");
  topology_->for_each_primary([&](Place place) {
    ask(place, {}, Purpose::erase, deadline(), Repeat::if_refused, {.types = one_of(Type::status)},
        ignore);
  });
}

}  // namespace polycache::redis
