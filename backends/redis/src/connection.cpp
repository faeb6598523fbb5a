#include "connection.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "command.h"
#include "polycache/author/fork.h"
#include "polycache/author/text.h"
#include "server_error.h"

namespace polycache::redis {
namespace {

using Kind = BackendError::Kind;

constexpr std::size_t kReceiveBytes = std::size_t{64} << 10U;
constexpr std::size_t kKeptBytes = std::size_t{256} << 10U;  // memory that the parser keeps
constexpr std::size_t kMaxElements = std::size_t{1} << 20U;  // of one array
constexpr int kMaxDepth = 7;  // of nested arrays; independent of the hiredis version
constexpr std::size_t kMaxLine = std::size_t{64} << 10U;  // for anything but a value
constexpr std::size_t kMaxLengthDigits = 24;

// A connection that was idle for this long is checked before use; the system call is then
// negligible.
constexpr std::chrono::seconds kRest(1);

std::string system_message(int error) { return std::strerror(error); }

// Replaces hiredis's reply objects: passes each part to the sink.
struct Receiver {
  const ElementSink* sink = nullptr;
  std::exception_ptr exception = nullptr;
  std::size_t most = 0;       // bytes of a value
  std::size_t too_large = 0;  // the size of a larger one, which was not passed on
  bool met_error = false;
};

// A non-null reply object for hiredis; never dereferenced.
void* not_null() noexcept {
  static char object = 0;
  return &object;
}

int depth_of(const redisReadTask* task) noexcept {
  int depth = 0;
  for (const redisReadTask* t = task->parent; t != nullptr; t = t->parent) ++depth;
  return depth;
}

// Exceptions must not propagate through a C library.
void* deliver(const redisReadTask* task, Element::Type type, std::string_view text,
              std::int64_t integer) noexcept {
  auto& receiver = *static_cast<Receiver*>(task->privdata);
  if (receiver.exception || receiver.sink == nullptr) return not_null();
  try {
    (*receiver.sink)(
        Element{type, depth_of(task), static_cast<std::size_t>(task->idx), text, integer});
  } catch (...) {  // rethrown by Connection::receive()
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
      static_cast<Receiver*>(task->privdata)->met_error = true;
      return deliver(task, Element::Type::error, view, 0);
    default:
      return nullptr;  // of a newer protocol, which we never request
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

// The announced size of the value that begins here, or -1 if it is not known yet.
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

// Whether a server, or whatever answers in its place, repeats the login that it received.
bool repeats_login(std::string_view text, const Endpoint& endpoint) {
  const auto holds = [&](const std::optional<std::string>& part) {
    return part && !part->empty() && text.find(*part) != std::string_view::npos;
  };
  return holds(endpoint.password) || holds(endpoint.user);
}

}  // namespace

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
  // Whether no part of a reply has arrived yet.
  bool is_idle() const noexcept { return reader->ridx < 0 && reader->pos == reader->len; }

  bool feed(std::string_view piece) noexcept {
    fed += piece.size();
    return redisReaderFeed(reader, piece.data(), piece.size()) == REDIS_OK;
  }
  // Releases the memory of a large reply. hiredis does so only when fed the next one, which may
  // never come. REQUIRES: is_idle()
  void forget_large_reply() noexcept {
    const bool was_large = std::exchange(fed, 0) > kKeptBytes;
    redisReader* const fresh = was_large ? make_reader() : nullptr;
    if (fresh != nullptr) redisReaderFree(std::exchange(reader, fresh));
  }

  Receiver receiver;
  redisReader* reader;
  std::size_t fed = 0;  // bytes since it was idle
};

Connection::Connection(const Endpoint& endpoint, const Limits& limits, const std::string& server)
    : endpoint_(endpoint), limits_(limits), server_(server) {}

Connection::~Connection() { close(); }

void Connection::abandon() noexcept { socket_.abandon(); }

void Connection::close() noexcept {
  socket_.close();
  outstanding_ = 0;
  met_error_ = false;
  parser_.reset();
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
  const bool is_rested = deadline - deadline_ > kRest;
  deadline_ = deadline;
  least_bytes_ = 0;
  opened_now_ = false;
  broke_ = false;
  met_large_value_ = false;
  told_of_no_memory_ = false;
  if (!socket_.is_open()) return;
  // Closes the connection if it holds replies left by an abandoned operation, or unrequested ones.
  // The socket is checked for the latter only where the system call is cheap or important.
  const bool looks = check == Check::alive || is_rested || met_error_;
  if (outstanding_ != 0 || !parser_->is_idle() || (looks && !socket_.is_quiet())) close();
  met_error_ = false;
}

void Connection::open() {
  close();
  opened_now_ = true;
  parser_ = std::make_unique<Parser>(limits_.max_value_bytes);
  arrived_.resize(kReceiveBytes);
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
  outstanding_ += count;
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

void Connection::feed(std::string_view piece) {
  if (!parser_->feed(piece)) fail(Kind::protocol, "no memory for the reply");
}

void Connection::refuse_value(std::size_t size) {
  met_large_value_ = true;
  fail(Kind::protocol, "it announces a value of " + std::to_string(size) +
                           " bytes; more than the option max_value_bytes allows");
}

// For bytes before the first request or after the last reply: it is unknown which reply belongs to
// which request.
void Connection::refuse_surplus() {
  fail(Kind::protocol, "it replies more than it was asked for; is it a redis server?");
}

// hiredis buffers a value until it is complete. Its length comes first: check that, so that no more
// memory is used than allowed.
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

// Parses all replies that a received piece completes, and passes them to the sink, in one go.
void Connection::receive_at_leisure(ElementSink sink) {
  receive(sink, [this](auto read) {
    const Deadline begin = coarse_now();
    const bool is_whole = read();
    deadline_ += coarse_now() - begin;
    return is_whole;
  });
}

// `with_sink` wraps every call that may call the sink.
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
  met_error_ = std::exchange(receiver.met_error, false) || met_error_;
  --outstanding_;
  if (parser_->is_idle()) {
    parser_->forget_large_reply();
  } else if (outstanding_ == 0) {
    refuse_surplus();
  }
  if (receiver.too_large > 0) refuse_value(std::exchange(receiver.too_large, 0));
  if (receiver.exception) std::rethrow_exception(std::exchange(receiver.exception, nullptr));
}

}  // namespace polycache::redis
