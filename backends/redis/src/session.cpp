#include "session.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <unordered_set>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/error.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;

// The size of one round trip: large enough to make the trip cheap, small enough that neither side
// buffers much and the server keeps serving other clients.
constexpr std::size_t kBatchCommands = 1000;
constexpr std::size_t kBatchBytes = std::size_t{1} << 20U;
constexpr std::size_t kShortestPutReply = std::string_view("+OK\r\n").size();  // "$-1\r\n" too
constexpr std::size_t kFirstReadBatch = 128;  // keys, while the size of their values is unknown
constexpr std::string_view kScanCount = "1000";
constexpr std::size_t kMaxScanSteps = std::size_t{1} << 32U;
constexpr std::string_view kHeadBytes = "63";  // the last of them: contains() promises 64
constexpr std::string_view kNoMemory = "the server is out of memory";
constexpr std::string_view kTooLarge = "it is larger than max_value_bytes";
constexpr int kMaxMoves = 5;  // how often a key may move during one operation
// Beyond this redis computes times that overflow 64 bits. 31,000 years.
constexpr std::int64_t kMaxLifetime = 1'000'000'000'000'000;

Ttl lifetime_left(std::int64_t milliseconds) {
  if (milliseconds == -1) return Ttl::forever();
  return Ttl(std::chrono::milliseconds(std::max<std::int64_t>(milliseconds, 1)));
}

// A redis pattern that matches these bytes followed by anything.
std::string pattern_of_prefix(std::string_view prefix) {
  std::string pattern;
  for (const char c : prefix) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + '*';
}

bool is_full_or_denied(std::string_view error) noexcept {
  return is_out_of_memory(error) || is_denied_command(error);
}

void ignore(std::string_view) {}

}  // namespace

Session::Session(std::shared_ptr<Shared> shared)
    : shared_(std::move(shared)),
      topology_(make_topology(shared_->servers,
                              shared_->sessions.fetch_add(1, std::memory_order_relaxed))) {}

Session::Session(std::shared_ptr<Shared> shared, std::unique_ptr<Topology> topology)
    : shared_(std::move(shared)), topology_(std::move(topology)) {}

// --- Requests and replies ---

Deadline Session::deadline() const { return deadline_after(shared_->settings.limits.operation); }

bool Session::run(std::string_view key, Purpose purpose, Deadline deadline, Repeat repeat,
                  Exchange exchange) {
  return run(topology_->server_for(key, purpose, deadline), key, purpose, deadline, repeat,
             exchange);
}

bool Session::run(Place place, std::string_view key, Purpose purpose, Deadline deadline,
                  Repeat repeat, Exchange exchange) {
  for (int moves = 0; moves <= kMaxMoves; ++moves) {
    const Ended ended = run_once(place, purpose, deadline, repeat, exchange);
    if (ended != Ended::moved) [[likely]]
      return ended == Ended::in_doubt;
    place = topology_->server_for(key, purpose, deadline);
  }
  throw BackendError(Kind::overloaded, place.server->name(),
                     "the servers of its cluster name one another for a key");
}

Session::Ended Session::run_once(Place place, Purpose purpose, Deadline deadline, Repeat repeat,
                                 Exchange exchange) {
  Server::Call call(*place.server, *place.hint, purpose, deadline);
  delivered_ = false;
  Connection* connection = nullptr;
  bool broken = false;
  try {
    connection = &call.begin(repeat == Repeat::if_broken ? Check::nothing : Check::alive);
    exchange(*connection);
    return Ended::replied;
  } catch (const BackendError& error) {
    if (has_moved(error)) return Ended::moved;
    broken =
        repeat >= Repeat::if_broken && connection != nullptr && connection->broke() && !delivered_;
    // After a failover the name may resolve to another server.
    const bool refused = repeat != Repeat::never && error.kind() == Kind::read_only;
    if (!broken && !refused) {
      call.failed(error);
      throw;
    }
  }
  try {
    exchange(call.begin_again());
  } catch (const BackendError& error) {
    if (has_moved(error)) return Ended::moved;
    call.failed(error);
    throw;
  }
  return broken ? Ended::in_doubt : Ended::replied;
}

