// One store: the entries of a location, shared by all sessions.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "fork_guard.h"
#include "polycache/backend.h"
#include "polycache/clock.h"
#include "settings.h"

namespace polycache::locmem {

enum class PutResult : std::uint8_t { stored, not_stored, refused };

// Thread-safe. Sinks are called outside the lock.
class Store final : public Forkable {
 public:
  // What an entry occupies beside its key and value, about.
  static constexpr std::uint64_t kOverhead = 208;
  static constexpr std::uint64_t kSmallestEntry = kOverhead + 1;

  Store(const Settings& settings, const Clock& clock, ForkGuard& fork_guard);
  ~Store();

  using TtlSink = FunctionRef<void(std::string_view value, Ttl left)>;

  bool get(std::string_view key, ValueSink sink);
  bool get_with_ttl(std::string_view key, TtlSink sink);
  bool contains(std::string_view key, ValueSink head);
  bool pop(std::string_view key, ValueSink sink);
  PutResult put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode);
  bool touch(std::string_view key, Ttl ttl);
  bool erase(std::string_view key);
  void clear();
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta);
  PutResult put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                         std::optional<Ttl> ttl);
  bool erase_if_equal(std::string_view key, std::string_view expected);
  std::size_t erase_prefix(std::string_view prefix);

  void lock_for_fork() noexcept override { mutex_.lock(); }
  void unlock_after_fork() noexcept override { mutex_.unlock(); }

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct Entry {
    std::string key;
    std::shared_ptr<const std::string> value;  // shared, so that a sink reads without the lock
    Time deadline;
  };
  using Order = std::list<Entry>;  // most recently used first

  // Seeded, so that nobody can choose keys that collide.
  struct Hash {
    std::size_t seed;
    std::size_t operator()(std::string_view key) const noexcept;
  };

  Time deadline_of(Ttl ttl) const noexcept;
  bool is_live(const Entry& entry) const noexcept;
  Order::iterator find(std::string_view key);  // live, or end(); drops an expired one
  std::uint64_t weight(std::string_view key, std::string_view value) const noexcept;
  void use(Order::iterator entry) { order_.splice(order_.begin(), order_, entry); }
  void remove(Order::iterator entry);
  void replace(Order::iterator entry, std::shared_ptr<const std::string> value);
  void make_room(std::uint64_t bytes);
  void cull();
  void sweep();

  const Settings settings_;
  const Clock& clock_;
  ForkGuard& fork_guard_;

  std::mutex mutex_;  // guards what follows
  Order order_;
  std::unordered_map<std::string_view, Order::iterator, Hash> index_;
  std::uint64_t bytes_ = 0;
  Order::iterator swept_ = order_.end();  // the sweep goes on in front of it
};

}  // namespace polycache::locmem
