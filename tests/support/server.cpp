#include "support/server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;

constexpr auto start_limit = 60s;  // generous: a sanitizer build on a busy machine
constexpr auto stop_limit = 2s;
constexpr int port_attempts = 10;

[[noreturn]] void fail(const std::string& sentence) { throw std::runtime_error(sentence); }

[[noreturn]] void fail_by_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }

 private:
  int number_;
};

// Whether a process listens on a port of IPv4. True where /proc does not say.
bool listens(pid_t pid, std::uint16_t port) {
  std::set<std::string> sockets;
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);  // the heads of the columns
  while (std::getline(table, line)) {
    std::istringstream columns(line);
    std::string number, local, remote, state, queues, timer, repeated, user, timeout, inode;
    columns >> number >> local >> remote >> state >> queues >> timer >> repeated >> user >>
        timeout >> inode;
    const std::size_t colon = local.find(':');
    if (state != "0A" || colon == std::string::npos) continue;  // 0A: it listens
    if (std::stoi(local.substr(colon + 1), nullptr, 16) == port) {
      sockets.insert("socket:[" + inode + "]");
    }
  }
  std::error_code error;
  const std::filesystem::directory_iterator descriptors("/proc/" + std::to_string(pid) + "/fd",
                                                        error);
  if (error) return true;
  return std::any_of(begin(descriptors), end(descriptors), [&](const auto& descriptor) {
    std::error_code gone;
    return sockets.contains(std::filesystem::read_symlink(descriptor.path(), gone).string());
  });
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// Servers live in sbin folders, which not every user has in the PATH.
std::string find_program(const std::string& name, const std::string& package) {
  const char* path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  folders += ":/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin";
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string file = folders.substr(begin, end - begin) + "/" + name;
    if (end > begin && ::access(file.c_str(), X_OK) == 0) return file;
    begin = end + 1;
  }
  fail("these tests need " + name + ", which was not found; install the package " + package);
}

// Whether the peer at this address answers a line with anything; bounded.
bool answers_line(int family, const sockaddr* address, socklen_t size, std::string_view line) {
  const Descriptor socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0 || ::connect(socket.get(), address, size) != 0) return false;
  if (::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(line.size()))
    return false;
  pollfd wait{socket.get(), POLLIN, 0};
  std::array<char, 64> reply{};
  if (::poll(&wait, 1, 1000) != 1) return false;
  const ssize_t got = ::recv(socket.get(), reply.data(), reply.size(), 0);
  if (got <= 0) return false;
  const std::string_view text(reply.data(), static_cast<std::size_t>(got));
  return text.find("LOADING") == std::string_view::npos;
}

}  // namespace

