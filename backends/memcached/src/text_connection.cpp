#include "text_connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "polycache/author/fork.h"
#include "polycache/author/text.h"

namespace polycache::memcached {
namespace {

using Kind = BackendError::Kind;
using Values = ReplyReader::Values;

// Requests are collected up to this size; a value larger than the second constant is sent from its
// original place.
constexpr std::size_t request_bytes = std::size_t{64} << 10U;
constexpr std::size_t large_value = std::size_t{16} << 10U;

// With TLS, a piece contains whole requests and fits into memcached's buffer: it does not see what
// remains in OpenSSL's buffer until more bytes arrive (1.6.18).
constexpr std::size_t tls_request_bytes = std::size_t{8} << 10U;

constexpr std::size_t answer_bytes = std::size_t{64} << 10U;
constexpr std::size_t line_bytes = std::size_t{8} << 10U;

void nothing() {}

}  // namespace

TextConnection::TextConnection(const Endpoint& endpoint, const Settings& settings,
                               net::ServerRecord& record)
    : Connection(endpoint, settings, record),
      answers_(settings.max_value_bytes, answer_bytes),
      lines_(0, line_bytes) {}

void TextConnection::close() noexcept {
  socket_.close();
  answers_.release();
}

void TextConnection::lost(const std::string& why) {
  if (const auto failure = socket_.tls_failure()) fail(failure->kind, "TLS: " + failure->reason);
  fail(Kind::unreachable, "no connection any more (" + why + "); is memcached running there?");
}

// Fails on a reply that does not match the request.
void TextConnection::refuse(const Reply& reply) {
  switch (reply.kind) {
    case Reply::Kind::server_error:
      fail(Kind::overloaded,
           "it reports an error of its own, " + quote(reply.line) + "; look at its log");
    case Reply::Kind::client_error:
      // The only possible client error here is missing or wrong credentials.
      if (is_connecting()) {
        fail(Kind::denied,
             R"(it requires a user and a password, or refused them; check "user" and "password")");
      }
      fail(Kind::protocol, "it does not take a request, " + quote(reply.line));
    case Reply::Kind::error:
      if (is_connecting()) {
        fail(Kind::overloaded,
             "it refused the connection; check its limit of connections (-c), and that it is "
             "memcached");
      }
      fail(Kind::protocol, "it does not know a command, " + quote(reply.line));
    default:
      fail(Kind::protocol, is_connecting()
                               ? "what listens there is not memcached; check the location"
                               : "its reply does not belong to the question; is it memcached?");
  }
}

// --- Connecting ---

void TextConnection::connect() {
  const net::Address address =
      endpoint().is_unix_socket()
          ? net::Address{.path = endpoint().host}
          : net::Address{.host = endpoint().host, .port = std::to_string(endpoint().port)};
  const net::Deadline by = std::min(end(), net::deadline_after(settings().connect_timeout));
  // Never connect in the clear if TLS was requested.
  if (endpoint().wants_tls && !endpoint().tls) fail(Kind::denied, "TLS: it was not configured");
  const auto failure = socket_.connect(address, by, endpoint().tls.get());
  if (failure) refuse_to_connect(*failure);
  forks_ = fork_count();
  greet();
}

void TextConnection::refuse_to_connect(const net::Failure& failure) {
  switch (failure.step) {
    case net::Failure::Step::name:
      fail(failure.kind, "no connection: its name cannot be resolved (" + failure.reason + ")");
    case net::Failure::Step::tls:
      fail(failure.kind, "no connection by TLS: " + failure.reason);
    default:
      fail(failure.kind, "no connection (" + failure.reason + "); is memcached running there?");
  }
}

// Requests the version and checks the reply: a server that is full or requires a login says so at
// once, and a different service is detected before values are sent to it.
void TextConnection::greet() {
  begin_request(lines_);
  commands_.version();
  send_request(false, nothing);
  const Reply reply = read(Values::none);
  const std::string_view version = version_in(reply);
  if (version.empty()) refuse(reply);
  has_meta_ = has_meta_commands(version);
  end_of_answer();
}

void TextConnection::prove_alive() {
  if (!socket_.is_quiet()) close();
}

// --- Sending ---

void TextConnection::begin_request(ReplyReader& replies) {
  replies_ = &replies;
  replies_->clear();
  commands_.clear();
}

void TextConnection::send_request(bool more, FunctionRef<void()> on_arrival) {
  send(commands_.bytes(), more, on_arrival);
  commands_.clear();
}

void TextConnection::send(std::string_view bytes, bool more, FunctionRef<void()> on_arrival) {
  set_unread(true);
  while (!bytes.empty()) {
    const ssize_t sent = socket_.send(bytes, more);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_to_send(on_arrival);
    } else if (errno != EINTR) {
      lost(std::strerror(errno));
    }
  }
}

