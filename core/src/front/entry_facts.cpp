// Reading an entry with all that is known of it: Cache::get_entry(), Cache::pop_entry().

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "front/live_entry.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/tag_versions.h"
#include "polycache/cache.h"
#include "polycache/entry.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using std::chrono::milliseconds;

// What a look at an entry has found. Not copied: the reading has the head's address.
struct Look {
  Look() { reading.head = &head; }
  Look(const Look&) = delete;
  Look& operator=(const Look&) = delete;
  ~Look() = default;

  EntryHead head;
  Reading reading;
  std::optional<Ttl> left;
};

EntryStatus status_of(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::value:
      return EntryStatus::hit;
    case Outcome::stale:
      return EntryStatus::stale;
    case Outcome::negative:
      return EntryStatus::negative;
    default:
      return EntryStatus::miss;
  }
}

Result result_of(EntryStatus status) noexcept {
  switch (status) {
    case EntryStatus::hit:
      return Result::hit;
    case EntryStatus::stale:
      return Result::stale;
    case EntryStatus::negative:
      return Result::negative;
    default:
      return Result::miss;
  }
}

// How long it stays what it is.
std::optional<milliseconds> time_left(EntryStatus status, const Look& look, const Clock& clock) {
  if (status == EntryStatus::stale) return milliseconds::zero();
  std::optional<milliseconds> left;
  if (look.left && !look.left->is_forever()) left = look.left->value();
  if (look.head.fresh_until == 0) return left;
  const milliseconds now = std::chrono::floor<milliseconds>(clock.system_now()).time_since_epoch();
  const milliseconds fresh =
      std::max(milliseconds(look.head.fresh_until) - now, milliseconds::zero());
  return left ? std::min(*left, fresh) : fresh;
}

std::vector<std::string> tags_of(const Reading& reading) {
  std::vector<std::string> names;
  std::string_view content = reading.tags();
  while (const std::optional<EntryTag> tag = take_tag(content)) names.emplace_back(tag->name);
  return names;
}

detail::EntryFacts facts_of(const Look& look, const CacheState& state) {
  detail::EntryFacts facts{.status = status_of(look.reading.outcome)};
  if (facts.status == EntryStatus::miss) return facts;
  if (look.head.created != 0) facts.created = detail::EntryMoment(milliseconds(look.head.created));
  facts.left = time_left(facts.status, look, state.clock());
  facts.tags = tags_of(look.reading);
  return facts;
}

detail::EntryFacts failed(const BackendError& error) {
  return {.status = EntryStatus::error, .error = error.what()};
}

}  // namespace

detail::EntryFacts Cache::get_entry_bytes(KeyView key, const ReadOptions& options, Decode decode) {
  Operation operation(*this, Op::get, key.text(), options.version);
  const std::string_view id = operation.key();
  Look look;
  const auto take = [&](std::string_view stored) {
    read_entry(*state_, id, look.reading, stored, decode);
  };
  try {
    operation.must_read([&](Backend& session) {
      if (auto* const ttl = Operation::extension<TtlExtension>(session)) {
        ttl->get(id, [&](std::string_view stored, Ttl left) {
          look.left = left;
          take(stored);
        });
      } else {
        session.get(id, take);
      }
      if (look.reading.outcome == Outcome::tagged) check_tags(operation, session, look.reading);
      return true;
    });
  } catch (const BackendError& error) {
    return failed(error);
  }
  detail::EntryFacts facts = facts_of(look, *state_);
  if (!options.touch.is_default()) renew(operation, options.touch, facts);
  operation.has_read(result_of(facts.status));
  if (look.reading.unreadable()) [[unlikely]] {
    operation.may_throw();
    warn_unreadable(*state_, id, look.reading);
    operation.ends(false);
  }
  return facts;
}

void Cache::renew(Operation& operation, const Timeout& timeout, detail::EntryFacts& facts) {
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(timeout);
  try {
    if (!ttl) {
      const bool erased = operation.must([&](Backend& session) { return session.erase(id); });
      if (erased) tally_->erased.add();
      return;
    }
    if (facts.status != EntryStatus::hit) return;
    const bool renewed =
        operation.must([&](Backend& session) { return touch_live(session, id, *ttl, *state_); });
    if (!renewed) return;  // another client removed it in the meantime
    facts.left.reset();
    if (!ttl->is_forever()) facts.left = ttl->value();
  } catch (const BackendError& error) {
    facts.error = error.what();
  }
}

detail::EntryFacts Cache::pop_entry_bytes(KeyView key, KeyOptions options, Decode decode) {
  Operation operation(*this, Op::pop, key.text(), options.version);
  const std::string_view id = operation.key();
  Look look;
  const auto take = [&](std::string_view stored, std::optional<Ttl> left) {
    look.left = left;
    read_entry(*state_, id, look.reading, stored, decode);
  };
  bool removed = false;
  state_->outdate(id);
  try {
    removed = operation.must([&](Backend& session) {
      auto* const pop = Operation::extension<PopExtension>(session);
      const bool can_take = Operation::extension<CompareExtension>(session) != nullptr;
      const bool done =
          pop != nullptr && !can_take
              ? pop->pop(id, [&](std::string_view stored) { take(stored, std::nullopt); })
              : take_entry(session, id, take);
      if (look.reading.outcome == Outcome::tagged) check_tags(operation, session, look.reading);
      return done;
    });
  } catch (const BackendError& error) {
    return failed(error);
  }
  if (removed) tally_->erased.add();
  detail::EntryFacts facts = facts_of(look, *state_);
  operation.has_read(result_of(facts.status));
  if (look.reading.unreadable()) [[unlikely]] {
    operation.may_throw();
    warn_unreadable(*state_, id, look.reading);
    operation.ends(false);
  }
  return facts;
}

std::string_view name_of(EntryStatus status) noexcept {
  switch (status) {
    case EntryStatus::miss:
      return "miss";
    case EntryStatus::hit:
      return "hit";
    case EntryStatus::stale:
      return "stale";
    case EntryStatus::negative:
      return "negative";
    case EntryStatus::error:
      return "error";
  }
  return "unknown";
}

}  // namespace polycache
