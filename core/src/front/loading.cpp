#include "front/loading.h"

#include <cxxabi.h>
#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <map>
#include <utility>

#include "front/find.h"
#include "front/live_entry.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "front/unsupported.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {

using detail::LoadAnswer;

bool encode_or_warn(const CacheState& state, std::string_view key, FunctionRef<void()> encode) {
  std::string why;
  try {
    encode();
    return true;
  } catch (const std::exception& error) {
    why = std::string(": ") + error.what();
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (...) {  // a user's codec may throw anything
  }
  state.warn(Warning::Kind::other, key,
             "the value computed for " + quote(key) +
                 " was not stored: its codec or transform threw" + why);
  return false;
}

// --- What is stored. ---

void Cache::Loading::look(Operation& operation, const RefreshRule& rule, detail::LoadTask& task,
                          Seen& seen) {
  Reading& reading = seen.reading;
  reading.head = &seen.head;
  find(operation, reading, [&](std::string_view bytes) {
    if (!task.decode(bytes)) return false;
    seen.is_due = is_due(rule, seen.head, reading.now);
    if (seen.is_due || task.takes_load || reading.is_stale) seen.bytes = std::string(bytes);
    return true;
  });
  if (reading.has_dead_value()) [[unlikely]]
    seen.drop_value();
}

void Cache::Loading::look(Where where, Seen& seen, Flights::Landing* landing) {
  Reading& reading = seen.reading;
  if (is_detailed()) reading.head = &seen.head;
  const bool is_authoritative = where == Where::authoritative;
  std::string bytes_for_others;
  const auto decode = [&](std::string_view bytes) {
    if (!task_.decode(bytes)) return false;
    if (landing != nullptr) bytes_for_others = bytes;
    if (!is_detailed()) return true;
    seen.is_due = is_due(rules_->refresh, seen.head, reading.now);
    if (seen.is_due || is_authoritative || task_.takes_load || reading.is_stale) {
      seen.bytes = std::string(bytes);
    }
    return true;
  };
  const auto take = [&](std::string_view stored) {
    if (is_detailed() && is_authoritative) seen.stored = stored;
    read_entry(state_, key_, reading, stored, decode);
  };
  operation_.read(false, [&](Backend& session) {
    if (!options_.tags.empty() && state_.reads_versions_early()) [[unlikely]] {
      const auto tags = options_.tags.list();
      Versions versions(tags->names.size());
      read_with_versions(session, take, tags->names, versions);
      if (reading.outcome == Outcome::tagged) {
        reading.check_tags(
            [&] { return are_current(session, reading.tags(), tags->names, versions); });
      }
      return true;
    }
    const bool there = is_authoritative ? read_authoritative(session, key_, state_, take)
                                        : session.get(key_, take);
    if (reading.outcome == Outcome::tagged) [[unlikely]]
      check_tags(operation_, session, reading);
    return there;
  });
  if (reading.has_dead_value()) [[unlikely]]
    seen.drop_value();
  if (landing == nullptr) return;
  if (reading.has_value() || reading.outcome == Outcome::stale) {
    landing->bytes = std::move(bytes_for_others);
  } else if (reading.outcome != Outcome::negative) {
    return;
  }
  landing->tags = reading.tags();
}

// Reads the entry and those versions, in one round trip.
void Cache::Loading::read_with_versions(Backend& session, ValueSink take,
                                        std::span<const std::string> names, Versions& versions) {
  TagKeys tags(state_, names);
  SmallArray<std::string_view, TagKeys::few + 1> keys(versions.size() + 1);
  keys[0] = key_;
  std::copy(tags.views().begin(), tags.views().end(), keys.begin() + 1);
  const auto sink = [&](std::size_t i, std::string_view stored) {
    if (i == 0) return take(stored);
    versions[i - 1] = parse_version(stored);
  };
  auto* const ttl = Operation::extension<TtlExtension>(session);
  if (ttl == nullptr || state_.reads_latest()) {
    session.get_many(keys.all(), sink);
  } else {
    ttl->get_many(keys.all(),
                  [&](std::size_t i, std::string_view stored, Ttl) { sink(i, stored); });
  }
}

// Whether the tags of an entry are current. Asks the store if it has others than the named ones.
bool Cache::Loading::are_current(Backend& session, std::string_view content,
                                 std::span<const std::string> names, Versions& versions) const {
  for (std::string_view rest = content; !rest.empty();) {
    const auto tag = take_tag(rest);
    if (!tag) return false;
    const auto name = std::lower_bound(names.begin(), names.end(), tag->name);
    if (name == names.end() || *name != tag->name) {
      return tags_are_current(session, state_, content);
    }
    if (versions[static_cast<std::size_t>(name - names.begin())] != tag->version) return false;
  }
  record(content);
  return true;
}

bool Cache::Loading::is_current(std::string_view tags) {
  if (tags.empty()) return true;
  return operation_.read(false,
                         [&](Backend& session) { return tags_are_current(session, state_, tags); });
}

void Cache::Loading::record(std::string_view content) const {
  if (!content.empty() && is_recording()) record_content(state_, content);
}

// --- Whose turn it is. ---

void Cache::Loading::Seen::drop_value() noexcept {
  if (reading.outcome == Outcome::tagged) reading.outcome = Outcome::not_live;  // the store failed
  is_due = false;
  bytes.reset();
}

void Cache::Loading::Seen::clear() {
  reading.outcome = Outcome::absent;
  reading.details.reset();
  reading.keep_tags({}, {});
  reading.now = 0;
  reading.is_stale = false;
  head = {};
  is_due = false;
  bytes.reset();
  stored.clear();
}

bool Cache::Loading::wants_lease(const LoadRules& rules, const LoadOptions& options,
                                 const CacheState& state) noexcept {
  if (rules.lease.count() == 0 || state.shared().traits().is_private) return false;
  return state.resolve(options.timeout).has_value() || rules.negative.has_value();
}

bool Cache::Loading::wants_lease() const noexcept {
  return is_detailed() && wants_lease(*rules_, options_, state_);
}

bool Cache::Loading::is_done(const Seen& seen, const Wanted& wanted) const noexcept {
  if (seen.reading.outcome == Outcome::negative) return task_.may_be_nothing;
  return seen.reading.has_value() && wanted.refreshes != seen.head.created;
}

Cache::Loading::Claim Cache::Loading::claim(const Wanted& wanted, Seen& seen,
                                            Flights::Landing& landing) {
  const auto look_again = [&] {
    seen.clear();
    landing = {};
    look(Where::authoritative, seen, &landing);
    landing.nothing = seen.reading.outcome == Outcome::negative;
    return is_done(seen, wanted);
  };
  if (look_again()) return Claim::done;
  if (!wants_lease() || operation_.failed()) return Claim::none;
  lease_ = take_lease(operation_, key_, *rules_, seen.reading.outcome, seen.stored);
  if (lease_ && !lease_->placeholder().empty()) return Claim::taken;
  if (lease_) {
    // A separate one: another process may have replaced the value and ended its lease just now.
    const std::string before = std::move(seen.stored);
    if (look_again()) {
      end_lease();
      return Claim::done;
    }
    if (seen.stored == before || operation_.failed()) return Claim::taken;
    end_lease();
    return Claim::theirs;
  }
  if (operation_.failed()) return Claim::none;
  const Outcome outcome = seen.reading.outcome;
  const bool is_readable = outcome == Outcome::stale || outcome == Outcome::value;
  const bool is_free = is_readable
                           ? operation_.read(false,
                                             [&](Backend& session) {
                                               return !session.contains(state_.lease_key(key_),
                                                                        [](std::string_view) {});
                                             })
                           : outcome == Outcome::absent;
  return is_free ? Claim::declined : Claim::theirs;
}

Cache::Loading::Turn Cache::Loading::take_turn(const Wanted& wanted, Seen& seen,
                                               Flights::Landing& landing) {
  constexpr int most_declined = 3;  // one may be a lease that has just ended
  Pauses pauses(wanted.wait);
  int declined = 0;
  for (bool has_waited = false;; has_waited = true) {
    const Claim claimed = claim(wanted, seen, landing);
    if (claimed == Claim::done) return Turn::done;
    if (claimed == Claim::none) return Turn::ours;
    const bool is_stale = seen.reading.outcome == Outcome::stale;
    if (claimed == Claim::taken) {
      if (!has_waited || !is_stale || !wanted.accepts_stale) return Turn::ours;
      end_lease();  // the other process has left the stale value
      return Turn::theirs;
    }
    declined = claimed == Claim::declined ? declined + 1 : 0;
    if (declined >= most_declined) return Turn::ours;
    if (wanted.refreshes) return Turn::theirs;
    if (!has_waited && wanted.wait.count() > 0) operation_.tally().waits.add();
    if (!pauses.next()) {
      if (is_stale && wanted.accepts_stale && wanted.prefers_stale) return Turn::late;
      // In place of what is there now, so that a write or an erasure from here on wins.
      if (seen.reading.outcome != Outcome::absent) stored_ = seen.stored;
      return Turn::ours;
    }
  }
}

Cache::Loading::Held Cache::Loading::take_lease(Operation& operation, std::string_view key,
                                                const LoadRules& rules, Outcome outcome,
                                                std::string_view stored) {
  const bool is_there = outcome != Outcome::absent;
  const bool is_readable = outcome == Outcome::stale || outcome == Outcome::value;
  if (is_there && is_placeholder(stored)) return {};
  const CacheState& state = operation.state();
  auto lease = std::make_unique<Lease>(key, rules.lease, state.clock());
  bool can = true;
  const bool taken = operation.write(false, [&](Backend& session) {
    auto* const compare = Operation::extension<CompareExtension>(session);
    can = compare != nullptr;
    if (!can) return false;
    if (is_readable) return lease->take_separate(state.lease_key(key), session);
    return lease->take_place_of(is_there ? std::optional(stored) : std::nullopt, session, *compare);
  });
  if (!can) {
    throw_unsupported(state.shared(), "get_or_set with a lease", "cannot compare values",
                      CompareExtension::id);
  }
  if (!taken) return {};
  return {operation, std::move(lease)};
}

void Cache::Loading::Held::end() noexcept {
  const std::unique_ptr<Lease> lease = std::move(lease_);
  // After a failure each step could cost another time limit.
  if (!lease || operation_->failed()) return;
  int before = 0;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);  // nothing may be thrown from here
  try {
    operation_->write(false, [&](Backend& session) {
      if (auto* const compare = Operation::extension<CompareExtension>(session)) {
        lease->end(*compare);
      }
      return true;
    });
  } catch (...) {  // the store failed
  }
  pthread_setcancelstate(before, nullptr);
}

