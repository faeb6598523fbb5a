// What another alias gets of a store that has no circuit breaker of its own (sibling() of a
// composite): the same factory, with the alias's record of failures around its sessions. The alias
// itself checks that record in the front (operation.h), so that its calls pay for no second
// session.

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "front/store_record.h"
#include "polycache/author/backend.h"
#include "polycache/warning.h"

namespace polycache {

class BreakingFactory final : public BackendFactory {
 public:
  // `report` fills in the alias.
  BreakingFactory(std::string alias, std::shared_ptr<BackendFactory> inner,
                  std::shared_ptr<StoreRecord> store_record,
                  std::function<void(const Warning&)> report);

  // Throws a BackendError if the breaker is open.
  std::unique_ptr<Backend> connect() override;
  StoreTraits traits() const noexcept override;
  void validate_key(std::string_view final_key,
                    FunctionRef<void(std::string_view)> warn) const override;
  void* extension(std::string_view id) noexcept override;

 private:
  // What its sessions share, which may outlive it.
  struct Guard;
  class Session;

  const std::shared_ptr<BackendFactory> inner_;
  const std::shared_ptr<const Guard> guard_;
};

}  // namespace polycache
