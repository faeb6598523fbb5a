// The connections of one process with one server, shared by its threads.
//
// A session takes a connection for an operation and returns it afterwards. It gets the same one
// again if possible, so that a single thread pays one atomic exchange. Below the limit no thread
// waits. Idle connections are closed as a side effect of other operations, without a separate
// thread. A fork's child starts with an empty pool, and abandons its parent's connections.
//
//   ConnectionPool<Connection> pool(limits, clock, make_connection);
//   auto lease = pool.take(slot, deadline);  // `slot`: a number that the session keeps
//   if (!lease) throw BackendError(overloaded, ...);
//   lease->ask(...);
//
// Waiting threads are served first in, first out: a returned connection goes to the longest waiter,
// so that threads that return and take again at once do not starve it.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <utility>

#include "polycache/author/clock.h"
#include "polycache/author/fork.h"
#include "polycache/net/deadline.h"

namespace polycache {

struct PoolLimits {
  std::size_t max_connections = 32;  // at least 1
  std::chrono::milliseconds idle_timeout{60'000};
};

// Connection: close() noexcept ends the connection, after which the object can connect again;
// is_open() says whether there is a connection to end. abandon() noexcept is called once, in a
// fork's child, from a thread that may find the object in any intermediate state: it must only
// close the descriptor, and the object is neither used nor destroyed afterwards.
//
// Thread-safe. Must outlive its leases.
template <class Connection>
class ConnectionPool {
  struct Process;
  struct Slot;

 public:
  // A connection in use by one thread; returned to the pool on destruction.
  class Lease {
   public:
    Lease() noexcept = default;
    Lease(Lease&& other) noexcept
        : process_(std::exchange(other.process_, nullptr)), slot_(other.slot_) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(process_, other.process_);
      std::swap(slot_, other.slot_);
      return *this;
    }
    ~Lease() {
      if (process_ != nullptr) process_->give_back(*slot_);
    }

    explicit operator bool() const noexcept { return process_ != nullptr; }
    Connection& operator*() const noexcept { return *slot_->connection; }
    Connection* operator->() const noexcept { return slot_->connection.get(); }

   private:
    friend ConnectionPool;
    Lease(Process& process, Slot& slot) noexcept : process_(&process), slot_(&slot) {}

    Process* process_ = nullptr;
    Slot* slot_ = nullptr;
  };

  // `make` returns a connection object that is not connected yet; it is called concurrently, never
  // under a lock. `clock` must outlive the pool.
  // REQUIRES: limits.max_connections > 0
  ConnectionPool(const PoolLimits& limits, const Clock& clock,
                 std::function<std::unique_ptr<Connection>()> make)
      : limits_(limits), clock_(clock), make_(std::move(make)), process_(new Process(*this)) {}
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;
  // REQUIRES: no lease is left, except those of a parent process.
  ~ConnectionPool() {
    Process* const process = process_.load(std::memory_order_acquire);
    if (process->forks == fork_count()) {
      delete process;
    } else {
      abandon(*process);
    }
  }

  // Returns a free connection, preferably `hint`'s. If all are in use, waits for one until
  // `deadline` (of std::chrono::steady_clock, not of the injected clock: threads really wait).
  // Empty if none became free. `hint` starts at 0 and is then not changed by the caller. Throws
  // what `make` throws.
  [[gnu::hot]] Lease take(std::size_t& hint, std::chrono::steady_clock::time_point deadline) {
    Process& process = here();
    Slot* slot = process.try_take(hint);
    if (slot == nullptr) slot = process.wait_for_one(hint, deadline);
    if (slot == nullptr) return {};
    Lease lease(process, *slot);
    prepare(*slot);
    return lease;
  }

  // Closes unused connections until at most `most_open` are open. Call it when a session ends:
  // there may be no later operation to close idle connections.
  void shrink(std::size_t most_open) noexcept {
    Process& process = *process_.load(std::memory_order_acquire);
    if (process.forks != fork_count()) return;
    for (std::size_t i = limits_.max_connections; i > 0; --i) {
      if (process.open.load(std::memory_order_relaxed) <= most_open) return;
      process.close_unless_used(process.slots[i - 1]);
    }
  }

