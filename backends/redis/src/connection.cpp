#include "connection.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#ifdef POLYCACHE_REDIS_TLS
#include <hiredis/hiredis_ssl.h>
#include <signal.h>
#endif
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "command.h"
#include "polycache/fork.h"
#include "polycache/text.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;

constexpr std::size_t kReceiveBytes = std::size_t{64} << 10U;
constexpr std::size_t kKeptBytes = std::size_t{256} << 10U;  // memory that the parser keeps
constexpr std::size_t kMaxElements = std::size_t{1} << 20U;  // of one array
constexpr std::chrono::milliseconds kClockGrain(4);  // of the coarse clock, at 250 ticks a second
constexpr int kMaxDepth = 7;  // of arrays in arrays; the same with every hiredis
constexpr std::size_t kMaxLine = std::size_t{64} << 10U;  // anything but a value
constexpr std::size_t kMaxLengthDigits = 24;

std::string system_message(int error) { return std::strerror(error); }

// hiredis builds no reply objects for us: it tells us each part, and we hand it on.
struct Receiver {
  const ElementSink* sink = nullptr;
  std::exception_ptr exception = nullptr;
  std::size_t most = 0;       // bytes of a value
  std::size_t too_large = 0;  // of one that has more, and was not handed on
};

// What hiredis takes for an object; nobody looks at it.
void* not_null() noexcept {
  static char object = 0;
  return &object;
}

int depth_of(const redisReadTask* task) noexcept {
  int depth = 0;
  for (const redisReadTask* t = task->parent; t != nullptr; t = t->parent) ++depth;
  return depth;
}

// No exception may pass through a C library.
void* deliver(const redisReadTask* task, Element::Type type, std::string_view text,
              std::int64_t integer) noexcept {
  auto& receiver = *static_cast<Receiver*>(task->privdata);
  if (receiver.exception || receiver.sink == nullptr) return not_null();
  try {
    (*receiver.sink)(
        Element{type, depth_of(task), static_cast<std::size_t>(task->idx), text, integer});
  } catch (...) {  // thrown again by Connection::receive()
    receiver.exception = std::current_exception();
  }
  return not_null();
}

void* on_string(const redisReadTask* task, char* text, std::size_t length) {
  const std::string_view view(text, length);
  switch (task->type) {
    case REDIS_REPLY_STRING:
      if (auto& receiver = *static_cast<Receiver*>(task->privdata); length > receiver.most) {
        receiver.too_large = length;
        return not_null();
      }
      return deliver(task, Element::Type::string, view, 0);
    case REDIS_REPLY_STATUS:
      return deliver(task, Element::Type::status, view, 0);
    case REDIS_REPLY_ERROR:
      return deliver(task, Element::Type::error, view, 0);
    default:
      return nullptr;  // of a newer protocol, which we never asked for
  }
}

#if HIREDIS_MAJOR >= 1
using ArrayLength = std::size_t;
#else
using ArrayLength = int;
#endif

void* on_array(const redisReadTask* task, ArrayLength length) {
  const bool too_long = static_cast<std::size_t>(length) > kMaxElements;
  if (task->type != REDIS_REPLY_ARRAY || too_long || depth_of(task) >= kMaxDepth) return nullptr;
  return deliver(task, Element::Type::array, {}, static_cast<std::int64_t>(length));
}

void* on_integer(const redisReadTask* task, long long value) {
  return deliver(task, Element::Type::integer, {}, value);
}

void* on_nil(const redisReadTask* task) { return deliver(task, Element::Type::nil, {}, 0); }

#if HIREDIS_MAJOR >= 1
void* on_double(const redisReadTask*, double, char*, std::size_t) { return nullptr; }
void* on_bool(const redisReadTask*, int) { return nullptr; }
#endif

redisReplyObjectFunctions* object_functions() {
  static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
#if HIREDIS_MAJOR >= 1
    .createDouble = on_double,
#endif
    .createNil = on_nil,
#if HIREDIS_MAJOR >= 1
    .createBool = on_bool,
#endif
    .freeObject = [](void*) {},
  };
  return &functions;
}

