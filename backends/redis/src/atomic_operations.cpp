// Atomic operations: counting, comparing, reading and removing.

#include <array>
#include <exception>
#include <utility>

#include "compose.h"
#include "polycache/author/counter.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "server_error.h"
#include "session.h"

namespace polycache::redis {
namespace {

using Type = Element::Type;

bool is_no_counter(std::string_view error) noexcept {
  return is_wrong_type(error) || error.find(no_counter_mark) != std::string_view::npos ||
         error.find(overflow_mark) != std::string_view::npos;
}

bool is_wrong_type_or_denied(std::string_view error) noexcept {
  return is_wrong_type(error) || is_denied_command(error);
}

}  // namespace

// --- Scripts, and their substitutes where they are denied ---

std::optional<Answer> Session::run_script(Purpose purpose, Deadline deadline, const Script& script,
                                          std::string_view key,
                                          std::span<const std::string_view> arguments,
                                          const Expected& expected, ValueSink sink,
                                          std::size_t more_keys) {
  const auto receive_one = [&](Connection& connection) { return receive(connection, sink); };
  return run_script(purpose, deadline, Repeat::if_refused, script, key, arguments, expected,
                    receive_one, more_keys);
}

std::optional<Answer> Session::run_script(Purpose purpose, Deadline deadline, Repeat repeat,
                                          const Script& script, std::string_view key,
                                          std::span<const std::string_view> arguments,
                                          const Expected& expected, Receive receive,
                                          std::size_t more_keys) {
  if (!owner_of(key).has(Feature::scripts)) return std::nullopt;
  const std::string keys = std::to_string(1 + more_keys);
  const auto compose = [&](std::string_view command, std::string_view what) {
    commands_.clear();
    commands_.begin(4 + arguments.size());
    commands_.word(command);
    commands_.word(what);
    commands_.word(keys);
    commands_.word(key);
    for (const std::string_view argument : arguments) commands_.word(argument);
  };
  std::optional<Answer> answer;
  std::string denied;
  run(key, purpose, deadline, repeat, [&](Connection& connection) {
    compose("EVALSHA", script.sha1());
    connection.send(commands_.bytes(), commands_.count());
    Answer first = receive(connection);
    if (first.error.starts_with("NOSCRIPT")) {
      compose("EVAL", script.text);  // the server caches it under its name
      connection.send(commands_.bytes(), commands_.count());
      first = receive(connection);
    }
    if (is_denied_command(first.error)) {
      denied = first.error;
    } else {
      check(connection, first, expected);
      answer = std::move(first);
    }
  });
  if (!answer) owner_of(key).use_fallback_for(Feature::scripts, denied);
  return answer;
}

Answer Session::watch(Purpose purpose, Deadline deadline, std::string_view key, Decide decide) {
  Answer answer;
  run(key, purpose, deadline, Repeat::if_refused, [&](Connection& connection) {
    try {
      // Ends at the deadline at the latest.
      while (!watch_once(connection, key, decide, answer)) {
      }
    } catch (const BackendError&) {
      connection.close();  // it may still have a WATCH
      throw;
    }
  });
  return answer;
}

bool Session::watch_once(Connection& connection, std::string_view key, Decide decide,
                         Answer& answer) {
  commands_.clear();
  commands_.begin(2);
  commands_.word("WATCH");
  commands_.word(key);
  commands_.begin("*2\r\n$3\r\nGET\r\n");
  commands_.word(key);
  connection.send(commands_.bytes(), commands_.count());
  Held held;
  receive(connection, {.types = one_of(Type::status)}, ignore);
  answer =
      receive(connection, {.types = one_of(Type::string, Type::nil), .tolerated = is_wrong_type},
              [&](std::string_view bytes) { held.value = bytes; });
  held.other_type = answer.type == Type::error;

  commands_.clear();
  commands_.begin("*1\r\n$5\r\nMULTI\r\n");
  if (!decide(held)) {
    commands_.clear();
    commands_.begin("*1\r\n$7\r\nUNWATCH\r\n");
    connection.send(commands_.bytes(), commands_.count());
    receive(connection, {.types = one_of(Type::status)}, ignore);
    if (!held.other_type) answer = {};
    return true;
  }
  commands_.begin("*1\r\n$4\r\nEXEC\r\n");
  connection.send(commands_.bytes(), commands_.count());
  return receive_transaction(connection, answer);
}

// Reads the replies to MULTI, one command, EXEC. False if another client changed the key first.
bool Session::receive_transaction(Connection& connection, Answer& answer) {
  Answer queued = receive(connection);
  if (Answer next = receive(connection); queued.error.empty()) queued = std::move(next);
  answer = {};
  std::size_t length = 0;
  connection.receive([&](const Element& element) {
    if (element.type == Type::array) length = static_cast<std::size_t>(element.integer);
    if (element.type == Type::array || element.type == Type::nil) return;
    answer.type = element.type;
    answer.integer = element.integer;
    if (element.type == Type::error) answer.error = element.text;
  });
  if (!queued.error.empty()) throw_error(connection, queued.error);
  if (is_out_of_memory(answer.error)) connection.note_no_memory();
  if (answer.type == Type::error) throw_error(connection, answer.error);
  return length == 1;
}

// --- Counting ---

std::optional<std::int64_t> Session::incr(std::string_view key, std::int64_t delta) {
  const std::string digits = std::to_string(delta);
  const std::array<std::string_view, 1> arguments{digits};
  const Deadline limit = deadline();
  std::optional<std::int64_t> sum;
  bool is_number = true;
  const auto answer =
      run_script(Purpose::write, limit, incr_script, key, arguments,
                 {.types = one_of(Type::string, Type::nil), .tolerated = is_no_counter},
                 [&](std::string_view text) {
                   sum = parse_counter(text);
                   is_number = sum.has_value();
                 });
  if (!answer) return incr_by_watch(key, delta, limit);
  if (!is_number) {
    throw BackendError(BackendError::Kind::protocol, owner_of(key).name(),
                       "its reply to an addition is not a number");
  }
  if (answer->type != Type::error) return sum;
  if (is_wrong_type(answer->error)) {
    warn_of_other_type(key);
    return std::nullopt;
  }
  if (answer->error.find(overflow_mark) != std::string::npos) {
    throw ValueError(ValueError::Kind::overflow, "the sum with " + digits + " is beyond 64 bits");
  }
  throw ValueError(ValueError::Kind::not_a_counter,
                   "the stored value is no decimal 64-bit integer; set() a number first");
}

std::optional<std::int64_t> Session::incr_by_watch(std::string_view key, std::int64_t delta,
                                                   Deadline deadline) {
  std::exception_ptr no_counter;
  const Answer answer = watch(Purpose::write, deadline, key, [&](const Held& held) {
    if (!held.value) return false;
    try {
      static_cast<void>(add_to_counter(*held.value, delta));
    } catch (const ValueError&) {
      no_counter = std::current_exception();
      return false;
    }
    commands_.begin(3);
    commands_.word("INCRBY");
    commands_.word(key);
    commands_.number(delta);
    return true;
  });
  if (no_counter) std::rethrow_exception(no_counter);
  if (answer.type == Type::error) warn_of_other_type(key);
  if (answer.type != Type::integer) return std::nullopt;
  return answer.integer;
}

// --- Comparing ---

bool Session::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                           std::optional<Ttl> ttl) {
  std::string lifetime = "-1";
  if (ttl) lifetime = ttl->is_forever() ? "0" : std::to_string(redis_lifetime(*ttl));
  const std::array<std::string_view, 3> arguments{expected, value, lifetime};
  const Deadline limit = deadline();
  const auto answer =
      run_script(Purpose::write, limit, put_if_equal_script, key, arguments,
                 {.types = one_of(Type::integer), .tolerated = is_wrong_type}, ignore);
  if (!answer) return put_if_equal_by_watch(key, expected, value, ttl, limit);
  if (answer->type == Type::error) warn_of_other_type(key);
  return answer->integer != 0;
}

