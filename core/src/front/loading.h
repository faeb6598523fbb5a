// The computation of one get_or_set(): runs the function, stores what it returns, and passes it to
// the threads that wait. On the caller's stack, or in a job.

#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/small_array.h"
#include "front/entry.h"
#include "front/flights.h"
#include "front/lease.h"
#include "front/load_rules.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/tag_versions.h"
#include "polycache/load.h"

namespace polycache {

namespace detail {

// What a Load says.
struct LoadState {
  Cache& cache;
  std::string_view key;
  std::optional<std::string_view> stale = {};
  std::optional<Timeout> timeout = {};
  std::vector<TagSnapshot> tags = {};
  bool is_stored = true;
  Load load{*this};
};

}  // namespace detail

// Calls `encode`. If a codec or a transform throws in it, warns that the value is not stored, and
// returns false.
bool encode_or_warn(const CacheState& state, std::string_view key, FunctionRef<void()> encode);

// It uses the store in steps, so that a computation finds the session free. After a failed step it
// makes no other: each could cost another time limit.
class Cache::Loading {
 public:
  // `rules`: null if the call is a plain one. All of them must outlive it.
  Loading(Cache& cache, Operation& operation, std::string_view key, const LoadOptions& options,
          const LoadRules* rules, detail::LoadTask& task) noexcept
      : cache_(cache),
        state_(*cache.state_),
        operation_(operation),
        key_(key),
        options_(options),
        rules_(rules),
        task_(task) {}
  Loading(const Loading&) = delete;
  Loading& operator=(const Loading&) = delete;

  enum class Where : unsigned char { anywhere, authoritative };

  // What is stored.
  struct Seen {
    Seen() = default;
    Seen(const Seen&) = delete;
    Seen& operator=(const Seen&) = delete;

    void clear();
    void drop_value() noexcept;  // it does not count

    Reading reading;
    EntryHead head;
    bool is_due = false;  // a value that should be computed anew
    // The value, if it is stale or due, or the function may look at it.
    std::optional<std::string> bytes;
    std::string stored;  // the whole entry, of a look that is authoritative
  };
  // Reads the entry; the task keeps its value. Of a call whose tags, if it has any, need no request
  // of their own.
  static void look(Operation& operation, const RefreshRule& rule, detail::LoadTask& task,
                   Seen& seen);
  // The same, as the call's options demand it. `landing` receives a copy of the value.
  void look(Where where, Seen& seen, Flights::Landing* landing);

  enum class Turn : unsigned char {
    ours,    // this call computes
    done,    // it has been computed: there is a newer value, or "nothing"
    theirs,  // another process refreshes the value, or failed to replace the stale one
    late,    // another process computes, and the stale value serves meanwhile
  };
  struct Wanted {
    std::optional<std::int64_t> refreshes = {};  // when the value that is due was created
    // Longest time to wait for another process; zero: it must not.
    std::chrono::nanoseconds wait{};
    bool accepts_stale = false;  // for when another process fails
    bool prefers_stale = false;  // if accepted, also for when another process takes longer
  };
  // Looks again. With LoadOptions::lease, then takes the lease, or waits until it is free.
  Turn take_turn(const Wanted& wanted, Seen& seen, Flights::Landing& landing);

  // --- What is known before run(). ---

  // The function may look at this value.
  void replaces_value(std::string_view bytes) { old_ = bytes; }
  // The new entry replaces this one only, and nothing if it has changed meanwhile.
  void replaces_entry(std::string_view stored) { stored_ = stored; }
  // There is an entry that does not count as one; it goes if there is no such thing.
  void removes_entry(std::string_view stored) { not_live_ = stored; }
  // There is an entry of another type, which counts as absent.
  void overwrites(bool does) { overwrites_ = does; }

  bool wants_lease() const noexcept;
  bool has_lease() const noexcept { return static_cast<bool>(lease_); }
  // Gives the lease back before run(): it is not needed any more.
  void end_lease() noexcept { lease_.end(); }

