#include "polycache/cache.h"

#include <cxxabi.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "front/cache_state.h"
#include "front/entry.h"
#include "front/flights.h"
#include "front/operation.h"
#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// The result of reading an entry. `not_live`: it counts as absent (EntryState).
enum class Outcome : unsigned char { absent, value, undecodable, not_live, damaged };

struct Reading {
  Outcome outcome = Outcome::absent;
  std::unique_ptr<const std::string> thrown;  // message of a codec's exception

  bool has_value() const noexcept { return outcome == Outcome::value; }
  bool unreadable() const noexcept {
    return outcome == Outcome::undecodable || outcome == Outcome::damaged;
  }
};

// Passes a value to `decode`. Never throws: it runs inside the store's code.
template <class Decode>
void read_value(Reading& reading, std::string_view value, Decode&& decode) noexcept {
  reading.outcome = Outcome::undecodable;
  try {
    if (decode(value)) reading.outcome = Outcome::value;
  } catch (const std::exception& error) {
    try {
      reading.thrown = std::make_unique<const std::string>(error.what());
    } catch (...) {  // out of memory: the warning says less
    }
  } catch (...) {  // a user's codec may throw anything
  }
}

// The digits of a number that is followed only by blanks, else nothing.
std::string_view digits_before_blanks(std::string_view bytes) noexcept {
  const std::size_t size = bytes.find_last_not_of(' ') + 1;  // 0 if there are only blanks
  const std::string_view digits = bytes.substr(0, size);
  const bool is_padded =
      size < bytes.size() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  return is_padded ? digits : std::string_view();
}

// First extracts a value from its frame. Bytes that are not a T may be a number that the store
// itself padded; this is tried last, so a T may contain blanks.
template <class Decode>
void read_entry(const CacheState& state, Reading& reading, std::string_view stored,
                Decode&& decode) noexcept {
  if (is_framed(stored)) [[unlikely]] {
    const JudgedEntry entry = judge_frame(stored, state.clock());
    if (entry.state != EntryState::live) {
      reading.outcome =
          entry.state == EntryState::unreadable ? Outcome::damaged : Outcome::not_live;
      return;
    }
    stored = entry.payload;
  }
  read_value(reading, stored, decode);
  if (reading.outcome == Outcome::undecodable && state.shared().store_pads_numbers()) [[unlikely]] {
    const std::string_view digits = digits_before_blanks(stored);
    if (!digits.empty()) read_value(reading, digits, decode);
  }
}

void warn_unreadable(const CacheState& state, std::string_view final_key, const Reading& reading) {
  if (reading.outcome == Outcome::damaged) {
    state.warn(
        Warning::Kind::entry_damaged, final_key,
        "the entry " + quote(final_key) + " is damaged or of a newer format; it counts as a miss");
  } else if (reading.outcome == Outcome::undecodable) {
    std::string message =
        "the entry " + quote(final_key) + " is not of the type that was asked for";
    if (reading.thrown) message += " (its codec threw: " + *reading.thrown + ")";
    state.warn(Warning::Kind::undecodable_value, final_key, message + "; it counts as a miss");
  }
}

// Reads the entry itself, never a replica that may lag behind.
bool read_authoritative(Backend& session, std::string_view key, ValueSink sink) {
  if (auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id))) {
    return ttl->get(key, [&](std::string_view value, Ttl) { sink(value); });
  }
  return session.get(key, sink);
}

bool is_live(std::string_view stored, const CacheState& state) noexcept {
  return judge_entry(stored, state.clock()).state == EntryState::live;
}

// Whether there is a live entry. `ask(head)` passes the head of the stored entry to `head` and
// returns whether there is one. If the head is not enough, reads the whole entry.
template <class Ask>
bool is_live_by_head(Backend& session, std::string_view key, const CacheState& state, Ask&& ask) {
  std::optional<EntryState> judged;
  const bool found = ask([&](std::string_view head) { judged = judge_head(head, state.clock()); });
  if (!found || judged) return found && judged == EntryState::live;
  bool live = false;
  read_authoritative(session, key, [&](std::string_view stored) { live = is_live(stored, state); });
  return live;
}

bool contains_live(Backend& session, std::string_view key, const CacheState& state) {
  return is_live_by_head(session, key, state,
                         [&](auto&& head) { return session.contains(key, head); });
}

