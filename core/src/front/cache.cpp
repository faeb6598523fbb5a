#include "polycache/cache.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "front/cache_state.h"
#include "front/collection.h"
#include "front/current_tags.h"
#include "front/find.h"
#include "front/lease.h"
#include "front/live_entry.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "front/unsupported.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

namespace {

// Counts a read, warns if its entry cannot be read, and returns whether there is a value.
template <class Operation>
bool end_read(Operation& operation, const CacheState& state, const Reading& reading) {
  const bool found = operation.has_read(reading.has_value());
  if (reading.unreadable()) [[unlikely]] {
    operation.may_throw();
    warn_unreadable(state, operation.key(), reading);
    operation.ends(found);
  }
  return found;
}

// As find() does, and gives the entry a new lifetime.
template <class Operation>
void find_and_renew(Operation& operation, const Timeout& touch, Reading& reading,
                    FunctionRef<bool(std::string_view)> decode) {
  const CacheState& state = operation.state();
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state.resolve(touch);
  if (!ttl) state.outdate(id);
  bool is_renewed = false;
  std::string placeholder;
  const auto take = [&](std::string_view stored) {
    if (has_fresh_until(stored)) {
      if (is_renewed && is_placeholder(stored)) placeholder = stored;
      is_renewed = false;  // its head says more than the store's lifetime
    }
    read_entry(state, id, reading, stored, decode);
  };
  operation.read(false, [&](Backend& session) {
    auto* const renew = ttl ? Operation::template extension<RenewExtension>(session) : nullptr;
    is_renewed = renew != nullptr;
    const bool there = is_renewed ? renew->get(id, *ttl, take) : session.get(id, take);
    if (!placeholder.empty()) keep_lease_time(session, id, placeholder, state.clock());
    if (reading.outcome == Outcome::tagged) {
      reading.check_tags([&] { return tags_are_current(session, state, reading.tags(), ttl); });
    }
    return there;
  });
  if (!ttl) {
    const bool erased = operation.must([&](Backend& session) { return session.erase(id); });
    if (erased) operation.tally().erased.add();
  } else if (reading.has_value() && !is_renewed) {
    operation.write(false, [&](Backend& session) { return touch_live(session, id, *ttl, state); });
  }
}

}  // namespace

Cache::Cache(std::shared_ptr<CacheState> state)
    : state_(std::move(state)), tally_(new Tally), current_tags_(new CurrentTags) {
  tally_->join(&state_->tallies());
}

Cache::~Cache() = default;

void Cache::DestroyTally::operator()(Tally* tally) const noexcept { delete tally; }

void Cache::DestroyCurrentTags::operator()(CurrentTags* tags) const noexcept { delete tags; }

bool Cache::busy() const noexcept {
  return depth_ != 0 || std::any_of(collections_.begin(), collections_.end(),
                                    [](const auto& one) { return one.second->busy(); });
}

void Cache::close() noexcept {
  session_.reset();
  for (const auto& [name, collection] : collections_) collection->close();
}

void Cache::end(std::shared_ptr<CacheState> ended) {
  free_scratch();
  move_to(std::move(ended));
}

void Cache::free_scratch() noexcept {
  if (!scratch_taken_) scratch_ = std::string();
  for (const auto& [name, collection] : collections_) collection->free_scratch();
}

void Cache::move_to(std::shared_ptr<CacheState> state) {
  std::vector<std::pair<Cache*, std::shared_ptr<CacheState>>> collections;
  for (const auto& [name, collection] : collections_) {
    collections.emplace_back(collection.get(), state_of_collection(*state, name));
  }
  // The session closes last, but before its state is destroyed: closing may run a handler that uses
  // this cache, which must already have the new state.
  tally_->join(&state->tallies());
  const std::shared_ptr<CacheState> old = std::exchange(state_, std::move(state));
  current_tags_->forget();
  const std::unique_ptr<Backend> session = std::move(session_);
  for (auto& [collection, its_state] : collections) collection->move_to(std::move(its_state));
}

const std::string& Cache::alias() const noexcept { return state_->alias(); }

const Clock& Cache::clock() const noexcept { return state_->clock(); }

int Cache::version() const noexcept { return state_->keys().version(); }

std::string Cache::final_key(KeyView key, KeyOptions options) const {
  const std::shared_ptr<CacheState> state = state_;  // a key function may move this cache
  FinalKey final_key;
  state->keys().compose(final_key, key.text(), options.version);
  return std::string(final_key.view());
}

