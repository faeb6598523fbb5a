// Computations in progress: of the threads that miss one key at the same time, one computes and the
// others wait for its bytes. One Flights per alias state.
//
// A destructor releases a flight, whatever happens to its owner. A child of fork() has no flights,
// because their owners do not exist there.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace polycache {

class Flights {
 public:
  static constexpr std::chrono::seconds longest_wait{30};

  Flights();
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;
  ~Flights();

  class Ticket;
  // Joins the flight of that key, or starts one.
  Ticket join(std::string_view final_key);

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

  // Owner: sets the bytes that the others get. Without this call, one of them computes.
  void land(std::string bytes);

  // Others: waits for the owner. Returns its bytes, or empty if it set none or the time is up (see
  // timed_out()).
  std::optional<std::string> wait();
  bool timed_out() const noexcept { return timed_out_; }

 private:
  friend class Flights;
  Ticket(Table& table, std::shared_ptr<Flight> flight, bool owner) noexcept;

  Table* table_;
  std::shared_ptr<Flight> flight_;  // null after a move
  bool owner_;
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
