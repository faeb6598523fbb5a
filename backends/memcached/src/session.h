// One thread's session. It owns no connection: each operation borrows one from every server that it
// needs, the same one again if possible. Operations on many keys are in bulk.cpp.

#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "connection.h"
#include "polycache/author/backend.h"
#include "polycache/author/extension.h"
#include "polycache/author/locks_over_compare.h"
#include "polycache/error.h"
#include "server.h"
#include "shared.h"
#include "topology.h"

namespace polycache::memcached {

class Session final : public Backend,
                      private TtlExtension,
                      private CompareExtension,
                      private PopExtension,
                      private PaddedNumbersExtension,
                      private AdmissionExtension,
                      private HealthExtension,
                      private IdleExtension,
                      private ScanExtension {
 public:
  explicit Session(std::shared_ptr<Shared> shared);
  // Keeps at most one more connection open than there are sessions left.
  ~Session() override;

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

  // The sum over all servers; empty if one does not say.
  Connection::Statistics statistics();

 private:
  using Server = memcached::Server;
  // One server's part of a bulk operation.
  struct Share {
    std::vector<std::string_view> keys;
    std::vector<std::size_t> indices;  // of those keys, or items, in the whole
    std::vector<NewItem> items;
    std::vector<bool> stored;          // for each item
    std::optional<Server::Call> call;  // of a read in progress
    bool failed = false;               // skip the rest of the operation on this server
  };
  // Keeps the first of several failures, so that one server's failure does not stop the others.
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

  bool admits(std::string_view key, Access access) const noexcept override;
  bool admits_all() const noexcept override;
  void check(FunctionRef<void(const HealthExtension::Server&)> sink) override;
  void close_idle() noexcept override;

  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const Listed&)> sink) override;

  Moment now() const noexcept;
  net::Deadline deadline() const noexcept { return net::deadline_after(shared_->settings.timeout); }
  net::Deadline share_of(net::Deadline deadline) const noexcept;

  // Calls f(connection) with a connection to that server.
  template <class F>
  auto at(Place place, Access access, net::Deadline deadline, F&& f) {
    Server::Call call(*place.server, *place.hint, access, deadline);
    return call.run(std::forward<F>(f));
  }
  // The same for the key's server.
  template <class F>
  auto at(std::string_view key, Access access, F&& f) {
    check_key(key);
    return at(topology_.server_for(key), access, deadline(), std::forward<F>(f));
  }

  // On a connection to the key's server.
  std::optional<Found> find(Connection& server, std::string_view key, Want want);
  bool put(Connection& server, std::string_view key, std::string_view value, Ttl ttl, PutMode mode);
  bool put_always(Connection& server, std::string_view key, std::string_view value,
                  Lifetime lifetime);
  bool put_if_absent(Connection& server, std::string_view key, std::string_view value, Ttl ttl);
  bool put_if_present(Connection& server, std::string_view key, std::string_view value, Ttl ttl);
  Try replace(Connection& server, std::string_view key, const Found& found, std::string_view value,
              Lifetime lifetime);
  bool touch(Connection& server, std::string_view key, Ttl ttl, ValueSink head);

  void find_many(std::span<const std::string_view> keys,
                 FunctionRef<void(std::size_t, const Found&)> sink);
  void find_part(std::span<const std::string_view> keys, std::size_t first,
                 const net::Deadline& deadline, FunctionRef<void(std::size_t, const Found&)> sink,
                 FirstFailure& failure);
  void ask_all(net::Deadline deadline, FirstFailure& failure);
  void begin_bulk() noexcept;
  void distribute(std::span<const std::string_view> keys, std::size_t first);
  void put_many_one_by_one(std::span<const Item> items, PutMode mode, net::Deadline deadline,
                           IndexSink on_failure, FirstFailure& failure);
  void put_batch(std::span<const Item> items, std::size_t first, net::Deadline deadline,
                 IndexSink on_failure, FirstFailure& failure);
  void distribute(std::span<const Item> items, std::size_t first);
  void put_share(Connection& server, Share& share);
  void refuse_of(Connection& server, Share& share);
  bool refuse(Connection& server, std::string_view key, std::size_t size);
  bool fits(std::string_view value) const noexcept;
  void report_refusal(std::string_view key, std::size_t size);

  const std::shared_ptr<Shared> shared_;
  Topology topology_;
  // The servers evict what was not used for long, a lock as anything else.
  LocksOverCompare locks_{*this, *this, LockExtension::Keeping::may_evict};
  std::vector<Share> shares_;  // of the topology's parts; kept for their memory
};

}  // namespace polycache::memcached