void Cache::Loading::warn_of_lease(const CacheState& state, std::string_view key,
                                   const Lease& lease, const LoadRules& rules) {
  if (lease.placeholder().empty() || !lease.is_over()) return;
  state.warn(Warning::Kind::other, key,
             "the computation of " + quote(key) + " took longer than its lease of " +
                 std::to_string(rules.lease.count()) +
                 " ms, so its value is not stored; give a longer lease");
}

// --- The computation. ---

LoadAnswer Cache::Loading::run(Flights::Ticket* ticket, detail::LoadTask& source) {
  // Before the flight ends, whose next owner takes one.
  struct Ended {
    Loading& loading;
    ~Ended() { loading.end_lease(); }
  };
  const Ended ended{*this};
  // Before the computation, so that erasing a tag meanwhile invalidates the entry.
  const std::optional<std::string> named = versions_of_tags();
  std::string tags = named.value_or(std::string());
  detail::LoadState said{.cache = cache_, .key = key_, .stale = old_};
  if (!named) said.is_stored = false;
  LoadAnswer answer = compute(source, said, tags);
  record(tags);
  Flights::Landing landing{.bytes = {}, .tags = tags};
  if (answer == LoadAnswer::nothing) {
    task_.clear();
    store_nothing(said, tags, ticket);
    landing.nothing = true;
  } else {
    Scratch scratch(cache_.scratch_, cache_.scratch_taken_);
    std::string_view bytes;
    if (answer == LoadAnswer::not_modified) {
      bytes = *old_;
    } else if (!encode_or_warn(state_, key_, [&] { bytes = task_.encode(scratch.buffer()); })) {
      return answer;
    }
    if (ticket != nullptr) landing.bytes = bytes;
    store_value(said, bytes, tags, ticket, landing);
  }
  if (is_detailed()) state_.shared().retries().succeeded(key_);
  if (ticket != nullptr) ticket->land(std::move(landing));
  has_landed_ = true;
  return answer;
}