// Whether the error says that the key is on another server, and the topology knows that server now.
bool Session::has_moved(const BackendError& error) {
  const auto* const moved = dynamic_cast<const KeyMoved*>(&error);
  return moved != nullptr && topology_->moved(moved->slot(), moved->address());
}

Server& Session::owner_of(std::string_view key) {
  return *topology_->server_for(key, Purpose::write, Deadline{}).server;
}

void Session::run_read(std::string_view key, Deadline deadline, Exchange exchange) {
  for (std::size_t tried = 1;; ++tried) {
    try {
      run(key, Purpose::read, deadline, Repeat::if_broken, exchange);
      return;
    } catch (const BackendError& error) {
      const Kind kind = error.kind();
      const std::size_t readers = topology_->readers();
      if (readers == 1 || kind == Kind::denied) throw;
      topology_->leave_reader(deadline);
      // A handshake has its own shorter limit, so time may be left for the next location.
      const bool has_time = coarse_now() + std::chrono::milliseconds(10) < deadline;
      const bool down = kind == Kind::unreachable || kind == Kind::overloaded ||
                        (kind == Kind::timeout && has_time);
      if (!down || delivered_ || tried == readers) throw;
    }
  }
}

Session::Answer Session::receive(Connection& connection, ValueSink sink) {
  Answer answer;
  connection.receive([&](const Element& element) {
    if (element.depth != 0) return;
    answer.type = element.type;
    answer.integer = element.integer;
    if (element.type == Type::string) sink(element.text);
    if (element.type == Type::error) answer.error = element.text;
  });
  if (answer.type != Type::error) return answer;
  if (is_out_of_memory(answer.error)) connection.note_no_memory();
  if (answer.error.find("READONLY ") != std::string::npos) throw_error(connection, answer.error);
  return answer;
}

Session::Answer Session::receive(Connection& connection) { return receive(connection, ignore); }

Session::Answer Session::receive(Connection& connection, const Expected& expected, ValueSink sink) {
  Answer answer = receive(connection, sink);
  check(connection, answer, expected);
  return answer;
}

void Session::check(Connection& connection, const Answer& answer, const Expected& expected) {
  if ((expected.types & one_of(answer.type)) != 0) return;
  if (answer.type != Type::error) throw_unexpected(connection);
  if (expected.tolerated == nullptr || !expected.tolerated(answer.error)) {
    throw_error(connection, answer.error);
  }
}

Session::Answer Session::ask(std::string_view key, Purpose purpose, Deadline deadline,
                             Repeat repeat, const Expected& expected, ValueSink sink) {
  return ask(topology_->server_for(key, purpose, deadline), key, purpose, deadline, repeat,
             expected, sink);
}

Session::Answer Session::ask(Place place, std::string_view key, Purpose purpose, Deadline deadline,
                             Repeat repeat, const Expected& expected, ValueSink sink) {
  Answer answer;
  run(place, key, purpose, deadline, repeat, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    answer = receive(connection, expected, sink);
  });
  return answer;
}

void Session::throw_error(Connection& connection, std::string_view error) {
  const std::size_t readonly = error.find("READONLY ");
  if (readonly != std::string_view::npos) error.remove_prefix(readonly);
  const ErrorMeaning& meaning = meaning_of(error);
  const std::string message =
      "the server refuses: " + shown_error(error) + "; " + std::string(meaning.remedy);
  if (meaning.kind == Kind::read_only || is_closed_door(error)) {
    connection.fail(meaning.kind, message);
  }
  if (const auto moved = redirection_in(error)) {
    throw KeyMoved(moved->slot, std::string(moved->address), connection.server(), message);
  }
  throw BackendError(meaning.kind, connection.server(), message);
}

