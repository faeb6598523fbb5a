#include "session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "polycache/counter.h"
#include "polycache/error.h"
#include "polycache/text.h"

namespace polycache::redis {
namespace {

using namespace std::chrono_literals;
using Kind = BackendError::Kind;
using Type = Element::Type;

// A batch is what one round trip carries: enough to make the trip cheap, little enough that
// neither side holds much of it nor the server serves nobody else meanwhile.
constexpr std::size_t kBatchCommands = 1000;
constexpr std::size_t kBatchBytes = std::size_t{1} << 20U;
constexpr std::size_t kShortestPutReply = std::string_view("+OK\r\n").size();  // "$-1\r\n" too
constexpr std::size_t kFirstReadBatch = 128;  // keys, while the size of their values is unknown
constexpr std::string_view kScanCount = "1000";
constexpr std::size_t kMaxScanSteps = std::size_t{1} << 32U;
constexpr std::string_view kHeadBytes = "63";  // the last of them: contains() promises 64
constexpr auto kReplicaPause = 10s;            // before a session looks whether one is back
// Beyond this redis computes moments that do not fit into 64 bits. 31,000 years.
constexpr std::int64_t kMaxLifetime = 1'000'000'000'000'000;

struct ErrorMeaning {
  std::string_view begins;
  Kind kind;
  std::string_view remedy;
};

constexpr std::array<ErrorMeaning, 21> kErrorMeanings{{
    {"NOAUTH", Kind::denied, "give user and password in the location or the options"},
    {"WRONGPASS", Kind::denied, "check user and password"},
    {"NOPERM", Kind::denied, "allow it in the server's access rules"},
    {"ERR unknown command", Kind::denied, "it is too old, or the command was renamed"},
    {"OOM", Kind::overloaded, "give the server more memory or a maxmemory-policy that evicts"},
    {"LOADING", Kind::overloaded, "it is reading its data after a start; wait"},
    {"BUSY", Kind::overloaded, "a script keeps it busy"},
    {"ERR max number of clients", Kind::overloaded, "raise its maxclients or open less sessions"},
    {"NOREPLICAS", Kind::overloaded, "too few of its replicas are there"},
    {"READONLY", Kind::read_only, "the first location must be one that can be written to"},
    {"MASTERDOWN", Kind::unreachable, "it is a replica that lost its master"},
    {"CLUSTERDOWN", Kind::overloaded, "its cluster is down"},
    {"TRYAGAIN", Kind::overloaded, "its cluster is moving keys"},
    {"MOVED", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"ASK", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"CROSSSLOT", Kind::storage, "it belongs to a cluster; name a single server or a proxy"},
    {"MISCONF", Kind::storage, "it cannot write to its disk"},
    {"EXECABORT", Kind::storage, "see the server's log"},
    {"ERR DB index", Kind::storage, "use a smaller database number"},
    {"ERR Protocol error", Kind::protocol, "this is a defect of polycache"},
    {"", Kind::storage, "see the server's log"},
}};

const ErrorMeaning& meaning_of(std::string_view error) {
  return *std::find_if(kErrorMeanings.begin(), kErrorMeanings.end(),
                       [&](const ErrorMeaning& m) { return error.starts_with(m.begins); });
}

// Old servers put it into a sentence about the script.
bool is_wrong_type(std::string_view error) {
  return error.find("WRONGTYPE ") != std::string_view::npos;
}

bool is_out_of_memory(std::string_view error) { return error.starts_with("OOM "); }

Ttl lifetime_left(std::int64_t milliseconds) {
  if (milliseconds == -1) return Ttl::forever();
  return Ttl(std::chrono::milliseconds(std::max<std::int64_t>(milliseconds, 1)));
}

std::int64_t redis_lifetime(Ttl ttl) { return std::min(ttl.value().count(), kMaxLifetime); }

// A pattern of redis that means these bytes and whatever follows.
std::string pattern_of_prefix(std::string_view prefix) {
  std::string pattern;
  for (const char c : prefix) {
    if (std::string_view("*?[]\\").find(c) != std::string_view::npos) pattern += '\\';
    pattern += c;
  }
  return pattern + '*';
}

void ignore(std::string_view) {}

}  // namespace

// Commands that were composed, and what became of them.
struct Session::PutBatch {
  std::vector<std::size_t> sent;     // the item of each command
  std::vector<std::size_t> failed;   // not stored, as the mode demands
  std::vector<std::size_t> refused;  // no room
  std::string error;                 // the first of any other kind
};

Session::Session(std::shared_ptr<const Settings> settings) : settings_(std::move(settings)) {
  for (const Endpoint& endpoint : settings_->endpoints) {
    connections_.push_back(std::make_unique<Connection>(endpoint, settings_->limits));
  }
  if (connections_.size() > 1) {
    const std::size_t turn = settings_->sessions.fetch_add(1, std::memory_order_relaxed);
    reader_ = 1 + turn % (connections_.size() - 1);
  }
}

// --- Conversations ---

Deadline Session::deadline() const { return deadline_after(settings_->limits.operation); }

template <class Exchange>
auto Session::run(Connection& connection, Deadline deadline, Repeat repeat, Exchange&& exchange) {
  try {
    connection.begin(deadline, repeat == Repeat::if_dead_too ? Check::nothing : Check::alive);
    return exchange(connection);
  } catch (const BackendError& error) {
    const bool dead = repeat == Repeat::if_dead_too && connection.turned_out_dead();
    // After a failover the name may lead to another server.
    const bool refused = repeat != Repeat::never && error.kind() == Kind::read_only;
    if (!dead && !refused) throw;
  }
  connection.close();
  connection.begin(deadline, Check::nothing);
  return exchange(connection);
}

template <class Exchange>
auto Session::run_read(Deadline deadline, Exchange&& exchange) {
  delivered_ = false;
  for (std::size_t left = connections_.size();; --left) {
    try {
      return run(reader(deadline), deadline, Repeat::if_dead_too, exchange);
    } catch (const BackendError& error) {
      const Kind kind = error.kind();
      if (connections_.size() == 1 || kind == Kind::denied) throw;
      leave_reader(deadline);
      const bool down = kind == Kind::unreachable || kind == Kind::overloaded;
      if (!down || delivered_ || left == 1) throw;
    }
  }
}

Connection& Session::reader(Deadline deadline) {
  if (reader_ == 0 && connections_.size() > 1 && deadline >= back_to_replicas_) reader_ = 1;
  return *connections_[reader_];
}

void Session::leave_reader(Deadline deadline) {
  reader_ = (reader_ + 1) % connections_.size();
  if (reader_ == 0) back_to_replicas_ = deadline + kReplicaPause;
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
  if (answer.error.find("READONLY ") != std::string::npos) throw_error(connection, answer.error);
  return answer;
}

Session::Answer Session::receive(Connection& connection) { return receive(connection, ignore); }

Session::Answer Session::ask(Repeat repeat, ValueSink sink) {
  return run(primary(), deadline(), repeat, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    return receive(connection, sink);
  });
}

