#include "connection.h"

#include <netdb.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "polycache/text.h"

namespace polycache::memcached {
namespace {

constexpr std::size_t kMaxKey = 250;

// What a block may be larger than a value: two bytes of line end, steps of a KiB, and the
// library's own buffers and rings.
constexpr std::size_t kOverhead = 256 * 1024;

// A connection that nobody used for so long may have been closed by the server, or by what
// lies in between.
constexpr std::chrono::seconds kIdle{1};

// A reply of that size comes whole, or not at all; the clock is not looked at in between.
constexpr std::size_t kOnePiece = 4096;

// After so long without a word the kernel asks whether the other side is still there.
constexpr std::uint64_t kKeepaliveSeconds = 60;

// --- The memory that libmemcached works with. ---
//
// Three things stand between a forged reply and this process. No block is larger than what
// max_value_bytes needs, so that a forged length cannot take gigabytes. Before each block lie
// a few unused bytes, since a length of 2^64 - 1 makes the library write a zero just before
// its buffer. And the result that it reads into, which lies inside our own object, is not
// freed, whatever has been written over its flags.
struct Bounds {
  std::size_t largest_block;
  const void* never_freed;
};

constexpr std::size_t kBefore = alignof(std::max_align_t);

void* allocate(const memcached_st*, const std::size_t size, void* context) {
  if (size > static_cast<const Bounds*>(context)->largest_block) return nullptr;
  void* const block = std::malloc(kBefore + size);
  return block == nullptr ? nullptr : static_cast<char*>(block) + kBefore;
}

void release(const memcached_st*, void* memory, void* context) {
  if (memory == nullptr || memory == static_cast<const Bounds*>(context)->never_freed) return;
  std::free(static_cast<char*>(memory) - kBefore);
}

void* reallocate(const memcached_st* client, void* memory, const std::size_t size, void* context) {
  if (memory == nullptr) return allocate(client, size, context);
  if (size > static_cast<const Bounds*>(context)->largest_block) return nullptr;
  void* const block = std::realloc(static_cast<char*>(memory) - kBefore, kBefore + size);
  return block == nullptr ? nullptr : static_cast<char*>(block) + kBefore;
}

void* allocate_zeros(const memcached_st* client, std::size_t count, const std::size_t size,
                     void* context) {
  if (size != 0 && count > static_cast<const Bounds*>(context)->largest_block / size) {
    return nullptr;
  }
  void* const memory = allocate(client, count * size, context);
  if (memory != nullptr) std::memset(memory, 0, count * size);
  return memory;
}

// --- What it says. ---

bool is_broken(memcached_return_t result) noexcept {
  return result == MEMCACHED_CONNECTION_FAILURE || result == MEMCACHED_ERRNO ||
         result == MEMCACHED_WRITE_FAILURE || result == MEMCACHED_READ_FAILURE;
}

BackendError::Kind kind_of(memcached_return_t result) noexcept {
  switch (result) {
    case MEMCACHED_TIMEOUT:
    case MEMCACHED_IN_PROGRESS:
      return BackendError::Kind::timeout;
    case MEMCACHED_AUTH_PROBLEM:
    case MEMCACHED_AUTH_FAILURE:
    case MEMCACHED_AUTH_CONTINUE:
      return BackendError::Kind::denied;
    case MEMCACHED_SERVER_ERROR:
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
      return BackendError::Kind::overloaded;
    case MEMCACHED_CONNECTION_FAILURE:
    case MEMCACHED_ERRNO:
    case MEMCACHED_WRITE_FAILURE:
    case MEMCACHED_READ_FAILURE:
    case MEMCACHED_HOST_LOOKUP_FAILURE:
    case MEMCACHED_FAIL_UNIX_SOCKET:
    case MEMCACHED_NO_SERVERS:
    case MEMCACHED_SERVER_MARKED_DEAD:
    case MEMCACHED_SERVER_TEMPORARILY_DISABLED:
      return BackendError::Kind::unreachable;
    default:
      return BackendError::Kind::protocol;
  }
}

void configure(memcached_st& client, const Settings& settings) {
  const auto set = [&client](memcached_behavior_t behavior, std::uint64_t value) {
    memcached_behavior_set(&client, behavior, value);
  };
  set(MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, settings.protocol == Protocol::binary ? 1 : 0);
  set(MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
  set(MEMCACHED_BEHAVIOR_TCP_KEEPALIVE, 1);
  set(MEMCACHED_BEHAVIOR_TCP_KEEPIDLE, kKeepaliveSeconds);
  // When to try again is decided by the breaker and by Redial.
  set(MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0);
}

memcached_return_t add_server(memcached_st& client, const ServerAddress& server) {
  return server.is_unix_socket() ? memcached_server_add_unix_socket_with_weight(
                                       &client, server.host.c_str(), server.weight)
                                 : memcached_server_add_with_weight(&client, server.host.c_str(),
                                                                    server.port, server.weight);
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

[[noreturn]] void out_of_memory() { throw std::bad_alloc(); }

// Whether eight bytes hold a blank, a control character or DEL: the high bit of a byte is set
// by the subtraction if it was below 0x21, and likewise where it differs from 0x7F in nothing.
bool has_bad_byte(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t each = 0x0101010101010101;
  const std::uint64_t low = (bytes - each * 0x21) & ~bytes;
  const std::uint64_t apart = bytes ^ (each * 0x7F);
  const std::uint64_t del = (apart - each) & ~apart;
  return ((low | del) & (each * 0x80)) != 0;
}

std::uint64_t eight_bytes(const char* bytes) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

bool is_sound_key(std::string_view key) noexcept {
  constexpr std::size_t step = sizeof(std::uint64_t);
  if (key.empty() || key.size() > kMaxKey) return false;
  if (key.size() < step) {
    return std::none_of(key.begin(), key.end(), [](char c) {
      const auto byte = static_cast<unsigned char>(c);
      return byte <= ' ' || byte == 0x7F;
    });
  }
  bool bad = has_bad_byte(eight_bytes(key.data() + key.size() - step));
  for (std::size_t at = 0; at + step < key.size(); at += step) {
    bad |= has_bad_byte(eight_bytes(key.data() + at));
  }
  return !bad;
}

}  // namespace

Instant coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return Instant(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

void check_key(std::string_view key) {
  if (is_sound_key(key)) return;
  throw InvalidKey("key " + quote(key) +
                   ": memcached stores keys of 1 to 250 bytes without blanks and control "
                   "characters; use the key function \"hashed\"");
}

// --- Ring ---

Ring::Ring(const std::vector<ServerAddress>& servers) : servers_(servers.size()) {
  if (memcached_create(&client_) == nullptr) out_of_memory();
  memcached_behavior_set(&client_, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
  for (const ServerAddress& server : servers) {
    if (memcached_failed(add_server(client_, server))) {
      memcached_free(&client_);
      out_of_memory();
    }
  }
}

Ring::~Ring() { memcached_free(&client_); }

std::size_t Ring::server_of(std::string_view key) const noexcept {
  return servers_ == 1 ? 0 : memcached_generate_hash(&client_, key.data(), key.size());
}

// --- Connection ---

struct Connection::Client {
  Bounds bounds;
  Want wanted;
  memcached_st memcached;
  // What is read, always: the library copies a reply's key into it without looking at its
  // length, so that a forged one would run over whatever lies behind. Behind this lies room.
  memcached_result_st found;
  std::array<char, 66 * 1024> overrun;  // a binary key's length has 16 bits
};

void Connection::Drop::operator()(Client* client) const noexcept {
  // Says goodbye to the server, and waits no longer for that than it must.
  memcached_behavior_set(&client->memcached, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 1);
  client->found.options.is_allocated = false;
  memcached_result_free(&client->found);
  memcached_free(&client->memcached);
  delete client;
}

Connection::Connection(const ServerAddress& server, const Settings& settings, Redial& redial)
    : server_(server), settings_(settings), redial_(redial) {}

Connection::~Connection() = default;

std::unique_ptr<Connection::Client, Connection::Drop> Connection::make_client() const {
  auto client = std::make_unique_for_overwrite<Client>();
  client->bounds = {.largest_block = settings_.max_value_bytes + kOverhead,
                    .never_freed = &client->found};
  if (memcached_create(&client->memcached) == nullptr) out_of_memory();
  memcached_set_memory_allocators(&client->memcached, allocate, release, reallocate, allocate_zeros,
                                  &client->bounds);
  memcached_result_create(&client->memcached, &client->found);
  client->wanted = Want::value;
  std::unique_ptr<Client, Drop> owner(client.release());
  memcached_st& memcached = owner->memcached;
  configure(memcached, settings_);
  // Gives it a buffer now: a forged length of 2^64 - 2 makes the library write where a buffer
  // ought to be, without asking for one.
  if (memcached_failed(memcached_result_set_value(&owner->found, "-", 1)) ||
      memcached_failed(add_server(memcached, server_))) {
    out_of_memory();
  }
  if (!settings_.user.empty() &&
      memcached_failed(memcached_set_sasl_auth_data(&memcached, settings_.user.c_str(),
                                                    settings_.password.c_str()))) {
    out_of_memory();
  }
  return owner;
}

void Connection::begin(Term term, bool tells_redial) noexcept {
  tells_redial_ = tells_redial;
  begun_ = term.begun;
  end_ = term.end;
  second_chance_ = is_open();
}

void Connection::open() {
  // Answers that nobody read would be taken for the answers to the next question.
  if (unread_) client_.reset();
  unread_ = false;
  Instant now = std::exchange(begun_, Instant{});
  if (client_ == nullptr) [[unlikely]] {
    connect();
    now = {};
  }
  if (now == Instant{}) now = coarse_now();
  keep_time(now);
  last_used_ = now;
}

// Anew from the name on.
void Connection::connect() {
  second_chance_ = false;
  const std::int64_t begun = redial_.now();
  client_ = make_client();
  connecting_ = true;
  try {
    keep_time();
    greet();
  } catch (const BackendError&) {
    if (tells_redial_) redial_.failed(begun);
    throw;
  }
  connecting_ = false;
  redial_.succeeded();
}

// Before what may wait: no longer than until the end.
void Connection::keep_time(Instant now) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_ - now);
  if (left.count() <= 0) fail(MEMCACHED_TIMEOUT);
  // Not through memcached_behavior_set(): these are read before each wait.
  memcached_st& memcached = client_->memcached;
  memcached.poll_timeout = static_cast<std::int32_t>(left.count());
  memcached.connect_timeout =
      static_cast<std::int32_t>(std::min(left, settings_.connect_timeout).count());
}

// Asks for the version and looks at the answer. Something else that listens there, and greets
// with a number as mail servers do, would make the library's own assertions end the process
// at the first set.
void Connection::greet() {
  constexpr std::uint8_t unknown = 0xFF;
  memcached_st& memcached = client_->memcached;
  const memcached_return_t verdict = memcached_version(&memcached);
  const memcached_return_t result = reason(verdict);
  // The one thing that can be wrong with this command is who sent it.
  if (result == MEMCACHED_CLIENT_ERROR) fail(MEMCACHED_AUTH_PROBLEM);
  if (memcached_failed(result)) fail(result);
  if (memcached_failed(verdict)) {  // without a reason: it said ERROR
    fail(BackendError::Kind::overloaded,
         "it refused the connection; has it too many of them (-c), or is it no memcached?");
  }
  if (memcached_server_major_version(memcached_server_instance_by_position(&memcached, 0)) ==
      unknown) {
    fail(BackendError::Kind::protocol, "what listens there is no memcached; look at the location");
  }
}

// Before what must not be sent twice: a connection that lay idle is tried with a question.
void Connection::prove_alive() {
  if (client_ != nullptr && coarse_now() - last_used_ > kIdle) ping();
}

// Operations that may be done twice. Only a connection that worked before is given a second
// chance: the server closed it, or was started anew.
template <class Operation>
memcached_return_t Connection::repeat_if_stale(Operation operation) {
  open();
  const memcached_return_t result = reason(operation());
  if (!is_broken(result) || !take_second_chance()) return result;
  client_.reset();
  open();
  return reason(operation());
}

// Some functions say only that something failed; the last error says what.
memcached_return_t Connection::reason(memcached_return_t result) const noexcept {
  return result == MEMCACHED_FAILURE || result == MEMCACHED_SOME_ERRORS
             ? memcached_last_error(&client_->memcached)
             : result;
}

// --- Reading ---

std::chrono::nanoseconds Connection::ping() {
  static constexpr std::string_view any = "polycache:alive";
  open();
  const auto begin = std::chrono::steady_clock::now();
  static_cast<void>(get(any, Want::value));
  return std::chrono::steady_clock::now() - begin;
}

void Connection::want(Want want) {
  if (client_->wanted == want) return;
  memcached_behavior_set(&client_->memcached, MEMCACHED_BEHAVIOR_SUPPORT_CAS,
                         want == Want::value_and_version ? 1 : 0);
  client_->wanted = want;
}

memcached_return_t Connection::send_question(std::string_view key, Want want) {
  this->want(want);
  const char* const begin = key.data();
  const std::size_t size = key.size();
  return memcached_mget(&client_->memcached, &begin, &size, 1);
}

memcached_return_t Connection::send_question(std::span<const std::string_view> keys, Want want) {
  key_begins_.clear();
  key_sizes_.clear();
  if (settings_.protocol == Protocol::ascii && keys.size() > 1) {
    join(keys);
  } else {
    for (const std::string_view key : keys) add_to_question(key);
  }
  this->want(want);
  return memcached_mget(&client_->memcached, key_begins_.data(), key_sizes_.data(),
                        key_begins_.size());
}

void Connection::add_to_question(std::string_view key) {
  key_begins_.push_back(key.data());
  key_sizes_.push_back(key.size());
}

// The library spends a good part of its time on each key of a question. On the wire they only
// stand next to each other with blanks in between, so it is given as many as fit into what it
// takes for one.
void Connection::join(std::span<const std::string_view> keys) {
  std::size_t size = 0;
  for (const std::string_view key : keys) size += key.size() + 1;
  joined_.clear();
  joined_.reserve(size);  // so that views of it stay
  const char* begin = joined_.data();
  for (const std::string_view key : keys) {
    const auto together = static_cast<std::size_t>(joined_.data() + joined_.size() - begin);
    if (together != 0 && together + 1 + key.size() <= kMaxKey) {
      joined_ += ' ';
    } else {
      if (together != 0) add_to_question({begin, together});
      begin = joined_.data() + joined_.size();
    }
    joined_ += key;
  }
  add_to_question({begin, static_cast<std::size_t>(joined_.data() + joined_.size() - begin)});
}

// The next item, or empty with why there is none: MEMCACHED_END after the last.
std::optional<Found> Connection::next(memcached_return_t& result) {
  memcached_result_st& found = client_->found;
  // A result that has been counted before makes the library tell a failure from a miss: it
  // calls whatever goes wrong with the first reply "not found".
  found.count = 1;
  if (memcached_fetch_result(&client_->memcached, &found, &result) == nullptr) {
    if (result == MEMCACHED_NOTFOUND) result = MEMCACHED_END;
    return std::nullopt;
  }
  const std::size_t size = memcached_result_length(&found);
  if (found.key_length > kMaxKey || size > settings_.max_value_bytes) {
    result = MEMCACHED_PROTOCOL_ERROR;
    return std::nullopt;
  }
  return Found{.key = {found.item_key, found.key_length},
               .value = {memcached_result_value(&found), size},
               .flags = found.item_flags,
               .version = found.item_cas};
}

std::optional<Found> Connection::get(std::string_view key, Want want) {
  std::optional<Found> item;
  const memcached_return_t result = repeat_if_stale([&] {
    memcached_return_t step = send_question(key, want);
    if (memcached_failed(step)) return step;
    item = next(step);
    if (item && item->value.size() > kOnePiece) keep_time();
    // The end of the reply is read at once, and leaves the item's bytes where they are.
    if (item && next(step)) return MEMCACHED_PROTOCOL_ERROR;
    return step;
  });
  if (result != MEMCACHED_END) fail(result);
  if (item && item->key != key) fail(MEMCACHED_PROTOCOL_ERROR);
  return item;
}

void Connection::ask(std::span<const std::string_view> keys, Want want) {
  const memcached_return_t result = repeat_if_stale([&] { return send_question(keys, want); });
  if (memcached_failed(result)) fail(result);
  unread_ = true;
}

// Matches items with questions: the server answers in order and leaves out what it has not.
memcached_return_t Connection::read_answers(std::span<const std::string_view> keys,
                                            FunctionRef<void(std::size_t, const Found&)> sink) {
  std::size_t question = 0;
  memcached_return_t result = MEMCACHED_SUCCESS;
  while (const auto item = next(result)) {
    keep_time();
    while (question < keys.size() && keys[question] != item->key) ++question;
    if (question == keys.size()) return MEMCACHED_PROTOCOL_ERROR;
    sink(question++, *item);
  }
  return result;
}

void Connection::answer(std::span<const std::string_view> keys, Want want,
                        FunctionRef<void(std::size_t, const Found&)> sink) {
  bool any = false;
  const auto deliver = [&](std::size_t index, const Found& found) {
    any = true;
    sink(index, found);
  };
  memcached_return_t result = read_answers(keys, deliver);
  // The question went into a connection that the server had closed.
  if (is_broken(result) && !any && take_second_chance()) {
    client_.reset();
    ask(keys, want);
    result = read_answers(keys, deliver);
  }
  unread_ = false;
  if (result != MEMCACHED_END) fail(result);
}

// --- Writing ---

Outcome Connection::set(std::string_view key, std::string_view value, Lifetime lifetime) {
  return outcome(repeat_if_stale([&] {
    return memcached_set(&client_->memcached, key.data(), key.size(), value.data(), value.size(),
                         lifetime.expiration, lifetime.flags);
  }));
}

// Buffered, and without replies: the library can read many replies, but keeps the last only,
// and of buffered requests that have replies it aborts at a KiB or so.
memcached_return_t Connection::send_quietly(std::span<const NewItem> items) {
  memcached_st& memcached = client_->memcached;
  // Not through memcached_behavior_set(), which closes the connection before it obeys.
  memcached.flags.buffer_requests = true;
  memcached.flags.reply = false;
  memcached_return_t result = MEMCACHED_SUCCESS;
  for (const NewItem& item : items) {
    keep_time();
    result = memcached_set(&memcached, item.key.data(), item.key.size(), item.value.data(),
                           item.value.size(), item.lifetime.expiration, item.lifetime.flags);
    if (memcached_failed(result)) break;
  }
  memcached.flags.buffer_requests = false;
  memcached.flags.reply = true;
  return result;
}

void Connection::set_many(std::span<const NewItem> items,
                          FunctionRef<void(std::size_t)> confirmed) {
  stored_keys_.clear();
  for (const NewItem& item : items) stored_keys_.push_back(item.key);
  const memcached_return_t result = repeat_if_stale([&] {
    memcached_return_t step = send_quietly(items);
    if (!memcached_failed(step)) step = send_question(stored_keys_, Want::value);
    if (memcached_failed(step)) return step;
    return read_answers(stored_keys_, [&](std::size_t i, const Found& found) {
      const NewItem& item = items[i];
      if (found.value == item.value && found.flags == item.lifetime.flags) confirmed(i);
    });
  });
  if (result != MEMCACHED_END) fail(result);
}

Outcome Connection::add(std::string_view key, std::string_view value, Lifetime lifetime) {
  prove_alive();
  open();
  return outcome(memcached_add(&client_->memcached, key.data(), key.size(), value.data(),
                               value.size(), lifetime.expiration, lifetime.flags));
}

Outcome Connection::replace_version(std::string_view key, std::string_view value, Lifetime lifetime,
                                    std::uint64_t version) {
  open();
  return outcome(memcached_cas(&client_->memcached, key.data(), key.size(), value.data(),
                               value.size(), lifetime.expiration, lifetime.flags, version));
}

Outcome Connection::erase(std::string_view key) {
  return outcome(repeat_if_stale(
      [&] { return memcached_delete(&client_->memcached, key.data(), key.size(), 0); }));
}

// memcached knows no conditional deletion; an item that is gone at once is one.
Outcome Connection::erase_version(std::string_view key, std::uint64_t version) {
  return replace_version(key, {}, {.flags = 0, .expiration = kGoneAtOnce}, version);
}

void Connection::clear() {
  const auto result = repeat_if_stale([&] { return memcached_flush(&client_->memcached, 0); });
  if (outcome(result) != Outcome::done) fail(MEMCACHED_PROTOCOL_ERROR);
}

// --- Verdicts ---

Outcome Connection::outcome(memcached_return_t result) {
  switch (result) {
    case MEMCACHED_SUCCESS:
    case MEMCACHED_STORED:
    case MEMCACHED_DELETED:
      return Outcome::done;
    case MEMCACHED_NOTSTORED:
    case MEMCACHED_DATA_EXISTS:
      return Outcome::exists;
    case MEMCACHED_NOTFOUND:
      return Outcome::absent;
    case MEMCACHED_MEMORY_ALLOCATION_FAILURE:
      // The server's in the binary protocol; ours, for a reply that was forged, in the other.
      if (settings_.protocol == Protocol::ascii) fail(MEMCACHED_PROTOCOL_ERROR);
      client_.reset();  // the library has closed it
      return Outcome::refused;
    case MEMCACHED_E2BIG:
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
      return Outcome::refused;
    default:
      fail(result);
  }
}

// The library takes a name server that does not answer for a server that does not.
bool Connection::is_name_unknown(memcached_return_t result) const noexcept {
  const char* const message = memcached_last_error_message(&client_->memcached);
  return result == MEMCACHED_TIMEOUT && message != nullptr &&
         std::strstr(message, ::gai_strerror(EAI_AGAIN)) != nullptr;
}

void Connection::fail(memcached_return_t result) {
  result = reason(result);
  if (is_name_unknown(result)) result = MEMCACHED_HOST_LOOKUP_FAILURE;
  const BackendError::Kind kind = kind_of(result);
  const int error = memcached_last_error_errno(&client_->memcached);
  switch (kind) {
    case BackendError::Kind::timeout:
      if (connecting_) {
        fail(kind, "no connection within " + std::to_string(settings_.connect_timeout.count()) +
                       " ms, or no greeting within " + std::to_string(settings_.timeout.count()) +
                       " ms; is memcached running there, and not overloaded?");
      }
      fail(kind, "no answer within " + std::to_string(settings_.timeout.count()) +
                     R"( ms; is it overloaded, or "timeout" too short?)");
    case BackendError::Kind::denied:
      fail(kind, R"(it wants a user and a password, or others; look at "user" and "password")");
    case BackendError::Kind::overloaded:
      fail(kind, "it reports an error of its own; look at its log");
    case BackendError::Kind::unreachable:
      fail(kind, "no connection (" +
                     (error == 0 ? lower(memcached_strerror(nullptr, result))
                                 : std::string(std::strerror(error))) +
                     "); is memcached running there?");
    default:
      fail(kind, "its reply makes no sense (" + lower(memcached_strerror(nullptr, result)) +
                     "); is it memcached, and max_value_bytes large enough?");
  }
}

void Connection::fail(BackendError::Kind kind, std::string_view what) {
  client_.reset();
  connecting_ = false;
  throw BackendError(kind, server_.name(), std::string(what));
}

}  // namespace polycache::memcached
