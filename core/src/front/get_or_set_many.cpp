#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "front/final_keys.h"
#include "front/flights.h"
#include "front/live_entry.h"
#include "front/loading.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"

namespace polycache {

// One get_or_set_many(). Keys have the index of their first place in the call.
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

  Unloaded run() {
    std::map<std::string_view, std::size_t> first;
    std::vector<std::size_t> unique;
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (first.emplace(keys_[i], i).second) unique.push_back(i);
    }
    read(unique, Where::anywhere);
    count(unique);
    operation_.may_throw();
    std::vector<std::size_t> missing;
    std::vector<Mine> mine;
    for (const std::size_t i : unique) {
      if (seen_[i].outcome == Outcome::negative) continue;
      if (seen_[i].outcome != Outcome::value) {
        missing.push_back(i);
      } else if (seen_[i].is_due) {
        refresh(i, mine);
      }
    }
    for (const std::size_t i : missing) warn_of(i);
    load(std::move(missing), std::move(mine));
    for (const std::size_t i : undecided_) {
      (given_stale_.contains(i) ? operation_.tally().stale : operation_.tally().misses).add();
    }
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const std::size_t same = first.find(keys_[i])->second;
      if (same != i) task_.copy(same, i);
      if (cause_ && failed_.contains(same)) unloaded_.push_back(i);
    }
    operation_.ends_many(hits_);
    return {std::move(unloaded_), cause_};
  }

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
    bool refreshes = false;                 // its value is good, and due
    Loading::Held lease = {};               // of all processes
  };

  // --- Reading. ---

  void read(std::span<const std::size_t> which, Where where) {
    if (which.empty() || operation_.failed()) return;
    std::vector<std::string_view> views;
    for (const std::size_t i : which) views.push_back(keys_[i]);
    operation_.run_many<bool>(Access::read, views, false, [&](Backend& session) {
      std::vector<std::pair<std::size_t, Reading>> tagged;
      const auto sink = [&](std::size_t n, std::string_view stored) {
        const std::size_t i = which[n];
        Reading reading;
        if (take(i, stored, reading, where)) tagged.emplace_back(i, std::move(reading));
      };
      auto* const ttl = Operation::extension<TtlExtension>(session);
      if (where == Where::authoritative && ttl != nullptr) {
        ttl->get_many(views, [&](std::size_t n, std::string_view stored, Ttl) { sink(n, stored); });
      } else {
        session.get_many(views, sink);
      }
      if (!tagged.empty()) check_tags(session, tagged);
      return true;
    });
  }

  // Returns whether its tags are to be checked.
  bool take(std::size_t i, std::string_view stored, Reading& reading, Where where) {
    Seen& seen = seen_[i];
    reading.head = &seen.head;
    if (where == Where::authoritative) seen.stored = stored;
    read_entry(state_, keys_[i], reading, stored,
               [&](std::string_view bytes) { return decode(i, bytes, reading.now); });
    if (reading.outcome == Outcome::tagged) return true;
    keep(i, reading);
    return false;
  }

  // `now`: when the entry was judged.
  bool decode(std::size_t i, std::string_view bytes, std::int64_t now) {
    if (!task_.decode(i, bytes)) return false;
    seen_[i].is_due = is_due(rules_.refresh, seen_[i].head, now);
    seen_[i].old = std::string(bytes);
    return true;
  }

  void keep(std::size_t i, Reading& reading) {
    Seen& seen = seen_[i];
    seen.outcome = reading.outcome;
    if (reading.details) seen.details = std::move(*reading.details);
    seen.tags = reading.tags();
    if (seen.outcome == Outcome::value) return;
    task_.clear(i);
    seen.is_due = false;
    if (seen.outcome == Outcome::stale) {
      seen.stale = seen.old;
    } else {
      seen.old.reset();
    }
  }

  void check_tags(Backend& session, std::vector<std::pair<std::size_t, Reading>>& tagged) {
    std::vector<EntryTag> all;
    for (const auto& [i, reading] : tagged) {
      const auto tags = read_tags(reading.tags());
      if (tags) all.insert(all.end(), tags->begin(), tags->end());
    }
    KnownVersions known(state_);
    known.read(session, all);
    for (auto& [i, reading] : tagged) {
      reading.has_checked_tags(known.are_current(reading.tags()));
      keep(i, reading);
    }
  }

  void count(std::span<const std::size_t> unique) {
    Tally& tally = operation_.tally();
    for (const std::size_t i : unique) {
      const Outcome outcome = seen_[i].outcome;
      if (outcome == Outcome::value) {
        ++hits_;
        tally.hits.add();
      } else if (outcome == Outcome::negative) {
        tally.negative.add();
      } else if (accepts_stale(i)) {
        undecided_.push_back(i);
      } else {
        tally.misses.add();
      }
    }
  }

  void warn_of(std::size_t i) {
    if (seen_[i].outcome != Outcome::undecodable && seen_[i].outcome != Outcome::damaged) return;
    Reading reading;
    reading.outcome = seen_[i].outcome;
    reading.more() = std::move(seen_[i].details);
    warn_unreadable(state_, keys_[i], reading);
  }

  // --- Who computes. ---

  void refresh(std::size_t i, std::vector<Mine>& mine) {
    if (state_.shared().retries().must_wait(keys_[i])) return;
    if (Computation::contains(&state_.shared(), keys_[i])) return;
    Flights::Ticket ticket = state_.flights().join(keys_[i]);
    if (ticket.owner()) mine.push_back({i, std::move(ticket), true});
  }

  void load(std::vector<std::size_t> missing, std::vector<Mine> mine) {
    const bool never_waits = Computation::any();
    for (;;) {
      std::vector<std::pair<std::size_t, Flights::Ticket>> theirs;
      for (const std::size_t i : missing) {
        if (gives_stale(i)) continue;
        if (Computation::contains(&state_.shared(), keys_[i])) {
          throw CacheError(state_.alias() + ": the key " + quote(keys_[i]) +
                           " was asked for inside its own computation");
        }
        Flights::Ticket ticket = state_.flights().join(keys_[i]);
        if (ticket.owner()) {
          mine.push_back({i, std::move(ticket)});
        } else if (never_waits) {
          mine.push_back({i, std::nullopt});
        } else {
          theirs.emplace_back(i, std::move(ticket));
        }
      }
      compute(mine, never_waits);
      mine.clear();  // releases the flights before it waits
      if (theirs.empty()) return;
      missing.clear();
      for (auto& [i, ticket] : theirs) {
        operation_.tally().waits.add();
        if (wait(i, ticket)) continue;
        if (ticket.timed_out()) {
          mine.push_back({i, std::nullopt});
        } else {
          missing.push_back(i);
        }
      }
      if (missing.empty() && mine.empty()) return;
    }
  }

  bool gives_stale(std::size_t i) {
    if (!accepts_stale(i) || !state_.shared().retries().must_wait(keys_[i])) return false;
    return give_stale(i);
  }
  bool give_stale(std::size_t i) {
    given_stale_.insert(i);
    return task_.decode(i, *seen_[i].stale);
  }
  bool accepts_stale(std::size_t i) const noexcept {
    return seen_[i].stale && rules_.stale.count() > 0;
  }

  bool wait(std::size_t i, Flights::Ticket& ticket) {
    const std::optional<Flights::Landing> landing = ticket.wait();
    if (!landing) return false;
    if (!landing->tags.empty()) {
      const bool current = operation_.read(false, [&](Backend& session) {
        return tags_are_current(session, state_, landing->tags);
      });
      if (!current) return false;
    }
    if (landing->nothing) return true;
    Reading reading;
    read_value(reading, landing->bytes,
               [&](std::string_view bytes) { return task_.decode(i, bytes); });
    return reading.has_value();
  }

  // --- The computation. ---

  bool wants_lease() const noexcept { return Loading::wants_lease(rules_, options_, state_); }

  // With a lease: first what this process has one for, then what others turn out not to compute.
  void compute(std::vector<Mine>& mine, bool never_waits) {
    look_again(mine);
    std::vector<Mine> theirs = take_leases(mine);
    if (never_waits) {
      for (Mine& one : theirs) mine.push_back(std::move(one));
      theirs.clear();
    }
    operation_.tally().waits.add(theirs.size());
    compute_now(mine);
    mine.clear();  // ends its leases before it waits
    constexpr int most_declined = 3;
    int declined = 0;
    for (Pauses pauses(Flights::longest_wait); !theirs.empty();) {
      const bool has_waited = pauses.next() && declined < most_declined;
      look_again(theirs);
      mine.clear();
      mine.swap(theirs);
      if (has_waited) {
        theirs = take_leases(mine);
        leave_stale(mine);
      }
      // The store did not keep the leases, although they were free.
      declined = mine.empty() && are_absent(theirs) ? declined + 1 : 0;
      compute_now(mine);
    }
  }

  bool are_absent(const std::vector<Mine>& all) const {
    return std::all_of(all.begin(), all.end(), [this](const Mine& one) {
      return seen_[one.key].outcome == Outcome::absent;
    });
  }

  // Returns those that another process computes. A refresh is left to it.
  std::vector<Mine> take_leases(std::vector<Mine>& mine) {
    std::vector<Mine> theirs;
    if (!wants_lease()) return theirs;
    std::vector<Mine> ours;
    std::vector<Mine> separate;
    for (Mine& one : mine) {
      if (one.ticket && !operation_.failed()) {
        const Seen& seen = seen_[one.key];
        one.lease =
            Loading::take_lease(operation_, keys_[one.key], rules_, seen.outcome, seen.stored);
        if (!one.lease && !operation_.failed()) {
          leave(one, theirs);
          continue;
        }
      }
      const bool is_separate = one.lease && one.lease->placeholder().empty();
      (is_separate ? separate : ours).push_back(std::move(one));
    }
    // Another process may have replaced the value and given the lease back just now.
    std::map<std::size_t, std::string> before;
    for (const Mine& one : separate) before[one.key] = seen_[one.key].stored;
    if (!separate.empty()) look_again(separate);
    for (Mine& one : separate) {
      if (before[one.key] == seen_[one.key].stored || operation_.failed()) {
        ours.push_back(std::move(one));
      } else {
        one.lease.end();
        leave(one, theirs);
      }
    }
    mine.swap(ours);
    return theirs;
  }

  // To another process.
  void leave(Mine& one, std::vector<Mine>& theirs) {
    if (!one.refreshes) {
      theirs.push_back(std::move(one));
    } else {
      task_.decode(one.key, *seen_[one.key].old);  // it may have become stale since
    }
  }

  // The other process has left the stale value.
  void leave_stale(std::vector<Mine>& mine) {
    std::vector<Mine> left;
    for (Mine& one : mine) {
      const std::size_t i = one.key;
      if (one.lease && accepts_stale(i) && seen_[i].outcome == Outcome::stale) {
        one.lease.end();
        state_.shared().retries().wait(keys_[i], rules_.throttle);
        give_stale(i);
      } else {
        left.push_back(std::move(one));
      }
    }
    mine.swap(left);
  }

  void compute_now(std::vector<Mine>& mine) {
    if (mine.empty()) return;
    // Ends them in the opposite order.
    struct Inside {
      std::list<Computation> all;
      ~Inside() {
        while (!all.empty()) all.pop_back();
      }
    } inside;
    std::vector<std::size_t> which;
    std::vector<std::string> keys;
    for (const Mine& one : mine) {
      inside.all.emplace_back(&state_.shared(), keys_[one.key]);
      which.push_back(one.key);
      keys.emplace_back(user_keys_[one.key]);
      if (one.refreshes) operation_.tally().refreshes.add();
    }
    const std::optional<std::string> named = versions_of_tags();
    std::string tags = named.value_or(std::string());
    const auto began = std::chrono::steady_clock::now();
    operation_.tally().loads.add();
    try {
      if (options_.record_tags) {
        const TagRecorder recorder;
        task_.compute(which, keys);
        tags = cache_.with_recorded(tags, recorder);
      } else {
        task_.compute(which, keys);
      }
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {
      return give_up(mine, std::current_exception());
    }
    const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - began;
    operation_.tally().load_microseconds.add(static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(took).count()));
    if (!tags.empty()) {
      if (const auto all = read_tags(tags)) record_tags(state_, *all);
    }
    store(mine, tags, named && !operation_.failed(), took);
  }

  // Other threads may have landed since the first look.
  void look_again(std::vector<Mine>& mine) {
    std::vector<std::size_t> which;
    for (const Mine& one : mine) {
      if (one.ticket) which.push_back(one.key);
    }
    std::vector<std::int64_t> created;
    std::vector<Outcome> before;
    created.reserve(which.size());
    before.reserve(which.size());
    for (const std::size_t i : which) created.push_back(seen_[i].head.created);
    for (const std::size_t i : which) {
      before.push_back(seen_[i].outcome);
      seen_[i].outcome = Outcome::absent;
      seen_[i].stored.clear();
    }
    read(which, Where::authoritative);
    if (operation_.failed()) {
      for (std::size_t n = 0; n < which.size(); ++n) seen_[which[n]].outcome = before[n];
      return;
    }
    std::size_t n = 0;
    const auto is_there = [&](Mine& one) {
      if (!one.ticket) return false;
      const std::int64_t then = created[n++];
      Seen& seen = seen_[one.key];
      if (seen.outcome == Outcome::negative) {
        one.ticket->land({.bytes = {}, .tags = seen.tags, .nothing = true});
        task_.clear(one.key);
        return true;
      }
      if (seen.outcome != Outcome::value) return false;
      if (one.refreshes && seen.head.created == then) return false;
      one.ticket->land({.bytes = *seen.old, .tags = seen.tags});
      return true;
    };
    std::vector<Mine> left;
    for (Mine& one : mine) {
      if (!is_there(one)) left.push_back(std::move(one));
    }
    mine.swap(left);
  }

  std::optional<std::string> versions_of_tags() {
    if (options_.tags.empty()) return std::string();
    const std::optional<Ttl> ttl = state_.resolve(options_.timeout);
    if (!ttl) return std::string();
    if (operation_.failed()) return std::nullopt;
    return cache_.tags_for(operation_, options_.tags, longest_life(rules_, *ttl));
  }

  void give_up(const std::vector<Mine>& mine, const std::exception_ptr& cause) {
    operation_.tally().failed_loads.add();
    Retries& retries = state_.shared().retries();
    std::size_t kept = 0;
    for (const Mine& one : mine) {
      const std::size_t i = one.key;
      if (one.refreshes) {
        retries.back_off(keys_[i], rules_.throttle);
        task_.decode(i, *seen_[i].old);
        ++kept;
      } else if (accepts_stale(i)) {
        retries.wait(keys_[i], rules_.throttle);
        give_stale(i);
        ++kept;
      } else {
        task_.clear(i);
        failed_.insert(i);
        cause_ = cause;
      }
    }
    if (kept == 0) return;
    state_.warn(Warning::Kind::other, keys_[mine.front().key],
                "the function of get_or_set_many() failed; " + std::to_string(kept) +
                    " older values are returned");
  }

  void store(std::vector<Mine>& mine, const std::string& tags, bool may_store,
             std::chrono::nanoseconds took) {
    const std::optional<Ttl> fresh = state_.resolve(options_.timeout);
    const std::optional<Ttl> negative =
        rules_.negative ? state_.resolve(*rules_.negative) : std::nullopt;
    Scratch scratch(cache_.scratch_, cache_.scratch_taken_);
    std::vector<std::string> forms(mine.size());
    std::vector<Flights::Landing> landings(mine.size());
    std::vector<Item> items;
    std::vector<std::size_t> places;  // of the items in `mine`
    for (std::size_t n = 0; n < mine.size(); ++n) {
      const std::size_t i = mine[n].key;
      state_.shared().retries().succeeded(keys_[i]);
      landings[n].tags = tags;
      std::optional<Ttl> ttl;
      if (!task_.has(i)) {
        landings[n].nothing = true;
        if (negative) forms[n] = negative_form(*negative, tags, state_.clock());
        ttl = negative;
      } else if (!encode_or_warn(state_, keys_[i],
                                 [&] { landings[n].bytes = task_.encode(i, scratch.buffer()); })) {
        mine[n].ticket.reset();
        continue;
      } else if (fresh) {
        const LoadLife life = life_of(rules_, *fresh, took, state_.clock());
        std::string framed;
        const bool is_formed = encode_or_warn(state_, keys_[i], [&] {
          forms[n] = stored_form(state_, keys_[i], landings[n].bytes, life.head, tags, framed);
        });
        if (is_formed) ttl = life.ttl;
      }
      if (!may_store) continue;
      if (ttl) {
        items.push_back({keys_[i], forms[n], *ttl});
        places.push_back(n);
      } else if (landings[n].nothing && !seen_[i].stored.empty() &&
                 !is_placeholder(seen_[i].stored)) {
        operation_.write(false, [&](Backend& session) {
          return erase_unchanged(session, keys_[i], seen_[i].stored);
        });
      }
    }
    put(mine, items, places);
    for (std::size_t n = 0; n < mine.size(); ++n) {
      if (mine[n].ticket) mine[n].ticket->land(std::move(landings[n]));
    }
  }

  void put(const std::vector<Mine>& mine, std::span<const Item> items,
           std::span<const std::size_t> places) {
    const auto is_outdated = [&](std::size_t n) {
      const auto& ticket = mine[places[n]].ticket;
      return ticket && ticket->is_ended();
    };
    std::vector<std::string_view> views;
    std::vector<Item> absent;
    std::vector<std::size_t> numbers;  // of those in `items`
    for (std::size_t n = 0; n < items.size(); ++n) {
      if (is_outdated(n)) {
        operation_.tally().discarded_loads.add();
        continue;
      }
      views.push_back(items[n].key);
      absent.push_back(items[n]);
      numbers.push_back(n);
    }
    if (views.empty()) return;
    std::vector<std::size_t> lost;
    operation_.run_many<bool>(Access::write, views, false, [&](Backend& session) {
      std::vector<Flights::Ticket::Storing> storing;
      for (const std::size_t n : numbers) {
        const auto& ticket = mine[places[n]].ticket;
        if (ticket) storing.push_back(ticket->start_storing());
      }
      // Those that were written or erased a moment ago.
      std::vector<Item> current;
      std::vector<std::size_t> current_numbers;
      for (std::size_t n = 0; n < absent.size(); ++n) {
        if (is_outdated(numbers[n])) {
          operation_.tally().discarded_loads.add();
          continue;
        }
        const Mine& one = mine[places[numbers[n]]];
        if (one.lease && !one.lease->placeholder().empty()) {
          auto* const compare = Operation::extension<CompareExtension>(session);
          const bool stored =
              compare != nullptr && one.lease->put(absent[n].value, absent[n].ttl, *compare);
          if (!stored) lost.push_back(places[numbers[n]]);
        } else if (one.refreshes || (wants_lease() && !seen_[one.key].stored.empty())) {
          replace(session, one.key, absent[n]);  // not if another process has erased it
        } else {
          current.push_back(absent[n]);
          current_numbers.push_back(numbers[n]);
        }
      }
      absent.swap(current);
      numbers.swap(current_numbers);
      std::vector<std::size_t> there;
      session.put_many(absent, PutMode::if_absent, [&](std::size_t n) { there.push_back(n); });
      for (const std::size_t n : there) replace(session, mine[places[numbers[n]]].key, absent[n]);
      return true;
    });
    for (const std::size_t n : lost) {
      Loading::warn_of_lease(state_, keys_[mine[n].key], *mine[n].lease, rules_);
    }
  }

  // Something is stored there.
  void replace(Backend& session, std::size_t i, const Item& item) {
    const Seen& seen = seen_[i];
    if (seen.outcome == Outcome::undecodable && !wants_lease()) {
      session.put(item.key, item.value, item.ttl, PutMode::always);
    } else if (!seen.stored.empty()) {
      replace_not_live(session, item.key, seen.stored, item.value, item.ttl);
    } else {
      put_if_not_live(session, item.key, item.value, item.ttl, state_);
    }
  }

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

Cache::Unloaded Cache::get_or_set_many_bytes(std::span<const std::string_view> keys,
                                             const LoadOptions& options,
                                             detail::LoadManyTask& task) {
  if (keys.empty()) return {};
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, keys.size());
  for (const std::string_view key : keys) final_keys.add(key);
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::get_or_set_many, views);
  if (options.soft_limit.is_given() || options.hard_limit.is_given()) {
    throw ValueError(alias() +
                     ": get_or_set_many: soft_limit and hard_limit are for get_or_set() with "
                     "in_background(f); this function runs where it was called");
  }
  const LoadRules rules =
      rules_of(state_->load_policy(), options, false, state_->never_ends(options.timeout),
               [&] { return state_->alias() + ": get_or_set_many"; });
  return GetOrSetMany(*this, operation, keys, views, options, rules, task).run();
}

}  // namespace polycache
