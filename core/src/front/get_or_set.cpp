#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "front/find.h"
#include "front/flights.h"
#include "front/loading.h"
#include "front/operation.h"
#include "front/reading.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"
#include "polycache/executor.h"

namespace polycache {

using detail::LoadAnswer;

namespace {

// The message of the exception that is handled.
std::string current_message() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "something that is not a std::exception";
  }
}

enum class Purpose : unsigned char { refresh, miss };

// How long a refresh is left to the process that has its lease before it is asked for again.
constexpr std::chrono::milliseconds time_for_others{200};

// After a computation that failed: when the next one may run, and what is said about it.
void note_failure(const CacheState& state, std::string_view key, const LoadRules& rules,
                  Purpose purpose, const std::string& why) {
  Retries& retries = state.shared().retries();
  if (purpose == Purpose::refresh) {
    retries.back_off(key, rules.throttle);
  } else {
    retries.wait(key, rules.throttle);
  }
  const std::string_view kept = purpose == Purpose::refresh ? "; its value stays until it expires"
                                                            : "; its stale value is returned";
  state.warn(Warning::Kind::other, key,
             "the computation of " + quote(key) + " failed: " + why + std::string(kept));
}

}  // namespace

// A computation that the executor runs, on a Cache of its own.
struct Cache::BackgroundLoad {
  std::shared_ptr<CacheState> state;
  std::shared_ptr<detail::LoadTask> task;
  std::string key;
  LoadOptions options;
  LoadRules rules;
  Flights::Ticket ticket;
  Purpose purpose;
  std::int64_t created;  // of the value that it refreshes
  bool keeps_stale;      // its caller accepts a stale value

  void operator()() {
    Cache cache(state);
    const std::string_view view = key;
    Operation operation(cache, Op::load, {&view, 1});
    const Computation inside(&state->shared(), key);
    Loading loading(cache, operation, key, options, &rules, *task);
    try {
      Loading::Seen seen;
      Flights::Landing landing;
      const Loading::Turn turn = loading.take_turn(wanted(), seen, landing);
      if (turn == Loading::Turn::done) {
        operation.ends_as(landing.nothing ? Result::negative : Result::hit);
        ticket.land(std::move(landing));  // another process was faster
        return;
      }
      if (turn == Loading::Turn::theirs && purpose == Purpose::refresh) {
        state->shared().retries().wait(key, time_for_others);
        operation.ends(true);
        return;
      }
      if (turn == Loading::Turn::theirs) {
        throw LoadFailed(state->alias() + ": the computation of " + quote(key) +
                         " failed in another process");
      }
      loading.overwrites(seen.reading.outcome == Outcome::undecodable);
      if (seen.bytes) {
        loading.replaces_value(*seen.bytes);
        loading.replaces_entry(seen.stored);
      }
      if (purpose == Purpose::refresh) operation.tally().refreshes.add();
      const bool found = loading.run(&ticket, *task) != LoadAnswer::nothing;
      operation.ends_as(found ? Result::hit : Result::negative);
      if (loading.has_landed()) return;
      throw CacheError(state->alias() + ": the value computed for " + quote(key) +
                       " cannot be passed on, because its codec threw");
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {
      ticket.fail(std::current_exception());
      give_up();
    }
  }

  Loading::Wanted wanted() const noexcept {
    if (purpose == Purpose::refresh) return {.refreshes = created};
    return {.wait = Flights::longest_wait, .accepts_stale = keeps_stale};
  }

  void give_up() const noexcept {
    try {
      if (purpose == Purpose::refresh || keeps_stale) {
        note_failure(*state, key, rules, purpose, current_message());
      } else if (!ticket.has_others()) {
        state->warn(Warning::Kind::other, key,
                    "the computation of " + quote(key) +
                        " failed in the background, after its caller had stopped waiting: " +
                        current_message());
      }
    } catch (...) {  // a warning handler threw; a job has no caller that could receive it
    }
  }
};

// One get_or_set().
class Cache::GetOrSet {
 public:
  // `rules`: null for a plain call.
  GetOrSet(Cache& cache, Operation& operation, const LoadOptions& options, const LoadRules* rules,
           detail::LoadTask& task) noexcept
      : cache_(cache),
        state_(*cache.state_),
        operation_(operation),
        key_(operation.key()),
        options_(options),
        rules_(rules),
        task_(task),
        loading_(cache, operation, key_, options, rules, task) {}
  GetOrSet(const GetOrSet&) = delete;
  GetOrSet& operator=(const GetOrSet&) = delete;