void Session::throw_unexpected(Connection& connection) {
  connection.fail(Kind::protocol, "an answer of another type than the command has");
}

void Session::warn(Warning::Kind kind, std::string_view key, std::string_view message) {
  if (shared_->report) shared_->report({.kind = kind, .key = key, .message = message});
}

void Session::warn_of_other_type(std::string_view key) {
  warn(
      Warning::Kind::undecodable_value, key,
      "The key " + quote(key) + " holds another type of redis, not a string: it counts as absent.");
}

// --- Reading ---

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

void Session::compose_head(std::string_view key) {
  commands_.begin("*4\r\n$8\r\nGETRANGE\r\n");
  commands_.word(key);
  commands_.word("0");
  commands_.word(kHeadBytes);
}

bool Session::contains(std::string_view key, ValueSink head) {
  commands_.clear();
  commands_.begin("*2\r\n$6\r\nEXISTS\r\n");
  commands_.word(key);
  compose_head(key);
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
  for_each_part(*topology_, keys, std::identity(), [&](auto part, auto index_of) {
    read_part(part, limit,
              [&](std::size_t i, std::string_view value) { sink(index_of(i), value); });
  });
}

void Session::read_part(std::span<const std::string_view> keys, Deadline& deadline,
                        IndexedValueSink sink) {
  std::size_t batch = kFirstReadBatch;
  for (std::size_t begin = 0; begin < keys.size();) {
    const std::size_t count = std::min(batch, keys.size() - begin);
    const std::size_t bytes =
        read_batch(keys.subspan(begin, count), deadline,
                   [&](std::size_t i, std::string_view value) { sink(begin + i, value); });
    begin += count;
    // As many keys as probably fill one batch of replies.
    batch = std::clamp(kBatchBytes / (bytes / count + 1), std::size_t{8}, kBatchCommands);
  }
}

// Returns the total size of the values.
std::size_t Session::read_batch(std::span<const std::string_view> keys, Deadline& deadline,
                                IndexedValueSink sink) {
  commands_.clear();
  commands_.begin(1 + keys.size());
  commands_.word("MGET");
  for (const std::string_view key : keys) commands_.word(key);
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
    for (std::size_t begin = 0; begin < part.size(); begin += kFirstReadBatch) {
      const std::size_t count = std::min(kFirstReadBatch, part.size() - begin);
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
  commands_.begin(1 + keys.size());
  commands_.word("MGET");
  for (const std::string_view key : keys) commands_.word(key);
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

// --- Writing ---

// The composed commands, and their outcomes.
struct Session::PutBatch {
  Place place = {};
  std::size_t begin = 0;  // the range of its items
  std::size_t end = 0;
  bool by_psetex = false;
  std::vector<std::size_t> sent;       // the item of each command
  std::vector<std::size_t> too_large;  // not sent
  std::vector<std::size_t> failed;     // not stored because of the mode
  std::vector<std::size_t> refused;    // no room
  std::string error;                   // the first of any other kind
};

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
  commands_.begin(1 + keys.size());
  commands_.word("DEL");
  for (const std::string_view key : keys) commands_.word(key);
  ask(keys.front(), Purpose::erase, deadline, Repeat::if_broken, {.types = one_of(Type::integer)},
      ignore);
}

void Session::refuse(std::string_view key, PutMode mode, std::string_view why, Deadline deadline) {
  erase_refused({&key, 1}, mode, deadline);
  warn_of_refusal(key, why);
}

std::int64_t Session::redis_lifetime(Ttl ttl) noexcept {
  return std::min(ttl.value().count(), kMaxLifetime);
}

bool Session::by_psetex(const Server& server, const Item& item, PutMode mode) noexcept {
  return mode == PutMode::always && !item.ttl.is_forever() && server.has(Feature::psetex);
}

void Session::compose_put(const Server& server, const Item& item, PutMode mode) {
  const bool forever = item.ttl.is_forever();
  if (by_psetex(server, item, mode)) {
    // SET with PX does the same, but takes the server a tenth longer to parse.
    commands_.begin("*4\r\n$6\r\nPSETEX\r\n");
    commands_.word(item.key);
    commands_.number(redis_lifetime(item.ttl));
    commands_.word(item.value);
    return;
  }
  if (mode == PutMode::always) {
    commands_.begin(forever ? "*3\r\n$3\r\nSET\r\n" : "*5\r\n$3\r\nSET\r\n");
  } else {
    commands_.begin(forever ? "*4\r\n$3\r\nSET\r\n" : "*6\r\n$3\r\nSET\r\n");
  }
  commands_.word(item.key);
  commands_.word(item.value);
  if (!forever) {
    commands_.word("PX");
    commands_.number(redis_lifetime(item.ttl));
  }
  if (mode != PutMode::always) commands_.word(mode == PutMode::if_absent ? "NX" : "XX");
}

bool Session::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  const Item item{key, value, ttl};
  return mode == PutMode::if_present ? put_if_present(item, deadline())
                                     : put(item, mode, deadline());
}

