#include "front/breaking_factory.h"

#include <cxxabi.h>

#include <exception>
#include <utility>

#include "polycache/author/around_layer.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {

struct BreakingFactory::Guard {
  std::string alias;
  std::shared_ptr<StoreRecord> store_record;
  std::function<void(const Warning&)> report;

  // Runs a call of the store, or throws if the breaker is open.
  template <class Call>
  auto run(Access access, std::string_view name, Call&& call) const {
    if (store_record->troubled() && !store_record->admit(access)) refuse(access);
    try {
      auto result = std::forward<Call>(call)();
      succeeded(access, name);
      return result;
    } catch (const BackendError& error) {
      failed(access, name, error);
      throw;
    } catch (const CacheError&) {  // the store did answer
      succeeded(access, name);
      throw;
    } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
      throw;
    } catch (const std::exception& error) {
      failed(access, name, BackendError(BackendError::Kind::storage, "", error.what()));
      throw;
    } catch (...) {  // a foreign store may throw anything
      failed(
          access, name,
          BackendError(BackendError::Kind::storage, "", "something that is not a std::exception"));
      throw;
    }
  }

  [[noreturn]] void refuse(Access access) const {
    store_record->note_refusal();
    const std::string last = store_record->last_error();
    throw BackendError(BackendError::Kind::unreachable, "",
                       "the store of the alias " + quote(alias) +
                           " keeps failing and is not used for now (circuit breaker open, next "
                           "attempt in " +
                           std::to_string(store_record->pause_left(access).count()) + " ms)" +
                           (last.empty() ? "" : "; last failure: " + last));
  }

  void succeeded(Access access, std::string_view name) const {
    if (!store_record->troubled()) return;
    store_record->report(store_record->note_success(access, true), name, {}, report);
  }

  // The composite decides what its failure means, so only changes of the breaker are reported.
  void failed(Access access, std::string_view name, const BackendError& error) const {
    store_record->report(store_record->note_failure(access, error, true), name, {}, report);
  }
};

class BreakingFactory::Session final : public AroundLayer {
 public:
  Session(std::unique_ptr<Backend> inner, std::shared_ptr<const Guard> guard)
      : AroundLayer(std::move(inner)), guard_(std::move(guard)) {}

  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (call.op == StoreOp::check_health) return go(call.deliver);
    return guard_->run(call.access, call.name, [&] { return go(call.deliver); });
  }

 private:
  const std::shared_ptr<const Guard> guard_;
};

BreakingFactory::BreakingFactory(std::string alias, std::shared_ptr<BackendFactory> inner,
                                 std::shared_ptr<StoreRecord> store_record,
                                 std::function<void(const Warning&)> report)
    : inner_(std::move(inner)),
      guard_(std::make_shared<const Guard>(
          Guard{std::move(alias), std::move(store_record), std::move(report)})) {}

std::unique_ptr<Backend> BreakingFactory::connect() {
  return guard_->run(Access::read, "connect", [&]() -> std::unique_ptr<Backend> {
    std::unique_ptr<Backend> session = inner_->connect();
    if (session == nullptr) {
      throw BackendError(BackendError::Kind::unreachable, "",
                         "the store of the alias " + quote(guard_->alias) + " opened no session");
    }
    return std::make_unique<Session>(std::move(session), guard_);
  });
}

StoreTraits BreakingFactory::traits() const noexcept {
  StoreTraits traits = inner_->traits();
  traits.breaks_circuits = true;
  return traits;
}

void BreakingFactory::validate_key(std::string_view final_key,
                                   FunctionRef<void(std::string_view)> warn) const {
  inner_->validate_key(final_key, warn);
}

void* BreakingFactory::extension(std::string_view id) noexcept { return inner_->extension(id); }

}  // namespace polycache