// The server may wait until we have read its replies, before it reads on.
void TextConnection::wait_to_send(FunctionRef<void()> on_arrival) {
  const short to_send = socket_.events_to_send();
  const short events = replies_->is_full() ? to_send : static_cast<short>(to_send | POLLIN);
  const short ready = socket_.wait(events, end());
  if (ready == 0) fail_by_time();
  if ((ready & ~POLLOUT) == 0 || replies_->is_full()) return;
  const ssize_t got = socket_.receive_now(replies_->room());
  if (got == 0) lost("it closed the connection");
  if (got > 0) {
    replies_->arrived(static_cast<std::size_t>(got));
    on_arrival();
  } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
    lost(std::strerror(errno));
  }
}

// --- Receiving ---

void TextConnection::fill() { replies_->arrived(receive(replies_->room())); }

std::size_t TextConnection::receive(std::span<char> room) {
  // The value sink of the current operation may have forked.
  if (forks_ != fork_count()) fail(Kind::unreachable, "this is a fork's child, it is the parent's");
  const ssize_t got = socket_.receive(room, end());
  if (got > 0) return static_cast<std::size_t>(got);
  if (got == 0) lost("it closed the connection");
  if (errno == ETIME) fail_by_time();
  lost(std::strerror(errno));
}

// Whether a whole reply has arrived.
bool TextConnection::take(Reply& reply, Values values) {
  switch (replies_->next(reply, values)) {
    case ReplyReader::State::reply:
      return true;
    case ReplyReader::State::incomplete:
      return false;
    case ReplyReader::State::too_large:
      fail_by_size();
    default:
      fail(Kind::protocol, is_connecting()
                               ? "what listens there is not memcached; check the location"
                               : "its reply cannot be understood; is it memcached?");
  }
}

Reply TextConnection::read(Values values) {
  Reply reply;
  while (!take(reply, values)) fill();
  return reply;
}

// Surplus bytes after the last reply would be taken for the next reply.
void TextConnection::end_of_answer() {
  if (!replies_->is_empty()) {
    fail(Kind::protocol, "it sent more than it was asked for; is it memcached?");
  }
  set_unread(false);
}

// --- Reading ---

void TextConnection::send_question(std::span<const std::string_view> keys, Want want) {
  begin_request(answers_);
  commands_.get(keys, want);
  send_request(false, nothing);
}

std::optional<Found> TextConnection::find(std::string_view key, Want want) {
  send_question({&key, 1}, want);
  std::optional<Found> found;
  Reply reply = read(values_of(want));
  if (reply.kind == Reply::Kind::value) {
    if (reply.item.key != key) refuse(reply);
    found = reply.item;
    reply = read(Values::none);
  }
  if (reply.kind != Reply::Kind::end) refuse(reply);
  end_of_answer();
  return found;
}

void TextConnection::read_answers(std::span<const std::string_view> keys, Want want,
                                  FunctionRef<void(std::size_t, const Found&)> sink) {
  answer_.begin(keys);
  for (;;) {
    const Reply reply = read(values_of(want));
    if (reply.kind == Reply::Kind::end) return end_of_answer();
    if (reply.kind != Reply::Kind::value) refuse(reply);
    const auto index = answer_.index_of(reply.item);
    if (!index) refuse(reply);
    sink(*index, reply.item);
  }
}

