// One thread's session with a store.

#pragma once

#include <memory>
#include <string>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "store.h"

namespace polycache::locmem {

// State shared by the sessions of one factory.
struct SessionContext {
  std::string alias;
  std::function<void(const Warning&)> report;
  std::shared_ptr<Store> store;
};

class Session final : public Backend,
                      private TtlExtension,
                      private CompareExtension,
                      private PopExtension,
                      private ErasePrefixExtension {
 public:
  explicit Session(std::shared_ptr<const SessionContext> context) noexcept;

  bool get(std::string_view key, ValueSink sink) override;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override;
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override;
  bool erase(std::string_view key) override;
  void clear() override;
  bool contains(std::string_view key, ValueSink head) override;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override;
  std::size_t erase_many(std::span<const std::string_view> keys) override;
  void* extension(std::string_view id) noexcept override;

 private:
  bool get(std::string_view key, FunctionRef<void(std::string_view value, Ttl left)> sink) override;
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override;
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override;
  bool erase_if_equal(std::string_view key, std::string_view expected) override;
  bool pop(std::string_view key, ValueSink sink) override;
  std::size_t erase_prefix(std::string_view prefix) override;

  bool stored(PutResult result, std::string_view key, std::string_view value) const;

  std::shared_ptr<const SessionContext> context_;
  Store& store_;
};

}  // namespace polycache::locmem
