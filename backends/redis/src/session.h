// One thread's session with the servers of an alias.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "connection.h"
#include "polycache/backend.h"
#include "polycache/extension.h"
#include "script.h"

namespace polycache::redis {

// What the sessions of one alias share.
struct Settings {
  std::vector<Endpoint> endpoints;  // the first is written to; never empty
  Limits limits;
  std::function<void(const Warning&)> report;
  mutable std::atomic<std::size_t> sessions{0};  // spreads them over the replicas
};

class Session final : public Backend,
                      public TtlExtension,
                      public CompareExtension,
                      public PopExtension,
                      public ErasePrefixExtension {
 public:
  explicit Session(std::shared_ptr<const Settings> settings);

  bool get(std::string_view key, ValueSink sink) override;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override;
  bool touch(std::string_view key, Ttl ttl) override;
  bool erase(std::string_view key) override;
  void clear() override;
  bool contains(std::string_view key, ValueSink head) override;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override;
  std::size_t erase_many(std::span<const std::string_view> keys) override;
  void* extension(std::string_view id) noexcept override;

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override;
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override;
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override;
  bool erase_if_equal(std::string_view key, std::string_view expected) override;
  bool pop(std::string_view key, ValueSink sink) override;
  std::size_t erase_prefix(std::string_view prefix) override;

 private:
  // What may be done a second time if the first time ended without an answer.
  enum class Repeat : std::uint8_t {
    never,
    if_refused,   // only if the server said that it did nothing
    if_dead_too,  // also if an idle connection turned out dead
  };
  // The outcome of one command; values have gone to the sink.
  struct Answer {
    Element::Type type = Element::Type::nil;
    std::int64_t integer = 0;
    std::string error = {};
  };

  // Runs exchange(connection), a second time if `repeat` allows.
  template <class Exchange>
  auto run(Connection& connection, Deadline deadline, Repeat repeat, Exchange&& exchange);
  // Runs it on a location to read from, on the next one if that is down.
  template <class Exchange>
  auto run_read(Deadline deadline, Exchange&& exchange);
  Connection& reader(Deadline deadline);
  void leave_reader(Deadline deadline);
  Deadline deadline() const;

  // Reads one reply. An error is part of the answer, except that the server is read-only.
  Answer receive(Connection& connection, ValueSink sink);
  Answer receive(Connection& connection);
  // Sends the one command that was composed to the first location.
  Answer ask(Repeat repeat, ValueSink sink);
  std::int64_t ask_integer(Repeat repeat);
  Answer run_script(const Script& script, std::string_view key,
                    std::span<const std::string_view> arguments, ValueSink sink);
  std::int64_t integer_of(const Answer& answer);
  [[noreturn]] void throw_error(Connection& connection, std::string_view error);
  [[noreturn]] void throw_unexpected(Connection& connection);

  void compose_put(const Item& item, PutMode mode);
  bool fits(std::string_view value) const noexcept;
  void refuse(std::string_view key, PutMode mode, std::string_view why);
  void warn(Warning::Kind kind, std::string_view key, std::string_view message);
  void warn_of_other_type(std::string_view key);
  struct PutBatch;
  void send_batch(PutBatch& batch, PutMode mode, Deadline deadline);
  std::size_t read_batch(std::span<const std::string_view> keys, Deadline deadline,
                         IndexedValueSink sink);
  void read_with_lifetimes(std::span<const std::string_view> keys, Deadline deadline,
                           TtlExtension::Sink sink);
  bool get_then_del(std::string_view key, ValueSink sink);
  std::size_t erase_found();

  Connection& primary() noexcept { return *connections_.front(); }

  const std::shared_ptr<const Settings> settings_;
  std::vector<std::unique_ptr<Connection>> connections_;  // as settings_->endpoints
  std::size_t reader_ = 0;                                // which of them is read from
  Deadline back_to_replicas_ = {};
  bool delivered_ = false;  // whether a read has called its sink
  CommandBuffer commands_;
  std::vector<std::int64_t> lifetimes_;  // of a batch being read
  std::vector<std::string> found_;       // keys of one step of a scan
  bool has_getdel_ = true;               // until the server says otherwise
};

}  // namespace polycache::redis
