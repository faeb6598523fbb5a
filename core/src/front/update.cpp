#include <optional>
#include <string>
#include <string_view>

#include "front/live_entry.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "front/unsupported.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// How often a value is made because other clients change the entry meanwhile, and how often a store
// may refuse it although no entry is there.
constexpr int most_changes = 1000;
constexpr int most_refusals = 3;

// What is there, whether it counts or not.
struct Found {
  std::optional<std::string> stored = {};
  Reading reading = {};
};

}  // namespace

bool Cache::update_bytes(KeyView key, Decode decode, Renew make, const WriteOptions& options) {
  Operation operation(*this, Op::update, key.text(), options.version);
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  const auto fail = [&](const std::string& problem) {
    throw BackendError(BackendError::Kind::storage, "",
                       alias() + ": " + operation.what() + ": " + problem);
  };
  bool can = true;
  const auto look = [&] {
    return operation.must([&](Backend& session) {
      Found found;
      can = Operation::extension<CompareExtension>(session) != nullptr;
      if (!can) return found;
      read_authoritative(session, id, *state_, [&](std::string_view stored) {
        found.stored = stored;
        read_entry(*state_, id, found.reading, stored, decode);
      });
      if (found.reading.outcome == Outcome::tagged) check_tags(operation, session, found.reading);
      return found;
    });
  };
  // Whether the entry has become what it should; `there`: whether the store has one.
  bool there = true;
  const auto store = [&](const std::optional<std::string>& old, std::string_view bytes) {
    state_->outdate(id);
    return operation.must([&](Backend& session) {
      auto* const compare = Operation::extension<CompareExtension>(session);
      if (!ttl) return !old || compare->erase_if_equal(id, *old);
      if (old) return compare->put_if_equal(id, *old, bytes, *ttl);
      if (session.put(id, bytes, *ttl, PutMode::if_absent)) return true;
      there = session.contains(id, [](std::string_view) {});
      return false;
    });
  };

  std::optional<std::string> tags;
  for (int changes = 0, refusals = 0; changes < most_changes; ++changes) {
    Found found = look();
    if (!can) {
      throw_unsupported(state_->shared(), name_of(Op::update),
                        "cannot replace a value only if it is unchanged", CompareExtension::id);
    }
    if (changes == 0) warn_unreadable(*state_, id, found.reading);
    if (!tags) {  // before the value is made: a tag that is erased meanwhile wins
      tags = ttl ? tags_for(operation, options.tags, *ttl) : std::string();
      if (!tags) fail("the versions of its tags cannot be read");
    }
    Scratch scratch(scratch_, scratch_taken_);
    const std::optional<std::string_view> value = make(found.reading.has_value(), scratch.buffer());
    if (!value) return operation.ends(false);
    std::string framed;
    if (store(found.stored, stored_form(*state_, id, *value, *tags, framed))) {
      if (ttl) return operation.has_written(true);
      operation.has_erased(found.stored.has_value());
      return operation.ends(true);
    }
    if (!there && ++refusals == most_refusals) return operation.has_written(false);
  }
  fail("other clients change the entry all the time");
  return false;
}

}  // namespace polycache