CacheStatistics Cache::statistics() const { return state_->tallies().sum(); }

bool Cache::with_extension(Op op, KeyView name, Wanted wanted,
                           FunctionRef<bool(void* extension, std::string_view final_key)> f) {
  const Busy busy(*this);
  const std::string key = state_->lock_key(name.text());
  const std::string_view view = key;
  Operation operation(*this, op, {&view, 1});
  bool can = true;
  const bool done = operation.must([&](Backend& session) {
    void* const extension = session.extension(wanted.id);
    can = extension != nullptr;
    return can && f(extension, view);
  });
  if (!can) throw_unsupported(state_->shared(), name_of(op), wanted.lack, wanted.id);
  return operation.ends(done);
}

void Cache::warn(Warning::Kind kind, std::string_view key, std::string_view message) const {
  const std::shared_ptr<CacheState> state = state_;  // a handler may move this cache
  state->warn(kind, key, message);
}

Backend& Cache::backend() {
  if (!session_) {
    session_ = state_->shared().connect();
    current_tags_->forget_session();
  }
  return *session_;
}

std::vector<std::string_view> Cache::texts(std::initializer_list<KeyView> keys) {
  std::vector<std::string_view> texts;
  texts.reserve(keys.size());
  for (const KeyView key : keys) texts.push_back(key.text());
  return texts;
}

bool Cache::get_bytes(KeyView key, detail::Version version, Decode decode) {
  Operation operation(*this, Op::get, key.text(), version);
  Reading reading;
  find(operation, reading, decode);
  return end_read(operation, *state_, reading);
}

bool Cache::get_renewed_bytes(KeyView key, const ReadOptions& options, Decode decode) {
  Operation operation(*this, Op::get, key.text(), options.version);
  Reading reading;
  find_and_renew(operation, options.touch, reading, decode);
  return end_read(operation, *state_, reading);
}

bool Cache::visit_bytes(KeyView key, const ReadOptions& options, Decode visit) {
  Operation operation(*this, Op::get, key.text(), options.version);
  Reading reading;
  std::string tagged;  // the value of an entry with tags, until they have been checked
  const auto decode = [&](std::string_view bytes) {
    if (reading.tags().empty()) return visit(bytes);
    tagged = bytes;
    return true;
  };
  if (options.touch.is_default()) {
    find(operation, reading, decode);
  } else {
    find_and_renew(operation, options.touch, reading, decode);
  }
  if (reading.has_value() && !reading.tags().empty()) visit(tagged);
  return end_read(operation, *state_, reading);
}

bool Cache::pop_bytes(KeyView key, KeyOptions options, Decode decode) {
  Operation operation(*this, Op::pop, key.text(), options.version);
  const std::string_view id = operation.key();
  Reading reading;
  const auto take = [&](std::string_view stored) {
    read_entry(*state_, id, reading, stored, decode);
  };
  const auto remove = [&](Backend& session) {
    if (auto* const pop = Operation::extension<PopExtension>(session)) {
      return pop->pop(id, take);
    }
    return take_entry(session, id,
                      [&](std::string_view stored, std::optional<Ttl>) { take(stored); });
  };
  state_->outdate(id);
  const bool removed = operation.must([&](Backend& session) {
    const bool done = remove(session);
    if (reading.outcome == Outcome::tagged) check_tags(operation, session, reading);
    return done;
  });
  if (removed) tally_->erased.add();
  return end_read(operation, *state_, reading);
}

bool Cache::put_bytes(KeyView key, Encode encode, const WriteOptions& options, PutMode mode) {
  Operation operation(*this, mode == PutMode::always ? Op::set : Op::add, key.text(),
                      options.version);
  const std::string_view id = operation.key();
  if (mode == PutMode::always) state_->outdate(id);
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    if (!options.tags.empty()) check_tag_names(*state_, *options.tags.list(), operation.what());
    if (mode == PutMode::always) {
      operation.has_erased(operation.must([&](Backend& session) { return session.erase(id); }));
      return operation.ends(true);
    }
    return operation.ends(operation.write(
        false, [&](Backend& session) { return !contains_live(session, id, *state_); }));
  }
  if (!options.tags.empty()) [[unlikely]]
    return put_tagged(operation, encode, options.tags, *ttl, mode);
  Scratch scratch(scratch_, scratch_taken_);
  std::string framed;
  const std::string_view bytes = stored_form(*state_, id, encode(scratch.buffer()), {}, framed);
  return operation.has_written(operation.write(false, [&](Backend& session) {
    return mode == PutMode::always ? session.put(id, bytes, *ttl, mode)
                                   : put_if_not_live(session, id, bytes, *ttl, *state_);
  }));
}