std::int64_t Session::ask_integer(Repeat repeat) { return integer_of(ask(repeat, ignore)); }

std::int64_t Session::integer_of(const Answer& answer) {
  if (answer.type == Type::error) throw_error(primary(), answer.error);
  if (answer.type != Type::integer) throw_unexpected(primary());
  return answer.integer;
}

Session::Answer Session::run_script(const Script& script, std::string_view key,
                                    std::span<const std::string_view> arguments, ValueSink sink) {
  const auto compose = [&](std::string_view command, std::string_view what) {
    commands_.clear();
    commands_.begin(4 + arguments.size());
    commands_.word(command);
    commands_.word(what);
    commands_.word("1");
    commands_.word(key);
    for (const std::string_view argument : arguments) commands_.word(argument);
  };
  compose("EVALSHA", script.sha1());
  return run(primary(), deadline(), Repeat::if_refused, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    const Answer answer = receive(connection, sink);
    if (!answer.error.starts_with("NOSCRIPT")) return answer;
    compose("EVAL", script.text);  // it keeps it under its name
    connection.send(commands_.bytes(), commands_.count());
    return receive(connection, sink);
  });
}

// What a server says may hold arguments of the command, a value among them; those stand
// behind the part that is shown.
void Session::throw_error(Connection& connection, std::string_view error) {
  const std::size_t readonly = error.find("READONLY ");
  if (readonly != std::string_view::npos) error.remove_prefix(readonly);
  const ErrorMeaning& meaning = meaning_of(error);
  const std::string said = quote(error.substr(0, error.find(", with args")));
  const std::string message = "the server refuses: " + said + "; " + std::string(meaning.remedy);
  if (meaning.kind == Kind::read_only || error.starts_with("ERR max number of clients")) {
    connection.fail(meaning.kind, message);
  }
  throw BackendError(meaning.kind, connection.server(), message);
}

