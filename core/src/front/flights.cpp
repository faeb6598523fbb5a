#include "front/flights.h"

#include <array>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "polycache/author/fork.h"

namespace polycache {

struct Flights::Flight {
  explicit Flight(std::string final_key) : key(std::move(final_key)) {}

  const std::string key;
  std::mutex mutex;  // guards what follows
  std::condition_variable ended;
  bool over = false;
  std::optional<Landing> landing;
  std::exception_ptr error;

  // The key was written or erased meanwhile.
  std::atomic<bool> outdated{false};
  std::mutex storing;  // while the owner stores

  void end() {
    outdated.store(true, std::memory_order_release);
    const std::lock_guard wait(storing);
  }
};

struct Flights::Shard {
  std::mutex mutex;  // guards what follows
  std::map<std::string, std::shared_ptr<Flight>, std::less<>> by_key;
  std::vector<std::shared_ptr<Flight>> alone;

  // Takes out those of that key.
  std::vector<std::shared_ptr<Flight>> take(std::string_view key) {
    std::vector<std::shared_ptr<Flight>> taken;
    const auto it = by_key.find(key);
    if (it != by_key.end()) {
      taken.push_back(std::move(it->second));
      by_key.erase(it);
    }
    std::erase_if(alone, [&](const std::shared_ptr<Flight>& flight) {
      if (flight->key != key) return false;
      taken.push_back(flight);
      return true;
    });
    return taken;
  }
  void remove(const std::shared_ptr<Flight>& flight) {
    const auto it = by_key.find(flight->key);
    if (it != by_key.end() && it->second == flight) {
      by_key.erase(it);
    } else {
      std::erase(alone, flight);
    }
  }
};

struct Flights::Table {
  const std::uint32_t forks = fork_count();
  std::array<Shard, 16> shards;
  std::atomic<std::uint32_t> running{0};  // in all shards

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
  table.running.fetch_add(1, std::memory_order_relaxed);
  return {table, std::move(flight), true};
}

Flights::Ticket Flights::fly_alone(std::string_view final_key) {
  Table& table = this->table();
  Shard& shard = table.shard(final_key);
  auto flight = std::make_shared<Flight>(std::string(final_key));
  const std::lock_guard lock(shard.mutex);
  shard.alone.push_back(flight);
  table.running.fetch_add(1, std::memory_order_relaxed);
  return {table, std::move(flight), true};
}

bool Flights::any() const noexcept {
  return table_.load(std::memory_order_acquire)->running.load(std::memory_order_relaxed) != 0;
}

void Flights::end_of(std::string_view final_key) {
  Table& table = this->table();
  Shard& shard = table.shard(final_key);
  std::vector<std::shared_ptr<Flight>> flights;
  {
    const std::lock_guard lock(shard.mutex);
    flights = shard.take(final_key);
  }
  for (const std::shared_ptr<Flight>& flight : flights) flight->end();
}

void Flights::end_all() {
  for (Shard& shard : table().shards) {
    std::map<std::string, std::shared_ptr<Flight>, std::less<>> flights;
    std::vector<std::shared_ptr<Flight>> alone;
    {
      const std::lock_guard lock(shard.mutex);
      flights.swap(shard.by_key);
      alone.swap(shard.alone);
    }
    for (const auto& [key, flight] : flights) flight->end();
    for (const std::shared_ptr<Flight>& flight : alone) flight->end();
  }
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
    shard.remove(flight_);
  }
  table_->running.fetch_sub(1, std::memory_order_relaxed);
  {
    const std::lock_guard lock(flight_->mutex);
    flight_->over = true;
  }
  flight_->ended.notify_all();
}

void Flights::Ticket::land(Landing landing) {
  // In a child forked inside the computation, a thread that does not exist may hold the mutex.
  if (table_->forks != fork_count()) return;
  const std::lock_guard lock(flight_->mutex);
  flight_->landing = std::move(landing);
}

void Flights::Ticket::fail(std::exception_ptr error) {
  if (table_->forks != fork_count()) return;
  const std::lock_guard lock(flight_->mutex);
  flight_->error = std::move(error);
}

bool Flights::Ticket::is_ended() const noexcept {
  return flight_->outdated.load(std::memory_order_acquire);
}

Flights::Ticket::Storing Flights::Ticket::start_storing() const {
  return Storing(flight_->storing);
}

Flights::Ticket Flights::Ticket::follow() const {
  Ticket follower(*table_, flight_, false);
  follower.follows_ = true;
  return follower;
}

std::optional<Flights::Landing> Flights::Ticket::wait(std::chrono::nanoseconds limit) {
  std::unique_lock lock(flight_->mutex);
  timed_out_ = !flight_->ended.wait_for(lock, limit, [this] { return flight_->over; });
  if (timed_out_) return std::nullopt;
  return flight_->landing;
}

std::exception_ptr Flights::Ticket::error() const {
  if (!follows_) return nullptr;
  const std::lock_guard lock(flight_->mutex);
  return flight_->error;
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
