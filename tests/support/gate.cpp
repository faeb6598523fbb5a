#include "support/gate.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <deque>
#include <future>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using Time = std::chrono::steady_clock;

constexpr int backlog = 512;
constexpr std::size_t piece_bytes = 16384;
// More than this is not read from one side before the other has taken it.
constexpr std::size_t queue_bytes = 256 * 1024;
constexpr std::size_t most_fillers = 64;
constexpr std::size_t throttled_pieces_per_second = 50;

[[noreturn]] void fail_by_errno(const std::string& what) {
  throw std::runtime_error("the gate cannot " + what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int number = -1) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }
  bool open() const noexcept { return number_ >= 0; }
  void close() noexcept { Descriptor(std::exchange(number_, -1)); }

 private:
  int number_;
};

void set_flag(int socket, int level, int name) noexcept {
  const int on = 1;
  ::setsockopt(socket, level, name, &on, sizeof on);
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// A socket that has the port and does not listen. Any number of them may have the same one.
Descriptor bound_socket(std::uint16_t port) {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.open()) fail_by_errno("make a socket");
  set_flag(socket.get(), SOL_SOCKET, SO_REUSEADDR);
  set_flag(socket.get(), SOL_SOCKET, SO_REUSEPORT);
  const sockaddr_in address = loopback(port);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail_by_errno("bind to 127.0.0.1:" + std::to_string(port));
  return socket;
}

std::uint16_t port_of(const Descriptor& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail_by_errno("see its port");
  return ntohs(address.sin_port);
}

// Where the server is.
struct Upstream {
  std::uint16_t port = 0;
  std::string socket;

  // A connection, perhaps not finished; not open if it was refused at once.
  Descriptor connect() const;
};

Descriptor Upstream::connect() const {
  const bool local = !socket.empty();
  Descriptor connection(
      ::socket(local ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!connection.open()) return connection;
  int rc = 0;
  if (local) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, socket.c_str(), socket.size() + 1);
    rc = ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    set_flag(connection.get(), IPPROTO_TCP, TCP_NODELAY);
    const sockaddr_in address = loopback(port);
    rc = ::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  if (rc != 0 && errno != EINPROGRESS) connection.close();
  return connection;
}

enum class Ending : std::uint8_t { none, fin, rst };

// What one side has said and the other has not got.
class Channel {
 public:
  struct Pace {
    std::size_t piece = 0;  // 0: everything at once
    std::chrono::nanoseconds pause{0};
  };
  struct Outcome {
    std::size_t sent = 0;
    Ending ending = Ending::none;  // whose turn has come
    bool broken = false;           // the receiver is gone
  };

  void say(std::string bytes, Time::time_point due) {
    size_ += bytes.size();
    if (!bytes.empty()) pieces_.push_back({due, std::move(bytes), Ending::none});
  }
  void end(Ending how, Time::time_point due) { pieces_.push_back({due, {}, how}); }

  bool empty() const noexcept { return pieces_.empty(); }
  bool full() const noexcept { return size_ >= queue_bytes; }
  bool blocked() const noexcept { return blocked_; }
  // When something can be sent. REQUIRES: !empty()
  Time::time_point due() const noexcept { return std::max(pieces_.front().due, not_before_); }

  Outcome send_to(int socket, const Pace& pace, Time::time_point now);

 private:
  struct Piece {
    Time::time_point due;
    std::string bytes;
    Ending ending;
  };

  std::deque<Piece> pieces_;
  std::size_t size_ = 0;
  Time::time_point not_before_{};
  bool blocked_ = false;
};

Channel::Outcome Channel::send_to(int socket, const Pace& pace, Time::time_point now) {
  Outcome outcome;
  blocked_ = false;
  while (!pieces_.empty() && due() <= now) {
    Piece& piece = pieces_.front();
    if (piece.ending != Ending::none) {
      outcome.ending = piece.ending;
      return outcome;
    }
    const std::size_t wanted =
        pace.piece == 0 ? piece.bytes.size() : std::min(pace.piece, piece.bytes.size());
    const ssize_t sent = ::send(socket, piece.bytes.data(), wanted, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      blocked_ = errno == EAGAIN || errno == EWOULDBLOCK;
      outcome.broken = !blocked_;
      return outcome;
    }
    const auto count = static_cast<std::size_t>(sent);
    outcome.sent += count;
    size_ -= count;
    piece.bytes.erase(0, count);
    if (piece.bytes.empty()) pieces_.pop_front();
    if (pace.pause > 0ns) not_before_ = now + pace.pause;
  }
  return outcome;
}

