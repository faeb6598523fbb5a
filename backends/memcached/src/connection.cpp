#include "connection.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "libmemcached.h"
#include "polycache/author/text.h"
#include "text_connection.h"

namespace polycache::memcached {
namespace {

using Kind = BackendError::Kind;

// A connection that was idle for this long is checked before use; the system call is then
// negligible.
constexpr std::chrono::seconds rest_limit(1);

// Whether eight bytes contain a blank, a control character or DEL: the subtraction sets the high
// bit of a byte below 0x21, and likewise of one that equals 0x7F.
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
  if (key.empty() || key.size() > max_key) return false;
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

void check_key(std::string_view key) {
  if (is_sound_key(key)) return;
  const std::string reason =
      "memcached stores keys of 1 to 250 bytes without blanks and control characters";
  throw InvalidKey(std::string(key), reason,
                   "key " + quote(key) + ": " + reason + "; use the key function \"hashed\"");
}

std::unique_ptr<Connection> make_connection(const Endpoint& endpoint, const Settings& settings,
                                            net::ServerRecord& record) {
  if (settings.protocol == Protocol::binary) {
    return std::make_unique<BinaryConnection>(endpoint, settings, record);
  }
  return std::make_unique<TextConnection>(endpoint, settings, record);
}

void Connection::begin(net::Deadline end, AfterFailure after) noexcept {
  after_failure_ = after;
  rested_ = end - whole_end_ > rest_limit;
  whole_end_ = end;
  end_ = end;
  second_chance_ = is_open();
}

void Connection::open() {
  // Unread replies would be taken for the replies to the next request.
  if (unread_) close();
  unread_ = false;
  if (rested_) [[unlikely]] {
    rested_ = false;
    if (is_open()) look_after_rest();
  }
  if (!is_open()) [[unlikely]]
    dial();
}

// Resolves the name again.
void Connection::dial() {
  second_chance_ = false;
  const auto ticket = record_.pace().current();
  const auto give_up = [&](Kind kind) noexcept {
    close();
    connecting_ = false;
    if (after_failure_ == AfterFailure::pause) record_.connect_failed(ticket, kind);
  };
  connecting_ = true;
  try {
    connect();
  } catch (const BackendError& error) {
    give_up(error.kind());
    throw;
  } catch (...) {
    give_up(Kind::unreachable);
    throw;
  }
  connecting_ = false;
  record_.connected();
}

// For operations that may be repeated. Only a connection that worked before gets a second attempt:
// the server closed it, or was restarted.
template <class Operation>
auto Connection::repeat_if_stale(Operation operation) {
  open();
  try {
    return operation();
  } catch (const BackendError& error) {
    if (error.kind() != Kind::unreachable || !take_second_chance()) throw;
  }
  open();
  return operation();
}

std::chrono::nanoseconds Connection::ping() {
  static constexpr std::string_view any = "polycache:alive";
  open();
  const auto begin = std::chrono::steady_clock::now();
  static_cast<void>(get(any, Want::value));
  return std::chrono::steady_clock::now() - begin;
}

std::optional<Found> Connection::get(std::string_view key, Want want) {
  return repeat_if_stale([&] { return find(key, want); });
}

void Connection::ask(std::span<const std::string_view> keys, Want want) {
  repeat_if_stale([&] { send_question(keys, want); });
  unread_ = true;
}

void Connection::answer(std::span<const std::string_view> keys, Want want,
                        FunctionRef<void(std::size_t, const Found&)> sink) {
  bool any = false;
  const auto deliver = [&](std::size_t index, const Found& found) {
    any = true;
    const net::Deadline begin = net::coarse_now();
    sink(index, found);
    end_ += net::coarse_now() - begin;  // time spent in the sink does not count
  };
  bool again = false;
  try {
    read_answers(keys, want, deliver);
  } catch (const BackendError& error) {
    // The request was sent on a connection that the server had closed.
    again = error.kind() == Kind::unreachable && !any && take_second_chance();
    if (!again) throw;
  }
  if (again) {
    ask(keys, want);
    read_answers(keys, want, deliver);
  }
  unread_ = false;
}

Outcome Connection::set(std::string_view key, std::string_view value, Lifetime lifetime) {
  return repeat_if_stale([&] { return store(How::set, {key, value, lifetime}, 0); });
}

// Acknowledged items are not sent again.
void Connection::set_many(std::span<const NewItem> items,
                          FunctionRef<void(std::size_t, Outcome)> sink) {
  std::size_t answered = 0;
  repeat_if_stale([&] {
    const std::size_t first = answered;
    set_all(items.subspan(first), [&](std::size_t i, Outcome outcome) {
      answered = first + i + 1;
      sink(first + i, outcome);
    });
  });
}

Outcome Connection::add(std::string_view key, std::string_view value, Lifetime lifetime) {
  if (is_open()) prove_alive();
  open();
  return store(How::add, {key, value, lifetime}, 0);
}

Outcome Connection::replace_version(std::string_view key, std::string_view value, Lifetime lifetime,
                                    std::uint64_t version) {
  open();
  return store(How::replace_version, {key, value, lifetime}, version);
}

Removed Connection::erase(std::string_view key) {
  Removed removed;
  const auto try_it = [&] {
    open();
    remove_all({&key, 1}, Look::at_flags, [&](std::size_t, Removed result) { removed = result; });
  };
  if (is_open()) prove_alive();
  try {
    try_it();
    return removed;
  } catch (const BackendError& error) {
    if (error.kind() != Kind::unreachable || !take_second_chance()) throw;
  }
  try_it();
  if (removed.done) return removed;
  throw BackendError(Kind::unreachable, record_.name(),
                     "the connection broke while an entry was erased: it is gone, but whether it "
                     "was there is not known; repeat what depends on that");
}

void Connection::erase_many(std::span<const std::string_view> keys,
                            FunctionRef<void(std::size_t, Removed)> sink) {
  if (is_open()) prove_alive();
  open();
  remove_all(keys, Look::at_flags, sink);
}

void Connection::drop(std::string_view key) { drop_many({&key, 1}); }

void Connection::drop_many(std::span<const std::string_view> keys) {
  repeat_if_stale([&] { remove_all(keys, Look::at_nothing, [](std::size_t, Removed) {}); });
}

// memcached has no conditional deletion; replacing the item by one that expires at once has that
// effect.
Outcome Connection::erase_version(std::string_view key, std::uint64_t version) {
  return replace_version(key, {}, {.flags = 0, .expiration = gone_at_once}, version);
}

void Connection::clear() {
  repeat_if_stale([&] { flush(); });
}

void Connection::dump(FunctionRef<void(const DumpedItem&)> sink) {
  if (is_open()) prove_alive();
  open();
  dump_all(sink);
}

Connection::Statistics Connection::statistics() {
  Statistics found;
  repeat_if_stale([&] {
    found = {};
    ask_statistics([&](std::string_view name, std::string_view value) {
      std::uint64_t number = 0;
      const char* const end = value.data() + value.size();
      const auto read = std::from_chars(value.data(), end, number);
      if (read.ec != std::errc() || read.ptr != end) return;
      if (name == "curr_items") found.items = number;
      if (name == "bytes") found.bytes = number;
    });
  });
  return found;
}

void Connection::dump_all(FunctionRef<void(const DumpedItem&)> /*sink*/) {
  throw BackendError(Kind::unsupported, record_.name(),
                     "its items cannot be listed in the binary protocol");
}

void Connection::fail(Kind kind, const std::string& what) {
  close();
  connecting_ = false;
  throw BackendError(kind, record_.name(), what);
}

void Connection::fail_by_size() {
  close();
  throw ValueTooLarge(record_.name());
}

void Connection::fail_by_time() {
  const std::string limit = std::to_string(settings_.timeout.count()) + " ms";
  if (connecting_) {
    fail(Kind::timeout, "no connection within " +
                            std::to_string(settings_.connect_timeout.count()) +
                            " ms, or no greeting within " + limit +
                            "; is memcached running there, and not overloaded?");
  }
  fail(Kind::timeout,
       "no answer within " + limit + R"(; is it overloaded, or "timeout" too short?)");
}

}  // namespace polycache::memcached