  // Runs the function of `source`, which is the task or was detached from it. Afterwards the task
  // has the value, unless the answer is "nothing". Throws what the function throws, LoadFailed, and
  // CacheError for a "not modified" without a value.
  detail::LoadAnswer run(Flights::Ticket* ticket, detail::LoadTask& source);
  // Whether run() passed a result to the threads that wait.
  bool has_landed() const noexcept { return has_landed_; }

  // Whether the tags of a value that another thread has computed are current.
  bool is_current(std::string_view tags);
  // Tells the recorders of this thread.
  void record(std::string_view content) const;

  // --- Leases (lease.h), also for several keys. ---

  // A lease that is given back when this ends. Does not throw: if the store fails, the lease ends
  // by itself.
  class Held {
   public:
    Held() noexcept = default;
    Held(Operation& operation, std::unique_ptr<Lease> lease) noexcept
        : operation_(&operation), lease_(std::move(lease)) {}
    Held(Held&&) noexcept = default;
    Held& operator=(Held&& other) noexcept {
      end();
      operation_ = other.operation_;
      lease_ = std::move(other.lease_);
      return *this;
    }
    ~Held() {
      if (lease_) [[unlikely]]
        end();
    }

    explicit operator bool() const noexcept { return lease_ != nullptr; }
    Lease& operator*() const noexcept { return *lease_; }
    Lease* operator->() const noexcept { return lease_.get(); }
    void end() noexcept;

   private:
    Operation* operation_ = nullptr;
    std::unique_ptr<Lease> lease_;
  };

  // Whether other processes may compute the same, and are not to. Then the result is stored in
  // place of what was seen, and of nothing else.
  static bool wants_lease(const LoadRules& rules, const LoadOptions& options,
                          const CacheState& state) noexcept;
  // `stored`: the entry, if there is one. Empty if another process has the lease, or the store
  // failed. Throws BackendError if the store cannot compare.
  static Held take_lease(Operation& operation, std::string_view key, const LoadRules& rules,
                         Outcome outcome, std::string_view stored);
  // Says that a value was not stored if the reason may be that the lease was over.
  static void warn_of_lease(const CacheState& state, std::string_view key, const Lease& lease,
                            const LoadRules& rules);

 private:
  // Of the tags that the options name, in that order; an empty one: the store has none.
  using Versions = SmallArray<std::optional<std::uint64_t>, TagKeys::few>;

  // Whether more than a plain value is wanted.
  bool is_detailed() const noexcept { return rules_ != nullptr; }
  void read_with_versions(Backend& session, ValueSink take, std::span<const std::string> names,
                          Versions& versions);
  bool are_current(Backend& session, std::string_view content, std::span<const std::string> names,
                   Versions& versions) const;

  std::optional<std::string> versions_of_tags();
  // The tags of the entry: the given ones, those that were recorded, those of the Load.
  detail::LoadAnswer compute(detail::LoadTask& source, detail::LoadState& said, std::string& tags);
  std::string with_tags_of(const detail::LoadState& said, const std::string& content) const;
  void store_value(const detail::LoadState& said, std::string_view bytes, std::string_view tags,
                   Flights::Ticket* ticket, Flights::Landing& landing);
  void store_nothing(const detail::LoadState& said, std::string_view tags, Flights::Ticket* ticket);
  bool put(std::string_view form, Ttl ttl, const Flights::Ticket* ticket);

  bool is_done(const Seen& seen, const Wanted& wanted) const noexcept;
  // Looks, and takes the lease if this call is to compute and it is free.
  enum class Claim : unsigned char {
    done,
    taken,
    theirs,    // another process has it
    declined,  // the store did not keep it, although it was free
    none,      // no lease is wanted, or the store failed
  };
  Claim claim(const Wanted& wanted, Seen& seen, Flights::Landing& landing);

  Cache& cache_;
  CacheState& state_;
  Operation& operation_;
  const std::string_view key_;
  const LoadOptions& options_;
  const LoadRules* const rules_;
  detail::LoadTask& task_;
  std::optional<std::string_view> old_;
  std::optional<std::string_view> stored_;
  std::optional<std::string_view> not_live_;
  Held lease_;
  std::chrono::nanoseconds computed_in_{};
  bool overwrites_ = false;
  bool has_landed_ = false;
};

}  // namespace polycache
