// Real servers for tests and benchmarks, each on a free port of 127.0.0.1 (and a unix
// socket), in a folder of its own, ended with the object or with the program.
//
//   const auto server = polycache::testing::Server::redis();
//   connect_to(server->host(), server->port());
//   server->kill9();
//   server->start();  // the same port and socket again
//
// Everything here throws std::runtime_error with a whole sentence if it does not work. An
// object belongs to the process that made it: in a fork's child its destructor does nothing.
// Not thread-safe. A server dies with the thread that started it, not only with the program.

#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace polycache::testing {

// A new empty folder below the system's temporary one, removed with all that is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
  pid_t owner_;
};

class Server {
 public:
  // Started and answering. `extra` are more arguments for the command line.
  // redis: keeps nothing on disk; listens on port() and unix_socket().
  static std::unique_ptr<Server> redis(std::vector<std::string> extra = {});
  // memcached listens on a port or on a socket, never on both.
  static std::unique_ptr<Server> memcached(std::vector<std::string> extra = {});
  static std::unique_ptr<Server> memcached_on_socket(std::vector<std::string> extra = {});

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server();

  std::string host() const { return "127.0.0.1"; }
  std::uint16_t port() const noexcept { return port_; }  // 0: it has only a socket
  std::string address() const { return host() + ":" + std::to_string(port_); }
  std::string unix_socket() const { return socket_; }  // empty: it has only a port
  std::filesystem::path folder() const { return folder_.path(); }
  pid_t pid() const noexcept { return pid_; }  // 0 while it is stopped

  // Ends it politely and waits; by SIGKILL if it takes longer than two seconds.
  void stop();
  // Ends it at once and waits.
  void kill9();
  // Starts it again after stop() or kill9(), on the same port and socket, and waits until it
  // answers.
  void start();
  // The process stands still: it accepts connections (the kernel does) and answers nothing.
  void suspend();
  void resume();

 private:
  enum class Kind : std::uint8_t { redis, memcached };

  Server(Kind kind, std::uint16_t port, bool on_socket, std::vector<std::string> extra);
  static std::unique_ptr<Server> on_free_port(Kind kind, std::vector<std::string> extra);

  std::vector<std::string> command() const;
  void spawn(const std::vector<std::string>& command);
  void wait_until_it_answers();
  std::string greeting() const;
  bool answers() const;
  bool has_its_ports() const;
  bool has_ended();
  std::string log() const;

  TemporaryFolder folder_;
  Kind kind_;
  std::uint16_t port_;
  std::string socket_;
  std::vector<std::string> extra_;
  pid_t owner_;
  pid_t pid_ = 0;
};

// A port of 127.0.0.1 that nothing listens on at the moment.
std::uint16_t free_port();

}  // namespace polycache::testing