// The stored bytes of an entry that counts as absent; empty if there is none, or a live one.
std::optional<std::string> find_not_live(Backend& session, std::string_view key,
                                         const CacheState& state) {
  std::optional<std::string> found;
  read_authoritative(session, key, [&](std::string_view stored) {
    if (!is_live(stored, state)) found = std::string(stored);
  });
  return found;
}

// Replaces an entry that counts as absent, if it is unchanged. Returns whether it did. Without
// compare/1 it is erased first, and another writer may store in between.
bool replace_not_live(Backend& session, std::string_view key, std::string_view old,
                      std::string_view value, Ttl ttl) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  if (compare != nullptr) return compare->put_if_equal(key, old, value, ttl);
  session.erase(key);
  return session.put(key, value, ttl, PutMode::if_absent);
}

// Stores if there is no live entry. Returns whether it did.
bool put_if_not_live(Backend& session, std::string_view key, std::string_view value, Ttl ttl,
                     const CacheState& state) {
  // Ends when no other writer changes the entry between the two steps.
  constexpr int kMostTries = 100;
  for (int tries = 0; tries < kMostTries; ++tries) {
    if (session.put(key, value, ttl, PutMode::if_absent)) return true;
    bool is_framed_there = false;  // a plain value is live and need not be read
    session.contains(key, [&](std::string_view head) { is_framed_there = is_framed(head); });
    if (!is_framed_there) return false;
    const std::optional<std::string> old = find_not_live(session, key, state);
    if (!old) return false;
    if (replace_not_live(session, key, *old, value, ttl)) return true;
  }
  return false;
}

// An encoder's buffer: the cache's own, so that calls need no allocation, unless an enclosing
// operation is using it.
class Scratch {
 public:
  explicit Scratch(std::string& home, bool& taken) noexcept
      : home_(home), taken_(taken), is_home_(!taken) {
    taken = true;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    if (!is_home_) return;
    taken_ = false;
    if (home_.capacity() > most_kept) [[unlikely]]
      home_ = std::string();
  }

  std::string& buffer() noexcept { return is_home_ ? home_ : own_; }

 private:
  static constexpr std::size_t most_kept = std::size_t{1} << 16U;

  std::string& home_;
  bool& taken_;
  const bool is_home_;
  std::string own_;
};

// The bytes to store: framed if they would otherwise look like a frame.
std::string_view stored_form(std::string_view value, std::string& framed) {
  if (!is_framed(value)) [[likely]]
    return value;
  framed = make_frame({}, {}, value);
  return framed;
}

// The final keys of a bulk operation, in one allocation.
class FinalKeys {
 public:
  FinalKeys(const CacheState& state, std::optional<int> version, std::size_t count)
      : state_(state), version_(version), count_(count) {
    ends_.reserve(count);
  }

  void add(std::string_view key) {
    FinalKey final_key;
    state_.compose(final_key, key, version_);
    if (text_.empty()) {  // the others usually have a similar length
      text_.reserve(std::min(count_ * final_key.view().size(), kMostReserved));
    }
    text_.append(final_key.view());
    ends_.push_back(text_.size());
  }

  // After the last add().
  std::vector<std::string_view> views() const {
    std::vector<std::string_view> views;
    views.reserve(ends_.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends_) {
      views.push_back(std::string_view(text_).substr(begin, end - begin));
      begin = end;
    }
    return views;
  }

 private:
  static constexpr std::size_t kMostReserved = std::size_t{64} << 10U;

  const CacheState& state_;
  std::optional<int> version_;
  const std::size_t count_;
  std::string text_;
  std::vector<std::size_t> ends_;
};

}  // namespace

Cache::Cache(std::shared_ptr<CacheState> state)
    : state_(std::move(state)), tally_(std::make_unique<Tally>()) {
  tally_->join(&state_->tallies());
}

Cache::~Cache() = default;

void Cache::close() noexcept { session_.reset(); }

void Cache::end(std::shared_ptr<CacheState> ended) {
  if (!scratch_taken_) scratch_ = std::string();
  move_to(std::move(ended));
}

void Cache::move_to(std::shared_ptr<CacheState> state) {
  // The session closes last, but before its state is destroyed: closing may run a handler that uses
  // this cache, which must already have the new state.
  tally_->join(&state->tallies());
  const std::shared_ptr<CacheState> old = std::exchange(state_, std::move(state));
  const std::unique_ptr<Backend> session = std::move(session_);
}

const std::string& Cache::alias() const noexcept { return state_->alias(); }

int Cache::version() const noexcept { return state_->keys().version(); }

