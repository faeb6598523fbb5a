#include "front/get_or_set_many.h"

#include <map>

#include "front/final_keys.h"
#include "front/tag_versions.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

Cache::Unloaded Cache::GetOrSetMany::run() {
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

// --- Reading. ---

void Cache::GetOrSetMany::read(std::span<const std::size_t> which, Where where) {
  if (which.empty() || operation_.failed()) return;
  std::vector<std::string_view> views;
  for (const std::size_t i : which) views.push_back(keys_[i]);
  TaggedReadings tagged;
  operation_.run_many<bool>(Access::read, views, false, [&](Backend& session) {
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
    if (!tagged.empty()) check_tags_of(operation_, session, tagged);
    return true;
  });
  for (auto& [i, reading] : tagged) {
    if (reading.outcome == Outcome::tagged)
      reading.outcome = Outcome::not_live;  // the store failed
    keep(i, reading);
  }
}

bool Cache::GetOrSetMany::take(std::size_t i, std::string_view stored, Reading& reading,
                               Where where) {
  Seen& seen = seen_[i];
  reading.head = &seen.head;
  if (where == Where::authoritative) seen.stored = stored;
  read_entry(state_, keys_[i], reading, stored,
             [&](std::string_view bytes) { return decode(i, bytes, reading.now); });
  if (reading.outcome == Outcome::tagged) return true;
  keep(i, reading);
  return false;
}

bool Cache::GetOrSetMany::decode(std::size_t i, std::string_view bytes, std::int64_t now) {
  if (!task_.decode(i, bytes)) return false;
  seen_[i].is_due = is_due(rules_.refresh, seen_[i].head, now);
  seen_[i].old = std::string(bytes);
  return true;
}

void Cache::GetOrSetMany::keep(std::size_t i, Reading& reading) {
  Seen& seen = seen_[i];
  seen.outcome = reading.outcome;
  seen.tags = reading.tags();
  if (reading.details) seen.details = std::move(*reading.details);
  if (seen.outcome == Outcome::value) return;
  task_.clear(i);
  seen.is_due = false;
  if (seen.outcome == Outcome::stale) {
    seen.stale = seen.old;
  } else {
    seen.old.reset();
  }
}

void Cache::GetOrSetMany::count(std::span<const std::size_t> unique) {
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

void Cache::GetOrSetMany::warn_of(std::size_t i) {
  if (seen_[i].outcome != Outcome::undecodable && seen_[i].outcome != Outcome::damaged) return;
  Reading reading;
  reading.outcome = seen_[i].outcome;
  reading.more() = std::move(seen_[i].details);
  warn_unreadable(state_, keys_[i], reading);
}

// --- Who computes. ---

void Cache::GetOrSetMany::refresh(std::size_t i, std::vector<Mine>& mine) {
  if (state_.shared().retries().must_wait(keys_[i])) return;
  if (Computation::contains(&state_.shared(), keys_[i])) return;
  Flights::Ticket ticket = state_.flights().join(keys_[i]);
  if (ticket.owner()) mine.push_back({i, std::move(ticket), *seen_[i].old});
}

void Cache::GetOrSetMany::load(std::vector<std::size_t> missing, std::vector<Mine> mine) {
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

bool Cache::GetOrSetMany::gives_stale(std::size_t i) {
  if (!accepts_stale(i) || !state_.shared().retries().must_wait(keys_[i])) return false;
  return give_stale(i);
}

bool Cache::GetOrSetMany::give_stale(std::size_t i) {
  given_stale_.insert(i);
  return task_.decode(i, *seen_[i].stale);
}

bool Cache::GetOrSetMany::accepts_stale(std::size_t i) const noexcept {
  return seen_[i].stale && rules_.stale.count() > 0;
}

bool Cache::GetOrSetMany::wait(std::size_t i, Flights::Ticket& ticket) {
  const std::optional<Flights::Landing> landing = ticket.wait();
  if (!landing) return false;
  if (!landing->tags.empty()) {
    const bool current = operation_.read(
        false, [&](Backend& session) { return tags_are_current(session, state_, landing->tags); });
    if (!current) return false;
  }
  if (landing->nothing) return true;
  Reading reading;
  read_value(reading, landing->bytes,
             [&](std::string_view bytes) { return task_.decode(i, bytes); });
  return reading.has_value();
}

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
  if (options.wait.is_said()) {
    throw ValueError(alias() + ": get_or_set_many: wait is for get_or_set()");
  }
  const LoadRules rules =
      rules_of(state_->load_policy(), options, false, state_->never_ends(options.timeout),
               [&] { return state_->alias() + ": get_or_set_many"; });
  return GetOrSetMany(*this, operation, keys, views, options, rules, task).run();
}

}  // namespace polycache
