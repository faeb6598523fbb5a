// Storing, and setting lifetimes.

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "compose.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "put_batch.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

constexpr std::size_t shortest_put_reply = std::string_view("+OK\r\n").size();  // "$-1\r\n" too
constexpr std::string_view no_memory_reason = "the server is out of memory";
constexpr std::string_view too_large_reason = "it is larger than max_value_bytes";

bool is_full_or_denied(std::string_view error) noexcept {
  return is_out_of_memory(error) || is_denied_command(error);
}

}  // namespace

bool Session::fits(std::string_view value) const noexcept {
  return value.size() <= shared_->settings.limits.max_value_bytes;
}

void Session::warn_of_refusal(std::string_view key, std::string_view why) {
  warn(Warning::Kind::value_refused, key,
       "The value of key " + quote(key) + " was not stored: " + std::string(why) + ".");
}

// A value that could not be stored must not leave an older one behind, unless the put would not
// have replaced it.
void Session::erase_refused(std::span<const std::string_view> keys, PutMode mode,
                            Deadline deadline) {
  if (mode == PutMode::if_absent || keys.empty()) return;
  commands_.clear();
  compose(commands_, "DEL", keys);
  ask(keys.front(), Purpose::erase, deadline, Repeat::if_broken, {.types = one_of(Type::integer)},
      ignore);
}

void Session::refuse(std::string_view key, PutMode mode, std::string_view why, Deadline deadline) {
  erase_refused({&key, 1}, mode, deadline);
  warn_of_refusal(key, why);
}

bool Session::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  const Item item{key, value, ttl};
  return mode == PutMode::if_present ? put_if_present(item, deadline())
                                     : put(item, mode, deadline());
}

bool Session::put(const Item& item, PutMode mode, Deadline deadline) {
  if (!fits(item.value)) {
    refuse(item.key, mode, too_large_reason, deadline);
    return false;
  }
  const Place place = topology_->server_for(item.key, Purpose::write, deadline);
  Server& server = *place.server;
  for (;;) {
    if (server.is_full()) [[unlikely]] {  // skip the call for a while
      refuse(item.key, mode, no_memory_reason, deadline);
      return false;
    }
    const bool psetex = suits_psetex(item, mode) && server.has(Feature::psetex);
    const Expected expected{.types = one_of(Type::status, Type::nil),
                            .tolerated = psetex ? is_full_or_denied : is_out_of_memory};
    commands_.clear();
    compose_put(commands_, item, mode, psetex);
    Answer answer;
    run(place, item.key, Purpose::write, deadline,
        mode == PutMode::if_absent ? Repeat::if_refused : Repeat::if_broken,
        [&](Connection& connection) {
          connection.send(commands_.bytes(), 1);
          answer = receive(connection, expected, ignore);
        });
    if (answer.type == Type::status) [[likely]]
      return true;
    if (answer.type == Type::nil) {
      // redis counts a key of another type as present; we do not.
      if (mode != PutMode::if_absent || of_other_type({&item.key, 1}, deadline).empty()) {
        return false;
      }
      erase_other_type(item.key, deadline);
    } else if (is_out_of_memory(answer.error)) {
      refuse(item.key, mode, no_memory_reason, deadline);
      return false;
    } else {
      server.use_fallback_for(Feature::psetex, answer.error);
    }
  }
}

// XX would overwrite another type.
bool Session::put_if_present(const Item& item, Deadline deadline) {
  return of_other_type({&item.key, 1}, deadline).empty() &&
         put(item, PutMode::if_present, deadline);
}

void Session::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  const Deadline limit = deadline();
  if (mode == PutMode::if_present) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (!put_if_present(items[i], limit)) on_failure(i);
    }
    return;
  }
  for_each_part(
      *topology_, items, [](const Item& item) { return item.key; },
      [&](auto part, auto index_of) {
        put_part(part, mode, limit, [&](std::size_t i) { on_failure(index_of(i)); });
      });
}

void Session::put_part(std::span<const Item> items, PutMode mode, Deadline deadline,
                       IndexSink on_failure) {
  PutBatch batch(items, mode, shared_->settings.limits.max_value_bytes);
  while (batch.next()) {
    std::exception_ptr failure;
    const auto attempt = [&failure](auto step) {
      try {
        step();
      } catch (const BackendError&) {
        if (!failure) failure = std::current_exception();
      }
    };
    attempt([&] {
      send_batch(batch, mode, deadline);
      if (mode == PutMode::if_absent) put_over_other_types(batch, items, deadline);
    });
    // Refused items are erased anyway, while there is time.
    if (!failure || coarse_now() < deadline) {
      attempt([&] { refuse_batch(batch, items, mode, deadline); });
    }
    for (const auto* part : {&batch.failed(), &batch.refused(), &batch.too_large()}) {
      for (const std::size_t i : *part) on_failure(i);
    }
    if (failure) std::rethrow_exception(failure);
  }
}

