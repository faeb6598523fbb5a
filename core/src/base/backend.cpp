#include "polycache/author/backend.h"

#include <string>

#include "polycache/author/counter.h"
#include "polycache/author/extension.h"
#include "polycache/author/layer.h"
#include "polycache/error.h"

namespace polycache {

Backend::~Backend() = default;

bool Backend::contains(std::string_view key, ValueSink head) { return get(key, head); }

std::optional<std::int64_t> Backend::incr(std::string_view key, std::int64_t delta) {
  auto* const ttl = static_cast<TtlExtension*>(extension(TtlExtension::id));
  auto* const compare = static_cast<CompareExtension*>(extension(CompareExtension::id));
  if (ttl == nullptr || compare == nullptr) {
    throw BackendError(BackendError::Kind::unsupported, "",
                       "this store cannot count: it has neither incr() nor the extensions "
                       "polycache.ttl/1 and polycache.compare/1");
  }
  // Ends when no other writer changed the value between the two steps.
  for (;;) {
    std::string old;
    if (!ttl->get(key, [&](std::string_view value, Ttl) { old = value; })) return std::nullopt;
    const std::int64_t sum = add_to_counter(old, delta);
    if (compare->put_if_equal(key, old, std::to_string(sum), std::nullopt)) return sum;
  }
}

void Backend::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    get(keys[i], [&](std::string_view value) { sink(i, value); });
  }
}

void Backend::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!put(items[i].key, items[i].value, items[i].ttl, mode)) on_failure(i);
  }
}

std::size_t Backend::erase_many(std::span<const std::string_view> keys) {
  std::size_t erased = 0;
  for (const std::string_view key : keys) erased += erase(key) ? 1 : 0;
  return erased;
}

void* Backend::extension(std::string_view) noexcept { return nullptr; }

BackendFactory::~BackendFactory() = default;

StoreTraits BackendFactory::traits() const noexcept { return {}; }

void BackendFactory::validate_key(std::string_view, FunctionRef<void(std::string_view)>) const {}

Layer::~Layer() = default;

void* Layer::extension(std::string_view id) noexcept {
  const bool passes = id == HealthExtension::id || id == IdleExtension::id;
  return passes ? inner_->extension(id) : nullptr;
}

void* BackendFactory::extension(std::string_view) noexcept { return nullptr; }

LayerFactory::~LayerFactory() = default;

}  // namespace polycache