void Session::throw_unexpected(Connection& connection) {
  connection.fail(Kind::protocol, "an answer of another type than the command has");
}

void Session::warn(Warning::Kind kind, std::string_view key, std::string_view message) {
  if (settings_->report) settings_->report({.kind = kind, .key = key, .message = message});
}

void Session::warn_of_other_type(std::string_view key) {
  warn(Warning::Kind::undecodable_value, key,
       "The key " + quote(key) + " holds no string but another type of redis: read as a miss.");
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
  const Type type = run_read(deadline(), [&](Connection& connection) {
    connection.send(commands_.bytes(), 1);
    const Answer answer = receive(connection, deliver);
    if (answer.type == Type::string || answer.type == Type::nil) return answer.type;
    if (answer.type != Type::error) throw_unexpected(connection);
    if (!is_wrong_type(answer.error)) throw_error(connection, answer.error);
    return answer.type;
  });
  if (type == Type::error) warn_of_other_type(key);
  return type == Type::string;
}

bool Session::contains(std::string_view key, ValueSink head) {
  commands_.clear();
  commands_.begin("*2\r\n$6\r\nEXISTS\r\n");
  commands_.word(key);
  commands_.begin("*4\r\n$8\r\nGETRANGE\r\n");
  commands_.word(key);
  commands_.word("0");
  commands_.word(kHeadBytes);
  bool exists = false;
  const auto deliver = [&](std::string_view value) {
    if (!exists) return;
    delivered_ = true;
    head(value);
  };
  const Type type = run_read(deadline(), [&](Connection& connection) {
    connection.send(commands_.bytes(), 2);
    const Answer count = receive(connection);
    exists = count.type == Type::integer && count.integer == 1;
    const Answer answer = receive(connection, deliver);
    if (count.type == Type::error) throw_error(connection, count.error);
    if (answer.type == Type::error && !is_wrong_type(answer.error)) {
      throw_error(connection, answer.error);
    }
    if (count.type != Type::integer ||
        (answer.type != Type::string && answer.type != Type::error)) {
      throw_unexpected(connection);
    }
    return answer.type;
  });
  if (type == Type::error) warn_of_other_type(key);
  return exists && type == Type::string;
}

void Session::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  const Deadline limit = deadline();
  std::size_t batch = kFirstReadBatch;
  for (std::size_t begin = 0; begin < keys.size();) {
    const std::size_t count = std::min(batch, keys.size() - begin);
    const std::size_t bytes =
        read_batch(keys.subspan(begin, count), limit,
                   [&](std::size_t i, std::string_view value) { sink(begin + i, value); });
    begin += count;
    // As many as probably make a batch of answers.
    batch = std::clamp(kBatchBytes / (bytes / count + 1), std::size_t{8}, kBatchCommands);
  }
}