bool Cache::put_tagged(Operation& operation, Encode encode, const Tags& given, Ttl ttl,
                       PutMode mode) {
  const std::string_view id = operation.key();
  const std::optional<std::string> tags = tags_for(operation, given, ttl);
  if (!tags) return operation.has_written(false);
  Scratch scratch(scratch_, scratch_taken_);
  std::string framed;
  const std::string_view bytes = stored_form(*state_, id, encode(scratch.buffer()), *tags, framed);
  return operation.has_written(operation.write(false, [&](Backend& session) {
    return mode == PutMode::always ? session.put(id, bytes, ttl, mode)
                                   : put_if_not_live(session, id, bytes, ttl, *state_);
  }));
}

bool Cache::touch(KeyView key, const TouchOptions& options) {
  Operation operation(*this, Op::touch, key.text(), options.version);
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    state_->outdate(id);
    return operation.has_erased(
        operation.must([&](Backend& session) { return session.erase(id); }));
  }
  return operation.has_written(operation.write(
      false, [&](Backend& session) { return touch_live(session, id, *ttl, *state_); }));
}

bool Cache::persist(KeyView key, KeyOptions options) {
  Operation operation(*this, Op::persist, key.text(), options.version);
  const std::string_view id = operation.key();
  return operation.has_written(operation.write(
      false, [&](Backend& session) { return touch_live(session, id, Ttl::forever(), *state_); }));
}

bool Cache::expire(KeyView key, KeyOptions options) {
  Operation operation(*this, Op::expire, key.text(), options.version);
  const std::string_view id = operation.key();
  const std::optional<bool> done =
      operation.must([&](Backend& session) { return expire_live(session, id, *state_); });
  if (done) return operation.has_written(*done);
  throw BackendError(
      BackendError::Kind::storage, "",
      alias() + ": expire of the key " + quote(id) + ": the store does not take the marked entry");
}

bool Cache::contains(KeyView key, KeyOptions options) {
  Operation operation(*this, Op::contains, key.text(), options.version);
  const std::string_view id = operation.key();
  return operation.ends(
      operation.read(false, [&](Backend& session) { return contains_live(session, id, *state_); }));
}

bool Cache::erase(KeyView key, KeyOptions options) {
  Operation operation(*this, Op::erase, key.text(), options.version);
  const std::string_view id = operation.key();
  state_->outdate(id);
  return operation.has_erased(operation.must([&](Backend& session) { return session.erase(id); }));
}

std::size_t Cache::erase_many(std::initializer_list<KeyView> keys, KeyOptions options) {
  return erase_many_keys(texts(keys), options);
}

std::int64_t Cache::incr(KeyView key, std::int64_t delta, const CounterOptions& options) {
  Operation operation(*this, Op::incr, key.text(), options.version);
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  // Ends when no other client makes or removes the counter between the two steps. A store that
  // refuses the counter altogether is recognised because no entry is there after the refusal.
  constexpr int most_tries = 100;
  constexpr int most_refusals = 3;
  for (int tries = 0, refusals = 0; tries < most_tries && refusals < most_refusals; ++tries) {
    std::optional<std::string> not_live;  // an entry that counts as absent
    const auto sum = operation.must([&](Backend& session) -> std::optional<std::int64_t> {
      try {
        return session.incr(id, delta);
      } catch (const ValueError&) {
        bool framed = false;
        session.contains(id, [&](std::string_view head) { framed = is_framed(head); });
        if (!framed) throw;
        not_live = find_not_live(session, id, *state_);
        if (not_live) return std::nullopt;
        throw ValueError(ValueError::Kind::not_a_counter,
                         "the entry carries metadata and is not a plain counter");
      }
    });
    if (sum) {
      operation.has_written(true);
      return *sum;
    }
    if (!options.initial) {
      operation.ends(false);
      throw KeyNotFound(alias() + ": incr: there is no key " + quote(id) +
                        "; set it first, or give an initial value");
    }
    std::int64_t first = 0;
    if (__builtin_add_overflow(*options.initial, delta, &first)) {
      throw ValueError(ValueError::Kind::overflow, alias() + ": incr of the key " + quote(id) +
                                                       ": initial + delta is beyond 64 bits");
    }
    if (!ttl) {
      operation.ends(true);
      return first;
    }
    bool there = true;
    const bool stored = operation.must([&](Backend& session) {
      const std::string counter = std::to_string(first);
      if (not_live) return replace_not_live(session, id, *not_live, counter, *ttl);
      if (session.put(id, counter, *ttl, PutMode::if_absent)) return true;
      there = session.contains(id, [](std::string_view) {});
      return false;
    });
    if (stored) {
      operation.has_written(true);
      return first;
    }
    if (!there) ++refusals;
  }
  throw BackendError(
      BackendError::Kind::storage, "",
      alias() + ": incr of the key " + quote(id) + ": the store does not take the new counter");
}