  // One call each, without the cost of a GetOrSet for a value that is found at once. Return as
  // run().
  [[gnu::noinline]] static bool run_detailed(Cache& cache, Operation& operation,
                                             const LoadOptions& options, detail::LoadTask& task,
                                             bool reads_versions);
  [[gnu::noinline]] static bool run_with_versions(Cache& cache, Operation& operation,
                                                  const LoadOptions& options,
                                                  detail::LoadTask& task);
  [[gnu::noinline]] static bool run_plain(Cache& cache, Operation& operation,
                                          const LoadOptions& options, detail::LoadTask& task,
                                          Reading& reading);

  // Returns whether there is a value, which the task then has.
  bool run() {
    Loading::Seen first;
    loading_.look(Where::anywhere, first, nullptr);
    return run(first);
  }
  // The same after the first look.
  bool run(Loading::Seen& first) {
    if (first.reading.has_value()) {
      operation_.has_read(true);
      return first.is_due ? refresh(first) : true;
    }
    if (first.reading.outcome == Outcome::negative && task_.may_be_nothing) {
      operation_.tally().negative.add();
      operation_.ends_as(Result::negative);
      return false;
    }
    Counted counted{operation_.tally().misses};
    counted_ = &counted;
    operation_.may_throw();
    const bool found = miss(first);
    operation_.ends_as(result_);
    return found;
  }

 private:
  using Where = Loading::Where;
  using SteadyClock = std::chrono::steady_clock;

  // Of a read that found no fresh value, whatever happens.
  struct Counted {
    explicit Counted(Tally::Count& count) noexcept : as(&count) {}
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { as->add(); }
    Tally::Count* as;
  };

  Retries& retries() const noexcept { return state_.shared().retries(); }

  // --- A value that is fresh, and due. ---

  // Never throws for the computation: the value is good.
  bool refresh(const Loading::Seen& first) {
    if (retries().must_wait(key_) || Computation::contains(&state_.shared(), key_)) return true;
    Flights::Ticket ticket = state_.flights().join(key_);
    if (!ticket.owner()) return true;  // another thread does it
    operation_.may_throw();
    bool found = true;
    if (task_.is_background) {
      post(std::move(ticket), Purpose::refresh, first.head.created, task_.detach());
    } else {
      found = refresh_here(ticket, first.head.created, *first.bytes);
    }
    operation_.ends_as(found ? Result::hit : Result::negative);
    return found;
  }

