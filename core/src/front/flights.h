// Computations in progress: of the threads that miss one key at the same time, one computes and the
// others wait for its value. One Flights per alias state.
//
// A destructor releases a flight, whatever happens to its owner. A child of fork() has no flights,
// because their owners do not exist there.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace polycache {

class Flights {
 public:
  // What the owner of a flight gives to the others.
  struct Landing {
    std::string bytes;      // the value
    std::string tags = {};  // of its entry, as entry.h writes them
    bool nothing = false;   // there is no such thing
  };

  static constexpr std::chrono::seconds longest_wait{30};

  Flights();
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;
  ~Flights();

  class Ticket;
  // Joins the flight of that key, or starts one.
  Ticket join(std::string_view final_key);
  // Starts a flight of its own, which no other thread joins, next to one that may be there.
  Ticket fly_alone(std::string_view final_key);

  // Whether there may be one.
  bool any() const noexcept;
  // The key, or any key, is written or erased: the flight's value is not stored, or is stored
  // already, and later callers start another flight.
  void end_of(std::string_view final_key);
  void end_all();

 private:
  struct Flight;
  struct Shard;
  struct Table;
  Table& table();

  std::atomic<Table*> table_;
};

// One thread's part in a flight. Not thread-safe.
class Flights::Ticket {
 public:
  Ticket(Ticket&&) noexcept = default;
  Ticket& operator=(Ticket&&) = delete;
  ~Ticket();

  // Whether this thread computes.
  bool owner() const noexcept { return owner_; }

  // Owner: sets what the others get. Without this call, one of them computes.
  void land(Landing landing);
  // Owner: why it does not land. Only followers are told.
  void fail(std::exception_ptr error);
  // Owner: whether the key was written or erased since it started.
  bool is_ended() const noexcept;
  // Owner: while it has this, end_of() waits, so that a write or an erasure comes after what is
  // stored now. Ask is_ended() again once it is there. Only for the store's own call.
  using Storing = std::unique_lock<std::mutex>;
  Storing start_storing() const;
  // Owner: whether anybody waits for it, as far as is known now.
  bool has_others() const noexcept { return flight_.use_count() > 2; }  // with the table's
  // Owner: a ticket for this thread to wait with, while another one has this ticket.
  Ticket follow() const;

  // Others: waits for the owner. Returns what it landed, or empty if it did not or the time is up
  // (see timed_out()).
  std::optional<Landing> wait(std::chrono::nanoseconds limit = longest_wait);
  bool timed_out() const noexcept { return timed_out_; }
  // After wait(), for a follower: what the owner failed with.
  std::exception_ptr error() const;

 private:
  friend class Flights;
  Ticket(Table& table, std::shared_ptr<Flight> flight, bool owner) noexcept;

  Table* table_;
  std::shared_ptr<Flight> flight_;  // null after a move
  bool owner_;
  bool follows_ = false;
  bool timed_out_ = false;
};

// The computations that the calling thread is inside, innermost first.
class Computation {
 public:
  // REQUIRES: `of` and `final_key` outlive this object, which is on the stack.
  Computation(const void* of, std::string_view final_key) noexcept;
  Computation(const Computation&) = delete;
  Computation& operator=(const Computation&) = delete;
  ~Computation();

  static bool any() noexcept;
  static bool contains(const void* of, std::string_view final_key) noexcept;

 private:
  const void* of_;
  std::string_view final_key_;
  Computation* outer_;
};

}  // namespace polycache
