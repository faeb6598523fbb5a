// A connection with one server, whatever protocol it speaks: TextConnection, or
// BinaryConnection, which is libmemcached's.
//
// After any failure in the middle of a reply the connection is closed, so that no late reply
// is taken for the answer to a later question; the next use connects anew.

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

#include "item.h"
#include "lifetime.h"
#include "polycache/author/function_ref.h"
#include "polycache/error.h"
#include "redial.h"
#include "settings.h"
#include "term.h"

namespace polycache::memcached {

// The last guard before a key goes on the wire, where a blank or a line end in it would be a
// command of its own: throws InvalidKey. The core refuses such keys with a better message.
void check_key(std::string_view key);

// A value beyond the limit was announced. The connection is gone, but the server did nothing
// wrong.
class ValueTooLarge final : public BackendError {
 public:
  explicit ValueTooLarge(std::string server)
      : BackendError(Kind::protocol, std::move(server),
                     "it announces a value of more bytes than max_value_bytes allows") {}
};

// Used by one thread at a time. Connects at the first use. What talks to the server throws
// BackendError; the connection is then gone, and the next use makes a new one. Reads, sets and
// erasures are tried once more, once for an operation, if a connection that is older than the
// operation turns out to be broken; what must not be done twice is not.
// REQUIRES of all that takes keys: they passed check_key().
class Connection {
 public:
  // All of these must outlive it.
  Connection(const ServerAddress& server, const Settings& settings, Redial& redial) noexcept
      : server_(server), settings_(settings), redial_(redial) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  virtual ~Connection() = default;

  // An operation begins; it ends by then, whatever the server does.
  // Without `tells_redial` a failure to connect puts off nobody else's next try.
  void begin(Term term, bool tells_redial = true) noexcept;
  // Another end for what is left of it.
  void limit(Term term) noexcept { end_ = term.end; }
  // Whether what failed may be done once more as a whole. Only once.
  bool take_second_chance() noexcept { return std::exchange(second_chance_, false); }

  virtual bool is_open() const noexcept = 0;
  virtual void close() noexcept = 0;
  // In a fork's child, and in the middle of anything: the parent's connection stays as it is.
  virtual void abandon() noexcept = 0;

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
  // In order. Tells what became of each item; may tell of some and then throw.
  void set_many(std::span<const NewItem> items, FunctionRef<void(std::size_t, Outcome)> sink);
  Outcome add(std::string_view key, std::string_view value, Lifetime lifetime);
  Outcome replace_version(std::string_view key, std::string_view value, Lifetime lifetime,
                          std::uint64_t version);
  // Of several that erase an item, one is told that it was there. That is not known if the
  // connection breaks while it waits for the answer: then it is removed once more, and where
  // nothing was left to be removed, this throws.
  Removed erase(std::string_view key);
  // In as few requests as the protocol allows. Tells what became of each; may tell of some and
  // then throw.
  void erase_many(std::span<const std::string_view> keys,
                  FunctionRef<void(std::size_t, Removed)> sink);
  // Erases whatever is there.
  void drop(std::string_view key);
  void drop_many(std::span<const std::string_view> keys);
  Outcome erase_version(std::string_view key, std::uint64_t version);
  void clear();

 protected:
  enum class How : std::uint8_t { set, add, replace_version };
  // Whether an erasure tells the item's flags.
  enum class Look : std::uint8_t { at_flags, at_nothing };

  const ServerAddress& server() const noexcept { return server_; }
  const Settings& settings() const noexcept { return settings_; }
  Instant end() const noexcept { return end_; }
  bool is_connecting() const noexcept { return connecting_; }
  // Whether something was asked whose answer was not read to its end. Left true, the next
  // operation begins on a fresh connection.
  void set_unread(bool unread) noexcept { unread_ = unread; }

  // Connects unless it is connected, and nothing is left to read.
  void open();
  // All close it.
  [[noreturn]] void fail(BackendError::Kind kind, const std::string& what);
  [[noreturn]] void fail_by_time();
  [[noreturn]] void fail_by_size();

 private:
  // --- What a protocol does. REQUIRES of all but connect(): it is open. ---
  // Connects and looks at who answers. Each address has the settings' time, all have end().
  virtual void connect() = 0;
  // Before what must not be sent twice: closes it if the server has closed it.
  virtual void prove_alive() = 0;
  // Before it is used after a pause: closes it if there is something that was not asked for,
  // where that is one system call.
  virtual void look_after_rest() {}
  virtual std::optional<Found> find(std::string_view key, Want want) = 0;
  virtual void send_question(std::span<const std::string_view> keys, Want want) = 0;
  virtual void read_answers(std::span<const std::string_view> keys, Want want,
                            FunctionRef<void(std::size_t, const Found&)> sink) = 0;
  // `version`: of replace_version only.
  virtual Outcome store(How how, const NewItem& item, std::uint64_t version) = 0;
  virtual void set_all(std::span<const NewItem> items,
                       FunctionRef<void(std::size_t, Outcome)> sink) = 0;
  virtual void remove_all(std::span<const std::string_view> keys, Look look,
                          FunctionRef<void(std::size_t, Removed)> sink) = 0;
  virtual void flush() = 0;

  void dial();
  template <class Operation>
  auto repeat_if_stale(Operation operation);

  const ServerAddress& server_;
  const Settings& settings_;
  Redial& redial_;
  Instant end_{};        // of the operation that goes on
  Instant whole_end_{};  // the same, when it began
  bool tells_redial_ = true;
  bool connecting_ = false;
  bool unread_ = false;
  bool rested_ = false;         // it lay idle before the operation that goes on
  bool second_chance_ = false;  // it was open before the operation that goes on
};

// One that speaks the protocol of the settings. All must outlive it.
std::unique_ptr<Connection> make_connection(const ServerAddress& server, const Settings& settings,
                                            Redial& redial);

}  // namespace polycache::memcached
