// One server, through libmemcached; the only part of this library that includes it.
//
// libmemcached 1.1.4 is handled with care: each server has a client of its own, so that a
// failure is known to be that server's and drops that connection only; after any failure in
// the middle of a reply the client is thrown away, so that no late reply is taken for the
// answer to a later question; replies are bounded; and its verdicts are not believed where
// they are known to be wrong (each place says so).

#pragma once

#include <libmemcached/memcached.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lifetime.h"
#include "polycache/error.h"
#include "polycache/function_ref.h"
#include "settings.h"

namespace polycache::memcached {

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

// Used by one thread. Connects at its first use. Everything but the constructor and the
// destructor throws BackendError; the connection is then gone, and the next use makes a new
// one. Reads, sets and erasures are tried once more if an old connection turns out to be
// broken; what must not be done twice is not.
class Connection {
 public:
  // `server` and `settings` must outlive it.
  Connection(const ServerAddress& server, const Settings& settings);
  Connection(Connection&&) noexcept;
  Connection& operator=(Connection&&) = delete;
  ~Connection();

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

  bool open();  // whether it was open before
  std::unique_ptr<Client, Drop> make_client() const;
  void greet();
  void abandon() noexcept;
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
  Outcome outcome(memcached_return_t result);
  [[noreturn]] void fail(memcached_return_t result);
  [[noreturn]] void fail(BackendError::Kind kind, std::string_view what);

  const ServerAddress& server_;
  const Settings& settings_;
  std::unique_ptr<Client, Drop> client_;
  std::vector<const char*> key_begins_;  // of a question; kept for their memory
  std::vector<std::size_t> key_sizes_;
  std::string joined_;
  std::vector<std::string_view> stored_keys_;
  std::int64_t last_used_ = 0;  // seconds
  bool unread_ = false;         // asked, and not all answers read
  bool may_be_stale_ = false;   // it was open before the operation that goes on
  std::uint32_t forks_;
};

}  // namespace polycache::memcached