bool Session::put_if_equal_by_watch(std::string_view key, std::string_view expected,
                                    std::string_view value, std::optional<Ttl> ttl,
                                    Deadline deadline) {
  const bool lives_on = !ttl;
  const bool limited = ttl && !ttl->is_forever();
  const Answer answer = watch(Purpose::write, deadline, key, [&](const Held& held) {
    if (held.value != expected) return false;
    commands_.begin(limited ? 5 : lives_on ? 4 : 3);
    commands_.word("SET");
    commands_.word(key);
    commands_.word(value);
    if (lives_on) commands_.word("KEEPTTL");
    if (limited) {
      commands_.word("PX");
      commands_.number(redis_lifetime(*ttl));
    }
    return true;
  });
  if (answer.type == Type::error) warn_of_other_type(key);
  return answer.type == Type::status;
}

bool Session::erase_if_equal(std::string_view key, std::string_view expected) {
  const std::array<std::string_view, 1> arguments{expected};
  const Deadline limit = deadline();
  const auto answer =
      run_script(Purpose::erase, limit, erase_if_equal_script, key, arguments,
                 {.types = one_of(Type::integer), .tolerated = is_wrong_type}, ignore);
  if (!answer) return erase_if_equal_by_watch(key, expected, limit);
  if (answer->type == Type::error) warn_of_other_type(key);
  return answer->integer != 0;
}

