#include <cxxabi.h>

#include <algorithm>
#include <list>
#include <map>

#include "front/get_or_set_many.h"
#include "front/live_entry.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "polycache/author/extension.h"

namespace polycache {

// --- The computation. ---

void Cache::GetOrSetMany::compute(std::vector<Mine>& mine, bool never_waits) {
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

bool Cache::GetOrSetMany::are_absent(const std::vector<Mine>& all) const {
  return std::all_of(all.begin(), all.end(),
                     [this](const Mine& one) { return seen_[one.key].outcome == Outcome::absent; });
}

std::vector<Cache::GetOrSetMany::Mine> Cache::GetOrSetMany::take_leases(std::vector<Mine>& mine) {
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

void Cache::GetOrSetMany::leave(Mine& one, std::vector<Mine>& theirs) {
  if (!one.good) {
    theirs.push_back(std::move(one));
  } else {
    task_.decode(one.key, *one.good);  // whatever has become of it since
  }
}

void Cache::GetOrSetMany::leave_stale(std::vector<Mine>& mine) {
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

void Cache::GetOrSetMany::compute_now(std::vector<Mine>& mine) {
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
    if (one.good) operation_.tally().refreshes.add();
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

void Cache::GetOrSetMany::look_again(std::vector<Mine>& mine) {
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
    if (one.good && seen.head.created == then) return false;
    one.ticket->land({.bytes = *seen.old, .tags = seen.tags});
    return true;
  };
  std::vector<Mine> left;
  for (Mine& one : mine) {
    if (!is_there(one)) left.push_back(std::move(one));
  }
  mine.swap(left);
}

std::optional<std::string> Cache::GetOrSetMany::versions_of_tags() {
  if (options_.tags.empty()) return std::string();
  const std::optional<Ttl> ttl = state_.resolve(options_.timeout);
  if (!ttl) return std::string();
  if (operation_.failed()) return std::nullopt;
  return cache_.tags_for(operation_, options_.tags, longest_life(rules_, *ttl));
}

void Cache::GetOrSetMany::give_up(const std::vector<Mine>& mine, const std::exception_ptr& cause) {
  operation_.tally().failed_loads.add();
  Retries& retries = state_.shared().retries();
  std::size_t kept = 0;
  for (const Mine& one : mine) {
    const std::size_t i = one.key;
    if (one.good) {
      retries.back_off(keys_[i], rules_.throttle);
      task_.decode(i, *one.good);
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

void Cache::GetOrSetMany::store(std::vector<Mine>& mine, const std::string& tags, bool may_store,
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

void Cache::GetOrSetMany::put(const std::vector<Mine>& mine, std::span<const Item> items,
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
      } else if (one.good || (wants_lease() && !seen_[one.key].stored.empty())) {
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

void Cache::GetOrSetMany::replace(Backend& session, std::size_t i, const Item& item) {
  const Seen& seen = seen_[i];
  if (seen.outcome == Outcome::undecodable && !wants_lease()) {
    session.put(item.key, item.value, item.ttl, PutMode::always);
  } else if (!seen.stored.empty()) {
    replace_not_live(session, item.key, seen.stored, item.value, item.ttl);
  } else {
    put_if_not_live(session, item.key, item.value, item.ttl, state_);
  }
}

}  // namespace polycache
