// One server, through libmemcached; the only part of this library that includes it.
//
// libmemcached 1.1.4 is handled with care: each server has a client of its own, so that a
// failure is known to be that server's and drops that connection only; after any failure in
// the middle of a reply the client is thrown away, so that no late reply is taken for the
// answer to a later question; replies are bounded; and its verdicts are not believed where
// they are known to be wrong (each place says so).

#pragma once

#include <libmemcached/memcached.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lifetime.h"
#include "polycache/error.h"
#include "polycache/function_ref.h"
#include "redial.h"
#include "settings.h"

namespace polycache::memcached {

// When something is, or must have ended.
using Instant = std::chrono::steady_clock::time_point;

// Of a clock that is cheap to read, and a few milliseconds behind.
Instant coarse_now() noexcept;

// The time that an operation has.
struct Term {
  Instant begun;  // not long ago
  Instant end;

  static Term of(std::chrono::milliseconds time) noexcept {
    const Instant now = coarse_now();
    return {now, now + time};
  }
  // Half of what is left of it.
  Term half() const noexcept {
    const Instant now = coarse_now();
    return {now, now + (end - now) / 2};
  }
};

// The last guard before a key goes on the wire, where a blank or a line end in it would be a
// command of its own: throws InvalidKey. The core refuses such keys with a better message.
void check_key(std::string_view key);

// Which server a key belongs to: ketama, with weights. Thread-safe; connects to nothing.
class Ring {
 public:
  explicit Ring(const std::vector<ServerAddress>& servers);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  std::size_t server_of(std::string_view key) const noexcept;

 private:
  std::size_t servers_;
  memcached_st client_;
};

// An item as it was found. The views are valid until the next read of the same connection.
struct Found {
  std::string_view key;
  std::string_view value;
  std::uint32_t flags;
  std::uint64_t version;  // for replace_version() and erase_version(); 0 if not asked for
};

struct NewItem {
  std::string_view key;
  std::string_view value;
  Lifetime lifetime;
};

enum class Want : std::uint8_t { value, value_and_version };

enum class Outcome : std::uint8_t {
  done,
  exists,   // add: there is one; replace_version: it has another version by now
  absent,   // there is no such item
  refused,  // too large, or out of memory
};

// Used by one thread at a time. Connects at the first use. What talks to the server throws
// BackendError; the connection is then gone, and the next use makes a new one. Reads, sets and
// erasures are tried once more, once for an operation, if a connection that is older than the
// operation turns out to be broken; what must not be done twice is not.
// REQUIRES of all that takes keys: they passed check_key().
class Connection {
 public:
  // All of these must outlive it.
  Connection(const ServerAddress& server, const Settings& settings, Redial& redial);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // An operation begins; no wait of it goes beyond its end. (Within one call of libmemcached
  // there are several waits, as many as there are pieces of a reply.)
  // Without `tells_redial` a failure to connect puts off nobody else's next try.
  void begin(Term term, bool tells_redial = true) noexcept;
  // Another end for what is left of it.
  void limit(Instant end) noexcept { end_ = end; }
  // Whether what failed may be done once more as a whole. Only once.
  bool take_second_chance() noexcept { return std::exchange(second_chance_, false); }

  bool is_open() const noexcept { return client_ != nullptr; }
  void close() noexcept { client_.reset(); }
  // In a fork's child. The library would say goodbye on the parent's connection, and it hands
  // out no descriptor to close; so everything stays as it is. The descriptor closes itself
  // with the process, or when it becomes another program.
  void abandon() noexcept {}

  // Asks for something that is not there, and says how long that took.
  std::chrono::nanoseconds ping();

  std::optional<Found> get(std::string_view key, Want want);

  // Many keys in one request: ask(), then answer() for all of them, in the order of the
  // questions, absent ones left out. In between the server works, and other connections can
  // be asked. Whatever is called before the last answer was read costs the connection.
  // REQUIRES: !keys.empty()
  void ask(std::span<const std::string_view> keys, Want want);
  // `keys` are those asked for. May deliver some and then throw.
  void answer(std::span<const std::string_view> keys, Want want,
              FunctionRef<void(std::size_t index, const Found&)> sink);

  Outcome set(std::string_view key, std::string_view value, Lifetime lifetime);
  // All in one round trip: sent without asking for replies, then read back. Calls
  // `confirmed(i)` for each item that is there as it was sent. Of the others nothing is known:
  // refused, or already changed by somebody else, or stored twice in this very call.
  // For small values; they travel twice. REQUIRES: !items.empty()
  void set_many(std::span<const NewItem> items, FunctionRef<void(std::size_t index)> confirmed);
  Outcome add(std::string_view key, std::string_view value, Lifetime lifetime);
  Outcome replace_version(std::string_view key, std::string_view value, Lifetime lifetime,
                          std::uint64_t version);
  Outcome erase(std::string_view key);
  Outcome erase_version(std::string_view key, std::uint64_t version);
  void clear();

 private:
  struct Client;
  struct Drop {
    void operator()(Client* client) const noexcept;
  };

  void open();
  void connect();
  void keep_time() { keep_time(coarse_now()); }
  void keep_time(Instant now);
  std::unique_ptr<Client, Drop> make_client() const;
  void greet();
  void prove_alive();

  template <class Operation>
  memcached_return_t repeat_if_stale(Operation operation);

  void want(Want want);
  memcached_return_t send_quietly(std::span<const NewItem> items);
  memcached_return_t read_answers(std::span<const std::string_view> keys,
                                  FunctionRef<void(std::size_t, const Found&)> sink);
  void add_to_question(std::string_view key);
  void join(std::span<const std::string_view> keys);
  memcached_return_t send_question(std::string_view key, Want want);
  memcached_return_t send_question(std::span<const std::string_view> keys, Want want);
  std::optional<Found> next(memcached_return_t& result);

  memcached_return_t reason(memcached_return_t result) const noexcept;
  bool is_name_unknown(memcached_return_t result) const noexcept;
  Outcome outcome(memcached_return_t result);
  [[noreturn]] void fail(memcached_return_t result);
  [[noreturn]] void fail(BackendError::Kind kind, std::string_view what);

  const ServerAddress& server_;
  const Settings& settings_;
  Redial& redial_;
  std::unique_ptr<Client, Drop> client_;
  Instant end_{};                        // of the operation that goes on
  Instant begun_{};                      // ... of which nothing was done yet; else nothing
  std::vector<const char*> key_begins_;  // of a question; kept for their memory
  std::vector<std::size_t> key_sizes_;
  std::string joined_;
  std::vector<std::string_view> stored_keys_;
  Instant last_used_{};
  bool tells_redial_ = true;
  bool connecting_ = false;
  bool unread_ = false;         // asked, and not all answers read
  bool second_chance_ = false;  // it was open before the operation that goes on
};

}  // namespace polycache::memcached
