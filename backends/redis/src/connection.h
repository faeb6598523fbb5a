// One connection with one redis server: the only place that knows hiredis.
//
// Every operation has one deadline, whatever the server does: sending and receiving wait no
// longer than that, byte by byte if need be. After a failure in the middle of anything the
// connection is closed, so a late reply is never taken for the next one's; the next operation
// connects anew.
//
//   connection.begin(deadline, Check::nothing);
//   if (!connection.is_open()) connection.open();
//   connection.send(commands.bytes(), commands.count());
//   connection.receive([&](const Element& element) { ... });  // once for each command
//
// What every single-key operation runs through is marked hot, here and in what calls it, so
// that it lies in few pages (docs/adr/0018).

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
#include "reply.h"

struct redisReader;

namespace polycache::redis {

// Kept up to 4 ms late.
using net::coarse_now;
using net::Deadline;
using net::deadline_after;

struct Limits {
  std::chrono::milliseconds connect{500};
  std::chrono::milliseconds operation{1000};
  std::size_t max_value_bytes = 512U << 20U;
};

// What to make sure of before anything is sent.
enum class Check : std::uint8_t {
  nothing,
  alive,  // the server has not closed an idle connection: for what cannot be repeated
};

// Used by one thread at a time. All but close() and the questions throw BackendError.
class Connection {
 public:
  // Connects to nothing yet. What it is given must outlive it.
  Connection(const Endpoint& endpoint, const Limits& limits, const std::string& server);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Begins an operation. Closes what cannot be used any more.
  [[gnu::hot]] void begin(Deadline deadline, Check check);

  // Connects and logs in.
  void open();
  bool is_open() const noexcept { return socket_.is_open(); }

  // Sends so many commands.
  [[gnu::hot]] void send(std::string_view commands, std::size_t count);

  // Says that at least so many bytes are going to come, for waiting until they are there.
  void expect(std::size_t bytes) noexcept { least_bytes_ = bytes; }

  // Reads one whole reply. What the sink throws is thrown when the reply has been read.
  [[gnu::hot]] void receive(ElementSink sink);
  // The same, for a sink that may take its time: the operation ends so much later.
  void receive_at_leisure(ElementSink sink);
  Deadline deadline() const noexcept { return deadline_; }

  // Whether the server is there. What it says against it, or nothing.
  std::string ping();

  void close() noexcept;
  // In a fork's child, and in the middle of anything: closes this process's copy of the
  // descriptor, so that the parent's connection stays as it is.
  void abandon() noexcept;

  // Whether the operation failed because a connection from before it broke.
  bool broke() const noexcept { return broke_; }
  // Whether it failed because of a value that is larger than allowed.
  bool met_large_value() const noexcept { return met_large_value_; }
  // Whether the server said that it has no memory for a write.
  void note_no_memory() noexcept { told_of_no_memory_ = true; }
  bool told_of_no_memory() const noexcept { return told_of_no_memory_; }

  const std::string& server() const noexcept { return server_; }

  // Closes and throws.
  [[noreturn]] void fail(BackendError::Kind kind, const std::string& message);

 private:
  struct Parser;

  template <class WithSink>
  void receive(ElementSink& sink, WithSink with_sink);
  void connect();
  void log_in();

  bool next_reply();
  void check_what_is_announced();
  [[gnu::hot]] std::string_view next_piece();
  void feed(std::string_view piece);
  void wait_for(short events);
  [[noreturn]] void refuse_value(std::size_t size);
  [[noreturn]] void refuse_surplus();
  [[noreturn]] void lost(const std::string& why);
  [[noreturn]] void timed_out();

  const Endpoint& endpoint_;
  const Limits& limits_;
  const std::string& server_;
  std::unique_ptr<Parser> parser_;  // while connected
  net::Socket socket_;
  std::vector<char> arrived_;  // where recv() writes
  Deadline deadline_{};
  std::uint32_t forks_ = 0;      // fork_count() when it was opened
  std::size_t outstanding_ = 0;  // replies that were asked for and not read
  std::size_t least_bytes_ = 0;  // that must come next
  bool met_error_ = false;       // the server replied one, perhaps to nothing that was asked
  bool opened_now_ = false;      // during this operation, which is what the next are about, too
  bool broke_ = false;
  bool met_large_value_ = false;
  bool told_of_no_memory_ = false;
};

}  // namespace polycache::redis