// Returns how many bytes the values had.
std::size_t Session::read_batch(std::span<const std::string_view> keys, Deadline deadline,
                                IndexedValueSink sink) {
  commands_.clear();
  commands_.begin(1 + keys.size());
  commands_.word("MGET");
  for (const std::string_view key : keys) commands_.word(key);
  return run_read(deadline, [&](Connection& connection) {
    connection.send(commands_.bytes(), 1);
    std::size_t bytes = 0;
    std::size_t length = 0;
    std::string error;
    connection.receive([&](const Element& element) {
      if (element.depth == 0) {
        if (element.type == Type::array) length = static_cast<std::size_t>(element.integer);
        if (element.type == Type::error) error = element.text;
      } else if (element.type == Type::string && element.depth == 1 && length == keys.size()) {
        delivered_ = true;
        bytes += element.text.size();
        sink(element.index, element.text);
      }
    });
    if (!error.empty()) throw_error(connection, error);
    if (length != keys.size()) throw_unexpected(connection);
    return bytes;
  });
}

bool Session::get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) {
  bool found = false;
  read_with_lifetimes({&key, 1}, deadline(), [&](std::size_t, std::string_view value, Ttl left) {
    found = true;
    sink(value, left);
  });
  return found;
}

void Session::get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) {
  const Deadline limit = deadline();
  for (std::size_t begin = 0; begin < keys.size(); begin += kFirstReadBatch) {
    const std::size_t count = std::min(kFirstReadBatch, keys.size() - begin);
    read_with_lifetimes(
        keys.subspan(begin, count), limit,
        [&](std::size_t i, std::string_view value, Ttl left) { sink(begin + i, value, left); });
  }
}

// In one transaction, so that values and lifetimes belong together. The lifetimes first: they
// are kept, the values go straight on.
void Session::read_with_lifetimes(std::span<const std::string_view> keys, Deadline deadline,
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

  run(primary(), deadline, Repeat::if_dead_too, [&](Connection& connection) {
    connection.send(commands_.bytes(), commands_.count());
    std::string error;
    for (std::size_t i = 1; i < commands_.count(); ++i) {
      Answer queued = receive(connection);
      if (error.empty()) error = std::move(queued.error);
    }
    lifetimes_.assign(keys.size(), 0);
    std::size_t length = 0;
    connection.receive([&](const Element& element) {
      if (element.type == Type::error && error.empty()) error = element.text;
      if (element.type == Type::array && element.depth == 1) {
        length = static_cast<std::size_t>(element.integer);
      }
      if (element.type == Type::integer && element.depth == 1 && element.index < keys.size()) {
        lifetimes_[element.index] = element.integer;
      }
      if (element.type == Type::string && element.depth == 2 && length == keys.size()) {
        sink(element.index, element.text, lifetime_left(lifetimes_[element.index]));
      }
    });
    if (!error.empty()) throw_error(connection, error);
    if (length != keys.size()) throw_unexpected(connection);
  });
}

// --- Writing ---

bool Session::fits(std::string_view value) const noexcept {
  return value.size() <= settings_->limits.max_value_bytes;
}

// What could not be stored must not leave an older value behind. Only a put that would not
// have replaced one leaves it.
void Session::refuse(std::string_view key, PutMode mode, std::string_view why) {
  if (mode != PutMode::if_absent) erase(key);
  warn(Warning::Kind::value_refused, key,
       "The value of key " + quote(key) + " was not stored: " + std::string(why) + ".");
}

void Session::compose_put(const Item& item, PutMode mode) {
  const bool forever = item.ttl.is_forever();
  if (mode == PutMode::always && !forever) {
    // SET with PX does the same; the server takes a tenth longer to find that out.
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
  if (!fits(value)) {
    refuse(key, mode, "it is larger than max_value_bytes");
    return false;
  }
  commands_.clear();
  compose_put({key, value, ttl}, mode);
  const Repeat repeat = mode == PutMode::if_absent ? Repeat::if_refused : Repeat::if_dead_too;
  const Answer answer = ask(repeat, ignore);
  if (answer.type == Type::status) return true;
  if (answer.type == Type::nil) return false;
  if (answer.type != Type::error) throw_unexpected(primary());
  if (!is_out_of_memory(answer.error)) throw_error(primary(), answer.error);
  refuse(key, mode, "the server is out of memory");
  return false;
}

void Session::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  const Deadline limit = deadline();
  for (std::size_t next = 0; next < items.size();) {
    PutBatch batch;
    std::vector<std::size_t> too_large;
    commands_.clear();
    for (; next < items.size() && batch.sent.size() < kBatchCommands &&
           commands_.bytes().size() < kBatchBytes;
         ++next) {
      if (fits(items[next].value)) {
        compose_put(items[next], mode);
        batch.sent.push_back(next);
      } else {
        too_large.push_back(next);
      }
    }
    if (!batch.sent.empty()) send_batch(batch, mode, limit);
    for (const std::size_t i : batch.failed) on_failure(i);
    for (const std::size_t i : batch.refused) {
      refuse(items[i].key, mode, "the server is out of memory");
      on_failure(i);
    }
    for (const std::size_t i : too_large) {
      refuse(items[i].key, mode, "it is larger than max_value_bytes");
      on_failure(i);
    }
    if (!batch.error.empty()) throw_error(primary(), batch.error);
  }
}

