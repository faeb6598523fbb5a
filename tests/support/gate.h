// A gate between a client and its server: it listens on a port of 127.0.0.1, passes every
// connection on to the server, and does harm when told to.
//
//   Gate gate(server->port());
//   connect_to("127.0.0.1", gate.port());
//   gate.set({.delay = 50ms, .slice = 100us});  // every connection, from now on
//   gate.set({.truncate_after = 3}, Gate::Reach::existing);
//   gate.refuse();                              // nothing listens; what is connected stays
//   gate.pass();                                // healed
//
// One thread of the gate does all the work; the destructor ends it, and every connection.
// Thread-safe; what a call says is in force when it returns. A call throws
// std::runtime_error if the system refuses (no descriptor, no thread).
//
// "A reply" is what the server says after the client's latest bytes: the gate knows no
// protocol. A client's greeting (HELLO, AUTH, "version") has a reply like any other.
// A server that is down looks different through the gate: connections to it are accepted and
// then reset. An object belongs to the process that made it: in a fork's child its destructor
// does nothing.

#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace polycache::testing {

class Gate {
 public:
  // What is done to a connection; they can be combined. Nothing: it passes.
  struct Faults {
    // Nothing is read from either side, and nothing sent. pass() goes on where it stopped.
    bool hang = false;
    // Requests arrive; replies wait, until pass() delivers them late.
    bool hold_replies = false;
    // What both sides send is lost, without an error, for ever: pass() heals only
    // connections that come later.
    bool vanish = false;
    // The next bytes of the client are answered with RST and do not arrive.
    bool reset_on_request = false;
    // Each piece of a reply arrives so much later.
    std::chrono::microseconds delay{0};
    // Replies arrive as single bytes, so far apart (0: as fast as it goes).
    std::optional<std::chrono::microseconds> slice{};
    // In each direction; 0: as fast as it goes.
    std::size_t bytes_per_second = 0;
    // So many bytes of a reply arrive, then FIN, or RST. A shorter reply passes.
    std::optional<std::size_t> truncate_after{};
    std::optional<std::size_t> reset_after{};
    // Arrives instead of the next reply; later ones pass.
    std::optional<std::string> replacement{};
    // Changes a piece of a reply that begins at `position` of the reply, in the gate's thread.
    std::function<void(std::string& piece, std::size_t position)> rewrite{};
  };

  // Which connections are meant: those that exist, those that come later, or both.
  enum class Reach : std::uint8_t { all, existing, fresh };

  explicit Gate(std::uint16_t server_port);
  explicit Gate(const std::filesystem::path& server_socket);
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();

  std::string host() const { return "127.0.0.1"; }
  std::uint16_t port() const noexcept;
  std::string address() const { return host() + ":" + std::to_string(port()); }

  // Replaces all faults of the connections that are meant. A vanished one stays vanished.
  void set(Faults faults, Reach reach = Reach::all);
  // No faults for any connection; listens.
  void pass();

  // New connections are refused, on a port that stays ours.
  void refuse();
  // New connections are neither accepted nor refused: connect() waits.
  void ignore_connects();
  // Ends every connection that exists, by FIN or by RST.
  void close_connections();
  void reset_connections();
  // refuse() and reset_connections(): as a server that was killed looks.
  void down();

  std::size_t connections() const noexcept;       // now
  std::size_t connections_ever() const noexcept;  // accepted since the beginning
  std::size_t most_connections() const noexcept;  // at the same time
  std::size_t bytes_to_server() const noexcept;   // passed on
  std::size_t bytes_to_client() const noexcept;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
  pid_t owner_;
};

// For Faults::rewrite: turns over the bits of every `every`-th byte, from byte `from` of each
// reply on.
std::function<void(std::string&, std::size_t)> flip_bytes(std::size_t from = 0,
                                                          std::size_t every = 1);

}  // namespace polycache::testing
