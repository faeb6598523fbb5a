#include "socket.h"

#include <fcntl.h>
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
#include <memory>
#include <utility>

namespace polycache::memcached {
namespace {

// Rounded up: a wait must not end a moment before the end again and again.
std::chrono::milliseconds left_until(Instant end) noexcept {
  return std::chrono::ceil<std::chrono::milliseconds>(end - coarse_now());
}

int as_poll_takes_it(std::chrono::milliseconds left) noexcept {
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30));
}

struct FreeAddresses {
  void operator()(addrinfo* list) const noexcept { ::freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// What getaddrinfo() says, 0 if it found some.
int look_up(const ServerAddress& address, Addresses& addresses) {
  const std::string port = std::to_string(address.port);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  // An address is taken as it is, without the resolver's locks, which a fork's child may find
  // held for ever. Not with AI_ADDRCONFIG: that takes one even for an address.
  hints.ai_flags = AI_NUMERICSERV | AI_NUMERICHOST;
  addrinfo* found = nullptr;
  int problem = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  if (problem == EAI_NONAME) {
    hints.ai_flags = AI_NUMERICSERV;
    problem = ::getaddrinfo(address.host.c_str(), port.c_str(), &hints, &found);
  }
  if (problem == 0) addresses.reset(found);
  return problem;
}

std::string no_connection(int error) {
  return "no connection (" + std::string(std::strerror(error)) + "); is memcached running there?";
}

}  // namespace

// The number goes first: a fork's child that closes it again might close somebody else's.
void Socket::close() noexcept {
  const int descriptor = std::exchange(descriptor_, -1);
  if (descriptor >= 0) ::close(descriptor);
}

std::string Socket::connect(const ServerAddress& address, std::chrono::milliseconds each,
                            Instant end) {
  is_tcp_ = !address.is_unix_socket();
  if (!is_tcp_) {
    const int error = connect_by_path(address.host, std::min(end, Term::of(each).end));
    return error == 0 ? std::string() : no_connection(error);
  }
  Addresses addresses;
  if (const int problem = look_up(address, addresses); problem != 0) {
    return "no connection: its name cannot be resolved (" + std::string(::gai_strerror(problem)) +
           ")";
  }
  int error = 0;
  for (const addrinfo* a = addresses.get(); a != nullptr; a = a->ai_next) {
    error = connect_to(a->ai_family, a->ai_addr, a->ai_addrlen, std::min(end, Term::of(each).end));
    if (error == 0) {
      set_tcp_options();
      return {};
    }
  }
  return no_connection(error);
}

int Socket::connect_by_path(const std::string& path, Instant end) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return connect_to(AF_UNIX, &address, sizeof address, end);
}

// 0, or errno.
int Socket::connect_to(int family, const void* address, unsigned size, Instant end) {
  descriptor_ = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor_ < 0) return errno;
  const auto try_it = [&] {
    return ::connect(descriptor_, static_cast<const sockaddr*>(address), size) == 0 ? 0 : errno;
  };
  int error = try_it();
  // A unix socket whose server has many to accept says so, and cannot be waited for.
  while (error == EAGAIN && coarse_now() < end) {
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

// Receiving blocks from now on, within the kernel's own limit: one system call then does what
// poll() and recv() would do in two.
void Socket::set_tcp_options() noexcept {
  const int flags = ::fcntl(descriptor_, F_GETFL);
  ::fcntl(descriptor_, F_SETFL, flags & ~O_NONBLOCK);
  kernel_limit_ = {};
  const auto set = [this](int level, int option, int value) {
    ::setsockopt(descriptor_, level, option, &value, sizeof value);
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  // A server that vanished is noticed by a connection that waits for nothing, too.
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
}

ssize_t Socket::send(std::string_view bytes, bool more) noexcept {
  just_sent_ = true;
  // A server that is gone must not end the process by SIGPIPE.
  return ::send(descriptor_, bytes.data(), bytes.size(),
                MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
}

ssize_t Socket::receive_now(std::span<char> room) noexcept {
  return ::recv(descriptor_, room.data(), room.size(), MSG_DONTWAIT);
}

ssize_t Socket::receive(std::span<char> room, Instant end) noexcept {
  for (;;) {
    const auto left = left_until(end);
    if (left.count() <= 0) {
      errno = ETIME;
      return -1;
    }
    const ssize_t got = is_tcp_ ? receive_by_kernel(room, left) : receive_by_poll(room, left);
    // A limit that ended, or a signal: the next turn looks at the clock.
    if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) return got;
  }
}

ssize_t Socket::receive_by_kernel(std::span<char> room, std::chrono::milliseconds left) noexcept {
  limit_by_kernel(left);
  return ::recv(descriptor_, room.data(), room.size(), 0);
}

// Who sleeps in recv() on a unix socket is woken when the other side reads what was sent, too,
// for nothing, which costs more than poll(). The answer is not there yet when the question was
// just sent; what follows it mostly is.
ssize_t Socket::receive_by_poll(std::span<char> room, std::chrono::milliseconds left) noexcept {
  if (!std::exchange(just_sent_, false)) {
    const ssize_t got = receive_now(room);
    if (got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) return got;
  }
  pollfd waiting{descriptor_, POLLIN, 0};
  if (::poll(&waiting, 1, as_poll_takes_it(left)) > 0) return receive_now(room);
  errno = EAGAIN;
  return -1;
}

// The kernel's limit holds for each wait, the end for the whole operation. It is set again
// where they differ by more than a little; in an operation that goes well, they do not.
void Socket::limit_by_kernel(std::chrono::milliseconds left) noexcept {
  const auto little = left / 32 + std::chrono::milliseconds(1);
  if (kernel_limit_ >= left && kernel_limit_ <= left + little) return;
  kernel_limit_ = left;
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(left.count() / 1000);
  limit.tv_usec = static_cast<suseconds_t>(left.count() % 1000 * 1000);
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
}

short Socket::wait(short events, Instant end) noexcept {
  for (;;) {
    const auto left = left_until(end);
    if (left.count() <= 0) return 0;
    pollfd waiting{descriptor_, events, 0};
    const int ready = ::poll(&waiting, 1, as_poll_takes_it(left));
    if (ready > 0) return waiting.revents;
    if (ready < 0 && errno != EINTR) return POLLERR;  // what it is, the next call says
  }
}

bool Socket::is_quiet() noexcept {
  char byte = 0;
  const ssize_t got = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

}  // namespace polycache::memcached