void Session::send_batch(PutBatch& batch, PutMode mode, Deadline deadline) {
  const Place place = topology_->server_for(batch.first_key(), Purpose::write, deadline);
  batch.compose(commands_, place.server->has(Feature::psetex));
  if (place.server->is_full()) [[unlikely]]
    batch.refuse_all();
  if (batch.sent() == 0) return;
  const Repeat repeat = mode == PutMode::if_absent ? Repeat::never : Repeat::if_broken;
  run(place, batch.first_key(), Purpose::write, deadline, repeat, [&](Connection& connection) {
    batch.begin_replies();
    connection.send(commands_.bytes(), commands_.count());
    connection.expect(batch.sent() * shortest_put_reply);
    for (std::size_t i = 0; i < batch.sent(); ++i) {
      bool is_put_reply = true;
      connection.receive([&](const Element& reply) {
        if (reply.depth == 0) is_put_reply = batch.take(i, reply);
      });
      if (!is_put_reply) throw_unexpected(connection);
    }
    if (!batch.refused().empty()) connection.note_no_memory();
    if (!batch.error().empty() && !batch.is_psetex_denied()) throw_error(connection, batch.error());
  });
  if (batch.error().empty()) return;
  place.server->use_fallback_for(Feature::psetex, batch.error());
  send_batch(batch, mode, deadline);
}

// In one round trip.
void Session::refuse_batch(const PutBatch& batch, std::span<const Item> items, PutMode mode,
                           Deadline deadline) {
  erase_refused(batch.keys_to_erase(), mode, deadline);
  for (const std::size_t i : batch.refused()) warn_of_refusal(items[i].key, no_memory_reason);
  for (const std::size_t i : batch.too_large()) warn_of_refusal(items[i].key, too_large_reason);
}

// Stores the items that failed only because their key holds another type.
void Session::put_over_other_types(PutBatch& batch, std::span<const Item> items,
                                   Deadline deadline) {
  if (batch.failed().empty()) return;
  std::vector<std::string_view> keys;
  for (const std::size_t i : batch.failed()) keys.push_back(items[i].key);
  const std::vector<std::string_view> others = of_other_type(keys, deadline);
  if (others.empty()) return;
  for (const std::string_view key : others) erase_other_type(key, deadline);
  const std::vector<std::size_t> tried = batch.failed();  // a put may throw: the list stays whole
  for (const std::size_t i : tried) {
    if (std::find(others.begin(), others.end(), items[i].key) == others.end()) continue;
    if (put(items[i], PutMode::if_absent, deadline)) batch.stored(i);
  }
}

bool Session::touch(std::string_view key, Ttl ttl, ValueSink head) {
  commands_.clear();
  compose_type_check(commands_, key);
  if (ttl.is_forever()) {
    // PERSIST alone does not distinguish an absent key from one without a lifetime.
    commands_.begin("*2\r\n$7\r\nPERSIST\r\n");
    commands_.word(key);
    commands_.begin("*2\r\n$6\r\nEXISTS\r\n");
    commands_.word(key);
  } else {
    commands_.begin("*3\r\n$7\r\nPEXPIRE\r\n");
    commands_.word(key);
    commands_.number(redis_lifetime(ttl));
  }
  compose_head(commands_, key);
  bool other_type = false;
  bool exists = false;
  const auto deliver = [&](std::string_view value) {
    if (exists && !other_type) head(value);
  };
  run(key, Purpose::erase, deadline(), Repeat::if_broken, [&](Connection& connection) {
    const Expected number{.types = one_of(Type::integer)};
    const Expected text{.types = one_of(Type::string), .tolerated = is_wrong_type};
    connection.send(commands_.bytes(), commands_.count());
    other_type = receive_type_check(connection);
    for (std::size_t i = 2; i < commands_.count(); ++i) {
      exists = receive(connection, number, ignore).integer != 0;
    }
    receive(connection, text, deliver);
  });
  if (other_type) warn_of_other_type(key);
  return exists && !other_type;
}

}  // namespace polycache::redis
