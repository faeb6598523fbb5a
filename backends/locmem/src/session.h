// One thread's session with a store.

#pragma once

#include <memory>
#include <string>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "store.h"

namespace polycache::locmem {

// State shared by the sessions of one factory.
struct Shared {
  std::string alias;
  std::function<void(const Warning&)> report;
  std::shared_ptr<Store> store;
};

class Session final : public Backend,
                      private TtlExtension,
                      private CompareExtension,
                      private PopExtension,
                      private ErasePrefixExtension,
                      private ScanExtension,
                      private ErasePatternExtension,
                      private RenewExtension,
                      private TagIndexExtension,
                      private TagStampExtension,
                      private LockExtension,
                      private DequeExtension,
                      private IndexExtension {
 public:
  explicit Session(std::shared_ptr<const Shared> shared) noexcept;

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
  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const Listed&)> sink) override;
  std::size_t erase_pattern(std::string_view pattern) override;
  bool get(std::string_view key, Ttl ttl, ValueSink sink) override;
  bool has_index() override { return store_.has_tag_index(); }
  bool create_index() override { return store_.create_tag_index(); }
  bool drop_index() override { return store_.drop_tag_index(); }
  std::size_t erase_tagged(std::span<const std::uint64_t> versions) override {
    return store_.erase_tagged(versions);
  }
  std::uint64_t tag_stamp() override { return store_.tag_stamp(); }
  Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
    return store_.locks().take(claim, lease);
  }
  bool renew(const Claim& claim, std::chrono::milliseconds lease) override {
    return store_.locks().renew(claim, lease);
  }
  bool release(const Claim& claim) override { return store_.locks().release(claim); }
  bool wait(std::string_view, std::chrono::milliseconds) override { return false; }
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override {
    store_.deques().push(key, end, values, most);
  }
  bool pop(std::string_view key, End end, ValueSink sink) override {
    return store_.deques().pop(key, end, sink);
  }
  bool at(std::string_view key, std::int64_t place, ValueSink sink) override {
    return store_.deques().at(key, place, sink);
  }
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override {
    return store_.deques().list(key, from, at_most, sink);
  }
  std::uint64_t size(std::string_view key) override { return store_.deques().size(key); }
  void rotate(std::string_view key, std::int64_t steps) override {
    store_.deques().rotate(key, steps);
  }
  bool erase_deque(std::string_view key) override { return store_.deques().erase_deque(key); }
  // LockExtension, DequeExtension
  LockExtension::Keeping keeping() override { return LockExtension::Keeping::kept; }
  bool find(const Place& place, std::string_view key, ValueSink sink) override {
    return store_.indexes().find(place, key, sink);
  }
  Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
          ValueSink sink) override {
    return store_.indexes().put(place, key, value, mode, sink);
  }
  bool erase(const Place& place, std::string_view key, ValueSink sink) override {
    return store_.indexes().erase(place, key, sink);
  }
  bool take(const Place& place, Side side, EntrySink sink) override {
    return store_.indexes().take(place, side, sink);
  }
  bool list(const Place& place, const Range& range, EntrySink sink) override {
    return store_.indexes().list(place, range, sink);
  }
  std::uint64_t count(const Place& place) override { return store_.indexes().count(place); }
  std::uint64_t clear(const Place& place) override { return store_.indexes().clear(place); }

  bool stored(PutResult result, std::string_view key, std::string_view value) const;

  std::shared_ptr<const Shared> shared_;
  Store& store_;
};

}  // namespace polycache::locmem
