#include <cxxabi.h>

#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "front/flights.h"
#include "front/live_entry.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {

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
    operation_.may_throw();
    miss(first);
    operation_.ends(false);
  }

 private:
  enum class Where : unsigned char { anywhere, authoritative };

  void miss(const Reading& first) {
    if (first.unreadable()) warn_unreadable(state_, key_, first);
    replace_ = first.outcome == Outcome::undecodable;
    if (Computation::contains(&state_.shared(), key_)) {
      throw CacheError(state_.alias() + ": the key " + quote(key_) +
                       " was asked for inside its own computation");
    }
    for (bool waited = false;; waited = true) {
      Flights::Ticket ticket = state_.flights().join(key_);
      if (ticket.owner()) {
        const Computation inside(&state_.shared(), key_);  // nothing that runs here waits
        return own(ticket);
      }
      if (Computation::any()) break;
      if (!waited) operation_.tally().waits.add();
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

  // Reads the entry; `landing` receives a copy of the value's bytes.
  Reading look(Where where, std::string* landing) {
    Reading reading;
    const auto take = [&](std::string_view stored) {
      read_entry(state_, key_, reading, stored, [&](std::string_view bytes) {
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
    std::string framed;
    std::string_view form;
    try {
      bytes = encode_(scratch.buffer());
      form = stored_form(state_, key_, bytes, framed);
    } catch (const std::exception& error) {
      state_.warn(Warning::Kind::other, key_,
                  "the value computed for " + quote(key_) +
                      " was not stored: its codec or transform threw: " + error.what());
      return;
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
      throw;
    } catch (...) {  // a user's codec may throw anything
      state_.warn(Warning::Kind::other, key_,
                  "the value computed for " + quote(key_) +
                      " was not stored: its codec or transform threw");
      return;
    }
    std::string landing(ticket != nullptr ? bytes : std::string_view());
    const std::optional<Ttl> ttl = state_.resolve(options_.timeout);
    // If another process was faster, all threads get its value.
    if (ttl && !operation_.failed() && !store(form, *ttl) && !replace_ && !operation_.failed()) {
      look(Where::authoritative, &landing);
    }
    if (ticket != nullptr) ticket->land(std::move(landing));
  }

  bool store(std::string_view form, Ttl ttl) {
    return operation_.write(false, [&](Backend& session) {
      return replace_ ? session.put(key_, form, ttl, PutMode::always)
                      : put_if_not_live(session, key_, form, ttl, state_);
    });
  }

  void load() {
    struct Counted {
      Tally& tally;
      bool done = false;
      ~Counted() {
        if (!done) tally.failed_loads.add();
      }
    };
    operation_.tally().loads.add();
    Counted counted{operation_.tally()};
    compute_();
    counted.done = true;
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

}  // namespace polycache