  bool refresh_here(Flights::Ticket& ticket, std::int64_t created, std::string_view value) {
    const Computation inside(&state_.shared(), key_);
    Loading::Seen seen;
    Flights::Landing landing;
    try {
      const Loading::Turn turn = loading_.take_turn({.refreshes = created}, seen, landing);
      if (turn == Loading::Turn::done) return give_landing(ticket, std::move(landing));
      if (turn == Loading::Turn::theirs) retries().wait(key_, time_for_others);
      if (turn == Loading::Turn::theirs || operation_.failed()) return task_.decode(value);
      if (seen.bytes) {
        loading_.replaces_value(*seen.bytes);
        loading_.replaces_entry(seen.stored);
      }
      operation_.tally().refreshes.add();
      return loading_.run(&ticket, task_) != LoadAnswer::nothing;
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {
      note_failure(state_, key_, *rules_, Purpose::refresh, current_message());
    }
    return task_.decode(value);
  }

  // --- No fresh value. ---

  bool miss(Loading::Seen& first) {
    if (first.reading.unreadable()) warn_unreadable(state_, key_, first.reading);
    loading_.overwrites(first.reading.outcome == Outcome::undecodable);
    if (Computation::contains(&state_.shared(), key_)) {
      throw CacheError(state_.alias() + ": the key " + quote(key_) +
                       " was asked for inside its own computation");
    }
    if (first.reading.outcome == Outcome::stale) keep_stale(std::move(*first.bytes));
    if (rules_ != nullptr) began_ = SteadyClock::now();
    is_nested_ = Computation::any();
    for (bool waited = false;; waited = true) {
      if (accepts_stale_ && retries().must_wait(key_)) return give_stale();
      Flights::Ticket ticket = state_.flights().join(key_);
      const bool starts_job = ticket.owner() && is_limited() && !refused_ && !is_nested_;
      if (ticket.owner() && !starts_job) {
        const Computation inside(&state_.shared(), key_);  // nothing that runs here waits
        if (const auto found = own(ticket)) return *found;
        continue;
      }
      if (starts_job) {
        Flights::Ticket follower = ticket.follow();
        detached_ = task_.detach();
        refused_ = !post(std::move(ticket), Purpose::miss, 0, detached_);
        if (refused_) continue;
        if (const auto found = wait_for_job(follower)) return *found;
        refused_ = true;  // the executor has dropped the job
        continue;
      }
      if (is_nested_) break;
      if (!waited) operation_.tally().waits.add();
      if (const auto found = wait(ticket)) return *found;
      if (!ticket.timed_out()) continue;
      if (!says_wait()) break;
      if (accepts_stale_) return late();
      has_waited_ = true;
      break;
    }
    return alone();
  }

  // Computes while another thread computes the same.
  bool alone() {
    const Computation inside(&state_.shared(), key_);
    for (;;) {
      Flights::Ticket ticket = state_.flights().fly_alone(key_);
      if (!has_waited_) return compute(&ticket);
      if (const auto found = own(ticket)) return *found;
    }
  }

  // Waits for another thread's result. Empty if there is none: this call computes, or asks why.
  std::optional<bool> wait(Flights::Ticket& ticket) {
    const std::optional<Flights::Landing> landing = ticket.wait(wait_for_others());
    if (!landing) {
      if (ticket.timed_out() && is_limited() && is_late()) return late();
      return std::nullopt;
    }
    if (landing->nothing) {
      if (!task_.may_be_nothing || !loading_.is_current(landing->tags)) return std::nullopt;
      return answered(LoadAnswer::nothing);
    }
    Reading reading;
    read_value(reading, landing->bytes,
               [&](std::string_view bytes) { return task_.decode(bytes); });
    if (!reading.has_value() || !loading_.is_current(landing->tags)) return std::nullopt;
    return true;
  }

  // Of the job that this call has posted. Empty if the job was dropped.
  std::optional<bool> wait_for_job(Flights::Ticket& ticket) {
    const std::optional<Flights::Landing> landing = ticket.wait(longest_wait());
    if (landing) {
      loading_.record(landing->tags);
      if (landing->nothing) return answered(LoadAnswer::nothing);
      task_.adopt(*detached_);  // the job is over
      return true;
    }
    if (ticket.timed_out()) return late();
    const std::exception_ptr error = ticket.error();
    if (!error) return std::nullopt;
    if (accepts_stale_) return give_stale();
    std::rethrow_exception(error);
  }

  // Empty: the key was written or erased while this waited for another process.
  std::optional<bool> own(Flights::Ticket& ticket) {
    if (operation_.failed()) return compute(&ticket);
    // Another thread may have landed since the first look.
    Loading::Seen seen;
    Flights::Landing landing;
    const bool takes_stale = rules_ != nullptr && rules_->stale.count() > 0;
    const bool may_wait = !is_nested_ && !has_waited_;
    const Loading::Turn turn =
        loading_.take_turn({.wait = may_wait ? wait_for_others() : std::chrono::nanoseconds(),
                            .accepts_stale = takes_stale,
                            .prefers_stale = says_wait()},
                           seen, landing);
    if (turn == Loading::Turn::late) {
      keep_stale(std::move(*seen.bytes));
      return late();
    }
    if (turn == Loading::Turn::done) return give_landing(ticket, std::move(landing));
    if (ticket.is_ended() && loading_.has_lease()) {
      loading_.end_lease();
      return std::nullopt;
    }
    loading_.overwrites(seen.reading.outcome == Outcome::undecodable);
    if (seen.reading.outcome == Outcome::stale) {
      keep_stale(std::move(*seen.bytes));
      stored_ = std::move(seen.stored);
      if (turn == Loading::Turn::theirs) {
        retries().wait(key_, rules_->throttle);
        return give_stale();
      }
      if (loading_.wants_lease()) {
        loading_.replaces_entry(stored_);
      } else {
        loading_.removes_entry(stored_);
      }
    }
    return compute(&ticket);
  }

  bool compute(Flights::Ticket* ticket) {
    if (stale_) loading_.replaces_value(*stale_);
    detail::LoadTask& source = detached_ ? *detached_ : task_;
    if (!accepts_stale_) return answered(loading_.run(ticket, source));
    try {
      return answered(loading_.run(ticket, source));
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {
      note_failure(state_, key_, *rules_, Purpose::miss, current_message());
    }
    return give_stale();
  }

  // What another thread or process has computed, which the task has if it is a value.
  bool give_landing(Flights::Ticket& ticket, Flights::Landing landing) {
    const LoadAnswer answer = landing.nothing ? LoadAnswer::nothing : LoadAnswer::value;
    ticket.land(std::move(landing));
    return answered(answer);
  }

  bool answered(LoadAnswer answer) noexcept {
    if (answer != LoadAnswer::nothing) return true;
    task_.clear();
    result_ = Result::negative;
    return false;
  }

  // --- The stale value. ---

  void keep_stale(std::string bytes) {
    stale_ = std::move(bytes);
    accepts_stale_ = rules_->stale.count() > 0;
  }

  bool give_stale() {
    counted_->as = &operation_.tally().stale;
    result_ = Result::stale;
    return task_.decode(*stale_);
  }

  // --- Limits, and the background. ---

  bool is_limited() const noexcept {
    if (rules_ == nullptr || !task_.is_background) return false;
    return rules_->hard_limit.count() > 0 || (accepts_stale_ && rules_->soft_limit.count() > 0);
  }
  std::chrono::nanoseconds limit() const noexcept {
    const bool is_soft = accepts_stale_ && rules_->soft_limit.count() > 0;
    return is_soft ? rules_->soft_limit : rules_->hard_limit;
  }
  bool is_late() const noexcept { return SteadyClock::now() - began_ >= limit(); }
  bool says_wait() const noexcept { return rules_ != nullptr && rules_->wait; }
  std::chrono::nanoseconds left_of(std::chrono::nanoseconds time) const noexcept {
    return std::max(std::chrono::nanoseconds::zero(), time - (SteadyClock::now() - began_));
  }
  // For this call's own job.
  std::chrono::nanoseconds longest_wait() const noexcept {
    return is_limited() ? left_of(limit()) : Flights::longest_wait;
  }
  // For another thread or process.
  std::chrono::nanoseconds wait_for_others() const noexcept {
    if (!says_wait()) return longest_wait();
    return std::min(longest_wait(), left_of(*rules_->wait));
  }
  bool late() {
    operation_.tally().late_loads.add();
    if (accepts_stale_) return give_stale();
    throw TimeoutError(state_.alias() + ": the computation of " + quote(key_) +
                       " takes longer than its hard_limit of " +
                       std::to_string(rules_->hard_limit.count()) +
                       " ms, and there is no stale value; it goes on in the background");
  }

  // Gives the computation to the executor. Returns false if there is none, or it has no room.
  bool post(Flights::Ticket ticket, Purpose purpose, std::int64_t created,
            std::shared_ptr<detail::LoadTask> task) {
    const std::shared_ptr<Executor> executor = state_.shared().executor();
    const bool is_posted =
        executor && executor->post(BackgroundLoad{.state = cache_.state_,
                                                  .task = std::move(task),
                                                  .key = std::string(key_),
                                                  .options = options_,
                                                  .rules = *rules_,
                                                  .ticket = std::move(ticket),
                                                  .purpose = purpose,
                                                  .created = created,
                                                  .keeps_stale = accepts_stale_});
    if (!is_posted) operation_.tally().refused_jobs.add();
    return is_posted;
  }

  Cache& cache_;
  CacheState& state_;
  Operation& operation_;
  const std::string_view key_;
  const LoadOptions& options_;
  const LoadRules* const rules_;
  detail::LoadTask& task_;
  Loading loading_;
  Counted* counted_ = nullptr;
  Result result_ = Result::miss;
  std::optional<std::string> stale_;  // the value of a stale entry
  std::string stored_;                // that entry
  bool accepts_stale_ = false;
  bool is_nested_ = false;   // inside another computation, so that it must not wait
  bool has_waited_ = false;  // for others, as long as the call says
  bool refused_ = false;     // the executor does not run it
  std::shared_ptr<detail::LoadTask> detached_;
  SteadyClock::time_point began_;
};

// A call that says more than a plain one.
bool Cache::GetOrSet::run_detailed(Cache& cache, Operation& operation, const LoadOptions& options,
                                   detail::LoadTask& task, bool reads_versions) {
  const CacheState& state = operation.state();
  const LoadPolicy& policy = state.load_policy();
  const bool never_ends = state.never_ends(options.timeout);
  const auto what = [&] { return state.alias() + ": " + operation.what(); };
  if (reads_versions || may_contradict(options)) {
    const LoadRules rules = rules_of(policy, options, task.is_background, never_ends, what);
    return GetOrSet(cache, operation, options, &rules, task).run();
  }
  // The same; only a miss needs all the rules.
  if (!just_refreshes(options, never_ends) && says_anything(options)) {
    check_options(options, task.is_background, never_ends, what);
  }
  Loading::Seen first;
  Loading::look(operation, refresh_rule_of(policy, options), task, first);
  if (first.reading.has_value() && !first.is_due) [[likely]]
    return operation.has_read(true);
  const LoadRules rules = rules_of(policy, options, task.is_background, never_ends, what);
  return GetOrSet(cache, operation, options, &rules, task).run(first);
}

// A plain call that reads versions together with the entry.
bool Cache::GetOrSet::run_with_versions(Cache& cache, Operation& operation,
                                        const LoadOptions& options, detail::LoadTask& task) {
  return GetOrSet(cache, operation, options, nullptr, task).run();
}

// A plain call, whose first look has found no value.
bool Cache::GetOrSet::run_plain(Cache& cache, Operation& operation, const LoadOptions& options,
                                detail::LoadTask& task, Reading& reading) {
  Loading::Seen first;
  first.reading = std::move(reading);
  return GetOrSet(cache, operation, options, nullptr, task).run(first);
}

// What a plain call that finds a value needs, and no more: the others are functions of their own.
bool Cache::get_or_set_bytes(KeyView key, const LoadOptions& options, detail::LoadTask& task) {
  Operation operation(*this, Op::get_or_set, key.text(), options.version);
  const bool is_plain = !says_anything(options) && !state_->has_load_policy() &&
                        !task.may_be_nothing && !task.takes_load;
  const bool reads_versions = !options.tags.empty() && state_->reads_versions_early();
  if (is_plain && !reads_versions) [[likely]] {
    Reading reading;
    find(operation, reading, [&](std::string_view bytes) { return task.decode(bytes); });
    if (reading.has_value()) [[likely]]
      return operation.has_read(true);
    return GetOrSet::run_plain(*this, operation, options, task, reading);
  }
  if (is_plain) return GetOrSet::run_with_versions(*this, operation, options, task);
  return GetOrSet::run_detailed(*this, operation, options, task, reads_versions);
}

}  // namespace polycache