// --- Writing ---

void TextConnection::add_item(How how, const NewItem& item, std::uint64_t version,
                              FunctionRef<void()> on_arrival) {
  commands_.begin_store(how, item, version);
  if (item.value.size() > large_value) {
    send_request(true, on_arrival);
    send(item.value, true, on_arrival);
  } else {
    commands_.value(item.value);
  }
  commands_.end_store();
}

Outcome TextConnection::outcome(const Reply& reply, How how) {
  if (reply.kind == Reply::Kind::stored) [[likely]]
    return Outcome::done;
  const std::optional<Outcome> outcome = outcome_of(how, reply);
  if (!outcome) refuse(reply);
  return *outcome;
}

Outcome TextConnection::store(How how, const NewItem& item, std::uint64_t version) {
  begin_request(lines_);
  add_item(how, item, version, nothing);
  send_request(false, nothing);
  const Outcome result = outcome(read(Values::none), how);
  end_of_answer();
  return result;
}

bool TextConnection::begins_new_piece(std::size_t value_bytes) const noexcept {
  if (commands_.empty()) return false;
  const std::size_t size = commands_.bytes().size();
  if (!endpoint().wants_tls) return size >= request_bytes;
  return size + CommandBuffer::most_of_store + value_bytes > tls_request_bytes;
}

// Sends items one after the other without waiting for replies, and reads those that have arrived
// whenever sending would block.
void TextConnection::set_all(std::span<const NewItem> items,
                             FunctionRef<void(std::size_t, Outcome)> sink) {
  std::size_t begun = 0;
  std::size_t answered = 0;
  const auto read_arrived = [&] {
    Reply reply;
    while (answered < begun && take(reply, Values::none)) {
      const Outcome result = outcome(reply, How::set);
      sink(answered++, result);
    }
  };
  begin_request(lines_);
  for (const NewItem& item : items) {
    if (begins_new_piece(item.value.size())) send_request(true, read_arrived);
    ++begun;
    add_item(How::set, item, 0, read_arrived);
    if (endpoint().wants_tls && item.value.size() > large_value) send_request(true, read_arrived);
  }
  send_request(false, read_arrived);
  while (answered < items.size()) {
    const Outcome result = outcome(read(Values::none), How::set);
    sink(answered++, result);
  }
  end_of_answer();
}

// Like set_all().
void TextConnection::remove_all(std::span<const std::string_view> keys, Look look,
                                FunctionRef<void(std::size_t, Removed)> sink) {
  const bool reads_values = look == Look::at_flags && !has_meta_;
  const Values values = reads_values ? Values::plain : Values::none;
  const EraseAnswer fresh(look, has_meta_);
  std::size_t begun = 0;
  std::size_t answered = 0;
  EraseAnswer answer = fresh;
  const auto note = [&](const Reply& reply) {
    const EraseAnswer::Step step = answer.take(reply);
    if (step == EraseAnswer::Step::wrong) refuse(reply);
    if (step == EraseAnswer::Step::done) sink(answered++, std::exchange(answer, fresh).result());
  };
  const auto read_arrived = [&] {
    Reply reply;
    while (answered < begun && take(reply, values)) note(reply);
  };
  begin_request(reads_values ? answers_ : lines_);
  for (const std::string_view key : keys) {
    if (commands_.bytes().size() >= request_bytes) send_request(true, read_arrived);
    ++begun;
    commands_.erase(key, look, has_meta_);
  }
  send_request(false, read_arrived);
  while (answered < keys.size()) note(read(values));
  end_of_answer();
}

void TextConnection::flush() {
  begin_request(lines_);
  commands_.flush_all();
  send_request(false, nothing);
  const Reply reply = read(Values::none);
  if (reply.kind != Reply::Kind::ok) refuse(reply);
  end_of_answer();
}

