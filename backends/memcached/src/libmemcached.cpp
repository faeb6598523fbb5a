#include "libmemcached.h"

#include <netdb.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"
#include "polycache/net/keepalive.h"

namespace polycache::memcached {
namespace {

// How much a block may exceed a value: two bytes of line end, steps of a KiB, and the library's own
// buffers and rings.
constexpr std::size_t overhead = 256 * 1024;

// A connection idle for this long may have been closed by the server or a middlebox.
constexpr std::chrono::seconds idle_limit{1};

// A reply of this size arrives completely or not at all; the clock is not checked in between.
constexpr std::size_t one_piece_bytes = 4096;

// --- The memory that libmemcached works with. ---
//
// Three measures protect this process from a forged reply. No block is larger than max_value_bytes
// requires, so that a forged length cannot take gigabytes. A few unused bytes precede each block,
// since a length of 2^64 - 1 makes the library write a zero just before its buffer. And the result
// that it reads into, which lies inside our own object, is never freed, whatever has been written
// over its flags.
struct Bounds {
  std::size_t largest_block;
  const void* never_freed;
};

constexpr std::size_t bytes_before = alignof(std::max_align_t);

void* allocate(const memcached_st*, const std::size_t size, void* context) {
  if (size > static_cast<const Bounds*>(context)->largest_block) return nullptr;
  void* const block = std::malloc(bytes_before + size);
  return block == nullptr ? nullptr : static_cast<char*>(block) + bytes_before;
}

void release(const memcached_st*, void* memory, void* context) {
  if (memory == nullptr || memory == static_cast<const Bounds*>(context)->never_freed) return;
  std::free(static_cast<char*>(memory) - bytes_before);
}

void* reallocate(const memcached_st* client, void* memory, const std::size_t size, void* context) {
  if (memory == nullptr) return allocate(client, size, context);
  if (size > static_cast<const Bounds*>(context)->largest_block) return nullptr;
  void* const block = std::realloc(static_cast<char*>(memory) - bytes_before, bytes_before + size);
  return block == nullptr ? nullptr : static_cast<char*>(block) + bytes_before;
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

// --- Return codes ---

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

void configure(memcached_st& client) {
  const auto set = [&client](memcached_behavior_t behavior, std::uint64_t value) {
    memcached_behavior_set(&client, behavior, value);
  };
  set(MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 1);
  set(MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
  set(MEMCACHED_BEHAVIOR_TCP_KEEPALIVE, 1);
  set(MEMCACHED_BEHAVIOR_TCP_KEEPIDLE, static_cast<std::uint64_t>(net::keepalive_idle.count()));
  // The breaker and ReconnectPace decide when to retry.
  set(MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0);
}

memcached_return_t add_server(memcached_st& client, const Endpoint& server) {
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

}  // namespace

// --- Ring ---

Ring::Ring(const std::vector<Endpoint>& servers) : servers_(servers.size()) {
  if (memcached_create(&client_) == nullptr) out_of_memory();
  memcached_behavior_set(&client_, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
  for (const Endpoint& server : servers) {
    if (memcached_failed(add_server(client_, server))) {
      memcached_free(&client_);
      out_of_memory();
    }
  }
}

Ring::~Ring() { memcached_free(&client_); }

// --- BinaryConnection ---

struct BinaryConnection::Client {
  Bounds bounds;
  Want wanted;
  memcached_st memcached;
  // All reads use this: the library copies a reply's key into it without checking the length, so a
  // forged key would overwrite whatever follows. `overrun` provides the space.
  memcached_result_st found;
  std::array<char, 66 * 1024> overrun;  // a binary key's length has 16 bits
};

void BinaryConnection::Drop::operator()(Client* client) const noexcept {
  // Sends a quit command to the server, and waits no longer for that than it must.
  memcached_behavior_set(&client->memcached, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, 1);
  client->found.options.is_allocated = false;
  memcached_result_free(&client->found);
  memcached_free(&client->memcached);
  delete client;
}

std::unique_ptr<BinaryConnection::Client, BinaryConnection::Drop> BinaryConnection::make_client()
    const {
  auto client = std::make_unique_for_overwrite<Client>();
  client->bounds = {.largest_block = settings().max_value_bytes + overhead,
                    .never_freed = &client->found};
  if (memcached_create(&client->memcached) == nullptr) out_of_memory();
  memcached_set_memory_allocators(&client->memcached, allocate, release, reallocate, allocate_zeros,
                                  &client->bounds);
  memcached_result_create(&client->memcached, &client->found);
  client->wanted = Want::value;
  std::unique_ptr<Client, Drop> owner(client.release());
  memcached_st& memcached = owner->memcached;
  configure(memcached);
  // Allocate a buffer now: a forged length of 2^64 - 2 makes the library write to its buffer
  // without allocating one.
  if (memcached_failed(memcached_result_set_value(&owner->found, "-", 1)) ||
      memcached_failed(add_server(memcached, endpoint()))) {
    out_of_memory();
  }
  if (!settings().user.empty() &&
      memcached_failed(memcached_set_sasl_auth_data(&memcached, settings().user.c_str(),
                                                    settings().password.c_str()))) {
    out_of_memory();
  }
  return owner;
}

void BinaryConnection::connect() {
  client_ = make_client();
  keep_time();
  const HeldStandardStreams held;  // the library creates the socket
  greet();
}

// Before anything that may wait: limits it to the end of the operation.
void BinaryConnection::keep_time() {
  const net::Deadline now = net::coarse_now();
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end() - now);
  if (left.count() <= 0) fail(MEMCACHED_TIMEOUT);
  last_used_ = now;
  // Set directly, not by memcached_behavior_set(): these are read before each wait.
  memcached_st& memcached = client_->memcached;
  memcached.poll_timeout = static_cast<std::int32_t>(left.count());
  memcached.connect_timeout =
      static_cast<std::int32_t>(std::min(left, settings().connect_timeout).count());
}

// Requests the version and checks the reply, to detect a different service before anything else is
// sent.
void BinaryConnection::greet() {
  constexpr std::uint8_t unknown = 0xFF;
  memcached_st& memcached = client_->memcached;
  const memcached_return_t verdict = memcached_version(&memcached);
  const memcached_return_t result = reason(verdict);
  // The only possible client error here is missing or wrong credentials.
  if (result == MEMCACHED_CLIENT_ERROR) fail(MEMCACHED_AUTH_PROBLEM);
  if (memcached_failed(result)) fail(result);
  if (memcached_failed(verdict)) {  // no reason: it replied ERROR
    fail(
        BackendError::Kind::overloaded,
        "it refused the connection; check its limit of connections (-c), and that it is memcached");
  }
  if (memcached_server_major_version(memcached_server_instance_by_position(&memcached, 0)) ==
      unknown) {
    fail(BackendError::Kind::protocol, "what listens there is not memcached; check the location");
  }
}

// Before a request that must not be sent twice: an idle connection is tested with a request.
void BinaryConnection::prove_alive() {
  if (client_ != nullptr && net::coarse_now() - last_used_ > idle_limit) ping();
}

// Some functions only report that something failed; the last error has the reason.
memcached_return_t BinaryConnection::reason(memcached_return_t result) const noexcept {
  return result == MEMCACHED_FAILURE || result == MEMCACHED_SOME_ERRORS
             ? memcached_last_error(&client_->memcached)
             : result;
}

// --- Reading ---

void BinaryConnection::want(Want want) {
  if (client_->wanted == want) return;
  memcached_behavior_set(&client_->memcached, MEMCACHED_BEHAVIOR_SUPPORT_CAS,
                         want == Want::value_and_version ? 1 : 0);
  client_->wanted = want;
}

void BinaryConnection::send_question(std::span<const std::string_view> keys, Want want) {
  keep_time();
  key_begins_.clear();
  key_sizes_.clear();
  for (const std::string_view key : keys) {
    key_begins_.push_back(key.data());
    key_sizes_.push_back(key.size());
  }
  this->want(want);
  const memcached_return_t result = reason(memcached_mget(&client_->memcached, key_begins_.data(),
                                                          key_sizes_.data(), key_begins_.size()));
  if (memcached_failed(result)) fail(result);
}

// The next item, or empty with the reason: MEMCACHED_END after the last.
std::optional<Found> BinaryConnection::next(memcached_return_t& result) {
  memcached_result_st& found = client_->found;
  // With a count of zero the library reports any failure of the first reply as "not found".
  found.count = 1;
  if (memcached_fetch_result(&client_->memcached, &found, &result) == nullptr) {
    if (result == MEMCACHED_NOTFOUND) result = MEMCACHED_END;
    return std::nullopt;
  }
  const std::size_t size = memcached_result_length(&found);
  if (found.key_length > max_key || size > settings().max_value_bytes) {
    result = MEMCACHED_PROTOCOL_ERROR;
    return std::nullopt;
  }
  return Found{.key = {found.item_key, found.key_length},
               .value = {memcached_result_value(&found), size},
               .flags = found.item_flags,
               .version = found.item_cas};
}

std::optional<Found> BinaryConnection::find(std::string_view key, Want want) {
  send_question({&key, 1}, want);
  memcached_return_t result = MEMCACHED_SUCCESS;
  const auto item = next(result);
  if (item) {
    if (item->value.size() > one_piece_bytes) keep_time();
    // Reads the end of the reply at once; the item's bytes stay in place.
    if (next(result)) fail(MEMCACHED_PROTOCOL_ERROR);
  }
  result = reason(result);
  if (result != MEMCACHED_END) fail(result);
  if (item && item->key != key) fail(MEMCACHED_PROTOCOL_ERROR);
  return item;
}

// Matches items with requested keys: the server replies in order and omits absent ones.
void BinaryConnection::read_answers(std::span<const std::string_view> keys, Want /*want*/,
                                    FunctionRef<void(std::size_t, const Found&)> sink) {
  std::size_t question = 0;
  memcached_return_t result = MEMCACHED_SUCCESS;
  while (const auto item = next(result)) {
    keep_time();
    while (question < keys.size() && keys[question] != item->key) ++question;
    if (question == keys.size()) fail(MEMCACHED_PROTOCOL_ERROR);
    sink(question++, *item);
  }
  result = reason(result);
  if (result != MEMCACHED_END) fail(result);
}

// --- Writing ---

Outcome BinaryConnection::store(How how, const NewItem& item, std::uint64_t version) {
  keep_time();
  memcached_st* const memcached = &client_->memcached;
  const auto& [key, value, lifetime] = item;
  switch (how) {
    case How::set:
      return outcome(memcached_set(memcached, key.data(), key.size(), value.data(), value.size(),
                                   lifetime.expiration, lifetime.flags));
    case How::add:
      return outcome(memcached_add(memcached, key.data(), key.size(), value.data(), value.size(),
                                   lifetime.expiration, lifetime.flags));
    default:
      return outcome(memcached_cas(memcached, key.data(), key.size(), value.data(), value.size(),
                                   lifetime.expiration, lifetime.flags, version));
  }
}

// One by one: of several replies the library keeps the last, and if buffered requests have replies,
// it aborts at about a KiB.
void BinaryConnection::set_all(std::span<const NewItem> items,
                               FunctionRef<void(std::size_t, Outcome)> sink) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    open();  // a refused item before may have closed it
    sink(i, store(How::set, items[i], 0));
  }
}

Outcome BinaryConnection::remove(std::string_view key) {
  keep_time();
  return outcome(memcached_delete(&client_->memcached, key.data(), key.size(), 0));
}

// One by one. Reading the flags takes its own round trip, since the reply to a deletion does not
// contain them; that read is repeated if the connection turns out to be broken.
void BinaryConnection::remove_all(std::span<const std::string_view> keys, Look look,
                                  FunctionRef<void(std::size_t, Removed)> sink) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Removed removed;
    bool is_there = true;
    if (look == Look::at_flags) {
      const auto item = get(keys[i], Want::value);
      is_there = item.has_value();
      if (item) removed.flags = item->flags;
    }
    removed.done = is_there && remove(keys[i]) == Outcome::done;
    sink(i, removed);
  }
}