int type_being_read(const redisReader& reader) {
  if (reader.ridx < 0) return -1;
#if HIREDIS_MAJOR >= 1
  return reader.task[reader.ridx]->type;
#else
  return reader.rstack[reader.ridx].type;
#endif
}

// How many bytes the value that begins here has, or -1 if that is not known yet.
long long announced_length(std::string_view arrived) {
  long long length = 0;
  for (std::size_t i = 0; i < std::min(arrived.size(), kMaxLengthDigits); ++i) {
    if (arrived[i] < '0' || arrived[i] > '9') return arrived[i] == '\r' ? length : -1;
    if (__builtin_mul_overflow(length, 10, &length) ||
        __builtin_add_overflow(length, arrived[i] - '0', &length)) {
      return std::numeric_limits<long long>::max();
    }
  }
  return arrived.size() < kMaxLengthDigits ? -1 : std::numeric_limits<long long>::max();
}

timeval to_timeval(std::chrono::milliseconds ms) {
  timeval value{};
  value.tv_sec = static_cast<time_t>(ms.count() / 1000);
  value.tv_usec = static_cast<suseconds_t>(ms.count() % 1000 * 1000);
  return value;
}

// Milliseconds for poll(), rounded up: it must not wake a moment before the deadline again
// and again.
int left_until(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - coarse_now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
}

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};

// Whether a server, or what stands in its place, repeats the login that it was sent.
bool repeats_login(std::string_view text, const Endpoint& endpoint) {
  const auto holds = [&](const std::optional<std::string>& part) {
    return part && !part->empty() && text.find(*part) != std::string_view::npos;
  };
  return holds(endpoint.password) || holds(endpoint.user);
}

}  // namespace

