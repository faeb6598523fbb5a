// A connection to one server in either protocol: TextConnection, or BinaryConnection, which uses
// libmemcached.
//
// After any failure in the middle of a reply the connection is closed, so that no late reply is
// taken for the reply to a later request; the next use reconnects.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "dump_reader.h"
#include "item.h"
#include "lifetime.h"
#include "polycache/author/function_ref.h"
#include "polycache/error.h"
#include "polycache/net/deadline.h"
#include "polycache/net/server_record.h"
#include "settings.h"

namespace polycache::memcached {

// The last check before a key is sent, since a blank or a line end in it would form a command of
// its own: throws InvalidKey. The core refuses such keys with a better message.
void check_key(std::string_view key);

// The server announced a value beyond the limit. The connection is closed, but the server is not at
// fault.
class ValueTooLarge final : public BackendError {
 public:
  explicit ValueTooLarge(std::string server)
      : BackendError(Kind::protocol, std::move(server),
                     "it announces a value of more bytes than max_value_bytes allows") {}
};

// Whether a failure to connect delays other threads' next attempt.
enum class AfterFailure : std::uint8_t { pause, go_on };

// Used by one thread at a time. Connects at the first use. Functions that talk to the server throw
// BackendError and close the connection; the next use opens a new one. Reads, sets and erasures are
// retried once per operation if a connection opened before the operation is broken; what must not
// be done twice is not retried. REQUIRES of all functions that take keys: the keys passed
// check_key().
class Connection {
 public:
  // All of these must outlive it.
  Connection(const Endpoint& endpoint, const Settings& settings, net::ServerRecord& record) noexcept
      : endpoint_(endpoint), settings_(settings), record_(record) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  virtual ~Connection() = default;

  // Begins an operation, which ends by then whatever the server does.
  void begin(net::Deadline end, AfterFailure after) noexcept;
  // Changes the end for the rest of the operation.
  void limit(net::Deadline end) noexcept { end_ = end; }
  // Whether the failed operation may be repeated as a whole. True once at most.
  bool take_second_chance() noexcept { return std::exchange(second_chance_, false); }

  virtual bool is_open() const noexcept = 0;
  virtual void close() noexcept = 0;
  // In a fork's child, possibly during an operation: the parent's connection stays intact.
  virtual void abandon() noexcept = 0;

  // Requests a nonexistent item, and returns how long that took.
  std::chrono::nanoseconds ping();

  std::optional<Found> get(std::string_view key, Want want);

  // Reads many keys with one request: ask(), then answer() for all of them, in request order,
  // without the absent ones. In between the server works, and other connections can be asked. Any
  // other call before the last reply was read closes the connection. REQUIRES: !keys.empty()
  void ask(std::span<const std::string_view> keys, Want want);
  // `keys` are those passed to ask(). May deliver some and then throw.
  void answer(std::span<const std::string_view> keys, Want want,
              FunctionRef<void(std::size_t index, const Found&)> sink);

  Outcome set(std::string_view key, std::string_view value, Lifetime lifetime);
  // In order. Reports the outcome of each item; may report some and then throw.
  void set_many(std::span<const NewItem> items, FunctionRef<void(std::size_t, Outcome)> sink);
  Outcome add(std::string_view key, std::string_view value, Lifetime lifetime);
  Outcome replace_version(std::string_view key, std::string_view value, Lifetime lifetime,
                          std::uint64_t version);
  // Of several clients that erase an item, one is told that it was there. If the connection breaks
  // during the wait for the reply, that is unknown: the removal is then repeated, and this throws
  // if there was nothing left to remove.
  Removed erase(std::string_view key);
  // In as few requests as the protocol allows. Reports the outcome of each; may report some and
  // then throw.
  void erase_many(std::span<const std::string_view> keys,
                  FunctionRef<void(std::size_t, Removed)> sink);
  // Erases whatever is there.
  void drop(std::string_view key);
  void drop_many(std::span<const std::string_view> keys);
  Outcome erase_version(std::string_view key, std::uint64_t version);
  void clear();

  // Passes every item of the server that is not expired by the server's clock to the sink, most of
  // them once. The end of the operation holds for each wait, not for the whole, which takes as long
  // as the server has items. The sink must not use the connection. May deliver some and then throw;
  // throws for a server that does not list its items.
  void dump(FunctionRef<void(const DumpedItem&)> sink);

  // How many items the server has, and their bytes; empty where it does not say so.
  struct Statistics {
    std::optional<std::uint64_t> items = {};
    std::optional<std::uint64_t> bytes = {};
  };
  Statistics statistics();

 protected:
  const Endpoint& endpoint() const noexcept { return endpoint_; }
  const Settings& settings() const noexcept { return settings_; }
  net::Deadline end() const noexcept { return end_; }
  bool is_connecting() const noexcept { return connecting_; }
  // Whether a reply has not been read to its end. If this stays true, the next operation
  // reconnects.
  void set_unread(bool unread) noexcept { unread_ = unread; }

  // Connects, unless already connected with no reply left to read.
  void open();
  // All of them close the connection.
  [[noreturn]] void fail(BackendError::Kind kind, const std::string& what);
  [[noreturn]] void fail_by_time();
  [[noreturn]] void fail_by_size();

 private:
  // --- The operations of a protocol. REQUIRES of all but connect(): it is open. ---
  // Connects and identifies the server. The settings' limit covers all addresses, end() everything.
  virtual void connect() = 0;
  // Before a request that must not be sent twice: closes it if the server has closed it.
  virtual void prove_alive() = 0;
  // Before use after a pause: closes it if unrequested bytes have arrived, where that takes one
  // system call.
  virtual void look_after_rest() {}
  virtual std::optional<Found> find(std::string_view key, Want want) = 0;
  virtual void send_question(std::span<const std::string_view> keys, Want want) = 0;
  virtual void read_answers(std::span<const std::string_view> keys, Want want,
                            FunctionRef<void(std::size_t, const Found&)> sink) = 0;
  // `version`: for replace_version only.
  virtual Outcome store(How how, const NewItem& item, std::uint64_t version) = 0;
  virtual void set_all(std::span<const NewItem> items,
                       FunctionRef<void(std::size_t, Outcome)> sink) = 0;
  virtual void remove_all(std::span<const std::string_view> keys, Look look,
                          FunctionRef<void(std::size_t, Removed)> sink) = 0;
  virtual void flush() = 0;
  // By default, the protocol has no such operation.
  virtual void dump_all(FunctionRef<void(const DumpedItem&)> sink);
  // Passes each statistic to the sink, with its value. By default, there are none.
  virtual void ask_statistics(
      FunctionRef<void(std::string_view name, std::string_view value)> /*sink*/) {}

  void dial();
  template <class Operation>
  auto repeat_if_stale(Operation operation);

  const Endpoint& endpoint_;
  const Settings& settings_;
  net::ServerRecord& record_;
  net::Deadline end_{};        // of the current operation
  net::Deadline whole_end_{};  // the same, as set at its beginning
  AfterFailure after_failure_ = AfterFailure::pause;
  bool connecting_ = false;
  bool unread_ = false;
  bool rested_ = false;         // it was idle before the current operation
  bool second_chance_ = false;  // it was open before the current operation
};

// A connection in the protocol of the settings. All arguments must outlive it.
std::unique_ptr<Connection> make_connection(const Endpoint& endpoint, const Settings& settings,
                                            net::ServerRecord& record);

}  // namespace polycache::memcached