std::int64_t Cache::decr(KeyView key, std::int64_t delta, const CounterOptions& options) {
  if (delta == std::numeric_limits<std::int64_t>::min()) {
    throw ValueError(ValueError::Kind::overflow, alias() + ": decr of the key " +
                                                     quote(key.text()) +
                                                     ": the delta is beyond 64 bits when negated");
  }
  return incr(key, -delta, options);
}

int Cache::incr_version(KeyView key, int delta, KeyOptions options) {
  const int from = options.version.value_or(version());
  Operation operation(*this, Op::incr_version, key.text(), from);
  const std::string_view source = operation.key();
  int to = 0;
  if (__builtin_add_overflow(from, delta, &to)) {
    throw ValueError(ValueError::Kind::overflow, alias() + ": incr_version of the key " +
                                                     quote(source) +
                                                     ": the version would be beyond an int");
  }
  FinalKey target;
  if (to != from) state_->compose(target, key.text(), to);
  // Moves the entry with its metadata.
  const bool found = operation.must([&](Backend& session) {
    std::string bytes;
    std::optional<Ttl> left;
    bool live = false;
    if (auto* const ttl = Operation::extension<TtlExtension>(session)) {
      live = ttl->get(source, [&](std::string_view value, Ttl remaining) {
        bytes = value;
        left = remaining;
      });
    } else {
      live = session.get(source, [&](std::string_view value) { bytes = value; });
      left = state_->resolve({});
    }
    live = live && is_live(session, bytes, *state_);
    if (!live || to == from || target.view() == source) return live;
    bytes = moved_form(*state_, source, target.view(), std::move(bytes));
    if (left && !session.put(target.view(), bytes, *left, PutMode::always)) {
      throw BackendError(BackendError::Kind::storage, "", "the store refused the value it had");
    }
    session.erase(source);
    return true;
  });
  operation.ends(found);
  if (!found) {
    throw KeyNotFound(alias() + ": incr_version: there is no key " + quote(source) +
                      "; set it first");
  }
  tally_->writes.add();
  return to;
}

int Cache::decr_version(KeyView key, int delta, KeyOptions options) {
  if (delta == std::numeric_limits<int>::min()) {
    throw ValueError(ValueError::Kind::overflow, alias() + ": decr_version of the key " +
                                                     quote(key.text()) +
                                                     ": the version would be beyond an int");
  }
  return incr_version(key, -delta, options);
}

void Cache::clear() {
  Operation operation(*this, Op::clear, Operation::Keys());
  state_->flights().end_all();
  const bool done = operation.must([&](Backend& session) {
    if (state_->clear_scope() == ClearScope::store) {
      session.clear();
      return true;
    }
    const std::string head = state_->keys().prefix() + ':';
    if (auto* const erase = Operation::extension<ErasePrefixExtension>(session)) {
      erase->erase_prefix(head);
      return true;
    }
    // Only a collection: of an alias, the registry has checked that the extension exists.
    return erase_final(session, Glob::escape(head) + '*').has_value();
  });
  if (!done) {
    throw_unsupported(state_->shared(), name_of(Op::clear),
                      "cannot remove the entries of a collection", ErasePrefixExtension::id);
  }
  if (TagVersionCache* const versions = state_->shared().tag_versions()) versions->forget_all();
  operation.ends(true);
}

}  // namespace polycache
