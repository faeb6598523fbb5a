// Reading.

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "compose.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

// The size of one round trip: large enough to make the trip cheap, small enough that neither side
// buffers much and the server keeps serving other clients.
constexpr std::size_t batch_keys = 1000;
constexpr std::size_t batch_bytes = std::size_t{1} << 20U;
constexpr std::size_t first_read_batch = 128;  // keys, while the size of their values is unknown

}  // namespace

bool Session::get(std::string_view key, ValueSink sink) {
  commands_.clear();
  commands_.begin("*2\r\n$3\r\nGET\r\n");
  commands_.word(key);
  const auto deliver = [&](std::string_view value) {
    delivered_ = true;
    sink(value);
  };
  const Expected expected{.types = one_of(Type::string, Type::nil), .tolerated = is_wrong_type};
  Type type = Type::nil;
  run_read(key, deadline(), [&](Connection& connection) {
    connection.send(commands_.bytes(), 1);
    type = receive(connection, expected, deliver).type;
  });
  if (type == Type::error) warn_of_other_type(key);
  return type == Type::string;
}

bool Session::contains(std::string_view key, ValueSink head) {
  commands_.clear();
  commands_.begin("*2\r\n$6\r\nEXISTS\r\n");
  commands_.word(key);
  compose_head(commands_, key);
  bool exists = false;
  const auto deliver = [&](std::string_view value) {
    if (!exists) return;
    delivered_ = true;
    head(value);
  };
  const Expected expected{.types = one_of(Type::string), .tolerated = is_wrong_type};
  Type type = Type::nil;
  run_read(key, deadline(), [&](Connection& connection) {
    connection.send(commands_.bytes(), 2);
    const Answer count = receive(connection);
    exists = count.type == Type::integer && count.integer == 1;
    type = receive(connection, expected, deliver).type;
    if (count.type == Type::error) throw_error(connection, count.error);
    if (count.type != Type::integer) throw_unexpected(connection);
  });
  if (type == Type::error) warn_of_other_type(key);
  return exists && type == Type::string;
}

void Session::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  Deadline limit = deadline();
  if (topology_->parts() == 1) [[likely]]
    return read_part(keys, limit, sink);
  for_each_part(*topology_, keys, std::identity(), [&](auto part, auto index_of) {
    read_part(part, limit,
              [&](std::size_t i, std::string_view value) { sink(index_of(i), value); });
  });
}

void Session::read_part(std::span<const std::string_view> keys, Deadline& deadline,
                        IndexedValueSink sink) {
  std::size_t batch = first_read_batch;
  for (std::size_t begin = 0; begin < keys.size();) {
    const std::size_t count = std::min(batch, keys.size() - begin);
    const std::size_t bytes =
        read_batch(keys.subspan(begin, count), deadline,
                   [&](std::size_t i, std::string_view value) { sink(begin + i, value); });
    begin += count;
    // As many keys as probably fill one batch of replies.
    batch = std::clamp(batch_bytes / (bytes / count + 1), std::size_t{8}, batch_keys);
  }
}

// Returns the total size of the values.
std::size_t Session::read_batch(std::span<const std::string_view> keys, Deadline& deadline,
                                IndexedValueSink sink) {
  commands_.clear();
  compose(commands_, "MGET", keys);
  std::size_t bytes = 0;
  run_read(keys.front(), deadline, [&](Connection& connection) {
    connection.send(commands_.bytes(), 1);
    bytes = 0;
    std::size_t length = 0;
    std::string error;
    connection.receive_at_leisure([&](const Element& element) {
      if (element.depth == 0) {
        if (element.type == Type::array) length = static_cast<std::size_t>(element.integer);
        if (element.type == Type::error) error = element.text;
      } else if (element.type == Type::string && element.depth == 1 && length == keys.size()) {
        delivered_ = true;
        bytes += element.text.size();
        sink(element.index, element.text);
      }
    });
    deadline = connection.deadline();
    if (!error.empty()) throw_error(connection, error);
    if (length != keys.size()) throw_unexpected(connection);
  });
  return bytes;
}

bool Session::get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) {
  bool found = false;
  Deadline limit = deadline();
  read_with_lifetimes({&key, 1}, limit, [&](std::size_t, std::string_view value, Ttl left) {
    found = true;
    sink(value, left);
  });
  return found;
}

void Session::get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) {
  Deadline limit = deadline();
  for_each_part(*topology_, keys, std::identity(), [&](auto part, auto index_of) {
    for (std::size_t begin = 0; begin < part.size(); begin += first_read_batch) {
      const std::size_t count = std::min(first_read_batch, part.size() - begin);
      read_with_lifetimes(part.subspan(begin, count), limit,
                          [&](std::size_t i, std::string_view value, Ttl left) {
                            sink(index_of(begin + i), value, left);
                          });
    }
  });
}

// In one transaction, so that values and lifetimes match. Lifetimes come first, since they are
// stored, while values are passed on at once.
void Session::read_with_lifetimes(std::span<const std::string_view> keys, Deadline& deadline,
                                  TtlExtension::Sink sink) {
  commands_.clear();
  commands_.begin("*1\r\n$5\r\nMULTI\r\n");
  for (const std::string_view key : keys) {
    commands_.begin("*2\r\n$4\r\nPTTL\r\n");
    commands_.word(key);
  }
  compose(commands_, "MGET", keys);
  commands_.begin("*1\r\n$4\r\nEXEC\r\n");

  run(keys.front(), Purpose::read_latest, deadline, Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    std::string error;
    for (std::size_t i = 1; i < commands_.count(); ++i) {
      Answer queued = receive(connection);
      if (error.empty()) error = std::move(queued.error);
    }
    lifetimes_.assign(keys.size(), 0);
    std::size_t length = 0;
    connection.receive_at_leisure([&](const Element& element) {
      if (element.type == Type::error && error.empty()) error = element.text;
      if (element.type == Type::array && element.depth == 1) {
        length = static_cast<std::size_t>(element.integer);
      }
      if (element.type == Type::integer && element.depth == 1 && element.index < keys.size()) {
        lifetimes_[element.index] = element.integer;
      }
      if (element.type == Type::string && element.depth == 2 && length == keys.size()) {
        delivered_ = true;
        sink(element.index, element.text, lifetime_left(lifetimes_[element.index]));
      }
    });
    deadline = connection.deadline();
    if (!error.empty()) throw_error(connection, error);
    if (length != keys.size()) throw_unexpected(connection);
  });
}

}  // namespace polycache::redis
