// The extensions that this version of polycache knows, as a list that code can go through. What
// has to treat all of them alike, such as a transparent layer (around_layer.h), uses the list and
// needs no change when an extension is added. New extensions are appended.

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include "polycache/author/deque_extension.h"
#include "polycache/author/extension.h"
#include "polycache/author/index_extension.h"

namespace polycache {

template <class... Extension>
struct ExtensionList {
  static constexpr std::size_t size = sizeof...(Extension);
  static constexpr std::array<std::string_view, size> ids{Extension::id...};
  static constexpr bool has(std::string_view id) noexcept {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  }
};

// Of a session: Backend::extension().
using SessionExtensions =
    ExtensionList<TtlExtension, CompareExtension, PopExtension, PaddedNumbersExtension,
                  ErasePrefixExtension, AdmissionExtension, HealthExtension, IdleExtension,
                  ScanExtension, ErasePatternExtension, RenewExtension, TagIndexExtension,
                  LockExtension, LimitExtension, DequeExtension, IndexExtension, TagStampExtension>;

// Of a factory: BackendFactory::extension().
using FactoryExtensions =
    ExtensionList<MaintenanceExtension, DumpExtension, CheckExtension, VacuumExtension>;

}  // namespace polycache