bool Session::erase_if_equal_by_watch(std::string_view key, std::string_view expected,
                                      Deadline deadline) {
  const Answer answer = watch(Purpose::erase, deadline, key, [&](const Held& held) {
    if (held.value != expected) return false;
    commands_.begin("*2\r\n$3\r\nDEL\r\n");
    commands_.word(key);
    return true;
  });
  if (answer.type == Type::error) warn_of_other_type(key);
  return answer.type == Type::integer && answer.integer != 0;
}

// --- Reading and removing ---

// GETDEL exists since redis 6.2.
bool Session::pop(std::string_view key, ValueSink sink) {
  const Deadline limit = deadline();
  if (!owner_of(key).has(Feature::getdel)) return get_then_del(key, limit, sink);
  commands_.clear();
  commands_.begin("*2\r\n$6\r\nGETDEL\r\n");
  commands_.word(key);
  const Answer answer =
      ask(key, Purpose::erase, limit, Repeat::if_refused,
          {.types = one_of(Type::string, Type::nil), .tolerated = is_wrong_type_or_denied}, sink);
  if (answer.type != Type::error) return answer.type == Type::string;
  if (is_wrong_type(answer.error)) {
    erase_other_type(key, limit);
    warn_of_other_type(key);
    return false;
  }
  const bool found = get_then_del(key, limit, sink);
  owner_of(key).use_fallback_for(Feature::getdel, answer.error);
  return found;
}

bool Session::get_then_del(std::string_view key, Deadline deadline, ValueSink sink) {
  commands_.clear();
  commands_.begin("*1\r\n$5\r\nMULTI\r\n");
  commands_.begin("*2\r\n$4\r\nMGET\r\n");  // MGET treats another type as absent, not as an error
  commands_.word(key);
  commands_.begin("*2\r\n$3\r\nDEL\r\n");
  commands_.word(key);
  commands_.begin("*1\r\n$4\r\nEXEC\r\n");
  bool found = false;
  bool erased = false;
  run(key, Purpose::erase, deadline, Repeat::if_refused, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    std::string error;
    for (std::size_t i = 1; i < commands_.count(); ++i) {
      Answer queued = receive(connection);
      if (error.empty()) error = std::move(queued.error);
    }
    connection.receive([&](const Element& element) {
      if (element.type == Type::error && error.empty()) error = element.text;
      if (element.type == Type::string && element.depth == 2) {
        found = true;
        sink(element.text);
      }
      if (element.type == Type::integer) erased = element.integer != 0;
    });
    if (!error.empty()) throw_error(connection, error);
  });
  if (erased && !found) warn_of_other_type(key);
  return found;
}

