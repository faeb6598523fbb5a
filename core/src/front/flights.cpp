#include "front/flights.h"

#include <array>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "polycache/author/fork.h"

namespace polycache {

struct Flights::Flight {
  explicit Flight(std::string final_key) : key(std::move(final_key)) {}

  const std::string key;
  std::mutex mutex;  // guards what follows
  std::condition_variable ended;
  bool over = false;
  std::optional<std::string> bytes;
};

struct Flights::Shard {
  std::mutex mutex;  // guards by_key
  std::map<std::string, std::shared_ptr<Flight>, std::less<>> by_key;
};

struct Flights::Table {
  const std::uint32_t forks = fork_count();
  std::array<Shard, 16> shards;

  Shard& shard(std::string_view key) {
    return shards[std::hash<std::string_view>()(key) % shards.size()];
  }

  // Keeps a table that a child of fork() inherits. The child cannot destroy it, since its mutexes
  // may be locked by threads that do not exist there. A list keeps it reachable for leak checkers.
  void abandon() noexcept {
    next = abandoned.load(std::memory_order_relaxed);
    while (!abandoned.compare_exchange_weak(next, this, std::memory_order_release)) {
    }
  }
  Table* next = nullptr;
  static constinit std::atomic<Table*> abandoned;
};

constinit std::atomic<Flights::Table*> Flights::Table::abandoned{nullptr};

Flights::Flights() : table_(new Table) {}

Flights::~Flights() {
  Table* const table = table_.load(std::memory_order_acquire);
  if (table->forks == fork_count()) {
    delete table;
  } else {
    table->abandon();
  }
}

Flights::Table& Flights::table() {
  Table* table = table_.load(std::memory_order_acquire);
  if (table->forks == fork_count()) [[likely]]
    return *table;
  auto fresh = std::make_unique<Table>();
  if (table_.compare_exchange_strong(table, fresh.get(), std::memory_order_acq_rel)) {
    table->abandon();
    return *fresh.release();
  }
  return *table;
}

Flights::Ticket Flights::join(std::string_view final_key) {
  Table& table = this->table();
  Shard& shard = table.shard(final_key);
  const std::lock_guard lock(shard.mutex);
  const auto it = shard.by_key.find(final_key);
  if (it != shard.by_key.end()) return {table, it->second, false};
  auto flight = std::make_shared<Flight>(std::string(final_key));
  shard.by_key.emplace(flight->key, flight);
  return {table, std::move(flight), true};
}

Flights::Ticket::Ticket(Table& table, std::shared_ptr<Flight> flight, bool owner) noexcept
    : table_(&table), flight_(std::move(flight)), owner_(owner) {}

Flights::Ticket::~Ticket() {
  if (!flight_ || !owner_) return;
  // A computation may have forked; the child owns no inherited flight.
  if (table_->forks != fork_count()) return;
  {
    Shard& shard = table_->shard(flight_->key);
    const std::lock_guard lock(shard.mutex);
    shard.by_key.erase(flight_->key);
  }
  {
    const std::lock_guard lock(flight_->mutex);
    flight_->over = true;
  }
  flight_->ended.notify_all();
}

void Flights::Ticket::land(std::string bytes) {
  // In a child forked inside the computation, a thread that does not exist may hold the mutex.
  if (table_->forks != fork_count()) return;
  const std::lock_guard lock(flight_->mutex);
  flight_->bytes = std::move(bytes);
}

std::optional<std::string> Flights::Ticket::wait() {
  std::unique_lock lock(flight_->mutex);
  timed_out_ = !flight_->ended.wait_for(lock, longest_wait, [this] { return flight_->over; });
  if (timed_out_) return std::nullopt;
  return flight_->bytes;
}

namespace {
constinit thread_local Computation* innermost = nullptr;
}

Computation::Computation(const void* of, std::string_view final_key) noexcept
    : of_(of), final_key_(final_key), outer_(innermost) {
  innermost = this;
}

Computation::~Computation() { innermost = outer_; }

bool Computation::any() noexcept { return innermost != nullptr; }

bool Computation::contains(const void* of, std::string_view final_key) noexcept {
  for (const Computation* c = innermost; c != nullptr; c = c->outer_) {
    if (c->of_ == of && c->final_key_ == final_key) return true;
  }
  return false;
}

}  // namespace polycache