// --- Listing ---

// The server crawls for one client at a time, and now and then for itself.
void TextConnection::dump_all(FunctionRef<void(const DumpedItem&)> sink) {
  constexpr std::chrono::milliseconds first_pause(1);
  constexpr std::chrono::milliseconds longest_pause(50);
  bool by_hash = true;
  for (auto pause = first_pause;;) {
    const Dumped dumped = dump_once(by_hash, sink);
    if (dumped == Dumped::whole) return;
    if (dumped == Dumped::unknown_way) {
      by_hash = false;
      continue;
    }
    if (net::coarse_now() + pause >= end()) {
      fail(Kind::overloaded,
           "it is listing its items for another client, or examining them for itself, and no "
           "other listing began in time; try again, or raise \"timeout\"");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, longest_pause);
  }
}

// "STAT name value" for each, then "END".
void TextConnection::ask_statistics(
    FunctionRef<void(std::string_view name, std::string_view value)> sink) {
  constexpr std::size_t most_bytes = std::size_t{64} << 10U;  // some 3 KiB are usual
  constexpr std::string_view mark = "STAT ";
  begin_request(lines_);
  commands_.statistics();
  send_request(false, nothing);
  std::string bytes;
  for (std::size_t begin = 0;;) {
    const std::size_t end = bytes.find("\r\n", begin);
    if (end == std::string::npos) {
      if (bytes.size() >= most_bytes) break;
      const std::size_t size = bytes.size();
      bytes.resize(size + 4096);
      bytes.resize(size + receive(std::span(bytes).subspan(size)));
      continue;
    }
    const std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    begin = end + 2;
    if (line == "END" && begin == bytes.size()) return set_unread(false);
    if (!line.starts_with(mark)) break;
    const std::size_t blank = line.find(' ', mark.size());
    if (blank == std::string_view::npos) continue;
    sink(line.substr(mark.size(), blank - mark.size()), line.substr(blank + 1));
  }
  fail(Kind::protocol, "its statistics cannot be understood; is it memcached?");
}

TextConnection::Dumped TextConnection::dump_once(bool by_hash,
                                                 FunctionRef<void(const DumpedItem&)> sink) {
  begin_request(lines_);
  commands_.dump(by_hash);
  send_request(false, nothing);
  DumpReader reader;
  DumpedItem item;
  for (bool begun = false;;) {
    switch (reader.next(item)) {
      case DumpReader::State::item:
        begun = true;
        sink(item);
        break;
      case DumpReader::State::incomplete:
        if (begun) limit(std::max(end(), net::deadline_after(settings().timeout)));
        reader.arrived(receive(reader.room()));
        break;
      case DumpReader::State::end:
        if (!reader.is_empty()) fail(Kind::protocol, "it sent more than it was asked for");
        end_of_answer();
        return Dumped::whole;
      case DumpReader::State::sentence: {
        if (reader.sentence() == "OK") break;
        const Dumped dumped = result_of_dump(reader.sentence());
        if (dumped == Dumped::unknown_way && !by_hash) refuse_dump(reader.sentence());
        end_of_answer();
        return dumped;
      }
      default:
        fail(Kind::protocol, "its list of items cannot be understood; is it memcached?");
    }
  }
}

TextConnection::Dumped TextConnection::result_of_dump(std::string_view sentence) {
  if (sentence.starts_with("BUSY")) return Dumped::busy;
  if (sentence.starts_with("NOTSTARTED")) return Dumped::whole;  // it has no items
  if (sentence.starts_with("BADCLASS")) return Dumped::unknown_way;
  refuse_dump(sentence);
}

void TextConnection::refuse_dump(std::string_view sentence) {
  fail(Kind::unsupported,
       "it does not list its items, " + quote(sentence) +
           "; memcached 1.4.31 and later do, unless its crawler is disabled (-o no_lru_crawler) or "
           "it is a proxy");
}

}  // namespace polycache::memcached