// --- Reading and renewing ---

// GETEX exists since redis 6.2. It needs no memory, as erasing.
bool Session::get(std::string_view key, Ttl ttl, ValueSink sink) {
  const Deadline limit = deadline();
  if (!owner_of(key).has(Feature::getex)) return get_and_expire(key, ttl, limit, sink);
  commands_.clear();
  if (ttl.is_forever()) {
    commands_.begin("*3\r\n$5\r\nGETEX\r\n");
    commands_.word(key);
    commands_.word("PERSIST");
  } else {
    commands_.begin("*4\r\n$5\r\nGETEX\r\n");
    commands_.word(key);
    commands_.word("PX");
    commands_.number(redis_lifetime(ttl));
  }
  const auto deliver = [&](std::string_view value) {
    delivered_ = true;
    sink(value);
  };
  const Answer answer = ask(
      key, Purpose::erase, limit, Repeat::if_broken,
      {.types = one_of(Type::string, Type::nil), .tolerated = is_wrong_type_or_denied}, deliver);
  if (answer.type != Type::error) return answer.type == Type::string;
  if (is_wrong_type(answer.error)) {
    warn_of_other_type(key);
    return false;
  }
  const bool found = get_and_expire(key, ttl, limit, sink);
  owner_of(key).use_fallback_for(Feature::getex, answer.error);
  return found;
}

// In one round trip. If another client replaces the entry in between, the new one is renewed.
bool Session::get_and_expire(std::string_view key, Ttl ttl, Deadline deadline, ValueSink sink) {
  commands_.clear();
  commands_.begin("*2\r\n$3\r\nGET\r\n");
  commands_.word(key);
  if (ttl.is_forever()) {
    commands_.begin("*2\r\n$7\r\nPERSIST\r\n");
    commands_.word(key);
  } else {
    commands_.begin("*3\r\n$7\r\nPEXPIRE\r\n");
    commands_.word(key);
    commands_.number(redis_lifetime(ttl));
  }
  std::string value;
  Type type = Type::nil;
  run(key, Purpose::erase, deadline, Repeat::if_broken, [&](Connection& connection) {
    const Expected number{.types = one_of(Type::integer)};
    const Expected text{.types = one_of(Type::string, Type::nil), .tolerated = is_wrong_type};
    connection.send(commands_.bytes(), commands_.count());
    type = receive(connection, text, [&](std::string_view bytes) { value = bytes; }).type;
    receive(connection, number, ignore);
  });
  if (type == Type::error) warn_of_other_type(key);
  if (type != Type::string) return false;
  sink(value);
  return true;
}

// --- Keys that hold another type ---

// Whether the key holds another type. False if the command is denied.
bool Session::receive_type_check(Connection& connection) {
  return is_wrong_type(
      receive(connection, {.types = one_of(Type::string), .tolerated = is_wrong_type_or_denied},
              ignore)
          .error);
}

// Returns the keys of another type, with a warning for each.
std::vector<std::string_view> Session::of_other_type(std::span<const std::string_view> keys,
                                                     Deadline deadline) {
  commands_.clear();
  for (const std::string_view key : keys) compose_type_check(commands_, key);
  std::vector<std::string_view> others;
  run(keys.front(), Purpose::read_latest, deadline, Repeat::if_broken, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    others.clear();
    for (const std::string_view key : keys) {
      if (receive_type_check(connection)) others.push_back(key);
    }
  });
  for (const std::string_view key : others) warn_of_other_type(key);
  return others;
}

// Unless it has become a string meanwhile.
void Session::erase_other_type(std::string_view key, Deadline deadline) {
  if (run_script(Purpose::erase, deadline, erase_other_type_script, key, {},
                 {.types = one_of(Type::integer)}, ignore)) {
    return;
  }
  watch(Purpose::erase, deadline, key, [&](const Held& held) {
    if (!held.other_type) return false;
    commands_.begin("*2\r\n$3\r\nDEL\r\n");
    commands_.word(key);
    return true;
  });
}

}  // namespace polycache::redis
