#include "session.h"

#include <array>
#include <charconv>
#include <utility>

#include "polycache/author/counter.h"
#include "polycache/author/text.h"

namespace polycache::memcached {
namespace {

constexpr std::size_t head_bytes = 64;  // how much of a value contains() shows

// A decimal counter, formatted without allocating.
class Digits {
 public:
  explicit Digits(std::int64_t number) noexcept
      : end_(std::to_chars(digits_.data(), digits_.data() + digits_.size(), number).ptr) {}
  std::string_view view() const noexcept {
    return {digits_.data(), static_cast<std::size_t>(end_ - digits_.data())};
  }

 private:
  std::array<char, 20> digits_;
  const char* end_;
};

// memcached's own decr keeps the length of a number: "10" becomes "9 ". Only this is removed.
std::string_view without_padding(std::string_view bytes) noexcept {
  const std::size_t size = bytes.find_first_not_of("0123456789");
  const bool is_padded = size != 0 && size != std::string_view::npos &&
                         bytes.find_first_not_of(' ', size) == std::string_view::npos;
  return is_padded ? bytes.substr(0, size) : bytes;
}

}  // namespace

Session::Session(std::shared_ptr<Shared> shared)
    : shared_(std::move(shared)),
      topology_(shared_->ring, shared_->servers),
      shares_(topology_.parts()) {
  shared_->sessions.fetch_add(1, std::memory_order_relaxed);
}

Session::~Session() {
  const std::size_t left = shared_->sessions.fetch_sub(1, std::memory_order_relaxed) - 1;
  topology_.for_each([&](Place place) { place.server->shrink(left + 1); });
}

Moment Session::now() const noexcept { return shared_->clock.system_now(); }

// Returns the item if it is live.
std::optional<Found> Session::find(Connection& server, std::string_view key, Want want) {
  auto found = server.get(key, want);
  if (found && has_expired(found->flags, now())) found.reset();
  return found;
}

bool Session::get(std::string_view key, ValueSink sink) {
  return at(key, Access::read, [&](Connection& server) {
    const auto found = find(server, key, Want::value);
    if (found) sink(found->value);
    return found.has_value();
  });
}

bool Session::get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) {
  return at(key, Access::read, [&](Connection& server) {
    const auto found = find(server, key, Want::value);
    if (found) sink(found->value, time_left(found->flags, now()));
    return found.has_value();
  });
}

bool Session::contains(std::string_view key, ValueSink head) {
  return at(key, Access::read, [&](Connection& server) {
    const auto found = find(server, key, Want::value);
    if (found) head(found->value.substr(0, head_bytes));
    return found.has_value();
  });
}

// --- Storing ---

bool Session::fits(std::string_view value) const noexcept {
  return value.size() <= shared_->settings.max_value_bytes;
}

void Session::report_refusal(std::string_view key, std::size_t size) {
  const std::string& server = topology_.server_for(key).server->name();
  const std::string message =
      "memcached server " + server + ": a value of " + std::to_string(size) + " bytes for " +
      quote(key) +
      " is too large or there is no memory left, so it was not stored, and an older one is gone; "
      "raise the server's limit for items (-I), its memory (-m) or max_value_bytes";
  shared_->report({.kind = Warning::Kind::value_refused, .key = key, .message = message});
}

bool Session::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  return at(key, Access::write,
            [&](Connection& server) { return put(server, key, value, ttl, mode); });
}

bool Session::put(Connection& server, std::string_view key, std::string_view value, Ttl ttl,
                  PutMode mode) {
  switch (mode) {
    case PutMode::if_absent:
      return put_if_absent(server, key, value, ttl);
    case PutMode::if_present:
      return put_if_present(server, key, value, ttl);
    case PutMode::always:
      break;
  }
  return put_always(server, key, value, lifetime_for(ttl, now()));
}

bool Session::put_always(Connection& server, std::string_view key, std::string_view value,
                         Lifetime lifetime) {
  if (fits(value) && server.set(key, value, lifetime) == Outcome::done) return true;
  return refuse(server, key, value.size());
}

