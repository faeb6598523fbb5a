#include "session.h"

#include <new>
#include <utility>

#include "polycache/author/glob.h"
#include "polycache/author/text.h"

namespace polycache::locmem {

Session::Session(std::shared_ptr<const Shared> shared) noexcept
    : shared_(std::move(shared)), store_(*shared_->store) {}

// Reports a refused value, so that the caller knows why it receives false.
bool Session::stored(PutResult result, std::string_view key, std::string_view value) const {
  if (result == PutResult::refused) [[unlikely]] {
    Warning warning = {.kind = Warning::Kind::value_refused,
                       .alias = shared_->alias,
                       .key = key,
                       .message = "a value was not stored: it does not fit into memory"};
    std::string message;
    try {
      message = "the value of " + quote(key) + " was not stored: its " +
                std::to_string(value.size()) +
                " bytes do not fit into max_bytes, or into memory; raise max_bytes";
      warning.message = message;
    } catch (const std::bad_alloc&) {
      // The short message needs no memory.
    }
    shared_->report(warning);
  }
  return result == PutResult::stored;
}

bool Session::get(std::string_view key, ValueSink sink) { return store_.get(key, sink); }

bool Session::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  return stored(store_.put(key, value, ttl, mode), key, value);
}

bool Session::touch(std::string_view key, Ttl ttl, ValueSink head) {
  return store_.touch(key, ttl, head);
}

bool Session::erase(std::string_view key) { return store_.erase(key); }

void Session::clear() { store_.clear(); }

bool Session::contains(std::string_view key, ValueSink head) { return store_.contains(key, head); }

std::optional<std::int64_t> Session::incr(std::string_view key, std::int64_t delta) {
  return store_.incr(key, delta);
}

void Session::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  store_.get_many(keys, sink);
}

void Session::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& [key, value, ttl] = items[i];
    if (!stored(store_.put(key, value, ttl, mode), key, value)) on_failure(i);
  }
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  std::size_t erased = 0;
  for (const std::string_view key : keys) erased += store_.erase(key) ? 1 : 0;
  return erased;
}

void* Session::extension(std::string_view id) noexcept {
  if (id == TagStampExtension::id) return static_cast<TagStampExtension*>(this);
  if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
  if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
  if (id == PopExtension::id) return static_cast<PopExtension*>(this);
  if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
  if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
  if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
  if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
  if (id == TagIndexExtension::id) return static_cast<TagIndexExtension*>(this);
  if (id == LockExtension::id) return static_cast<LockExtension*>(this);
  if (id == DequeExtension::id) return static_cast<DequeExtension*>(this);
  if (id == IndexExtension::id) return static_cast<IndexExtension*>(this);
  return nullptr;
}

bool Session::get(std::string_view key, FunctionRef<void(std::string_view value, Ttl left)> sink) {
  return store_.get_with_ttl(key, sink);
}

void Session::get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) {
  store_.get_many_with_ttl(keys, sink);
}

bool Session::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                           std::optional<Ttl> ttl) {
  return stored(store_.put_if_equal(key, expected, value, ttl), key, value);
}

bool Session::erase_if_equal(std::string_view key, std::string_view expected) {
  return store_.erase_if_equal(key, expected);
}

bool Session::pop(std::string_view key, ValueSink sink) { return store_.pop(key, sink); }

std::size_t Session::erase_prefix(std::string_view prefix) { return store_.erase_prefix(prefix); }

std::string Session::scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                          FunctionRef<void(const Listed&)> sink) {
  return store_.scan(Glob(pattern), cursor, at_most, sink);
}

std::size_t Session::erase_pattern(std::string_view pattern) {
  return store_.erase_pattern(Glob(pattern));
}

bool Session::get(std::string_view key, Ttl ttl, ValueSink sink) {
  return store_.get_and_renew(key, ttl, sink);
}

}  // namespace polycache::locmem