std::string Cache::final_key(KeyView key, ReadOptions options) const {
  const std::shared_ptr<CacheState> state = state_;  // a key function may move this cache
  FinalKey final_key;
  state->keys().compose(final_key, key.text(), options.version);
  return std::string(final_key.view());
}

CacheStatistics Cache::statistics() const { return state_->tallies().sum(); }

Backend& Cache::backend() {
  if (!session_) session_ = state_->shared().connect();
  return *session_;
}

std::vector<std::string_view> Cache::texts(std::initializer_list<KeyView> keys) {
  std::vector<std::string_view> texts;
  texts.reserve(keys.size());
  for (const KeyView key : keys) texts.push_back(key.text());
  return texts;
}

bool Cache::get_bytes(KeyView key, ReadOptions options, Decode decode) {
  Operation operation(*this, Op::get, key.text(), options.version);
  const std::string_view id = operation.key();
  Reading reading;
  operation.read(false, [&](Backend& session) {
    return session.get(
        id, [&](std::string_view stored) { read_entry(*state_, reading, stored, decode); });
  });
  if (reading.unreadable()) [[unlikely]]
    warn_unreadable(*state_, id, reading);
  return operation.has_read(reading.has_value());
}

bool Cache::pop_bytes(KeyView key, ReadOptions options, Decode decode) {
  Operation operation(*this, Op::pop, key.text(), options.version);
  const std::string_view id = operation.key();
  Reading reading;
  const auto take = [&](std::string_view stored) { read_entry(*state_, reading, stored, decode); };
  const bool removed = operation.must([&](Backend& session) {
    if (auto* const pop = Operation::extension<PopExtension>(session)) {
      return pop->pop(id, take);
    }
    auto* const compare = Operation::extension<CompareExtension>(session);
    // Ends when no other writer changed the entry between the two steps.
    for (;;) {
      std::string stored;
      if (!read_authoritative(session, id, [&](std::string_view bytes) { stored = bytes; })) {
        return false;
      }
      const bool mine =
          compare != nullptr ? compare->erase_if_equal(id, stored) : session.erase(id);
      if (mine) {
        take(stored);
        return true;
      }
    }
  });
  if (reading.unreadable()) [[unlikely]]
    warn_unreadable(*state_, id, reading);
  if (removed) tally_->erased.add();
  return operation.has_read(reading.has_value());
}

bool Cache::put_bytes(KeyView key, Encode encode, const WriteOptions& options, PutMode mode) {
  Operation operation(*this, mode == PutMode::always ? Op::set : Op::add, key.text(),
                      options.version);
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    if (mode == PutMode::always) {
      operation.has_erased(operation.must([&](Backend& session) { return session.erase(id); }));
      return true;
    }
    return operation.ends(operation.write(
        false, [&](Backend& session) { return !contains_live(session, id, *state_); }));
  }
  Scratch scratch(scratch_, scratch_taken_);
  std::string framed;
  const std::string_view bytes = stored_form(encode(scratch.buffer()), framed);
  return operation.has_written(operation.write(false, [&](Backend& session) {
    return mode == PutMode::always ? session.put(id, bytes, *ttl, mode)
                                   : put_if_not_live(session, id, bytes, *ttl, *state_);
  }));
}

// One get_or_set. It uses the store in steps, so that a computation finds the session free. After a
// failed step it makes no other: each could cost another time limit.
class Cache::GetOrSet {
 public:
  GetOrSet(Cache& cache, Operation& operation, const WriteOptions& options, Decode decode,
           FunctionRef<void()> compute, Encode encode) noexcept
      : cache_(cache),
        state_(*cache.state_),
        operation_(operation),
        key_(operation.key()),
        options_(options),
        decode_(decode),
        compute_(compute),
        encode_(encode) {}
  GetOrSet(const GetOrSet&) = delete;
  GetOrSet& operator=(const GetOrSet&) = delete;

  void run() {
    const Reading first = look(Where::anywhere, nullptr);
    if (operation_.has_read(first.has_value())) return;
    if (first.unreadable()) warn_unreadable(state_, key_, first);
    replace_ = first.outcome == Outcome::undecodable;
    if (Computation::contains(&state_.shared(), key_)) {
      throw CacheError(state_.alias() + ": the key " + quote(key_) +
                       " was asked for inside its own computation");
    }
    for (;;) {
      Flights::Ticket ticket = state_.flights().join(key_);
      if (ticket.owner()) {
        const Computation inside(&state_.shared(), key_);  // nothing that runs here waits
        return own(ticket);
      }
      if (Computation::any()) break;
      operation_.tally().waits.add();
      if (const std::optional<std::string> bytes = ticket.wait()) {
        Reading reading;
        read_value(reading, *bytes, decode_);
        if (reading.has_value()) return;
        break;
      }
      if (ticket.timed_out()) break;
    }
    const Computation inside(&state_.shared(), key_);
    compute_and_store(nullptr);
  }

