#include "session.h"

#include <exception>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/error.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;
using Type = Element::Type;

constexpr int max_moves = 5;  // how often a key may move during one operation

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
  bool in_doubt = false;
  for (int moves = 0; moves <= max_moves; ++moves) {
    const Ended ended = run_once(place, purpose, deadline, repeat, exchange);
    in_doubt |= ended.in_doubt;
    if (!ended.moved) [[likely]]
      return in_doubt;
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
    return {};
  } catch (const BackendError& error) {
    if (has_moved(error)) return {.moved = true};
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
    if (has_moved(error)) return {.moved = true, .in_doubt = broken};
    call.failed(error);
    throw;
  }
  return {.in_doubt = broken};
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
      topology_->switch_replica(deadline);
      // A handshake has its own shorter limit, so time may be left for the next location.
      const bool has_time = coarse_now() + std::chrono::milliseconds(10) < deadline;
      const bool down = kind == Kind::unreachable || kind == Kind::overloaded ||
                        (kind == Kind::timeout && has_time);
      if (!down || delivered_ || tried == readers) throw;
    }
  }
}

Answer Session::receive(Connection& connection, ValueSink sink) {
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

Answer Session::receive(Connection& connection) { return receive(connection, ignore); }

Answer Session::receive(Connection& connection, const Expected& expected, ValueSink sink) {
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

Answer Session::ask(std::string_view key, Purpose purpose, Deadline deadline, Repeat repeat,
                    const Expected& expected, ValueSink sink) {
  return ask(topology_->server_for(key, purpose, deadline), key, purpose, deadline, repeat,
             expected, sink);
}

Answer Session::ask(Place place, std::string_view key, Purpose purpose, Deadline deadline,
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
  if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
  if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
  if (id == AdmissionExtension::id) return static_cast<AdmissionExtension*>(this);
  if (id == HealthExtension::id) return static_cast<HealthExtension*>(this);
  if (id == IdleExtension::id) return static_cast<IdleExtension*>(this);
  if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
  if (id == LockExtension::id) return static_cast<LockExtension*>(this);
  if (id == LimitExtension::id) return static_cast<LimitExtension*>(this);
  if (id == DequeExtension::id) return static_cast<DequeExtension*>(this);
  if (id == IndexExtension::id) return static_cast<IndexExtension*>(this);
  return nullptr;
}

}  // namespace polycache::redis
