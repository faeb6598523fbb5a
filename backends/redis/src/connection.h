// One connection to one redis server: sends, receives and waits. What it sends is composed by
// CommandBuffer, what it receives is parsed by ReplyReader.
//
// Every operation has one deadline, however the server behaves: sending and receiving never wait
// longer, even if bytes arrive one by one. After a failure in the middle of an operation the
// connection is closed, so that a late reply is never taken for the reply to a later command; the
// next operation reconnects.
//
//   connection.begin(deadline, Check::nothing);
//   if (!connection.is_open()) connection.open();
//   connection.send(commands.bytes(), commands.count());
//   connection.receive([&](const Element& element) { ... });  // once for each command
//
// The code path of every single-key operation is marked hot, here and in its callers, so that it
// occupies few pages (docs/adr/0018).

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "endpoint.h"
#include "polycache/author/function_ref.h"
#include "polycache/error.h"
#include "polycache/net/deadline.h"
#include "polycache/net/socket.h"
#include "reply_reader.h"
#include "settings.h"

namespace polycache::redis {

// Deadlines are met up to 4 ms late.
using net::coarse_now;
using net::Deadline;
using net::deadline_after;

// What to check before anything is sent.
enum class Check : std::uint8_t {
  nothing,
  alive,  // the server has not closed an idle connection: for what cannot be repeated
};

// Used by one thread at a time. All functions except close() and the queries throw BackendError.
class Connection {
 public:
  // Does not connect yet. The arguments must outlive it.
  Connection(const Endpoint& endpoint, const Limits& limits, const std::string& server);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Begins an operation. Closes the connection if it is no longer usable.
  [[gnu::hot]] void begin(Deadline deadline, Check check);

  // Connects and logs in.
  void open();
  bool is_open() const noexcept { return socket_.is_open(); }

  // Sends this many commands.
  [[gnu::hot]] void send(std::string_view commands, std::size_t count);

  // Announces that at least this many bytes will arrive, so that the thread can sleep until then.
  void expect(std::size_t bytes) noexcept { least_bytes_ = bytes; }

  // Reads one whole reply. An exception from the sink is rethrown after the reply has been read.
  [[gnu::hot]] void receive(ElementSink sink);
  // The same, for a slow sink: the time that it takes extends the deadline.
  void receive_at_leisure(ElementSink sink);
  Deadline deadline() const noexcept { return deadline_; }

  // Pings the server. Returns its complaint, or an empty string.
  std::string ping();

  void close() noexcept;
  // In a fork's child, possibly during an operation: closes only this process's copy of the
  // descriptor; the parent's connection stays intact.
  void abandon() noexcept;

  // Whether the operation failed because a connection opened earlier broke.
  bool broke() const noexcept { return broke_; }
  // Whether it failed because a value is larger than allowed.
  bool met_large_value() const noexcept { return met_large_value_; }
  // Records that the server reported no memory for a write.
  void note_no_memory() noexcept { reported_no_memory_ = true; }
  bool reported_no_memory() const noexcept { return reported_no_memory_; }

  const std::string& server() const noexcept { return server_; }

  // Closes and throws.
  [[noreturn]] void fail(BackendError::Kind kind, const std::string& message);

 private:
  template <class Timed>
  void receive(ElementSink sink, Timed timed);
  void connect();
  void log_in();

  [[gnu::hot]] std::string_view next_piece();
  void wait_for(short events);
  [[noreturn]] void refuse(ReplyReader::State state);
  [[noreturn]] void lost(const std::string& why);
  [[noreturn]] void timed_out();

  const Endpoint& endpoint_;
  const Limits& limits_;
  const std::string& server_;
  std::unique_ptr<ReplyReader> replies_;  // while connected
  net::Socket socket_;
  std::vector<char> arrived_;  // where recv() writes
  Deadline deadline_{};
  std::uint32_t forks_ = 0;      // fork_count() when it was opened
  std::size_t least_bytes_ = 0;  // that must arrive next
  bool opened_now_ = false;      // per operation, as are the next
  bool broke_ = false;
  bool met_large_value_ = false;
  bool reported_no_memory_ = false;
};

}  // namespace polycache::redis