void Session::send_batch(PutBatch& batch, PutMode mode, Deadline deadline) {
  const Repeat repeat = mode == PutMode::if_absent ? Repeat::never : Repeat::if_dead_too;
  run(primary(), deadline, repeat, [&](Connection& connection) {
    batch.failed.clear();
    batch.refused.clear();
    connection.send(commands_.bytes(), commands_.count());
    connection.expect(batch.sent.size() * kShortestPutReply);
    for (const std::size_t i : batch.sent) {
      Answer answer = receive(connection);
      if (answer.type == Type::nil) {
        batch.failed.push_back(i);
      } else if (answer.type == Type::error) {
        if (is_out_of_memory(answer.error)) {
          batch.refused.push_back(i);
        } else if (batch.error.empty()) {
          batch.error = std::move(answer.error);
        }
      } else if (answer.type != Type::status) {
        throw_unexpected(connection);
      }
    }
  });
}

bool Session::touch(std::string_view key, Ttl ttl) {
  commands_.clear();
  if (!ttl.is_forever()) {
    commands_.begin("*3\r\n$7\r\nPEXPIRE\r\n");
    commands_.word(key);
    commands_.number(redis_lifetime(ttl));
    return ask_integer(Repeat::if_dead_too) != 0;
  }
  // PERSIST alone does not tell an absent key from one without a lifetime.
  commands_.begin("*2\r\n$7\r\nPERSIST\r\n");
  commands_.word(key);
  commands_.begin("*2\r\n$6\r\nEXISTS\r\n");
  commands_.word(key);
  const Answer exists =
      run(primary(), deadline(), Repeat::if_dead_too, [&](Connection& connection) {
        connection.send(commands_.bytes(), commands_.count());
        Answer persisted = receive(connection);
        Answer answer = receive(connection);
        return persisted.type == Type::error ? persisted : answer;
      });
  return integer_of(exists) != 0;
}

std::optional<std::int64_t> Session::incr(std::string_view key, std::int64_t delta) {
  const std::string digits = std::to_string(delta);
  const std::array<std::string_view, 1> arguments{digits};
  std::optional<std::int64_t> sum;
  const Answer answer = run_script(incr_script, key, arguments,
                                   [&](std::string_view text) { sum = parse_counter(text); });
  if (answer.type == Type::nil) return std::nullopt;
  if (answer.type == Type::string && sum) return sum;
  if (answer.type != Type::error) throw_unexpected(primary());
  if (answer.error.find(kOverflow) != std::string::npos) {
    throw ValueError("the sum with " + digits + " is beyond 64 bits");
  }
  if (is_wrong_type(answer.error) || answer.error.find(kNoCounter) != std::string::npos) {
    throw ValueError("the stored value is no decimal 64-bit integer; set() a number first");
  }
  throw_error(primary(), answer.error);
}

bool Session::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                           std::optional<Ttl> ttl) {
  std::string lifetime = "-1";
  if (ttl) lifetime = ttl->is_forever() ? "0" : std::to_string(redis_lifetime(*ttl));
  const std::array<std::string_view, 3> arguments{expected, value, lifetime};
  const Answer answer = run_script(put_if_equal_script, key, arguments, ignore);
  if (answer.type != Type::error || !is_wrong_type(answer.error)) return integer_of(answer) != 0;
  warn_of_other_type(key);
  return false;
}