// Ends a client's connection.
void finish(Descriptor& client, Ending how) {
  if (!client.open()) return;
  if (how == Ending::rst) {
    const linger at_once{1, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  } else {
    // Closing with bytes unread would be a reset.
    std::array<char, piece_bytes> ignored{};
    while (::recv(client.get(), ignored.data(), ignored.size(), MSG_DONTWAIT) > 0) {
    }
    ::shutdown(client.get(), SHUT_WR);
  }
  client.close();
}

// One client and its server. All functions run in the gate's thread.
class Connection {
 public:
  Connection(Descriptor client, Descriptor server, Gate::Faults faults)
      : client_(std::move(client)), server_(std::move(server)), faults_(std::move(faults)) {}

  void set(const Gate::Faults& faults) {
    if (!faults_.vanish) faults_ = faults;
  }
  pollfd watch_client() const noexcept;
  pollfd watch_server() const noexcept;
  // When it has something to do without being woken.
  Time::time_point due() const noexcept;
  // Does what there is to do. False: it is over and closed.
  bool serve(short client_events, short server_events, Time::time_point now);
  void end(Ending how) {
    finish(client_, how);
    server_.close();
  }

  std::size_t take_bytes_to_server() noexcept { return std::exchange(bytes_to_server_, 0); }
  std::size_t take_bytes_to_client() noexcept { return std::exchange(bytes_to_client_, 0); }

 private:
  bool hears_server() const noexcept {
    return !connecting_ && !server_done_ && !faults_.hang && !faults_.hold_replies &&
           !to_client_.full();
  }
  bool is_silent() const noexcept { return faults_.hang || faults_.vanish; }
  bool finish_connecting(short events);
  bool hear_client(short events, Time::time_point now);
  void hear_server(Time::time_point now);
  void pass_reply(std::string piece, Time::time_point now);
  bool send_what_is_due(Time::time_point now);

  Descriptor client_;
  Descriptor server_;
  Gate::Faults faults_;
  Channel to_server_;
  Channel to_client_;
  bool connecting_ = true;
  bool client_done_ = false;
  bool server_done_ = false;  // it ended, or nothing more of it is wanted
  bool swallowing_ = false;   // the rest of a reply that was replaced
  std::size_t reply_position_ = 0;
  std::size_t bytes_to_server_ = 0;
  std::size_t bytes_to_client_ = 0;
};

pollfd Connection::watch_client() const noexcept {
  short events = 0;
  if (faults_.vanish || (!faults_.hang && !to_server_.full())) events |= POLLIN;
  if (faults_.hang) events |= POLLRDHUP;  // its end is seen, though nothing is read
  if (!is_silent() && to_client_.blocked()) events |= POLLOUT;
  // Its end is heard; what is left of its words is under way to the server.
  return {client_done_ ? -1 : client_.get(), events, 0};
}

pollfd Connection::watch_server() const noexcept {
  short events = 0;
  if (hears_server()) events |= POLLIN;
  if (connecting_ || (!is_silent() && to_server_.blocked())) events |= POLLOUT;
  return {events == 0 ? -1 : server_.get(), events, 0};  // not even POLLHUP, else it would spin
}

Time::time_point Connection::due() const noexcept {
  Time::time_point first = Time::time_point::max();
  if (is_silent()) return first;
  if (!connecting_ && !to_server_.empty() && !to_server_.blocked())
    first = std::min(first, to_server_.due());
  if (!faults_.hold_replies && !to_client_.empty() && !to_client_.blocked())
    first = std::min(first, to_client_.due());
  return first;
}

bool Connection::serve(short client_events, short server_events, Time::time_point now) {
  const bool alive = finish_connecting(server_events) && hear_client(client_events, now);
  if (alive && server_events != 0 && hears_server()) hear_server(now);
  if (!alive || !send_what_is_due(now)) {
    end(Ending::rst);  // if it is not closed yet
    return false;
  }
  const bool over = client_done_ && (connecting_ || faults_.vanish || to_server_.empty());
  if (over) end(Ending::fin);
  return !over && client_.open();
}

bool Connection::finish_connecting(short events) {
  if (!connecting_ || events == 0) return true;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(server_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  connecting_ = false;
  return error == 0;
}

bool Connection::hear_client(short events, Time::time_point now) {
  if (events == 0) return true;
  if (faults_.hang) return (events & (POLLRDHUP | POLLHUP | POLLERR)) == 0;
  if ((events & ~POLLOUT) == 0) return true;
  std::string bytes(piece_bytes, '\0');
  const ssize_t got = ::recv(client_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  client_done_ = got == 0;
  if (got == 0 || faults_.vanish) return true;
  if (faults_.reset_on_request) return false;
  bytes.resize(static_cast<std::size_t>(got));
  to_server_.say(std::move(bytes), now);
  reply_position_ = 0;
  swallowing_ = false;
  return true;
}

void Connection::hear_server(Time::time_point now) {
  std::string bytes(piece_bytes, '\0');
  const ssize_t got = ::recv(server_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (got <= 0) {
    server_done_ = true;
    if (!faults_.vanish) to_client_.end(got == 0 ? Ending::fin : Ending::rst, now + faults_.delay);
    return;
  }
  bytes.resize(static_cast<std::size_t>(got));
  if (!faults_.vanish && !swallowing_) pass_reply(std::move(bytes), now);
}

void Connection::pass_reply(std::string piece, Time::time_point now) {
  const Time::time_point due = now + faults_.delay;
  if (faults_.replacement && reply_position_ == 0) {
    to_client_.say(std::move(*faults_.replacement), due);
    faults_.replacement.reset();
    swallowing_ = true;
    return;
  }
  if (faults_.rewrite) faults_.rewrite(piece, reply_position_);
  const std::size_t begin = std::exchange(reply_position_, reply_position_ + piece.size());
  const std::optional<std::size_t>& cut =
      faults_.truncate_after ? faults_.truncate_after : faults_.reset_after;
  if (!cut || reply_position_ < *cut) return to_client_.say(std::move(piece), due);
  piece.resize(*cut > begin ? *cut - begin : 0);
  to_client_.say(std::move(piece), due);
  to_client_.end(faults_.truncate_after ? Ending::fin : Ending::rst, due);
  server_done_ = true;
}

bool Connection::send_what_is_due(Time::time_point now) {
  if (is_silent()) return true;
  Channel::Pace pace;
  if (const std::size_t rate = faults_.bytes_per_second; rate != 0) {
    pace.piece = std::max<std::size_t>(1, rate / throttled_pieces_per_second);
    pace.pause = std::chrono::nanoseconds(1'000'000'000 * pace.piece / rate);
  }
  if (!connecting_) {
    const Channel::Outcome outcome = to_server_.send_to(server_.get(), pace, now);
    bytes_to_server_ += outcome.sent;
    // A server that is gone is heard of by reading; its last words may still be there.
    if (outcome.broken) to_server_ = Channel();
  }
  if (faults_.hold_replies || client_done_) return true;
  if (faults_.slice) {
    pace.piece = 1;
    pace.pause = std::max<std::chrono::nanoseconds>(pace.pause, *faults_.slice);
  }
  const Channel::Outcome outcome = to_client_.send_to(client_.get(), pace, now);
  bytes_to_client_ += outcome.sent;
  if (outcome.ending == Ending::none) return !outcome.broken;
  end(outcome.ending);
  return true;
}

}  // namespace

class Gate::Loop {
 public:
  explicit Loop(Upstream upstream);
  ~Loop();

  std::uint16_t port() const noexcept { return port_; }
  // Runs it in the gate's thread and waits.
  void run(std::function<void()> command);

  // In the gate's thread only:
  void listen();
  void stop_listening() noexcept { listener_.close(); }
  void ignore_connects();
  void set(const Faults& faults, Reach reach);
  void end_all(Ending how);

  std::atomic<std::size_t> connections{0};
  std::atomic<std::size_t> connections_ever{0};
  std::atomic<std::size_t> most_connections{0};
  std::atomic<std::size_t> bytes_to_server{0};
  std::atomic<std::size_t> bytes_to_client{0};

 private:
  void work();
  void run_commands();
  void wait();
  void serve();
  void accept_all();
  void wake() const noexcept;

  const Upstream upstream_;
  Descriptor holder_;  // keeps the port while nothing listens
  std::uint16_t port_ = 0;
  Descriptor listener_;
  Descriptor wake_;
  bool ignoring_connects_ = false;
  std::vector<Descriptor> fillers_;  // what the queue of the listener is full of
  Faults faults_;                    // of connections to come
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<pollfd> watched_;  // wake_, listener_, then client and server of each connection

  std::mutex mutex_;  // guards commands_ and ending_
  std::deque<std::packaged_task<void()>> commands_;
  bool ending_ = false;
  std::thread thread_;
};

Gate::Loop::Loop(Upstream upstream)
    : upstream_(std::move(upstream)),
      holder_(bound_socket(0)),
      port_(port_of(holder_)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_.open()) fail_by_errno("make an eventfd");
  if (upstream_.socket.size() >= sizeof(sockaddr_un::sun_path))
    throw std::runtime_error("the gate: too long for a socket: " + upstream_.socket);
  listen();
  thread_ = std::thread([this] { work(); });
}

Gate::Loop::~Loop() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake();
  thread_.join();
}

void Gate::Loop::wake() const noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

void Gate::Loop::run(std::function<void()> command) {
  std::packaged_task<void()> task(std::move(command));
  std::future<void> done = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(task));
  }
  wake();
  done.get();
}

