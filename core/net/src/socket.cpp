#include "polycache/net/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

#include "polycache/author/descriptor.h"
#include "polycache/net/keepalive.h"
#include "polycache/net/resolve.h"
#include "polycache/net/tls.h"
#include "tls_stream.h"

namespace polycache::net {
namespace {

using Kind = BackendError::Kind;

int for_poll(std::chrono::milliseconds left) noexcept {
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
}

bool must_wait(int error) noexcept { return error == EAGAIN || error == EWOULDBLOCK; }

int open_socket(int family) noexcept {
  const HeldStandardStreams held;
  return off_standard_streams(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Socket::Socket() noexcept = default;

Socket::~Socket() { close(); }

// Reset the number first: if a fork's child closed it twice, it might close another file.
void Socket::abandon() noexcept {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0) ::close(descriptor);
}

void Socket::close() noexcept {
  abandon();
  tls_.reset();
}

std::optional<Failure> Socket::connect(const Address& address, Deadline end, TlsClient* tls) {
  tls_.reset();
  is_tcp_ = address.path.empty();
  std::string problem;
  const int error =
      is_tcp_ ? connect_by_name(address, end, problem) : connect_by_path(address.path, end);
  if (!problem.empty()) return Failure{Failure::Step::name, Kind::unreachable, problem};
  if (error != 0) return Failure{Failure::Step::connect, Kind::unreachable, std::strerror(error)};
  set_options();
  if (tls == nullptr) return std::nullopt;
  try {
    std::optional<Failure> failure = secure(*tls, end);
    if (failure) close();
    return failure;
  } catch (...) {  // never send in the clear on a connection meant for TLS
    close();
    throw;
  }
}

// Returns 0 or errno, or sets `problem` if the name does not resolve. Resolves the name for each
// connection, since it may have moved to another machine.
int Socket::connect_by_name(const Address& address, Deadline end, std::string& problem) {
  const Addresses addresses = resolve(address.host, address.port, problem);
  int untried = 0;
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) ++untried;
  int error = 0;
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next, --untried) {
    const Deadline now = coarse_now();
    // The first address must not use up the time of the others.
    const Deadline share = untried == 1 ? end : now + (end - now) / untried;
    error = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, share);
    if (error == 0) break;
  }
  return error;
}

int Socket::connect_by_path(const std::string& path, Deadline end) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return connect_to(AF_UNIX, &address, sizeof address, end);
}

// Returns 0 or errno.
int Socket::connect_to(int family, const void* address, unsigned size, Deadline end) {
  descriptor_ = open_socket(family);
  if (descriptor_ < 0) return errno;
  const auto try_it = [&] {
    return ::connect(descriptor_, static_cast<const sockaddr*>(address), size) == 0 ? 0 : errno;
  };
  int error = try_it();
  // A unix socket with a full accept queue returns this error, and poll() cannot wait for it.
  while (error == EAGAIN && family == AF_UNIX && coarse_now() < end) {
    ::poll(nullptr, 0, 1);
    error = try_it();
  }
  if (error == EINPROGRESS || error == EINTR) {
    socklen_t length = sizeof error;
    if (wait(POLLOUT, end) == 0) {
      error = ETIMEDOUT;
    } else {
      ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
    }
  }
  if (error != 0) close();
  return error;
}

