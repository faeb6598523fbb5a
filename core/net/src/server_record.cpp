#include "polycache/net/server_record.h"

#include <new>
#include <utility>

namespace polycache::net {

ServerRecord::ServerRecord(std::string name, const Clock& clock, std::chrono::milliseconds patience)
    : name_(std::move(name)), breaker_(clock), pace_(clock, patience) {}

void ServerRecord::connected() noexcept {
  if (denied_.load(std::memory_order_relaxed)) denied_.store(false, std::memory_order_relaxed);
  pace_.succeeded();
}

void ServerRecord::connect_failed(ReconnectPace::Ticket ticket, BackendError::Kind kind) noexcept {
  denied_.store(kind == BackendError::Kind::denied, std::memory_order_relaxed);
  pace_.failed(ticket);
}

void ServerRecord::remember(const BackendError& error) noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return;
  try {
    last_failure_ = reason_of(error);
  } catch (const std::bad_alloc&) {  // then the older one is kept
  }
}

std::string ServerRecord::last_failure() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock ? last_failure_ : std::string();
}

std::string_view reason_of(const BackendError& error) noexcept {
  std::string_view text = error.what();
  if (text.starts_with(error.server())) text.remove_prefix(error.server().size());
  if (text.starts_with(": ")) text.remove_prefix(2);
  return text;
}

}  // namespace polycache::net