// Erases the key, reports why, and returns false, for the caller to return.
bool Session::refuse(Connection& server, std::string_view key, std::size_t size) {
  // If the server itself refused the value, it has dropped the older one.
  server.drop(key);
  report_refusal(key, size);
  return false;
}

bool Session::put_if_absent(Connection& server, std::string_view key, std::string_view value,
                            Ttl ttl) {
  const Lifetime lifetime = lifetime_for(ttl, now());
  for (;;) {
    const Outcome added = fits(value) ? server.add(key, value, lifetime) : Outcome::refused;
    if (added == Outcome::done) return true;
    const auto found = server.get(key, Want::value_and_version);
    if (found && !has_expired(found->flags, now())) return false;
    if (added == Outcome::refused) {
      report_refusal(key, value.size());
      return false;
    }
    // Otherwise the server still has an expired item.
    if (!found) continue;
    const Try result = replace(server, key, *found, value, lifetime);
    if (result == Try::done || result == Try::refused) return result == Try::done;
  }
}

bool Session::put_if_present(Connection& server, std::string_view key, std::string_view value,
                             Ttl ttl) {
  for (;;) {
    const auto found = find(server, key, Want::value_and_version);
    if (!found) return false;
    const Try result = replace(server, key, *found, value, lifetime_for(ttl, now()));
    if (result != Try::again) return result == Try::done;
  }
}

// Replaces exactly the item that was found.
Session::Try Session::replace(Connection& server, std::string_view key, const Found& found,
                              std::string_view value, Lifetime lifetime) {
  const Outcome outcome =
      fits(value) ? server.replace_version(key, value, lifetime, found.version) : Outcome::refused;
  switch (outcome) {
    case Outcome::done:
      return Try::done;
    case Outcome::absent:
      return Try::absent;
    case Outcome::refused:
      server.erase_version(key, found.version);
      report_refusal(key, value.size());
      return Try::refused;
    default:
      return Try::again;
  }
}

// The connection retries stale reads; a failure after the read is retried here, because setting a
// lifetime twice is harmless.
bool Session::touch(std::string_view key, Ttl ttl, ValueSink head) {
  return at(key, Access::write, [&](Connection& server) {
    try {
      return touch(server, key, ttl, head);
    } catch (const BackendError& error) {
      if (error.kind() != BackendError::Kind::unreachable || !server.take_second_chance()) throw;
    }
    return touch(server, key, ttl, head);
  });
}

// Avoids memcached's own touch, which keeps the flags, and so the deadline in them.
bool Session::touch(Connection& server, std::string_view key, Ttl ttl, ValueSink head) {
  for (;;) {
    const auto found = find(server, key, Want::value_and_version);
    if (!found) return false;
    char shown[64];  // a copy, since the value lies in the connection's buffer
    const std::size_t size = found->value.copy(shown, sizeof shown);
    const Try result = replace(server, key, *found, found->value, lifetime_for(ttl, now()));
    if (result == Try::done) head({shown, size});
    if (result != Try::again) return result == Try::done;
  }
}

bool Session::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                           std::optional<Ttl> ttl) {
  return at(key, Access::write, [&](Connection& server) {
    for (;;) {
      const auto found = find(server, key, Want::value_and_version);
      if (!found || found->value != expected) return false;
      const Lifetime lifetime =
          ttl ? lifetime_for(*ttl, now()) : lifetime_kept(found->flags, now());
      const Try result = replace(server, key, *found, value, lifetime);
      if (result != Try::again) return result == Try::done;
    }
  });
}

// --- Removing ---

// The server keeps an entry for up to two seconds after its deadline. An erasure in that time
// removes it, since other clients may still see it by their clocks, but counts as absent.
bool Session::erase(std::string_view key) {
  const Moment begin = now();
  return at(key, Access::write, [&](Connection& server) {
    const Removed removed = server.erase(key);
    return removed.done && !has_expired(removed.flags, begin);
  });
}

