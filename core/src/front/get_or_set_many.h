// One get_or_set_many(): get_or_set_many.cpp reads and decides who computes; loading_many.cpp
// computes and stores.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "front/entry.h"
#include "front/flights.h"
#include "front/load_rules.h"
#include "front/loading.h"
#include "front/operation.h"
#include "front/reading.h"
#include "polycache/cache.h"

namespace polycache {

// Keys have the index of their first place in the call.
class Cache::GetOrSetMany {
 public:
  GetOrSetMany(Cache& cache, Operation& operation, std::span<const std::string_view> user_keys,
               std::span<const std::string_view> final_keys, const LoadOptions& options,
               const LoadRules& rules, detail::LoadManyTask& task)
      : cache_(cache),
        state_(*cache.state_),
        operation_(operation),
        user_keys_(user_keys),
        keys_(final_keys),
        options_(options),
        rules_(rules),
        task_(task),
        seen_(final_keys.size()) {}
  GetOrSetMany(const GetOrSetMany&) = delete;
  GetOrSetMany& operator=(const GetOrSetMany&) = delete;

  Unloaded run();

 private:
  enum class Where : unsigned char { anywhere, authoritative };

  struct Seen {
    Outcome outcome = Outcome::absent;
    EntryHead head;
    bool is_due = false;
    std::optional<std::string> stale;  // its value
    std::optional<std::string> old;    // the value to refresh
    std::string stored;                // the whole entry, if it is to be replaced
    std::string tags;                  // the content of their field
    Reading::Details details;          // for a warning
  };

  // A key that this call computes.
  struct Mine {
    std::size_t key;
    std::optional<Flights::Ticket> ticket;  // empty: without a flight
    std::optional<std::string> good = {};   // the value that it refreshes
    Loading::Held lease = {};               // of all processes
  };

  // --- Reading. ---

  void read(std::span<const std::size_t> which, Where where);

  // Returns whether its tags are to be checked.
  bool take(std::size_t i, std::string_view stored, Reading& reading, Where where);

  // `now`: when the entry was judged.
  bool decode(std::size_t i, std::string_view bytes, std::int64_t now);
  void keep(std::size_t i, Reading& reading);
  void count(std::span<const std::size_t> unique);
  void warn_of(std::size_t i);

  // --- Who computes. ---

  void refresh(std::size_t i, std::vector<Mine>& mine);
  void load(std::vector<std::size_t> missing, std::vector<Mine> mine);
  bool gives_stale(std::size_t i);
  bool give_stale(std::size_t i);
  bool accepts_stale(std::size_t i) const noexcept;
  bool wait(std::size_t i, Flights::Ticket& ticket);

  // --- The computation. ---

  bool wants_lease() const noexcept { return Loading::wants_lease(rules_, options_, state_); }

  // With a lease: first what this process has one for, then what others turn out not to compute.
  void compute(std::vector<Mine>& mine, bool never_waits);
  bool are_absent(const std::vector<Mine>& all) const;

  // Returns those that another process computes. A refresh is left to it.
  std::vector<Mine> take_leases(std::vector<Mine>& mine);

  // To another process.
  void leave(Mine& one, std::vector<Mine>& theirs);

  // The other process has left the stale value.
  void leave_stale(std::vector<Mine>& mine);
  void compute_now(std::vector<Mine>& mine);

  // Other threads may have landed since the first look.
  void look_again(std::vector<Mine>& mine);
  std::optional<std::string> versions_of_tags();
  void give_up(const std::vector<Mine>& mine, const std::exception_ptr& cause);
  void store(std::vector<Mine>& mine, const std::string& tags, bool may_store,
             std::chrono::nanoseconds took);
  void put(const std::vector<Mine>& mine, std::span<const Item> items,
           std::span<const std::size_t> places);

  // Something is stored there.
  void replace(Backend& session, std::size_t i, const Item& item);

  Cache& cache_;
  CacheState& state_;
  Operation& operation_;
  const std::span<const std::string_view> user_keys_;
  const std::span<const std::string_view> keys_;  // final
  const LoadOptions& options_;
  const LoadRules& rules_;
  detail::LoadManyTask& task_;
  std::vector<Seen> seen_;
  std::size_t hits_ = 0;
  std::set<std::size_t> failed_;
  std::set<std::size_t> given_stale_;
  std::vector<std::size_t> undecided_;  // stale ones: it is known at the end how the read counts
  std::vector<std::size_t> unloaded_;
  std::exception_ptr cause_;
};

}  // namespace polycache