// --- Erasing ---

bool Session::erase(std::string_view key) {
  commands_.clear();
  commands_.begin("*2\r\n$3\r\nDEL\r\n");
  commands_.word(key);
  return ask_integer(Repeat::if_dead_too) != 0;
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  const Deadline limit = deadline();
  std::size_t erased = 0;
  for (std::size_t begin = 0; begin < keys.size(); begin += kBatchCommands) {
    const auto batch = keys.subspan(begin, std::min(kBatchCommands, keys.size() - begin));
    commands_.clear();
    commands_.begin(1 + batch.size());
    commands_.word("DEL");
    for (const std::string_view key : batch) commands_.word(key);
    // How many there were cannot be asked twice.
    const Answer answer = run(primary(), limit, Repeat::if_refused, [&](Connection& connection) {
      connection.send(commands_.bytes(), commands_.count());
      return receive(connection);
    });
    erased += static_cast<std::size_t>(integer_of(answer));
  }
  return erased;
}

bool Session::erase_if_equal(std::string_view key, std::string_view expected) {
  const std::array<std::string_view, 1> arguments{expected};
  const Answer answer = run_script(erase_if_equal_script, key, arguments, ignore);
  if (answer.type != Type::error || !is_wrong_type(answer.error)) return integer_of(answer) != 0;
  warn_of_other_type(key);
  return false;
}

// GETDEL is there since redis 6.2.
bool Session::pop(std::string_view key, ValueSink sink) {
  if (!has_getdel_) return get_then_del(key, sink);
  commands_.clear();
  commands_.begin("*2\r\n$6\r\nGETDEL\r\n");
  commands_.word(key);
  const Answer answer = ask(Repeat::if_refused, sink);
  if (answer.type == Type::string) return true;
  if (answer.type == Type::nil) return false;
  if (answer.type != Type::error) throw_unexpected(primary());
  if (answer.error.starts_with("ERR unknown command")) {
    has_getdel_ = false;
    return get_then_del(key, sink);
  }
  if (!is_wrong_type(answer.error)) throw_error(primary(), answer.error);
  warn_of_other_type(key);
  return false;
}

bool Session::get_then_del(std::string_view key, ValueSink sink) {
  commands_.clear();
  commands_.begin("*1\r\n$5\r\nMULTI\r\n");
  commands_.begin("*2\r\n$4\r\nMGET\r\n");  // to MGET another type is no error but absent
  commands_.word(key);
  commands_.begin("*2\r\n$3\r\nDEL\r\n");
  commands_.word(key);
  commands_.begin("*1\r\n$4\r\nEXEC\r\n");
  bool found = false;
  run(primary(), deadline(), Repeat::if_refused, [&](Connection& connection) {
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
    });
    if (!error.empty()) throw_error(connection, error);
  });
  return found;
}

// Asynchronously: the entries are gone at once, their memory later.
void Session::clear() {
  commands_.clear();
  commands_.begin(2);
  commands_.word("FLUSHDB");
  commands_.word("ASYNC");
  const Answer answer = ask(Repeat::if_refused, ignore);
  if (answer.type == Type::error) throw_error(primary(), answer.error);
}

std::size_t Session::erase_prefix(std::string_view prefix) {
  const std::string pattern = pattern_of_prefix(prefix);
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
    run(primary(), deadline(), Repeat::if_dead_too, [&](Connection& connection) {
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
    erased += erase_found();
    if (cursor == "0") return erased;
  }
  primary().fail(Kind::protocol, "a walk through its keys does not end");
}

std::size_t Session::erase_found() {
  if (found_.empty()) return 0;
  commands_.clear();
  commands_.begin(1 + found_.size());
  commands_.word("UNLINK");
  for (const std::string& key : found_) commands_.word(key);
  return static_cast<std::size_t>(ask_integer(Repeat::if_refused));
}

void* Session::extension(std::string_view id) noexcept {
  if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
  if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
  if (id == PopExtension::id) return static_cast<PopExtension*>(this);
  if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
  return nullptr;
}

}  // namespace polycache::redis