// The content of the field of the tags that the options give; empty if the store failed.
std::optional<std::string> Cache::Loading::versions_of_tags() {
  if (options_.tags.empty()) [[likely]]
    return std::string();
  std::optional<Ttl> ttl = state_.resolve(options_.timeout);
  if (!ttl) return std::string();
  if (operation_.failed()) return std::nullopt;
  if (is_detailed()) ttl = longest_life(*rules_, *ttl);
  return cache_.tags_for(operation_, options_.tags, *ttl);
}

LoadAnswer Cache::Loading::compute(detail::LoadTask& source, detail::LoadState& said,
                                   std::string& tags) {
  struct Counted {
    Tally& tally;
    bool done = false;
    ~Counted() {
      if (!done) tally.failed_loads.add();
    }
  };
  operation_.tally().loads.add();
  Counted counted{operation_.tally()};
  const auto began = std::chrono::steady_clock::now();
  std::string why;
  LoadAnswer answer = LoadAnswer::failed;
  if (options_.record_tags) {
    const TagRecorder recorder;
    answer = source.compute(said.load, why);
    tags = cache_.with_recorded(tags, recorder);
  } else {
    answer = source.compute(said.load, why);
  }
  computed_in_ = std::chrono::steady_clock::now() - began;
  operation_.tally().load_microseconds.add(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(computed_in_).count()));
  if (!said.tags.empty()) tags = with_tags_of(said, tags);
  if (answer == LoadAnswer::failed) {
    throw LoadFailed(state_.alias() + ": the computation of " + quote(key_) + " failed: " + why);
  }
  if (answer == LoadAnswer::not_modified) {
    if (!old_ || !task_.decode(*old_)) {
      throw CacheError(state_.alias() + ": the computation of " + quote(key_) +
                       " says \"not modified\", but there is no older value");
    }
    operation_.tally().unmodified_loads.add();
  } else if (&source != &task_) {
    task_.adopt(source);
  }
  counted.done = true;
  return answer;
}