void Gate::Loop::listen() {
  if (listener_.open() && !ignoring_connects_) return;
  ignoring_connects_ = false;
  fillers_.clear();
  listener_.close();  // with what waited in its queue
  Descriptor listener = bound_socket(port_);
  if (::listen(listener.get(), backlog) != 0) fail_by_errno("listen");
  listener_ = std::move(listener);
}

void Gate::Loop::ignore_connects() {
  if (!listener_.open()) listen();
  accept_all();
  ignoring_connects_ = true;
  if (::listen(listener_.get(), 0) != 0) fail_by_errno("shorten its queue");
  // The kernel greets as many as the queue holds, though no call accepts them.
  while (fillers_.size() < most_fillers) {
    Descriptor filler(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!filler.open()) fail_by_errno("make a socket");
    const sockaddr_in address = loopback(port_);
    ::connect(filler.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    pollfd wait{filler.get(), POLLOUT, 0};
    if (::poll(&wait, 1, 50) == 0) return;
    fillers_.push_back(std::move(filler));
  }
  throw std::runtime_error("the gate: this system accepts connections that no program waits for");
}

void Gate::Loop::set(const Faults& faults, Reach reach) {
  if (reach != Reach::existing) faults_ = faults;
  if (reach == Reach::fresh) return;
  for (const auto& connection : connections_) connection->set(faults);
}

void Gate::Loop::end_all(Ending how) {
  accept_all();  // those that the kernel has greeted exist too
  for (const auto& connection : connections_) connection->end(how);
  connections_.clear();
  connections = 0;
}

void Gate::Loop::work() {
  for (;;) {
    run_commands();
    {
      const std::lock_guard lock(mutex_);
      if (ending_ && commands_.empty()) return;
    }
    wait();
    serve();
    if ((watched_[1].revents & POLLIN) != 0) accept_all();
  }
}

void Gate::Loop::run_commands() {
  for (;;) {
    std::packaged_task<void()> command;
    {
      const std::lock_guard lock(mutex_);
      if (commands_.empty()) return;
      command = std::move(commands_.front());
      commands_.pop_front();
    }
    command();
  }
}

void Gate::Loop::wait() {
  watched_.assign(
      {{wake_.get(), POLLIN, 0}, {ignoring_connects_ ? -1 : listener_.get(), POLLIN, 0}});
  Time::time_point first = Time::time_point::max();
  for (const auto& connection : connections_) {
    watched_.push_back(connection->watch_client());
    watched_.push_back(connection->watch_server());
    first = std::min(first, connection->due());
  }
  timespec limit{};
  const timespec* wait = nullptr;
  if (first != Time::time_point::max()) {
    const auto left = std::max<std::chrono::nanoseconds>(0ns, first - Time::now());
    const auto seconds = std::chrono::floor<std::chrono::seconds>(left);
    limit.tv_sec = static_cast<time_t>(seconds.count());
    limit.tv_nsec = static_cast<long>((left - seconds).count());
    wait = &limit;
  }
  if (::ppoll(watched_.data(), watched_.size(), wait, nullptr) <= 0)
    for (pollfd& entry : watched_) entry.revents = 0;
  std::uint64_t ignored = 0;
  [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &ignored, sizeof ignored);
}

void Gate::Loop::serve() {
  const Time::time_point now = Time::now();
  std::size_t entry = 2;
  for (auto& connection : connections_) {
    const short client_events = watched_[entry++].revents;
    const short server_events = watched_[entry++].revents;
    const bool alive = connection->serve(client_events, server_events, now);
    bytes_to_server += connection->take_bytes_to_server();
    bytes_to_client += connection->take_bytes_to_client();
    if (!alive) connection.reset();
  }
  std::erase(connections_, nullptr);
  connections = connections_.size();
}

void Gate::Loop::accept_all() {
  while (listener_.open() && !ignoring_connects_) {
    Descriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client.open()) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    ++connections_ever;
    set_flag(client.get(), IPPROTO_TCP, TCP_NODELAY);
    Descriptor server = upstream_.connect();
    if (!server.open()) {
      finish(client, Ending::rst);
      continue;
    }
    connections_.push_back(
        std::make_unique<Connection>(std::move(client), std::move(server), faults_));
    connections = connections_.size();
    most_connections = std::max(most_connections.load(), connections_.size());
  }
}