void BinaryConnection::flush() {
  keep_time();
  if (outcome(memcached_flush(&client_->memcached, 0)) != Outcome::done) {
    fail(MEMCACHED_PROTOCOL_ERROR);
  }
}

// --- Outcomes ---

Outcome BinaryConnection::outcome(memcached_return_t result) {
  result = reason(result);
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
      client_.reset();  // the library has closed it
      return Outcome::refused;
    case MEMCACHED_E2BIG:
    case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
      return Outcome::refused;
    default:
      fail(result);
  }
}

// The library reports a timeout of the name server as a timeout of the server.
bool BinaryConnection::is_name_unknown(memcached_return_t result) const noexcept {
  const char* const message = memcached_last_error_message(&client_->memcached);
  return result == MEMCACHED_TIMEOUT && message != nullptr &&
         std::strstr(message, ::gai_strerror(EAI_AGAIN)) != nullptr;
}

void BinaryConnection::fail(memcached_return_t result) {
  result = reason(result);
  if (is_name_unknown(result)) result = MEMCACHED_HOST_LOOKUP_FAILURE;
  const BackendError::Kind kind = kind_of(result);
  const int error = memcached_last_error_errno(&client_->memcached);
  switch (kind) {
    case BackendError::Kind::timeout:
      fail_by_time();
    case BackendError::Kind::denied:
      fail(kind,
           R"(it requires a user and a password, or refused them; check "user" and "password")");
    case BackendError::Kind::overloaded:
      fail(kind, "it reports an error of its own; look at its log");
    case BackendError::Kind::unreachable:
      fail(kind, "no connection (" +
                     (error == 0 ? lower(memcached_strerror(nullptr, result))
                                 : std::string(std::strerror(error))) +
                     "); is memcached running there?");
    default:
      fail(kind, "its reply cannot be understood (" + lower(memcached_strerror(nullptr, result)) +
                     "); is it memcached, and max_value_bytes large enough?");
  }
}

}  // namespace polycache::memcached