std::string Cache::Loading::with_tags_of(const detail::LoadState& said,
                                         const std::string& content) const {
  std::map<std::string_view, std::uint64_t> all;
  const auto given = read_tags(content);
  for (const EntryTag& tag : given.value_or(std::vector<EntryTag>())) {
    all.emplace(tag.name, tag.version);
  }
  for (const TagSnapshot& snapshot : said.tags) {
    const detail::TagList& list = *snapshot.list_;
    for (std::size_t i = 0; i < list.names.size(); ++i) {
      all.emplace(list.names[i], list.versions[i]);
    }
  }
  std::vector<EntryTag> tags;
  tags.reserve(all.size());
  for (const auto& [name, version] : all) tags.push_back({name, version});
  return tags_content(tags);
}

// --- The result. ---

void Cache::Loading::store_value(const detail::LoadState& said, std::string_view bytes,
                                 std::string_view tags, Flights::Ticket* ticket,
                                 Flights::Landing& landing) {
  const std::optional<Ttl> fresh = state_.resolve(said.timeout.value_or(options_.timeout));
  if (!fresh || !said.is_stored || operation_.failed()) return;
  LoadLife life{{}, *fresh};
  if (is_detailed()) life = life_of(*rules_, *fresh, computed_in_, state_.clock());
  std::string framed;
  std::string_view form;
  const bool is_formed = encode_or_warn(
      state_, key_, [&] { form = stored_form(state_, key_, bytes, life.head, tags, framed); });
  if (!is_formed) return;
  if (said.timeout && !tags.empty()) {
    if (const auto list = read_tags(tags)) {
      operation_.write(false, [&](Backend& session) {
        lengthen_versions(session, state_, *list, life.ttl);
        return true;
      });
    }
  }
  if (put(form, life.ttl, ticket) || operation_.failed()) return;
  if (lease_) warn_of_lease(state_, key_, *lease_, *rules_);
  if (lease_ || overwrites_ || stored_) return;
  if (ticket != nullptr && ticket->is_ended()) return;
  // Another process was faster: all threads get its value, if it counts.
  const std::string ours(bytes);  // they may be the task's value itself
  Seen seen;
  Flights::Landing theirs;
  look(Where::authoritative, seen, &theirs);
  if (seen.reading.has_value()) {
    landing = std::move(theirs);
  } else {
    task_.decode(ours);  // what the look may have replaced
  }
}

// Remembers that there is no such thing, or makes the key free.
void Cache::Loading::store_nothing(const detail::LoadState& said, std::string_view tags,
                                   Flights::Ticket* ticket) {
  if (!said.is_stored || operation_.failed()) return;
  std::optional<Ttl> ttl;
  if (is_detailed() && rules_->negative) {
    ttl = state_.resolve(said.timeout.value_or(*rules_->negative));
  }
  if (ttl) {
    put(negative_form(*ttl, tags, state_.clock()), *ttl, ticket);
  } else if (const auto old = stored_ ? stored_ : not_live_; old && !is_placeholder(*old)) {
    operation_.write(false, [&](Backend& session) { return erase_unchanged(session, key_, *old); });
  }
}

bool Cache::Loading::put(std::string_view form, Ttl ttl, const Flights::Ticket* ticket) {
  return operation_.write(false, [&](Backend& session) {
    Flights::Ticket::Storing storing;
    if (ticket != nullptr) storing = ticket->start_storing();
    if (ticket != nullptr && ticket->is_ended()) {
      operation_.tally().discarded_loads.add();
      return false;
    }
    if (lease_ && !lease_->placeholder().empty()) {
      auto* const compare = Operation::extension<CompareExtension>(session);
      return compare != nullptr && lease_->put(form, ttl, *compare);
    }
    if (stored_) return replace_not_live(session, key_, *stored_, form, ttl);
    if (overwrites_) return session.put(key_, form, ttl, PutMode::always);
    return put_if_not_live(session, key_, form, ttl, state_);
  });
}

}  // namespace polycache