Deadline coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Deadline(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

Deadline deadline_after(std::chrono::milliseconds limit) noexcept {
  return coarse_now() + limit + kClockGrain;
}

struct Connection::Parser {
  explicit Parser(std::size_t max_value_bytes) : reader(make_reader()) {
    if (reader == nullptr) throw std::bad_alloc();
    receiver.most = max_value_bytes;
  }
  Parser(const Parser&) = delete;
  Parser& operator=(const Parser&) = delete;
  ~Parser() { redisReaderFree(reader); }

  redisReader* make_reader() noexcept {
    redisReader* const made = redisReaderCreateWithFunctions(object_functions());
    if (made == nullptr) return nullptr;
    made->maxbuf = kKeptBytes;
#if HIREDIS_MAJOR >= 1
    made->maxelements = kMaxElements;
#endif
    made->privdata = &receiver;
    return made;
  }

  std::string_view unread() const noexcept {
    return {reader->buf + reader->pos, reader->len - reader->pos};
  }
  // Whether nothing of a reply has come yet.
  bool is_idle() const noexcept { return reader->ridx < 0 && reader->pos == reader->len; }

  bool feed(std::string_view piece) noexcept {
    fed += piece.size();
    return redisReaderFeed(reader, piece.data(), piece.size()) == REDIS_OK;
  }
  // Gives back what a large reply needed. hiredis does so when it is fed the next one, which
  // may be never. REQUIRES: is_idle()
  void forget_large_reply() noexcept {
    const bool was_large = std::exchange(fed, 0) > kKeptBytes;
    redisReader* const fresh = was_large ? make_reader() : nullptr;
    if (fresh != nullptr) redisReaderFree(std::exchange(reader, fresh));
  }

  Receiver receiver;
  redisReader* reader;
  std::size_t fed = 0;  // bytes since it was idle
};

#ifdef POLYCACHE_REDIS_TLS

namespace {

// hiredis and OpenSSL write without MSG_NOSIGNAL. While one of these lives, a SIGPIPE of this
// thread waits, and is taken away if it was not there before.
class NoPipeSignal {
 public:
  NoPipeSignal() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;
  ~NoPipeSignal() {
    const int error = errno;
    const timespec at_once{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

}  // namespace

bool has_tls() noexcept { return true; }

// TLS over a descriptor that stays ours. Reading and writing are like recv() and send() with
// MSG_DONTWAIT.
class Connection::Tls {
 public:
  // Shakes hands; the descriptor blocks, within limits of its own. Throws std::runtime_error.
  Tls(int descriptor, const Endpoint& endpoint) {
    redisSSLContextError problem = REDIS_SSL_CTX_NONE;
    const TlsFiles& files = endpoint.tls_files;
    const auto path = [](const std::string& file) { return file.empty() ? nullptr : file.c_str(); };
    // Anew for each connection: certificates are replaced while programs run.
    const std::unique_ptr<redisSSLContext, decltype(&redisFreeSSLContext)> shared(
        redisCreateSSLContext(path(files.ca), nullptr, path(files.certificate), path(files.key),
                              endpoint.host.c_str(), &problem),
        &redisFreeSSLContext);
    if (!shared) throw std::runtime_error(redisSSLContextGetError(problem));
    context_.reset(redisConnectFd(descriptor));
    if (!context_) throw std::bad_alloc();
    const NoPipeSignal guard;
    if (redisInitiateSSLWithContext(context_.get(), shared.get()) != REDIS_OK) {
      throw std::runtime_error(context_->errstr);
    }
    context_->flags &= ~REDIS_BLOCK;
    const int flags = ::fcntl(descriptor, F_GETFL);
    ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  }

  ssize_t read(char* to, std::size_t size) noexcept {
    const NoPipeSignal guard;  // reading may write an alert
    errno = 0;
    const ssize_t got = context_->funcs->read(context_.get(), to, size);
    if (got > 0) return got;
    if (got < 0) {
      if (context_->err == REDIS_ERR_EOF) return 0;
      if (errno == 0) errno = EPROTO;
      return -1;
    }
    errno = EAGAIN;
    return -1;
  }

  // Takes everything; what could not be sent yet is sent by the next call, with {}.
  ssize_t write(std::string_view bytes) noexcept {
    const NoPipeSignal guard;
    errno = 0;
    int done = 0;
    if (!bytes.empty() &&
        redisAppendFormattedCommand(context_.get(), bytes.data(), bytes.size()) != REDIS_OK) {
      errno = ENOMEM;
      return -1;
    }
    do {
      errno = 0;
      const std::size_t before = unsent();
      if (redisBufferWrite(context_.get(), &done) != REDIS_OK) {
        if (errno == 0 || errno == EAGAIN) errno = EPROTO;
        return -1;
      }
      if (!done && unsent() == before) break;
    } while (!done);
    return done ? 1 : 0;
  }

 private:
  // Says nothing to the server, whose connection may be a forked parent's.
  struct Free {
    void operator()(redisContext* context) const noexcept {
      context->fd = -1;
      redisFree(context);
    }
  };
  std::size_t unsent() const noexcept { return sdslen(context_->obuf); }

  std::unique_ptr<redisContext, Free> context_;
};

#else

bool has_tls() noexcept { return false; }

// Without TLS in hiredis, a location that asks for it is refused before it comes to this.
class Connection::Tls {
 public:
  Tls(int, const Endpoint&) { throw std::runtime_error("this build has no TLS"); }
  ssize_t read(char*, std::size_t) noexcept { return -1; }
  ssize_t write(std::string_view) noexcept { return -1; }
};

#endif

Connection::Connection(const Endpoint& endpoint, const Limits& limits, const std::string& server)
    : endpoint_(endpoint), limits_(limits), server_(server) {}

Connection::~Connection() { close(); }

// The number goes first: a fork's child that closes it again might close somebody else's.
void Connection::abandon() noexcept {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0) ::close(descriptor);
}

void Connection::close() noexcept {
  abandon();
  outstanding_ = 0;
  parser_.reset();
  tls_.reset();
}

void Connection::fail(Kind kind, const std::string& message) {
  close();
  throw BackendError(kind, server_, message);
}

void Connection::lost(const std::string& why) {
  broke_ = !opened_now_;
  fail(Kind::unreachable, "the connection broke: " + why);
}

void Connection::timed_out() {
  fail(Kind::timeout, "no answer within the limit of " + std::to_string(limits_.operation.count()) +
                          "ms; if the server is only slow, raise the option timeout");
}

void Connection::begin(Deadline deadline, Check check) {
  deadline_ = deadline;
  least_bytes_ = 0;
  opened_now_ = false;
  broke_ = false;
  met_large_value_ = false;
  told_of_no_memory_ = false;
  // Replies that an abandoned operation left, or that nobody asked for.
  if (descriptor_ >= 0 && (outstanding_ != 0 || !parser_->unread().empty() ||
                           (check == Check::alive && !still_alive()))) {
    close();
  }
}

// An idle connection that can be read from was closed by the server, or bears bytes that
// nobody asked for.
bool Connection::still_alive() noexcept {
  char byte = 0;
  const ssize_t got =
      tls_ ? tls_->read(&byte, 1) : ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

void Connection::open() {
  close();
  opened_now_ = true;
  parser_ = std::make_unique<Parser>(limits_.max_value_bytes);
  arrived_.resize(kReceiveBytes);
  const Deadline limit = std::min(deadline_, coarse_now() + limits_.connect);
  forks_ = fork_count();
  if (endpoint_.socket.empty()) {
    connect_tcp(limit);
  } else {
    connect_socket(limit);
  }
  if (endpoint_.tls) secure(limit);
  log_in();
}

void Connection::connect_tcp(Deadline limit) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // An address is taken as it is, without the resolver's locks, which a fork's child may find
  // held for ever. Not with AI_ADDRCONFIG: that takes one even for an address.
  hints.ai_flags = AI_NUMERICSERV | AI_NUMERICHOST;
  addrinfo* found = nullptr;
  // Anew for each connection: a name may have moved to another machine.
  int problem = ::getaddrinfo(endpoint_.host.c_str(), endpoint_.port.c_str(), &hints, &found);
  if (problem == EAI_NONAME) {
    hints.ai_flags = AI_NUMERICSERV;
    problem = ::getaddrinfo(endpoint_.host.c_str(), endpoint_.port.c_str(), &hints, &found);
  }
  if (problem != 0) {
    fail(Kind::unreachable, std::string("its name cannot be resolved: ") + ::gai_strerror(problem));
  }
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(found);
  int error = 0;
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) {
    if (connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, limit, error)) {
      set_options(true);
      return;
    }
  }
  fail(Kind::unreachable, "cannot connect: " + system_message(error) + "; is the server running?");
}

void Connection::connect_socket(Deadline limit) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, endpoint_.socket.c_str(),
              std::min(endpoint_.socket.size(), sizeof address.sun_path - 1));
  int error = 0;
  if (!connect_to(AF_UNIX, &address, sizeof address, limit, error)) {
    fail(Kind::unreachable,
         "cannot connect: " + system_message(error) + "; is the server running?");
  }
  set_options(false);
}

