#include "registry/alias_checks.h"

#include <cxxabi.h>

#include <exception>
#include <memory>
#include <optional>
#include <string_view>

#include "base/stock_abilities.h"
#include "polycache/author/extension.h"
#include "polycache/key.h"

namespace polycache {

void check_key_prefix(const std::string& path, const CacheConfig& cache, const KeyPolicy* keys,
                      const BackendFactory& factory, AliasProblems& problems) {
  if (factory.traits().key_rules != KeyRules::strict) return;
  if (check_key(cache.key_prefix).bad_byte) {
    problems.note(
        path + ".key_prefix",
        "contains a space or a control character, which this store does not allow in a key");
  }
  if (keys != nullptr && keys->head().size() >= max_portable_key_bytes) {
    problems.note(path + ".key_prefix",
                  "leaves no room for a key: this store allows at most 250 bytes, including prefix "
                  "and version; make it shorter");
  }
}

namespace {

// Whether the store's sessions have an extension. Empty after noting why that cannot be told.
std::optional<bool> offers(std::string_view extension, const std::string& member,
                           BackendFactory& factory, AliasProblems& problems) {
  try {
    const std::unique_ptr<Backend> session = factory.connect();
    return session && session->extension(extension) != nullptr;
  } catch (const std::exception& error) {
    problems.note(member, std::string("could not be checked: ") + error.what());
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
    throw;
  } catch (...) {  // a foreign plugin may throw anything
    problems.note(member, "could not be checked: the store opened no session");
  }
  return std::nullopt;
}

}  // namespace

void check_clear(const std::string& path, const KeyPolicy* keys, BackendFactory& factory,
                 AliasProblems& problems) {
  const std::string member = path + ".clear";
  if (keys != nullptr && keys->head().empty()) {
    problems.note(member,
                  R"("prefix" needs a key function whose keys begin with prefix and version; )"
                  R"(raise "version" instead of clearing, or set "clear": "store")");
    return;
  }
  if (offers(ErasePrefixExtension::id, member, factory, problems).value_or(true)) return;
  problems.note(member,
                R"("prefix" is not supported by this store; raise "version" instead of clearing, )"
                R"(or set "clear": "store")");
}

void check_lease(const std::string& path, const CacheConfig& cache, BackendFactory& factory,
                 AliasProblems& problems) {
  if (!cache.load.lease.is_given() || factory.traits().is_private) return;
  const std::string member = path + ".load.lease";
  if (offers(CompareExtension::id, member, factory, problems).value_or(true)) return;
  problems.note(member, "needs a store that can compare values (" +
                            stores_that_offer(CompareExtension::id) +
                            "), without a layer that hides it; \"lease\": false switches it off");
}

}  // namespace polycache