 private:
  enum class Where : unsigned char { anywhere, authoritative };

  // Reads the entry; `landing` receives a copy of the value's bytes.
  Reading look(Where where, std::string* landing) {
    Reading reading;
    const auto take = [&](std::string_view stored) {
      read_entry(state_, reading, stored, [&](std::string_view bytes) {
        if (!decode_(bytes)) return false;
        if (landing != nullptr) *landing = bytes;
        return true;
      });
    };
    operation_.read(false, [&](Backend& session) {
      return where == Where::authoritative ? read_authoritative(session, key_, take)
                                           : session.get(key_, take);
    });
    return reading;
  }

  void own(Flights::Ticket& ticket) {
    // Another thread may have landed since the first look.
    std::string landing;
    if (!operation_.failed() && look(Where::authoritative, &landing).has_value()) {
      ticket.land(std::move(landing));
    } else {
      compute_and_store(&ticket);
    }
  }

  void compute_and_store(Flights::Ticket* ticket) {
    load();
    Scratch scratch(cache_.scratch_, cache_.scratch_taken_);
    std::string_view bytes;
    try {
      bytes = encode_(scratch.buffer());
    } catch (const std::exception& error) {
      state_.warn(Warning::Kind::other, key_,
                  "the value computed for " + quote(key_) +
                      " was not stored: its codec threw: " + error.what());
      return;
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {  // a user's codec may throw anything
      state_.warn(Warning::Kind::other, key_,
                  "the value computed for " + quote(key_) + " was not stored: its codec threw");
      return;
    }
    std::string landing(ticket != nullptr ? bytes : std::string_view());
    const std::optional<Ttl> ttl = state_.resolve(options_.timeout);
    // If another process was faster, all threads get its value.
    if (ttl && !operation_.failed() && !store(bytes, *ttl) && !replace_ && !operation_.failed()) {
      look(Where::authoritative, &landing);
    }
    if (ticket != nullptr) ticket->land(std::move(landing));
  }

  bool store(std::string_view bytes, Ttl ttl) {
    std::string framed;
    const std::string_view form = stored_form(bytes, framed);
    return operation_.write(false, [&](Backend& session) {
      return replace_ ? session.put(key_, form, ttl, PutMode::always)
                      : put_if_not_live(session, key_, form, ttl, state_);
    });
  }

  void load() {
    Tally& tally = operation_.tally();
    tally.loads.add();
    tally.failed_loads.add();  // until it has returned
    operation_.may_throw();
    compute_();
    operation_.ends(false);
    tally.failed_loads.take_back();
  }

  Cache& cache_;
  CacheState& state_;
  Operation& operation_;
  std::string_view key_;
  const WriteOptions& options_;
  Decode decode_;
  FunctionRef<void()> compute_;
  Encode encode_;
  bool replace_ = false;  // there is an entry of another type
};

void Cache::get_or_set_bytes(KeyView key, const WriteOptions& options, Decode decode,
                             FunctionRef<void()> compute, Encode encode) {
  Operation operation(*this, Op::get_or_set, key.text(), options.version);
  GetOrSet(*this, operation, options, decode, compute, encode).run();
}

void Cache::get_many_bytes(std::span<const std::string_view> keys, ReadOptions options,
                           IndexedDecode decode) {
  if (keys.empty()) return;
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, keys.size());
  for (const std::string_view key : keys) final_keys.add(key);
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::get_many, views);
  std::vector<std::pair<std::size_t, Reading>> unreadable;
  std::size_t hits = 0;
  operation.run_many<bool>(Access::read, views, false, [&](Backend& session) {
    session.get_many(views, [&](std::size_t i, std::string_view stored) {
      Reading reading;
      read_entry(*state_, reading, stored,
                 [&](std::string_view bytes) { return decode(i, bytes); });
      if (reading.has_value()) ++hits;
      if (reading.unreadable()) [[unlikely]]
        unreadable.emplace_back(i, std::move(reading));
    });
    return true;
  });
  operation.have_been_read(hits, keys.size());
  for (const auto& [i, reading] : unreadable) warn_unreadable(*state_, views[i], reading);
}