bool Session::put(const Item& item, PutMode mode, Deadline deadline) {
  if (!fits(item.value)) {
    refuse(item.key, mode, kTooLarge, deadline);
    return false;
  }
  const Place place = topology_->server_for(item.key, Purpose::write, deadline);
  Server& server = *place.server;
  for (;;) {
    if (server.is_full()) [[unlikely]] {  // skip the call for a while
      refuse(item.key, mode, kNoMemory, deadline);
      return false;
    }
    const bool psetex = by_psetex(server, item, mode);
    const Expected expected{.types = one_of(Type::status, Type::nil),
                            .tolerated = psetex ? is_full_or_denied : is_out_of_memory};
    commands_.clear();
    compose_put(server, item, mode);
    const Answer answer =
        ask(place, item.key, Purpose::write, deadline,
            mode == PutMode::if_absent ? Repeat::if_refused : Repeat::if_broken, expected, ignore);
    if (answer.type == Type::status) [[likely]]
      return true;
    if (answer.type == Type::nil) {
      // redis counts a key of another type as present; we do not.
      if (mode != PutMode::if_absent || of_other_type({&item.key, 1}, deadline).empty()) {
        return false;
      }
      erase_other_type(item.key, deadline);
    } else if (is_out_of_memory(answer.error)) {
      refuse(item.key, mode, kNoMemory, deadline);
      return false;
    } else {
      server.do_without(Feature::psetex, answer.error);
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
  PutBatch batch;
  while (batch.end < items.size()) {
    batch.begin = batch.end;
    batch.place = topology_->server_for(items[batch.begin].key, Purpose::write, deadline);
    compose_batch(batch, items, mode);
    std::exception_ptr failure;
    const auto attempt = [&failure](auto step) {
      try {
        step();
      } catch (const BackendError&) {
        if (!failure) failure = std::current_exception();
      }
    };
    attempt([&] {
      send_batch(batch, items, mode, deadline);
      if (mode == PutMode::if_absent) put_over_other_types(batch, items, deadline);
    });
    // Refused items are erased anyway, while there is time.
    if (!failure || coarse_now() < deadline) {
      attempt([&] { refuse_batch(batch, items, mode, deadline); });
    }
    for (const auto* part : {&batch.failed, &batch.refused, &batch.too_large}) {
      for (const std::size_t i : *part) on_failure(i);
    }
    if (failure) std::rethrow_exception(failure);
  }
}

// In one round trip. Of several items with one key the last counts: if a later one was stored, it
// stays.
void Session::refuse_batch(PutBatch& batch, std::span<const Item> items, PutMode mode,
                           Deadline deadline) {
  if (batch.refused.empty() && batch.too_large.empty()) return;
  std::vector<bool> refused(batch.end - batch.begin);
  for (const auto* part : {&batch.refused, &batch.too_large}) {
    for (const std::size_t i : *part) refused[i - batch.begin] = true;
  }
  std::vector<std::string_view> keys;
  std::unordered_set<std::string_view> later;
  for (std::size_t i = batch.end; i-- > batch.begin;) {
    if (later.insert(items[i].key).second && refused[i - batch.begin]) keys.push_back(items[i].key);
  }
  erase_refused(keys, mode, deadline);
  for (const std::size_t i : batch.refused) warn_of_refusal(items[i].key, kNoMemory);
  for (const std::size_t i : batch.too_large) warn_of_refusal(items[i].key, kTooLarge);
}

// Stores the items that failed only because their key holds another type.
void Session::put_over_other_types(PutBatch& batch, std::span<const Item> items,
                                   Deadline deadline) {
  if (batch.failed.empty()) return;
  std::vector<std::string_view> keys;
  for (const std::size_t i : batch.failed) keys.push_back(items[i].key);
  const std::vector<std::string_view> others = of_other_type(keys, deadline);
  if (others.empty()) return;
  for (const std::string_view key : others) erase_other_type(key, deadline);
  const std::vector<std::size_t> tried = batch.failed;  // a put may throw: the list stays whole
  for (const std::size_t i : tried) {
    if (std::find(others.begin(), others.end(), items[i].key) == others.end()) continue;
    if (put(items[i], PutMode::if_absent, deadline)) std::erase(batch.failed, i);
  }
}

void Session::compose_batch(PutBatch& batch, std::span<const Item> items, PutMode mode) {
  batch.sent.clear();
  batch.too_large.clear();
  batch.by_psetex = false;
  commands_.clear();
  for (batch.end = batch.begin; batch.end < items.size() && batch.sent.size() < kBatchCommands &&
                                commands_.bytes().size() < kBatchBytes;
       ++batch.end) {
    const Item& item = items[batch.end];
    if (fits(item.value)) {
      batch.by_psetex = batch.by_psetex || by_psetex(*batch.place.server, item, mode);
      compose_put(*batch.place.server, item, mode);
      batch.sent.push_back(batch.end);
    } else {
      batch.too_large.push_back(batch.end);
      if (mode == PutMode::if_present) {  // erase it before a later item requires it to exist
        ++batch.end;
        return;
      }
    }
  }
}

void Session::send_batch(PutBatch& batch, std::span<const Item> items, PutMode mode,
                         Deadline deadline) {
  batch.failed.clear();
  batch.refused.clear();
  if (batch.place.server->is_full()) [[unlikely]]
    batch.refused.swap(batch.sent);
  if (batch.sent.empty()) return;
  const Repeat repeat = mode == PutMode::if_absent ? Repeat::never : Repeat::if_broken;
  run(batch.place, items[batch.begin].key, Purpose::write, deadline, repeat,
      [&](Connection& connection) {
        batch.failed.clear();
        batch.refused.clear();
        batch.error.clear();
        connection.send(commands_.bytes(), commands_.count());
        connection.expect(batch.sent.size() * kShortestPutReply);
        for (const std::size_t i : batch.sent) read_put(batch, connection, i);
        const bool denied = batch.by_psetex && is_denied_command(batch.error);
        if (!batch.error.empty() && !denied) throw_error(connection, batch.error);
      });
  if (batch.error.empty()) return;
  batch.place.server->do_without(Feature::psetex, batch.error);
  compose_batch(batch, items, mode);
  send_batch(batch, items, mode, deadline);
}

void Session::read_put(PutBatch& batch, Connection& connection, std::size_t item) {
  Answer answer = receive(connection);
  if (answer.type == Type::nil) {
    batch.failed.push_back(item);
  } else if (answer.type == Type::error) {
    if (is_out_of_memory(answer.error)) {
      batch.refused.push_back(item);
    } else if (batch.error.empty()) {
      batch.error = std::move(answer.error);
    }
  } else if (answer.type != Type::status) {
    throw_unexpected(connection);
  }
}

bool Session::touch(std::string_view key, Ttl ttl, ValueSink head) {
  commands_.clear();
  compose_type_check(key);
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
  compose_head(key);
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

// --- Erasing ---

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
  for (std::size_t begin = 0; begin < keys.size(); begin += kBatchCommands) {
    const auto batch = keys.subspan(begin, std::min(kBatchCommands, keys.size() - begin));
    commands_.clear();
    commands_.begin(1 + batch.size());
    commands_.word("DEL");
    for (const std::string_view key : batch) commands_.word(key);
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

std::size_t Session::erase_prefix(std::string_view prefix) {
  std::size_t erased = 0;
  topology_->for_each_primary(
      [&](Place place) { erased += erase_pattern(place, pattern_of_prefix(prefix)); });
  return erased;
}

std::size_t Session::erase_pattern(Place place, std::string_view pattern) {
  std::string cursor = "0";
  std::size_t erased = 0;
  for (std::size_t step = 0; step < kMaxScanSteps; ++step) {
    commands_.clear();
    commands_.begin(6);
    commands_.word("SCAN");
    commands_.word(cursor);
    commands_.word("MATCH");
    commands_.word(pattern);
    commands_.word("COUNT");
    commands_.word(kScanCount);
    const Deadline limit = deadline();  // of each step
    scan(place, cursor, limit);
    for_each_part(*topology_, std::span<const std::string>(found_), std::identity(),
                  [&](auto part, auto /*index_of*/) { erased += erase_found(place, part, limit); });
    if (cursor == "0") return erased;
  }
  throw BackendError(Kind::protocol, place.server->name(), "a walk through its keys does not end");
}

// Performs one step, into found_; `cursor` is where the next begins.
void Session::scan(Place place, std::string& cursor, Deadline deadline) {
  run(place, {}, Purpose::erase, deadline, Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    found_.clear();
    std::string next;
    std::string error;
    connection.receive([&](const Element& element) {
      if (element.type == Type::error) error = element.text;
      if (element.type != Type::string) return;
      if (element.depth == 1) next = element.text;
      if (element.depth == 2) found_.emplace_back(element.text);
    });
    if (!error.empty()) throw_error(connection, error);
    if (next.empty()) throw_unexpected(connection);
    cursor = next;
  });
}

std::size_t Session::erase_found(Place place, std::span<const std::string> found,
                                 Deadline deadline) {
  if (found.empty()) return 0;
  const bool unlink = place.server->has(Feature::unlink);
  commands_.clear();
  commands_.begin(1 + found.size());
  commands_.word(unlink ? "UNLINK" : "DEL");
  for (const std::string& key : found) commands_.word(key);
  const Answer answer = ask(
      place, found.front(), Purpose::erase, deadline, Repeat::if_refused,
      {.types = one_of(Type::integer), .tolerated = unlink ? is_denied_command : nullptr}, ignore);
  if (answer.type != Type::error) return static_cast<std::size_t>(answer.integer);
  place.server->do_without(Feature::unlink, answer.error);
  return erase_found(place, found, deadline);
}

// --- Apart from operations ---

void Session::check(FunctionRef<void(const HealthExtension::Server&)> sink) {
  topology_->for_each([&](Place place) { place.server->check(*place.hint, deadline(), sink); });
}

bool Session::admits(std::string_view key, Access access) const noexcept {
  return topology_->admits(key, access);
}

bool Session::admits_all() const noexcept { return topology_->admits_all(); }

void Session::close_idle() noexcept {
  topology_->for_each([](Place place) { place.server->close_idle(); });
}

void* Session::extension(std::string_view id) noexcept {
  if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
  if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
  if (id == PopExtension::id) return static_cast<PopExtension*>(this);
  if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
  if (id == AdmissionExtension::id) return static_cast<AdmissionExtension*>(this);
  if (id == HealthExtension::id) return static_cast<HealthExtension*>(this);
  if (id == IdleExtension::id) return static_cast<IdleExtension*>(this);
  return nullptr;
}

}  // namespace polycache::redis