// From now on receiving blocks, with the kernel's own limit: one system call then replaces poll()
// and recv(). Sending never blocks (MSG_DONTWAIT).
void Socket::set_options() noexcept {
  const int flags = ::fcntl(descriptor_, F_GETFL);
  ::fcntl(descriptor_, F_SETFL, flags & ~O_NONBLOCK);
  kernel_limit_ = {};
  if (!is_tcp_) return;
  const auto set = [this](int level, int option, int value) {
    ::setsockopt(descriptor_, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(keepalive_idle.count()));
  set(IPPROTO_TCP, TCP_KEEPINTVL, static_cast<int>(keepalive_interval.count()));
  set(IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
}

std::optional<Failure> Socket::secure(TlsClient& client, Deadline end) {
  tls_ = client.begin(descriptor_);
  for (;;) {
    const ssize_t done = tls_->shake_hands();
    if (done > 0) return std::nullopt;
    if (done < 0 && must_wait(errno)) {
      if (wait(tls_->wants(), end) != 0) continue;
      return Failure{Failure::Step::tls, Kind::timeout,
                     "no end of the handshake within the limit; does it speak TLS here? If it is "
                     "only slow, raise the options connect_timeout and timeout"};
    }
    if (auto failure = tls_->failure()) return failure;
    return Failure{Failure::Step::tls, Kind::unreachable,
                   (done == 0 ? std::string("it closed the connection in the handshake")
                              : std::string(std::strerror(errno))) +
                       "; is the server running, and does it speak TLS here?"};
  }
}

std::optional<Failure> Socket::tls_failure() {
  return tls_ ? tls_->failure() : std::optional<Failure>();
}

ssize_t Socket::send(std::string_view bytes, bool more) {
  just_sent_ = true;
  if (tls_) [[unlikely]]
    return tls_->write(bytes);
  // A closed connection must not end the process by SIGPIPE.
  return ::send(descriptor_, bytes.data(), bytes.size(),
                MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
}

short Socket::events_to_send() const noexcept { return tls_ ? tls_->wants() : short{POLLOUT}; }

ssize_t Socket::receive_now(std::span<char> room) {
  if (tls_) return tls_->read(room);
  return ::recv(descriptor_, room.data(), room.size(), MSG_DONTWAIT);
}

ssize_t Socket::receive(std::span<char> room, Deadline end, std::size_t least) {
  if (tls_) [[unlikely]]
    return receive_by_tls(room, end);
  for (;;) {
    const auto left = left_until(end);
    if (left.count() <= 0) {
      errno = ETIME;
      return -1;
    }
    const ssize_t got =
        is_tcp_ || least > 0 ? receive_by_kernel(room, least, left) : receive_by_poll(room, left);
    // The kernel's limit ended, or a signal came: the next iteration checks the clock.
    if (got >= 0 || (!must_wait(errno) && errno != EINTR)) return got;
  }
}

ssize_t Socket::receive_by_kernel(std::span<char> room, std::size_t least,
                                  std::chrono::milliseconds left) {
  just_sent_ = false;
  limit_by_kernel(left);
  if (least == 0) return ::recv(descriptor_, room.data(), room.size(), 0);
  return ::recv(descriptor_, room.data(), std::min(least, room.size()), MSG_WAITALL);
}

// For unix sockets: recv() also wakes up, needlessly, when the server reads the request, which
// costs more than poll(). Right after a request was sent the reply is not there yet; later parts
// mostly are.
ssize_t Socket::receive_by_poll(std::span<char> room, std::chrono::milliseconds left) {
  if (!std::exchange(just_sent_, false)) {
    const ssize_t got = receive_now(room);
    if (got >= 0 || !must_wait(errno)) return got;
  }
  pollfd waiting{descriptor_, POLLIN, 0};
  if (::poll(&waiting, 1, for_poll(left)) > 0) return receive_now(room);
  errno = EAGAIN;
  return -1;
}

ssize_t Socket::receive_by_tls(std::span<char> room, Deadline end) {
  while (left_until(end).count() > 0) {  // limits the loop however fast bytes arrive
    const ssize_t got = tls_->read(room);
    if (got >= 0 || !must_wait(errno)) return got;
    static_cast<void>(wait(tls_->wants(), end));
  }
  errno = ETIME;
  return -1;
}

// The kernel's limit applies to each wait, the deadline to the whole operation. The limit is set
// again only if the two differ noticeably, which they do not while operations succeed.
void Socket::limit_by_kernel(std::chrono::milliseconds left) noexcept {
  const auto little = left / 32 + std::chrono::milliseconds(1);
  if (kernel_limit_ >= left && kernel_limit_ <= left + little) return;
  kernel_limit_ = left;
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(left.count() / 1000);
  limit.tv_usec = static_cast<suseconds_t>(left.count() % 1000 * 1000);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

short Socket::wait(short events, Deadline end) {
  for (;;) {
    const auto left = left_until(end);
    if (left.count() <= 0) return 0;
    pollfd waiting{descriptor_, events, 0};
    const int ready = ::poll(&waiting, 1, for_poll(left));
    if (ready > 0) return waiting.revents;
    if (ready < 0 && errno != EINTR) return POLLERR;  // the next call reports the reason
  }
}

bool Socket::is_quiet() {
  if (tls_) return tls_->is_quiet();
  char byte = 0;
  const ssize_t got = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (must_wait(errno) || errno == EINTR);
}

}  // namespace polycache::net