bool Connection::connect_to(int family, const void* address, unsigned size, Deadline limit,
                            int& error) {
  descriptor_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor_ < 0) {
    error = errno;
    return false;
  }
  error = 0;
  if (::connect(descriptor_, static_cast<const sockaddr*>(address), size) != 0) {
    error = errno;
    if (error == EINPROGRESS || error == EINTR) {
      pollfd wait{descriptor_, POLLOUT, 0};
      int ready = 0;
      do {
        ready = ::poll(&wait, 1, left_until(limit));
      } while (ready < 0 && errno == EINTR);
      socklen_t length = sizeof error;
      if (ready == 0) {
        error = ETIMEDOUT;
      } else {
        ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
  }
  if (error == 0) return true;
  abandon();
  return false;
}

// Sending never blocks; receiving may, within the kernel's own limit: one system call then
// does what poll() and recv() would do in two.
void Connection::set_options(bool tcp) {
  const int flags = ::fcntl(descriptor_, F_GETFL);
  ::fcntl(descriptor_, F_SETFL, flags & ~O_NONBLOCK);
  kernel_limit_ = {};
  if (!tcp) return;
  const auto set = [this](int level, int option, int value) {
    ::setsockopt(descriptor_, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // A server that vanished is noticed within a minute, by a connection that waits for nothing.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

void Connection::secure(Deadline limit) {
  const timeval left = to_timeval(std::chrono::milliseconds(std::max(left_until(limit), 1)));
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof left);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof left);
  try {
    tls_ = std::make_unique<Tls>(descriptor_, endpoint_);
  } catch (const std::runtime_error& problem) {
    fail(coarse_now() >= limit ? Kind::timeout : Kind::denied,
         std::string("TLS cannot be agreed upon: ") + problem.what());
  }
}

void Connection::log_in() {
  CommandBuffer commands;
  if (endpoint_.password) {
    commands.begin(endpoint_.user ? 3 : 2);
    commands.word("AUTH");
    if (endpoint_.user) commands.word(*endpoint_.user);
    commands.word(*endpoint_.password);
  }
  const bool select = endpoint_.database.value_or(0) != 0;
  if (select) {
    commands.begin(2);
    commands.word("SELECT");
    commands.number(*endpoint_.database);
  }
  if (commands.count() == 0) return;
  send(commands.bytes(), commands.count());
  std::string refusal;
  const auto note_error = [&](const Element& element) {
    if (element.type != Element::Type::error) return;
    refusal = repeats_login(element.text, endpoint_) ? "an error" : element.text;
  };
  if (endpoint_.password) {
    receive(note_error);
    if (is_closed_door(refusal)) {
      fail(Kind::overloaded, "the server refuses connections: " + shown_error(refusal));
    }
    if (!refusal.empty()) {
      fail(Kind::denied, "the server refuses user and password: " + shown_error(refusal));
    }
  }
  if (!select) return;
  receive(note_error);
  if (refusal.empty()) return;
  const std::string database = std::to_string(*endpoint_.database);
  if (is_closed_door(refusal)) {
    fail(Kind::overloaded, "the server refuses connections: " + shown_error(refusal));
  }
  const bool denied = refusal.starts_with("NOAUTH") || refusal.starts_with("NOPERM");
  fail(denied ? Kind::denied : Kind::storage,
       "cannot use database " + database + ": " + shown_error(refusal));
}

std::string Connection::ping() {
  CommandBuffer commands;
  commands.begin("*1\r\n$4\r\nPING\r\n");
  send(commands.bytes(), commands.count());
  std::string problem;
  receive([&](const Element& element) {
    // Who may not ask that was answered all the same.
    if (element.type != Element::Type::error || element.text.starts_with("NOPERM")) return;
    problem = "the server answers " + shown_error(element.text);
  });
  return problem;
}

void Connection::wait_for(short events) {
  for (;;) {
    const int left = left_until(deadline_);
    if (left == 0) timed_out();
    pollfd wait{descriptor_, events, 0};
    const int ready = ::poll(&wait, 1, left);
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) lost(system_message(errno));
  }
}

void Connection::send(std::string_view commands, std::size_t count) {
  outstanding_ += count;
  just_sent_ = true;
  if (tls_) return send_by_tls(commands);
  while (!commands.empty()) {
    // A server that is gone must not end the process by SIGPIPE.
    const ssize_t sent =
        ::send(descriptor_, commands.data(), commands.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      commands.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_for(POLLOUT);
    } else if (errno != EINTR) {
      lost(system_message(errno));
    }
  }
}

void Connection::send_by_tls(std::string_view commands) {
  ssize_t sent = tls_->write(commands);
  while (sent == 0) {
    wait_for(POLLOUT);
    sent = tls_->write({});
  }
  if (sent < 0) lost(system_message(errno));
}

// The kernel's limit holds for each wait, the deadline for the whole operation. It is set
// again where they differ by more than a little; in an operation that goes well, they do not.
void Connection::limit_by_kernel() {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - coarse_now());
  if (left.count() <= 0) timed_out();
  const auto little = limits_.operation / 32 + std::chrono::milliseconds(1);
  if (kernel_limit_ >= left && kernel_limit_ <= left + little) return;
  kernel_limit_ = left;
  const timeval limit = to_timeval(left);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

// What recv() returns, after waiting no longer than until the deadline.
long Connection::receive_some() {
  if (tls_) {
    const ssize_t got = tls_->read(arrived_.data(), arrived_.size());
    if (got < 0 && errno == EAGAIN) wait_for(POLLIN);
    return got;
  }
  const std::size_t least = std::min(std::exchange(least_bytes_, 0), arrived_.size());
  const bool just_sent = std::exchange(just_sent_, false);
  if (least == 0 && !endpoint_.socket.empty()) return receive_by_poll(just_sent);
  limit_by_kernel();
  // Sleeping until a known number of bytes is there spares waking up for each part of them.
  if (least > 0) return ::recv(descriptor_, arrived_.data(), least, MSG_WAITALL);
  return ::recv(descriptor_, arrived_.data(), arrived_.size(), 0);
}

// Who sleeps in recv() on a unix socket is woken when the server reads the request, too, for
// nothing, which costs more than poll(). The answer is not there yet when the request was just
// sent; what follows it mostly is.
long Connection::receive_by_poll(bool just_sent) {
  const auto receive_now = [this] {
    return ::recv(descriptor_, arrived_.data(), arrived_.size(), MSG_DONTWAIT);
  };
  if (!just_sent) {
    const ssize_t got = receive_now();
    if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return got;
  }
  wait_for(POLLIN);
  return receive_now();
}

// The next bytes, whatever they are.
std::string_view Connection::next_piece() {
  // In the middle of an operation, by what it was given to do with values.
  if (forks_ != fork_count()) fail(Kind::unreachable, "this is a fork's child, it is the parent's");
  for (;;) {
    errno = 0;
    const long got = receive_some();
    if (got > 0) return {arrived_.data(), static_cast<std::size_t>(got)};
    if (got == 0) lost("the server closed it");
    // A limit that ended, or a signal: the next turn looks at the deadline.
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) lost(system_message(errno));
  }
}