  // For tests and health: number of open connections; number in use.
  std::size_t open_connections() { return here().open.load(std::memory_order_relaxed); }
  std::size_t in_use() {
    std::size_t count = 0;
    Process& process = here();
    for (std::size_t i = 0; i < limits_.max_connections; ++i) {
      count += process.slots[i].taken.load(std::memory_order_relaxed) ? 1U : 0U;
    }
    return count;
  }

 private:
  // On separate cache lines, so that threads with different slots do not slow each other down.
  struct alignas(64) Slot {
    std::atomic<bool> taken{false};
    bool counted = false;        // included in `open`
    std::int64_t last_used = 0;  // nanoseconds; all but `taken` belong to the taker
    std::unique_ptr<Connection> connection;
  };

  // A waiting thread. Guarded by the mutex.
  struct Waiter {
    std::condition_variable served;
    Slot* slot = nullptr;
    Waiter* next = nullptr;
    bool was_served = false;
  };

  // A thread's place in the queue; cleans up even if the thread is cancelled. Lives under the
  // mutex.
  struct WaitingRoom {
    explicit WaitingRoom(Process& of) noexcept : process(of) {
      process.waiting.fetch_add(1, std::memory_order_seq_cst);
    }
    WaitingRoom(const WaitingRoom&) = delete;
    WaitingRoom& operator=(const WaitingRoom&) = delete;
    ~WaitingRoom() {
      process.waiting.fetch_sub(1, std::memory_order_seq_cst);
      if (queued && !waiter.was_served) process.leave_queue(waiter);
      if (waiter.slot == nullptr) return;
      if (process.queue != nullptr) {
        process.hand_over(*waiter.slot);
      } else {
        waiter.slot->taken.store(false, std::memory_order_seq_cst);
      }
    }

    void enqueue() noexcept {
      *process.end_of_queue = &waiter;
      process.end_of_queue = &waiter.next;
      queued = true;
    }

    Process& process;
    Waiter waiter;
    bool queued = false;
  };

  // State that a fork's child must not inherit.
  struct Process {
    explicit Process(ConnectionPool& of)
        : pool(of), forks(fork_count()), slots(new Slot[of.limits_.max_connections]) {}

    // Reads before it writes, so that searching threads do not disturb others. The read is part of
    // the single total order of `taken` and `waiting`: see wait_for_one().
    static bool claim(Slot& slot) noexcept {
      return !slot.taken.load(std::memory_order_seq_cst) &&
             !slot.taken.exchange(true, std::memory_order_seq_cst);
    }

    Slot* try_take(std::size_t& hint) noexcept {
      if (claim(slots[hint])) [[likely]]
        return &slots[hint];
      // Prefers the first slots, so that the last ones become idle.
      for (std::size_t i = 0; i < pool.limits_.max_connections; ++i) {
        if (claim(slots[i])) {
          hint = i;
          return &slots[i];
        }
      }
      return nullptr;
    }

    // Writes `waiting`, then reads `taken`; a returning thread writes `taken`, then reads
    // `waiting`. At least one of the two sees the other.
    Slot* wait_for_one(std::size_t& hint, std::chrono::steady_clock::time_point deadline) {
      std::unique_lock lock(mutex);
      WaitingRoom place(*this);
      Waiter& self = place.waiter;
      self.slot = try_take(hint);
      if (self.slot == nullptr) {
        place.enqueue();
        self.served.wait_until(lock, deadline, [&] { return self.slot != nullptr; });
      }
      if (self.slot == nullptr) return nullptr;
      hint = static_cast<std::size_t>(self.slot - slots.get());
      return std::exchange(self.slot, nullptr);
    }

    void leave_queue(Waiter& waiter) noexcept {
      Waiter** link = &queue;
      while (*link != &waiter) link = &(*link)->next;
      *link = waiter.next;
      if (end_of_queue == &waiter.next) end_of_queue = link;
    }

    // Hands the slot to the longest waiter. REQUIRES: the mutex is held; the queue is not empty.
    void hand_over(Slot& slot) noexcept {
      Waiter& waiter = *queue;
      leave_queue(waiter);
      waiter.slot = &slot;
      waiter.was_served = true;
      waiter.served.notify_one();  // under the mutex: the waiter lives on its thread's stack
    }

    void release(Slot& slot) noexcept {
      if (waiting.load(std::memory_order_relaxed) != 0) [[unlikely]] {
        const std::lock_guard lock(mutex);
        if (queue != nullptr) return hand_over(slot);
      }
      slot.taken.store(false, std::memory_order_seq_cst);
      if (waiting.load(std::memory_order_seq_cst) != 0) [[unlikely]] {
        const std::lock_guard lock(mutex);
        if (queue != nullptr && claim(slot)) hand_over(slot);
      }
    }

