// A layer is a backend that wraps a backend. Derive from Layer and override the functions to
// change; the others are forwarded. Derive from LayerFactory and create the layer in wrap().
//
// Caution: overriding get() does not change get_many(). A layer that must see every call derives
// from AroundLayer (around_layer.h).

#pragma once

#include <memory>
#include <utility>

#include "polycache/author/backend.h"

namespace polycache {

// A session that wraps a session.
class POLYCACHE_API Layer : public Backend {
 public:
  // REQUIRES: inner != nullptr
  explicit Layer(std::unique_ptr<Backend> inner) noexcept : inner_(std::move(inner)) {}
  ~Layer() override;

  bool get(std::string_view key, ValueSink sink) override { return inner_->get(key, sink); }
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    return inner_->put(key, value, ttl, mode);
  }
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    return inner_->touch(key, ttl, head);
  }
  bool erase(std::string_view key) override { return inner_->erase(key); }
  void clear() override { inner_->clear(); }
  bool contains(std::string_view key, ValueSink head) override {
    return inner_->contains(key, head);
  }
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override {
    return inner_->incr(key, delta);
  }
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override {
    inner_->get_many(keys, sink);
  }
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override {
    inner_->put_many(items, mode, on_failure);
  }
  std::size_t erase_many(std::span<const std::string_view> keys) override {
    return inner_->erase_many(keys);
  }
  // Returns the store's HealthExtension and IdleExtension, otherwise null unless overridden,
  // because other extensions of the store would bypass this layer. A layer that changes neither
  // keys nor bytes wraps and offers the extensions it knows.
  void* extension(std::string_view id) noexcept override;

 protected:
  Backend& inner() noexcept { return *inner_; }

 private:
  std::unique_ptr<Backend> inner_;
};

// A factory that wraps a factory and its sessions. Its key rules are those of the inner one.
class POLYCACHE_API LayerFactory : public BackendFactory {
 public:
  // REQUIRES: inner != nullptr
  explicit LayerFactory(std::shared_ptr<BackendFactory> inner) noexcept
      : inner_(std::move(inner)) {}
  ~LayerFactory() override;

  std::unique_ptr<Backend> connect() final { return wrap(inner_->connect()); }
  // The store's traits without its breaker, and without reads_latest: a layer may answer without
  // the store, so it must be called, and may know less than the store.
  StoreTraits traits() const noexcept override {
    StoreTraits traits = inner_->traits();
    traits.breaker = nullptr;
    traits.reads_latest = false;
    return traits;
  }
  void validate_key(std::string_view final_key,
                    FunctionRef<void(std::string_view)> warn) const override {
    inner_->validate_key(final_key, warn);
  }

 protected:
  // Called concurrently.
  virtual std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) = 0;

  BackendFactory& inner() const noexcept { return *inner_; }

 private:
  std::shared_ptr<BackendFactory> inner_;
};

}  // namespace polycache