bool Session::erase_if_equal(std::string_view key, std::string_view expected) {
  return at(key, Access::write, [&](Connection& server) {
    for (;;) {
      const auto found = find(server, key, Want::value_and_version);
      if (!found || found->value != expected) return false;
      const Outcome outcome = server.erase_version(key, found->version);
      if (outcome != Outcome::exists) return outcome == Outcome::done;
    }
  });
}

bool Session::pop(std::string_view key, ValueSink sink) {
  return at(key, Access::write, [&](Connection& server) {
    for (;;) {
      const auto found = find(server, key, Want::value_and_version);
      if (!found) return false;
      const Outcome outcome = server.erase_version(key, found->version);
      if (outcome == Outcome::done) {
        sink(found->value);
        return true;
      }
      if (outcome == Outcome::absent) return false;
    }
  });
}

void Session::clear() {
  FirstFailure failure;
  const net::Deadline whole = deadline();
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    failure.attempt([&] {
      at(topology_.server_of_part(i), Access::write, share_of(whole),
         [](Connection& server) { server.clear(); });
    });
  }
  failure.rethrow();
}

// --- Counting ---

// Avoids memcached's own incr, but accepts what other clients left by it. It has no signs, wraps
// around, and leaves blanks. In 1.6.18, a concurrent read can return the old value with the new
// version; a replacement of that version, here or elsewhere, then silently undoes the addition.
std::optional<std::int64_t> Session::incr(std::string_view key, std::int64_t delta) {
  return at(key, Access::write, [&](Connection& server) -> std::optional<std::int64_t> {
    for (;;) {
      const auto found = find(server, key, Want::value_and_version);
      if (!found) return std::nullopt;
      const std::int64_t sum = add_to_counter(without_padding(found->value), delta);
      if (delta == 0) return sum;
      const Try result =
          replace(server, key, *found, Digits(sum).view(), lifetime_kept(found->flags, now()));
      if (result == Try::done) return sum;
      if (result != Try::again) return std::nullopt;
    }
  });
}

// --- Health ---

Connection::Statistics Session::statistics() {
  Connection::Statistics sum{.items = 0, .bytes = 0};
  const auto add = [](std::optional<std::uint64_t>& to, std::optional<std::uint64_t> number) {
    to = to && number ? std::optional(*to + *number) : std::nullopt;
  };
  topology_.for_each([&](Place place) {
    const Connection::Statistics one =
        at(place, Access::read, deadline(), [](Connection& server) { return server.statistics(); });
    add(sum.items, one.items);
    add(sum.bytes, one.bytes);
  });
  return sum;
}

void Session::check(FunctionRef<void(const HealthExtension::Server&)> sink) {
  topology_.for_each([&](Place place) { place.server->check(*place.hint, deadline(), sink); });
}

bool Session::admits(std::string_view key, Access access) const noexcept {
  return topology_.admits(key, access);
}

bool Session::admits_all() const noexcept { return topology_.admits_all(); }

void Session::close_idle() noexcept {
  topology_.for_each([](Place place) { place.server->shrink(0); });
}

void* Session::extension(std::string_view id) noexcept {
  if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
  if (id == LockExtension::id) return static_cast<LockExtension*>(&locks_);
  if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
  if (id == PopExtension::id) return static_cast<PopExtension*>(this);
  if (id == PaddedNumbersExtension::id) return static_cast<PaddedNumbersExtension*>(this);
  if (id == AdmissionExtension::id) return static_cast<AdmissionExtension*>(this);
  if (id == HealthExtension::id) return static_cast<HealthExtension*>(this);
  if (id == IdleExtension::id) return static_cast<IdleExtension*>(this);
  if (id == ScanExtension::id && shared_->settings.protocol == Protocol::ascii) {
    return static_cast<ScanExtension*>(this);
  }
  return nullptr;
}

}  // namespace polycache::memcached
