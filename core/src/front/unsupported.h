// The error of an operation that only some stores have.

#pragma once

#include <string>
#include <string_view>

#include "base/stock_abilities.h"
#include "front/cache_state.h"
#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/observer.h"

namespace polycache {

// `lack`: "cannot list its keys"; `id`: of the extension that it lacks.
[[noreturn]] inline void throw_unsupported(const AliasShared& shared, std::string_view operation,
                                           std::string_view lack, std::string_view id) {
  const CacheInfo& info = shared.info();
  throw BackendError(BackendError::Kind::unsupported, "",
                     shared.alias() + ": " + std::string(operation) + ": the store " +
                         quote(info.backend) + ' ' + std::string(lack) +
                         (info.layers.empty() ? "" : ", or a layer around it hides that it can") +
                         "; these can: " + stores_that_offer(id));
}

}  // namespace polycache
