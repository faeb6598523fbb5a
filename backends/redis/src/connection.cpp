#include "connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "command.h"
#include "login.h"
#include "polycache/author/fork.h"
#include "polycache/author/text.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;

constexpr std::size_t receive_bytes = std::size_t{64} << 10U;

// A connection that was idle for this long is checked before use; the system call is then
// negligible.
constexpr std::chrono::seconds rest_limit(1);

std::string system_message(int error) { return std::strerror(error); }

}  // namespace

Connection::Connection(const Endpoint& endpoint, const Limits& limits, const std::string& server)
    : endpoint_(endpoint), limits_(limits), server_(server) {}

Connection::~Connection() { close(); }

void Connection::abandon() noexcept { socket_.abandon(); }

void Connection::close() noexcept {
  socket_.close();
  replies_.reset();
}

void Connection::fail(Kind kind, const std::string& message) {
  close();
  throw BackendError(kind, server_, message);
}

void Connection::lost(const std::string& why) {
  if (const auto failure = socket_.tls_failure()) fail(failure->kind, "TLS: " + failure->reason);
  broke_ = !opened_now_;
  fail(Kind::unreachable, "the connection broke: " + why);
}

void Connection::timed_out() {
  fail(Kind::timeout, "no answer within the limit of " + std::to_string(limits_.operation.count()) +
                          "ms; if the server is only slow, raise the option timeout");
}

void Connection::begin(Deadline deadline, Check check) {
  const bool is_rested = deadline - deadline_ > rest_limit;
  deadline_ = deadline;
  least_bytes_ = 0;
  opened_now_ = false;
  broke_ = false;
  met_large_value_ = false;
  reported_no_memory_ = false;
  if (!socket_.is_open()) return;
  // Closes the connection if it holds replies left by an abandoned operation, or unrequested ones.
  // The socket is checked for the latter only where the system call is cheap or important.
  const bool looks = check == Check::alive || is_rested || replies_->met_error();
  const bool is_clean = replies_->outstanding() == 0 && replies_->is_idle();
  if (!is_clean || (looks && !socket_.is_quiet())) return close();
  replies_->forget_error();
}

void Connection::open() {
  close();
  opened_now_ = true;
  replies_ = std::make_unique<ReplyReader>(limits_.max_value_bytes);
  arrived_.resize(receive_bytes);
  forks_ = fork_count();
  try {
    connect();
    log_in();
  } catch (...) {  // a connection without login must not be used
    close();
    throw;
  }
}

void Connection::connect() {
  // Never connect in the clear if TLS was requested.
  if (endpoint_.wants_tls && !endpoint_.tls) fail(Kind::denied, "TLS: it was not configured");
  const net::Address address{
      .host = endpoint_.host, .port = endpoint_.port, .path = endpoint_.socket};
  const Deadline end = std::min(deadline_, deadline_after(limits_.connect));
  const auto failure = socket_.connect(address, end, endpoint_.tls.get());
  if (!failure) return;
  switch (failure->step) {
    case net::Failure::Step::name:
      fail(failure->kind, "its name cannot be resolved: " + failure->reason);
    case net::Failure::Step::tls:
      fail(failure->kind, "TLS: " + failure->reason);
    default:
      fail(failure->kind, "cannot connect: " + failure->reason + "; is the server running?");
  }
}

void Connection::log_in() {
  const Login login(endpoint_);
  CommandBuffer commands;
  login.compose(commands);
  if (commands.count() == 0) return;
  send(commands.bytes(), commands.count());
  for (std::size_t i = 0; i < commands.count(); ++i) {
    std::optional<Login::Refusal> refusal;
    receive([&](const Element& reply) {
      if (auto found = login.refusal_in(i, reply)) refusal = std::move(found);
    });
    if (refusal) fail(refusal->kind, refusal->message);
  }
}

std::string Connection::ping() {
  CommandBuffer commands;
  commands.begin("*1\r\n$4\r\nPING\r\n");
  send(commands.bytes(), commands.count());
  std::string problem;
  receive([&](const Element& element) {
    // NOPERM is a reply, too: the server works.
    if (element.type != Element::Type::error || element.text.starts_with("NOPERM")) return;
    problem = "the server answers " + shown_error(element.text);
  });
  return problem;
}

void Connection::wait_for(short events) {
  if (socket_.wait(events, deadline_) == 0) timed_out();
}

void Connection::send(std::string_view commands, std::size_t count) {
  replies_->expect(count);
  while (!commands.empty()) {
    const ssize_t sent = socket_.send(commands, false);
    if (sent >= 0) {
      commands.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_for(socket_.events_to_send());
    } else if (errno != EINTR) {
      lost(system_message(errno));
    }
  }
}

// Receives the next bytes, whatever they are.
std::string_view Connection::next_piece() {
  // The value sink of the current operation may have forked.
  if (forks_ != fork_count()) fail(Kind::unreachable, "this is a fork's child, it is the parent's");
  const ssize_t got = socket_.receive(arrived_, deadline_, std::exchange(least_bytes_, 0));
  if (got > 0) [[likely]]
    return {arrived_.data(), static_cast<std::size_t>(got)};
  if (got == 0) lost("the server closed it");
  if (errno == ETIME) timed_out();
  lost(system_message(errno));
}

void Connection::receive(ElementSink sink) {
  receive(sink, [](auto read) { return read(); });
}

// Parses all replies that a received piece completes, and passes them to the sink, in one go.
void Connection::receive_at_leisure(ElementSink sink) {
  receive(sink, [this](auto read) {
    const Deadline begin = coarse_now();
    const ReplyReader::State state = read();
    deadline_ += coarse_now() - begin;
    return state;
  });
}

// `timed` wraps every call that may call the sink.
template <class Timed>
void Connection::receive(ElementSink sink, Timed timed) {
  std::string_view piece = replies_->is_idle() ? next_piece() : std::string_view();
  for (;;) {
    const ReplyReader::State state = timed([&] { return replies_->read(piece, sink); });
    if (state == ReplyReader::State::reply) [[likely]]
      return;
    if (state != ReplyReader::State::incomplete) refuse(state);
    piece = next_piece();
  }
}

void Connection::refuse(ReplyReader::State state) {
  met_large_value_ = state == ReplyReader::State::too_large;
  const std::string problem = replies_->problem();  // fail() ends the reader
  fail(Kind::protocol, problem);
}

}  // namespace polycache::redis
