#include "reply_reader.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <exception>
#include <limits>
#include <new>
#include <utility>

namespace polycache::redis {
namespace {

constexpr std::size_t kept_bytes = std::size_t{256} << 10U;  // memory that the parser keeps
constexpr std::size_t max_elements = std::size_t{1} << 20U;  // of one array
constexpr int max_depth = 7;  // of nested arrays; independent of the hiredis version
constexpr std::size_t max_line = std::size_t{64} << 10U;  // for anything but a value
constexpr std::size_t max_length_digits = 24;

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
    (*receiver.sink)(Element{type, depth_of(task), static_cast<std::size_t>(std::max(task->idx, 0)),
                             text, integer});
  } catch (...) {  // rethrown by read_by_parser()
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
  const bool too_long = static_cast<std::size_t>(length) > max_elements;
  if (task->type != REDIS_REPLY_ARRAY || too_long || depth_of(task) >= max_depth) return nullptr;
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
  for (std::size_t i = 0; i < std::min(arrived.size(), max_length_digits); ++i) {
    if (arrived[i] < '0' || arrived[i] > '9') return arrived[i] == '\r' ? length : -1;
    if (__builtin_mul_overflow(length, 10, &length) ||
        __builtin_add_overflow(length, arrived[i] - '0', &length)) {
      return std::numeric_limits<long long>::max();
    }
  }
  return arrived.size() < max_length_digits ? -1 : std::numeric_limits<long long>::max();
}

}  // namespace

struct ReplyReader::Parser {
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
    made->maxbuf = kept_bytes;
#if HIREDIS_MAJOR >= 1
    made->maxelements = max_elements;
#endif
    made->privdata = &receiver;
    return made;
  }

  std::string_view unread() const noexcept {
    return {reader->buf + reader->pos, reader->len - reader->pos};
  }
  // Whether no part of a reply is left.
  bool is_idle() const noexcept { return reader->ridx < 0 && reader->pos == reader->len; }

  bool feed(std::string_view piece) noexcept {
    fed += piece.size();
    return redisReaderFeed(reader, piece.data(), piece.size()) == REDIS_OK;
  }
  // Releases the memory of a large reply. hiredis does so only when fed the next one, which may
  // never come. REQUIRES: is_idle()
  void forget_large_reply() noexcept {
    const bool was_large = std::exchange(fed, 0) > kept_bytes;
    redisReader* const fresh = was_large ? make_reader() : nullptr;
    if (fresh != nullptr) redisReaderFree(std::exchange(reader, fresh));
  }

  Receiver receiver;
  redisReader* reader;
  std::size_t fed = 0;  // bytes since it was idle
};

ReplyReader::ReplyReader(std::size_t max_value_bytes)
    : max_value_bytes_(max_value_bytes), parser_(std::make_unique<Parser>(max_value_bytes)) {}

ReplyReader::~ReplyReader() = default;

ReplyReader::State ReplyReader::read(std::string_view piece, ElementSink sink) {
  if (!idle_) return read_by_parser(piece, sink);
  UsualReply reply(piece);
  if (!reply.is_whole(max_value_bytes_)) return read_by_parser(piece, sink);
  if (outstanding_ == 0) return refuse_surplus();
  --outstanding_;
  reply.read(sink);
  return State::reply;
}

ReplyReader::State ReplyReader::read_by_parser(std::string_view piece, ElementSink& sink) {
  if (!piece.empty()) {
    idle_ = false;
    if (!parser_->feed(piece)) return fail(State::damaged, "no memory for the reply");
  }
  Receiver& receiver = parser_->receiver;
  receiver.sink = &sink;
  void* reply = nullptr;
  const bool is_sound = redisReaderGetReply(parser_->reader, &reply) == REDIS_OK;
  receiver.sink = nullptr;
  if (!is_sound) {
    return fail(State::damaged, "its answer is not an answer of redis (" +
                                    std::string(parser_->reader->errstr) +
                                    "); is it a redis server?");
  }
  if (reply == nullptr) return check_announcement();
  met_error_ = std::exchange(receiver.met_error, false) || met_error_;
  if (outstanding_ == 0) return refuse_surplus();
  --outstanding_;
  idle_ = parser_->is_idle();
  if (idle_) {
    parser_->forget_large_reply();
  } else if (outstanding_ == 0) {
    return refuse_surplus();
  }
  if (receiver.too_large > 0) return refuse_value(receiver.too_large);
  if (receiver.exception) std::rethrow_exception(std::exchange(receiver.exception, nullptr));
  return State::reply;
}

// hiredis buffers a value until it is complete. Its length comes first: check that, so that no more
// memory is used than allowed.
ReplyReader::State ReplyReader::check_announcement() {
  const std::string_view unread = parser_->unread();
  if (unread.empty()) return State::incomplete;
  const bool is_value = type_being_read(*parser_->reader) == REDIS_REPLY_STRING;
  if (const long long length = is_value ? announced_length(unread) : -1; length >= 0) {
    const auto size = static_cast<std::size_t>(length);
    return size > max_value_bytes_ ? refuse_value(size) : State::incomplete;
  }
  if (unread.size() > max_line) return fail(State::damaged, "a line of its answer does not end");
  return State::incomplete;
}

// For bytes before the first request or after the last reply: it is unknown which reply belongs to
// which request.
ReplyReader::State ReplyReader::refuse_surplus() {
  return fail(State::damaged, "it replies more than it was asked for; is it a redis server?");
}

ReplyReader::State ReplyReader::refuse_value(std::size_t size) {
  return fail(State::too_large, "it announces a value of " + std::to_string(size) +
                                    " bytes; more than the option max_value_bytes allows");
}

ReplyReader::State ReplyReader::fail(State state, std::string problem) {
  problem_ = std::move(problem);
  return state;
}

}  // namespace polycache::redis