TemporaryFolder::TemporaryFolder() : owner_(::getpid()) {
  std::string name = (std::filesystem::temp_directory_path() / "polycache-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) fail_by_errno("no temporary folder " + name);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  if (::getpid() != owner_) return;
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uint16_t free_port() {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail_by_errno("no free port on 127.0.0.1");
  return ntohs(address.sin_port);
}

std::unique_ptr<Server> Server::redis(std::vector<std::string> extra) {
  return on_free_port(Kind::redis, std::move(extra));
}

std::unique_ptr<Server> Server::memcached(std::vector<std::string> extra) {
  return on_free_port(Kind::memcached, std::move(extra));
}

std::unique_ptr<Server> Server::memcached_on_socket(std::vector<std::string> extra) {
  std::unique_ptr<Server> server(new Server(Kind::memcached, 0, true, std::move(extra)));
  server->start();
  return server;
}

// Between asking for a free port and listening on it, another process may take it.
std::unique_ptr<Server> Server::on_free_port(Kind kind, std::vector<std::string> extra) {
  for (int attempt = 1;; ++attempt) {
    std::unique_ptr<Server> server(new Server(kind, free_port(), kind == Kind::redis, extra));
    try {
      server->start();
      return server;
    } catch (const std::runtime_error&) {
      const std::string log = server->log();
      const bool taken = log.find("in use") != std::string::npos;
      if (!taken || attempt == port_attempts) throw;
    }
  }
}

Server::Server(Kind kind, std::uint16_t port, bool on_socket, std::vector<std::string> extra)
    : kind_(kind),
      port_(port),
      socket_(on_socket ? (folder_.path() / "socket").string() : std::string()),
      extra_(std::move(extra)),
      owner_(::getpid()) {}

Server::~Server() {
  if (::getpid() == owner_) kill9();  // nothing is kept; memcached says goodbye for a second
}

std::vector<std::string> Server::command() const {
  std::vector<std::string> words;
  if (kind_ == Kind::redis) {
    words = {find_program("redis-server", "redis-server"),
             "--port",
             std::to_string(port_),
             "--bind",
             "127.0.0.1",
             "--unixsocket",
             socket_,
             "--save",
             "",
             "--appendonly",
             "no",
             "--dir",
             folder().string()};
  } else {
    words = {find_program("memcached", "memcached")};
    if (port_ != 0) {
      // With TLS, this port is without: there the server is asked whether it is up.
      const bool tls = std::find(extra_.begin(), extra_.end(), "-Z") != extra_.end();
      const std::string host = tls ? "notls:127.0.0.1" : "127.0.0.1";
      words.insert(words.end(), {"-l", host + ":" + std::to_string(port_), "-U", "0"});
    } else {
      words.insert(words.end(), {"-s", socket_});
    }
    // It refuses to run as root unless told so, and as another user it could not enter
    // the folder of its socket.
    if (::geteuid() == 0) words.insert(words.end(), {"-u", "root"});
  }
  words.insert(words.end(), extra_.begin(), extra_.end());
  return words;
}

void Server::start() {
  if (pid_ != 0) fail("the server is running already");
  if (!socket_.empty()) ::unlink(socket_.c_str());  // left behind by kill9()
  spawn(command());
  wait_until_it_answers();
}

void Server::spawn(const std::vector<std::string>& command) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const std::string log_file = (folder() / "log").string();
  const Descriptor log(
      ::open(log_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (log.get() < 0) fail_by_errno("cannot write " + log_file);

  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) fail_by_errno("fork");
  if (child == 0) {  // only what is safe between fork and exec
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(127);  // it died before the line above
    ::dup2(log.get(), STDOUT_FILENO);
    ::dup2(log.get(), STDERR_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  pid_ = child;
}

void Server::wait_until_it_answers() {
  const auto deadline = std::chrono::steady_clock::now() + start_limit;
  while (!answers() || !has_its_ports()) {
    if (has_ended()) fail(command().front() + " ended at once; it wrote:\n" + log());
    if (std::chrono::steady_clock::now() > deadline) {
      kill9();
      fail(command().front() + " did not answer in time; it wrote:\n" + log());
    }
    std::this_thread::sleep_for(5ms);
  }
}

// A request that this server answers whatever its arguments are.
std::string Server::greeting() const {
  if (kind_ == Kind::redis) return "PING\r\n";
  for (const std::string& word : extra_) {
    if (word != "binary" && word != "-S") continue;
    std::string version(24, '\0');  // a binary request: magic, opcode, and no more
    version[0] = '\x80';
    version[1] = '\x0b';
    return version;
  }
  return "version\r\n";
}

bool Server::answers() const {
  const std::string line = greeting();
  if (!socket_.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_.size() >= sizeof address.sun_path) fail("too long for a socket: " + socket_);
    std::memcpy(address.sun_path, socket_.c_str(), socket_.size() + 1);
    if (!answers_line(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof address, line))
      return false;
  }
  if (port_ == 0) return true;
  const sockaddr_in address = loopback(port_);
  return answers_line(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof address, line);
}

// Another server may have taken one of its ports just before: that one answers as well.
bool Server::has_its_ports() const {
  if (port_ != 0 && !listens(pid_, port_)) return false;
  for (std::size_t i = 1; i < extra_.size(); ++i) {
    std::string_view port = extra_[i];
    if (extra_[i - 1] == "-l") {  // "127.0.0.1:PORT"
      port.remove_prefix(std::min(port.find(':'), port.size()));
      if (!port.empty()) port.remove_prefix(1);
    } else if (extra_[i - 1] != "--tls-port") {
      continue;
    }
    if (port.empty()) continue;
    if (!listens(pid_, static_cast<std::uint16_t>(std::stoi(std::string(port))))) return false;
  }
  return true;
}

bool Server::has_ended() {
  if (pid_ == 0 || ::waitpid(pid_, nullptr, WNOHANG) != pid_) return pid_ == 0;
  pid_ = 0;
  return true;
}

std::string Server::log() const {
  std::ifstream file(folder() / "log");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void Server::stop() {
  if (has_ended()) return;
  ::kill(pid_, SIGCONT);  // it may be suspended
  ::kill(pid_, SIGTERM);
  const auto deadline = std::chrono::steady_clock::now() + stop_limit;
  while (!has_ended()) {
    if (std::chrono::steady_clock::now() > deadline) return kill9();
    std::this_thread::sleep_for(1ms);
  }
}

void Server::kill9() {
  if (has_ended()) return;
  ::kill(pid_, SIGKILL);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
}

void Server::suspend() {
  if (has_ended()) fail("there is no server to suspend");
  ::kill(pid_, SIGSTOP);
  // Wait until it stands: a signal is delivered some time after kill() returns.
  while (::waitpid(pid_, nullptr, WUNTRACED) < 0 && errno == EINTR) {
  }
}

void Server::resume() {
  if (pid_ != 0) ::kill(pid_, SIGCONT);
}

}  // namespace polycache::testing
