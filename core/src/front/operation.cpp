#include "front/operation.h"

#include <cxxabi.h>

#include <algorithm>
#include <exception>
#include <typeinfo>

#include "polycache/author/text.h"

namespace polycache {

bool Cache::Operation::throws(Access access, Failing failing) const noexcept {
  if (failing == Failing::loudly) return true;
  const OnError policy = state().on_error();
  return (access == Access::read ? policy.read : policy.write) == ErrorPolicy::throw_error;
}

void Cache::Operation::observe(std::size_t keys) noexcept {
  keys_ = keys;
  observer_->begin({state().alias(), op_, key_, keys_});
}

void Cache::Operation::end() noexcept {
  const std::size_t hits = hits_.value_or(result_ == Result::hit ? 1 : 0);
  observer_->end({state().alias(), op_, key_, keys_}, {failed() ? failure_ : result_, hits});
}

// Null if there is none. Does not open a session only to ask it.
const AdmissionExtension* Cache::Operation::admission(const Session& session) const noexcept {
  if (session.get() == nullptr || !state().store_record().store_breaks_circuits()) return nullptr;
  return extension<AdmissionExtension>(*session.get());
}

bool Cache::Operation::admitted(Access access, Failing failing, Keys keys, const Session& session) {
  StoreRecord& store_record = state().store_record();
  const bool loud = throws(access, failing);
  if (store_record.admit(access)) [[likely]] {
    if (loud) return true;  // the store's own exception is more detailed
    const AdmissionExtension* const store = admission(session);
    if (store == nullptr || std::any_of(keys.begin(), keys.end(), [&](std::string_view key) {
          return store->admits(key, access);
        })) {
      return true;
    }
  }
  store_record.note_refusal();
  tally().refusals.add();
  failure_ = Result::refused;
  if (loud) throw_refusal(access);
  return false;
}

void Cache::Operation::throw_refusal(Access access) const {
  const StoreRecord& store_record = state().store_record();
  const std::string last = store_record.last_error();
  const bool probed = store_record.breaker_state(access) == CircuitBreaker::State::half_open;
  const std::string until =
      probed ? "another operation is trying it now"
             : "next attempt in " + std::to_string(store_record.pause_left(access).count()) + " ms";
  throw BackendError(BackendError::Kind::unreachable, "",
                     state().alias() + ": " + name() +
                         ": the store was not asked, since it keeps failing (circuit breaker " +
                         "open, " + until + ")" + (last.empty() ? "" : "; last failure: " + last));
}

void Cache::Operation::settle(Access access, BackendCall& call, const Session& session) {
  StoreRecord::News news;
  if (state().store_record().troubled()) {
    const AdmissionExtension* const store = admission(session);
    news = state().store_record().note_success(access, store == nullptr || store->admits_all());
  }
  state().shared().deliver(call);
  report(news);
}

void Cache::Operation::note_failure(Access access, Failing failing, const BackendError& error) {
  failure_ = Result::error;
  tally().errors.add();
  report(state().store_record().note_failure(access, error, throws(access, failing)));
}

void Cache::Operation::report(const StoreRecord::News& news) {
  state().store_record().report(news, name_of(op_), key_, [&](const Warning& warning) {
    state().warn(warning.kind, warning.key, warning.message, warning.count);
  });
}

std::string Cache::Operation::what() const {
  return op_ == Op::tags ? name() : name() + " of the key " + quote(key_);
}

void Cache::Operation::throw_named(const ValueError& error) const {
  const std::string message = state().alias() + ": " + what() + ": " + error.what();
  if (dynamic_cast<const KeyNotFound*>(&error) != nullptr) throw KeyNotFound(message);
  throw ValueError(error.kind(), message);
}

// Prepends alias and operation, as in warnings. An exception of a plugin's own class is rethrown
// unchanged.
void Cache::Operation::rethrow(const BackendError& error) const {
  if (typeid(error) != typeid(BackendError)) throw;
  throw BackendError(state().alias() + ": " + name() + ": ", error);
}

void Cache::Operation::give_up(Access access, Failing failing, BackendCall& call,
                               const Session& session) {
  // Any other exception of a plugin becomes a BackendError that names the plugin.
  const auto foreign = [&](const std::string& what) {
    return BackendError(BackendError::Kind::storage, "",
                        state().shared().plugin() + " threw " + what);
  };
  const auto decide = [&](const BackendError& error) {
    note_failure(access, failing, error);
    state().shared().deliver(call);
  };
  try {
    throw;
  } catch (const BackendError& error) {
    if (error.kind() == BackendError::Kind::unsupported && throws(access, failing)) {
      failure_ = Result::error;
      report(state().store_record().note_unsupported(access));
      state().shared().deliver(call);
      rethrow(error);
    }
    decide(error);
    if (throws(access, failing)) rethrow(error);
  } catch (const ValueError& error) {
    settle(access, call, session);
    throw_named(error);
  } catch (const CacheError&) {
    settle(access, call, session);
    throw;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (const std::exception& error) {
    const BackendError translated = foreign(error.what());
    decide(translated);
    if (throws(access, failing)) rethrow(translated);
  } catch (...) {
    const BackendError translated = foreign("something that is not a std::exception");
    decide(translated);
    if (throws(access, failing)) rethrow(translated);
  }
}

}  // namespace polycache
