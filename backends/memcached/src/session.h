// One thread's session: a connection to each server, made when it is needed.

#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "connection.h"
#include "polycache/backend.h"
#include "polycache/error.h"
#include "polycache/extension.h"
#include "settings.h"

namespace polycache::memcached {

// What the sessions of one alias share. Thread-safe: nothing in it changes.
struct Shared {
  Shared(const OptionReader& options, const BackendContext& context)
      : settings(options), ring(settings.servers), clock(context.clock), report(context.report) {}

  const Settings settings;
  const Ring ring;
  const Clock& clock;
  const std::function<void(const Warning&)> report;
};

class Session final : public Backend,
                      private TtlExtension,
                      private CompareExtension,
                      private PopExtension {
 public:
  explicit Session(std::shared_ptr<const Shared> shared);

  bool get(std::string_view key, ValueSink sink) override;
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override;
  bool touch(std::string_view key, Ttl ttl) override;
  bool erase(std::string_view key) override;
  void clear() override;
  bool contains(std::string_view key, ValueSink head) override;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override;
  std::size_t erase_many(std::span<const std::string_view> keys) override;
  void* extension(std::string_view id) noexcept override;

 private:
  // What one server gets of a bulk operation.
  struct Share {
    std::vector<std::string_view> keys;
    std::vector<std::size_t> indices;  // of those keys, or items, in the whole
    std::vector<NewItem> items;
    std::vector<bool> stored;  // which of them
    std::vector<NewItem> small;
    std::vector<std::size_t> small_at;  // where they are in `items`
    bool failed = false;                // and so has the rest of the operation on this server
  };
  // Keeps the first of several failures, so that one server's does not stop the others' work.
  class FirstFailure {
   public:
    template <class Operation>
    bool attempt(Operation operation) {
      try {
        operation();
        return true;
      } catch (const BackendError&) {
        if (!first_) first_ = std::current_exception();
        return false;
      }
    }
    void rethrow() const {
      if (first_) std::rethrow_exception(first_);
    }

   private:
    std::exception_ptr first_;
  };
  enum class Try : std::uint8_t { done, absent, again, refused };

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override;
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override;
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override;
  bool erase_if_equal(std::string_view key, std::string_view expected) override;
  bool pop(std::string_view key, ValueSink sink) override;

  Moment now() const noexcept;
  Connection& connection(std::string_view key);
  std::optional<Found> find(std::string_view key, Want want);
  void find_many(std::span<const std::string_view> keys,
                 FunctionRef<void(std::size_t, const Found&)> sink);
  void find_part(std::span<const std::string_view> keys, std::size_t first,
                 FunctionRef<void(std::size_t, const Found&)> sink, FirstFailure& failure);
  void deal(std::span<const std::string_view> keys, std::size_t first);
  void put_many_one_by_one(std::span<const Item> items, PutMode mode, IndexSink on_failure,
                           FirstFailure& failure);
  void deal(std::span<const Item> items, std::size_t first);
  void put_share(Connection& server, Share& share);
  bool put_always(std::string_view key, std::string_view value, Lifetime lifetime);
  bool put_if_absent(std::string_view key, std::string_view value, Ttl ttl);
  bool put_if_present(std::string_view key, std::string_view value, Ttl ttl);
  Try replace(std::string_view key, const Found& found, std::string_view value, Lifetime lifetime);
  bool fits(std::string_view value) const noexcept;
  void report_refusal(std::string_view key, std::size_t size) const;

  const std::shared_ptr<const Shared> shared_;
  std::vector<Connection> connections_;  // in the order of the servers
  std::vector<Share> shares_;            // kept for their memory
};

}  // namespace polycache::memcached