void Connection::feed(std::string_view piece) {
  if (!parser_->feed(piece)) fail(Kind::protocol, "no memory for the reply");
}

void Connection::refuse_value(std::size_t size) {
  met_large_value_ = true;
  fail(Kind::protocol, "it announces a value of " + std::to_string(size) +
                           " bytes; more than the option max_value_bytes allows");
}

// hiredis buffers a value until it is whole. Its length stands before it: look at that, and
// take no memory for more than is allowed.
void Connection::check_what_is_announced() {
  const std::string_view unread = parser_->unread();
  if (unread.empty()) return;
  if (type_being_read(*parser_->reader) == REDIS_REPLY_STRING) {
    const long long length = announced_length(unread);
    if (length < 0 || static_cast<std::size_t>(length) <= limits_.max_value_bytes) return;
    refuse_value(static_cast<std::size_t>(length));
  }
  if (unread.size() > kMaxLine) fail(Kind::protocol, "a line of its answer does not end");
}

bool Connection::next_reply() {
  void* reply = nullptr;
  if (redisReaderGetReply(parser_->reader, &reply) == REDIS_OK) return reply != nullptr;
  const std::string what = parser_->reader->errstr;
  fail(Kind::protocol, "its answer is no answer of redis (" + what + "); is it a redis server?");
}