std::vector<std::string> Cache::put_many_items(std::span<const ItemView> items,
                                               const WriteOptions& options) {
  if (items.empty()) return {};
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, items.size());
  for (const ItemView& item : items) final_keys.add(item.key());
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::set_many, views);
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    operation.have_been_erased(
        operation.must([&](Backend& session) { return session.erase_many(views); }));
    return {};
  }

  // Values written to the scratch buffer are copied; others stay where they are.
  std::vector<Item> stored;
  stored.reserve(items.size());
  std::vector<std::string> copies;
  Scratch scratch(scratch_, scratch_taken_);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view bytes = items[i].encode(scratch.buffer());
    const std::less<const char*> before;
    const char* const begin = scratch.buffer().data();
    const bool in_scratch =
        !before(bytes.data(), begin) && before(bytes.data(), begin + scratch.buffer().size() + 1);
    if (in_scratch || is_framed(bytes)) {
      if (copies.empty()) copies.reserve(items.size());  // keeps views into it valid
      copies.push_back(is_framed(bytes) ? make_frame({}, {}, bytes) : std::string(bytes));
      stored.push_back({views[i], copies.back(), *ttl});
    } else {
      stored.push_back({views[i], bytes, *ttl});
    }
  }

  std::vector<std::string> failed;
  const bool done = operation.run_many<bool>(Access::write, views, false, [&](Backend& session) {
    session.put_many(stored, PutMode::always,
                     [&](std::size_t i) { failed.emplace_back(items[i].key()); });
    return true;
  });
  if (!done) {
    failed.clear();
    for (const ItemView& item : items) failed.emplace_back(item.key());
  }
  operation.have_been_written(items.size() - failed.size(), items.size());
  return failed;
}

bool Cache::touch(KeyView key, const WriteOptions& options) {
  Operation operation(*this, Op::touch, key.text(), options.version);
  const std::string_view id = operation.key();
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    return operation.has_erased(
        operation.must([&](Backend& session) { return session.erase(id); }));
  }
  return operation.has_written(operation.write(false, [&](Backend& session) {
    return is_live_by_head(session, id, *state_,
                           [&](auto&& head) { return session.touch(id, *ttl, head); });
  }));
}

bool Cache::contains(KeyView key, ReadOptions options) {
  Operation operation(*this, Op::contains, key.text(), options.version);
  const std::string_view id = operation.key();
  return operation.ends(
      operation.read(false, [&](Backend& session) { return contains_live(session, id, *state_); }));
}

bool Cache::erase(KeyView key, ReadOptions options) {
  Operation operation(*this, Op::erase, key.text(), options.version);
  const std::string_view id = operation.key();
  return operation.has_erased(operation.must([&](Backend& session) { return session.erase(id); }));
}

std::size_t Cache::erase_many(std::initializer_list<KeyView> keys, ReadOptions options) {
  return erase_many_keys(texts(keys), options);
}

std::size_t Cache::erase_many_keys(std::span<const std::string_view> keys, ReadOptions options) {
  if (keys.empty()) return 0;
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, keys.size());
  for (const std::string_view key : keys) final_keys.add(key);
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::erase_many, views);
  const std::size_t erased =
      operation.must([&](Backend& session) { return session.erase_many(views); });
  operation.have_been_erased(erased);
  return erased;
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
                         "the entry carries metadata and is no plain counter");
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

int Cache::incr_version(KeyView key, int delta, ReadOptions options) {
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
  // Moves the bytes unchanged, including metadata.
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
    live = live && is_live(bytes, *state_);
    if (!live || to == from || target.view() == source) return live;
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

int Cache::decr_version(KeyView key, int delta, ReadOptions options) {
  if (delta == std::numeric_limits<int>::min()) {
    throw ValueError(ValueError::Kind::overflow, alias() + ": decr_version of the key " +
                                                     quote(key.text()) +
                                                     ": the version would be beyond an int");
  }
  return incr_version(key, -delta, options);
}

void Cache::clear() {
  Operation operation(*this, Op::clear, Operation::Keys());
  operation.must([&](Backend& session) {
    if (state_->clear_scope() == ClearScope::store) {
      session.clear();
      return true;
    }
    // The registry has checked that the extension exists.
    Operation::extension<ErasePrefixExtension>(session)->erase_prefix(state_->keys().prefix() +
                                                                      ":");
    return true;
  });
  operation.ends(true);
}

}  // namespace polycache