    void give_back(Slot& slot) noexcept {
      if (forks != fork_count()) return;  // a parent's; its threads may have held the mutex
      const std::int64_t now = pool.now();
      slot.last_used = now;
      count(slot, slot.connection != nullptr && slot.connection->is_open());
      release(slot);
      if (now >= next_look.load(std::memory_order_relaxed)) [[unlikely]]
        close_idle(now);
    }

    void count(Slot& slot, bool is_open) noexcept {
      if (slot.counted == is_open) return;
      slot.counted = is_open;
      if (is_open) {
        open.fetch_add(1, std::memory_order_relaxed);
      } else {
        open.fetch_sub(1, std::memory_order_relaxed);
      }
    }

    void close_idle(std::int64_t now) noexcept {
      const std::int64_t limit = std::chrono::nanoseconds(pool.limits_.idle_timeout).count();
      next_look.store(now + limit / 4, std::memory_order_relaxed);
      for (std::size_t i = 0; i < pool.limits_.max_connections; ++i) {
        Slot& slot = slots[i];
        if (!claim(slot)) continue;
        if (slot.counted && now - slot.last_used >= limit) {
          slot.connection->close();
          count(slot, false);
        }
        release(slot);
      }
    }

    void close_unless_used(Slot& slot) noexcept {
      if (!claim(slot)) return;
      if (slot.counted) {
        slot.connection->close();
        count(slot, false);
      }
      release(slot);
    }

    ConnectionPool& pool;
    const std::uint32_t forks;
    const std::unique_ptr<Slot[]> slots;
    std::atomic<std::size_t> open{0};
    std::atomic<std::int64_t> next_look{0};
    std::atomic<int> waiting{0};
    std::mutex mutex;  // guards the queue and what is in it
    Waiter* queue = nullptr;
    Waiter** end_of_queue = &queue;
  };

  // For idle times only. Reads the machine's clock in its coarse form, at a fifth of the cost,
  // which every operation pays twice. It stops while the machine sleeps; a connection that the
  // server closed meanwhile is detected by other means.
  std::int64_t now() const noexcept {
    const auto moment = is_real_ ? net::coarse_now() : clock_.steady_now();
    return std::chrono::nanoseconds(moment.time_since_epoch()).count();
  }

  Process& here() {
    Process* process = process_.load(std::memory_order_acquire);
    if (process->forks == fork_count()) [[likely]]
      return *process;
    auto fresh = std::make_unique<Process>(*this);
    while (process->forks != fork_count()) {
      if (process_.compare_exchange_weak(process, fresh.get(), std::memory_order_acq_rel)) {
        abandon(*process);
        return *fresh.release();
      }
    }
    return *process;
  }

  // Abandons the parent's state. Its threads do not exist here and will never finish their work, so
  // nothing in the memory can be destroyed safely; it is kept.
  static void abandon(Process& process) noexcept {
    for (std::size_t i = 0; i < process.pool.limits_.max_connections; ++i) {
      if (Connection* const connection = process.slots[i].connection.get()) connection->abandon();
    }
    keep_for_ever(process);
  }

  // Kept in a list, so that a leak checker finds it reachable.
  static void keep_for_ever(Process& process) noexcept {
    struct Kept {
      Process* process;
      Kept* next;
    };
    static std::atomic<Kept*> all{nullptr};
    auto* const kept = new (std::nothrow) Kept{&process, all.load(std::memory_order_relaxed)};
    if (kept == nullptr) return;
    while (!all.compare_exchange_weak(kept->next, kept, std::memory_order_release)) {
    }
  }

  // REQUIRES: the slot is taken by this thread.
  void prepare(Slot& slot) {
    if (slot.connection == nullptr) slot.connection = make_();
    if (!slot.counted) return;
    const std::int64_t idle = now() - slot.last_used;
    if (idle >= std::chrono::nanoseconds(limits_.idle_timeout).count()) slot.connection->close();
  }

  const PoolLimits limits_;
  const Clock& clock_;
  const bool is_real_ = &clock_ == &Clock::real();
  const std::function<std::unique_ptr<Connection>()> make_;
  std::atomic<Process*> process_;
};

}  // namespace polycache