void Connection::receive(ElementSink sink) {
  receive(sink, [](auto read) { return read(); });
}

// All replies that a piece of bytes completes are parsed, and given to the sink, in one go.
void Connection::receive_at_leisure(ElementSink sink) {
  receive(sink, [this](auto read) {
    const Deadline begin = coarse_now();
    const bool is_whole = read();
    deadline_ += coarse_now() - begin;
    return is_whole;
  });
}

// `with_sink` runs what may call the sink.
template <class WithSink>
void Connection::receive(ElementSink& sink, WithSink with_sink) {
  if (parser_->is_idle()) {
    const std::string_view piece = next_piece();
    if (UsualReply reply(piece); reply.is_whole(limits_.max_value_bytes)) {
      --outstanding_;
      with_sink([&] { return reply.read(sink); });
      return;
    }
    feed(piece);
  }
  Receiver& receiver = parser_->receiver;
  receiver.sink = &sink;
  receiver.exception = nullptr;
  while (!with_sink([this] { return next_reply(); })) {
    check_what_is_announced();
    feed(next_piece());
  }
  receiver.sink = nullptr;
  --outstanding_;
  if (parser_->is_idle()) parser_->forget_large_reply();
  if (receiver.too_large > 0) refuse_value(std::exchange(receiver.too_large, 0));
  if (receiver.exception) std::rethrow_exception(std::exchange(receiver.exception, nullptr));
}

}  // namespace polycache::redis
