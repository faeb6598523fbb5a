#include "operation.h"

#include <cxxabi.h>

#include <exception>

#include "polycache/text.h"

namespace polycache {

void Cache::Operation::settle(BackendCall& call) {
  while (!call.quiet()) {  // a handler that closes a session may make it say more
    for (const BackendCall::Kept& kept : call.take()) {
      state().warn(kept.kind, kept.key, kept.message);
    }
  }
  if (!failed_) state().note_success();
}

void Cache::Operation::go_on_without(ErrorPolicy policy, const BackendError& error) {
  failed_ = true;
  state().note_failure();
  if (policy == ErrorPolicy::throw_error) return;
  std::string message = std::string(name_) + ": going on without the store: " + error.what();
  state().warn(Warning::Kind::degraded, key_, message);
}

void Cache::Operation::give_up(ErrorPolicy policy, BackendCall& call) {
  // Whatever else a plugin throws becomes a BackendError that names it.
  const auto foreign = [&](const std::string& what) {
    return BackendError(
        BackendError::Kind::storage, "",
        state().alias() + ": " + name_ + ": " + state().plugin() + " threw " + what);
  };
  const auto decide = [&](const BackendError& error) {
    go_on_without(policy, error);
    settle(call);
  };
  try {
    throw;
  } catch (const BackendError& error) {
    decide(error);
    if (policy == ErrorPolicy::throw_error) throw;
  } catch (const ValueError& error) {
    settle(call);
    throw ValueError(state().alias() + ": " + name_ + " of the key " + quote(key_) + ": " +
                     error.what());
  } catch (const CacheError&) {
    settle(call);
    throw;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (const std::exception& error) {
    const BackendError translated = foreign(error.what());
    decide(translated);
    if (policy == ErrorPolicy::throw_error) throw translated;
  } catch (...) {
    const BackendError translated = foreign("something that is no std::exception");
    decide(translated);
    if (policy == ErrorPolicy::throw_error) throw translated;
  }
}

}  // namespace polycache