Gate::Gate(std::uint16_t server_port)
    : loop_(std::make_unique<Loop>(Upstream{server_port, std::string()})), owner_(::getpid()) {}

Gate::Gate(const std::filesystem::path& server_socket)
    : loop_(std::make_unique<Loop>(Upstream{0, server_socket.string()})), owner_(::getpid()) {}

// A fork's child has no such thread, and its copy of the loop may be in the middle of something.
Gate::~Gate() {
  if (::getpid() != owner_) static_cast<void>(loop_.release());
}

std::uint16_t Gate::port() const noexcept { return loop_->port(); }

void Gate::set(Faults faults, Reach reach) {
  loop_->run([&] { loop_->set(faults, reach); });
}

void Gate::pass() {
  loop_->run([this] {
    loop_->set({}, Reach::all);
    loop_->listen();
  });
}

void Gate::refuse() {
  loop_->run([this] { loop_->stop_listening(); });
}

void Gate::ignore_connects() {
  loop_->run([this] { loop_->ignore_connects(); });
}

void Gate::close_connections() {
  loop_->run([this] { loop_->end_all(Ending::fin); });
}

void Gate::reset_connections() {
  loop_->run([this] { loop_->end_all(Ending::rst); });
}

void Gate::down() {
  loop_->run([this] {
    loop_->end_all(Ending::rst);
    loop_->stop_listening();
  });
}

std::size_t Gate::connections() const noexcept { return loop_->connections; }
std::size_t Gate::connections_ever() const noexcept { return loop_->connections_ever; }
std::size_t Gate::most_connections() const noexcept { return loop_->most_connections; }
std::size_t Gate::bytes_to_server() const noexcept { return loop_->bytes_to_server; }
std::size_t Gate::bytes_to_client() const noexcept { return loop_->bytes_to_client; }

std::function<void(std::string&, std::size_t)> flip_bytes(std::size_t from, std::size_t every) {
  return [from, every](std::string& piece, std::size_t position) {
    for (std::size_t i = 0; i < piece.size(); ++i) {
      const std::size_t place = position + i;
      if (place >= from && (place - from) % every == 0)
        piece[i] = static_cast<char>(~static_cast<unsigned char>(piece[i]));
    }
  };
}

}  // namespace polycache::testing
