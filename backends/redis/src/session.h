// One thread's session with the servers of an alias. Its operations are in reads.cpp, writes.cpp,
// erasures.cpp and atomic_operations.cpp.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "answer.h"
#include "command.h"
#include "connection.h"
#include "polycache/author/backend.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/index_extension.h"
#include "script.h"
#include "server.h"
#include "shared.h"
#include "topology.h"

namespace polycache::redis {

class PutBatch;

class Session final : public Backend,
                      public TtlExtension,
                      public CompareExtension,
                      public PopExtension,
                      public ErasePrefixExtension,
                      public ScanExtension,
                      public ErasePatternExtension,
                      public RenewExtension,
                      public LockExtension,
                      public LimitExtension,
                      public DequeExtension,
                      public IndexExtension,
                      public AdmissionExtension,
                      public HealthExtension,
                      public IdleExtension {
 public:
  explicit Session(std::shared_ptr<Shared> shared);
  Session(std::shared_ptr<Shared> shared, std::unique_ptr<Topology> topology);

  [[gnu::hot]] bool get(std::string_view key, ValueSink sink) override;
  [[gnu::hot]] bool put(std::string_view key, std::string_view value, Ttl ttl,
                        PutMode mode) override;
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override;
  bool erase(std::string_view key) override;
  void clear() override;
  bool contains(std::string_view key, ValueSink head) override;
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override;
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override;
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override;
  std::size_t erase_many(std::span<const std::string_view> keys) override;
  void* extension(std::string_view id) noexcept override;

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override;
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
  Taken take(const Claim& claim, std::chrono::milliseconds lease) override;
  bool renew(const Claim& claim, std::chrono::milliseconds lease) override;
  bool release(const Claim& claim) override;
  bool wait(std::string_view key, std::chrono::milliseconds limit) override;
  Used use(const Use& use) override;
  bool forget(std::string_view key) override;
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override;
  bool pop(std::string_view key, End end, ValueSink sink) override;
  bool at(std::string_view key, std::int64_t place, ValueSink sink) override;
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override;
  std::uint64_t size(std::string_view key) override;
  void rotate(std::string_view key, std::int64_t steps) override;
  bool erase_deque(std::string_view key) override;
  // Of locks and of deques.
  LockExtension::Keeping keeping() override;
  bool find(const IndexExtension::Place& place, std::string_view key, ValueSink sink) override;
  IndexExtension::Put put(const IndexExtension::Place& place, std::string_view key,
                          std::string_view value, PutMode mode, ValueSink sink) override;
  bool erase(const IndexExtension::Place& place, std::string_view key, ValueSink sink) override;
  bool take(const IndexExtension::Place& place, IndexExtension::Side side,
            IndexExtension::EntrySink sink) override;
  bool list(const IndexExtension::Place& place, const IndexExtension::Range& range,
            IndexExtension::EntrySink sink) override;
  std::uint64_t count(const IndexExtension::Place& place) override;
  std::uint64_t clear(const IndexExtension::Place& place) override;
  bool admits(std::string_view key, Access access) const noexcept override;
  bool admits_all() const noexcept override;
  void check(FunctionRef<void(const HealthExtension::Server&)> sink) override;
  void close_idle() noexcept override;

  // Summed over the servers that take the writes: the memory that each uses, whatever for, and the
  // keys of the database.
  std::uint64_t used_memory();
  std::uint64_t key_count();

 private:
  using Server = redis::Server;
  using Place = redis::Place;
  // When an operation may be repeated after it ended without a reply.
  enum class Repeat : std::uint8_t {
    never,
    if_refused,  // only if the server said that it did nothing
    if_broken,   // also if a connection opened earlier broke
    in_doubt,    // the same; the second reply may differ from what the first would have been
  };
  using Exchange = FunctionRef<void(Connection&)>;

  // Runs the exchange on a connection to the key's server; repeats it if `repeat` allows, so it
  // must not keep anything from a failed first attempt. Returns whether a first attempt without a
  // reply may have taken effect. All run() calls of one operation receive the same deadline.
  [[gnu::hot]] bool run(std::string_view key, Purpose purpose, Deadline deadline, Repeat repeat,
                        Exchange exchange);
  // The same, for a server that is known already; elsewhere if the key has moved.
  [[gnu::hot]] bool run(Place place, std::string_view key, Purpose purpose, Deadline deadline,
                        Repeat repeat, Exchange exchange);
  struct Ended {
    bool moved = false;
    bool in_doubt = false;  // the connection broke after the request was sent, and it was repeated
  };
  [[gnu::hot]] Ended run_once(Place place, Purpose purpose, Deadline deadline, Repeat repeat,
                              Exchange exchange);
  bool has_moved(const BackendError& error);
  // Runs it on a server for plain reads of the key; on the next one if that is down.
  [[gnu::hot]] void run_read(std::string_view key, Deadline deadline, Exchange exchange);
  // The server for writes of the key.
  Server& owner_of(std::string_view key);
  [[gnu::hot]] Deadline deadline() const;

  // Reads one reply of any kind; throws if the server is read-only.
  [[gnu::hot]] static Answer receive(Connection& connection, ValueSink sink);
  [[gnu::hot]] static Answer receive(Connection& connection);
  [[gnu::hot]] static Answer receive(Connection& connection, const Expected& expected,
                                     ValueSink sink);
  [[gnu::hot]] static void check(Connection& connection, const Answer& answer,
                                 const Expected& expected);
  // Sends the one composed command to the key's server.
  [[gnu::hot]] Answer ask(std::string_view key, Purpose purpose, Deadline deadline, Repeat repeat,
                          const Expected& expected, ValueSink sink);
  [[gnu::hot]] Answer ask(Place place, std::string_view key, Purpose purpose, Deadline deadline,
                          Repeat repeat, const Expected& expected, ValueSink sink);
  [[noreturn]] static void throw_error(Connection& connection, std::string_view error);
  [[noreturn]] static void throw_unexpected(Connection& connection);

  // Atomically, by a script; empty if scripts are denied. The first `more_keys` of the arguments
  // are keys, too.
  std::optional<Answer> run_script(Purpose purpose, Deadline deadline, const Script& script,
                                   std::string_view key,
                                   std::span<const std::string_view> arguments,
                                   const Expected& expected, ValueSink sink,
                                   std::size_t more_keys = 0);
  // Throws what a denied script means. `what`: "locks need"
  [[noreturn]] void throw_no_scripts(std::string_view key, std::string_view what);
  // The same; `receive` reads each reply. Returns nothing else than what it returned.
  using Receive = FunctionRef<Answer(Connection&)>;
  std::optional<Answer> run_script(Purpose purpose, Deadline deadline, Repeat repeat,
                                   const Script& script, std::string_view key,
                                   std::span<const std::string_view> arguments,
                                   const Expected& expected, Receive receive,
                                   std::size_t more_keys);
  // The same for a lock; throws if scripts are denied. Returns the script's number.
  std::int64_t run_lock_script(const Script& script, std::string_view key,
                               std::span<const std::string_view> arguments,
                               std::size_t more_keys = 0);
  Used use_by_watch(const Use& use, Deadline deadline);
  LockExtension::Keeping ask_for_keeping(Place place);
  void push_and_trim(std::string_view key, End end, std::span<const std::string_view> values,
                     std::uint64_t most);
  void compose_push(std::string_view key, End end, std::span<const std::string_view> values);
  // The same for an index. The strings of an array that the script answers go to parts_.
  Answer run_index_script(const Script& script, const IndexExtension::Place& place,
                          std::initializer_list<std::string_view> arguments, Purpose purpose,
                          ValueSink sink);
  std::size_t deliver_parts(std::size_t first, IndexExtension::EntrySink sink);
  // The content of a key.
  struct Held {
    std::optional<std::string> value = {};
    bool other_type = false;  // a list, a set, ...
  };
  // Without scripts: reads and changes the key until no other client changed it in between.
  // `decide` receives the content and composes the change, or returns false. Returns the reply to
  // the change; if there was none: an error if the key holds another type, else nil.
  using Decide = FunctionRef<bool(const Held& held)>;
  Answer watch(Purpose purpose, Deadline deadline, std::string_view key, Decide decide);
  bool watch_once(Connection& connection, std::string_view key, Decide decide, Answer& answer);
  static bool receive_transaction(Connection& connection, Answer& answer);
  std::optional<std::int64_t> incr_by_watch(std::string_view key, std::int64_t delta,
                                            Deadline deadline);
  bool put_if_equal_by_watch(std::string_view key, std::string_view expected,
                             std::string_view value, std::optional<Ttl> ttl, Deadline deadline);
  bool erase_if_equal_by_watch(std::string_view key, std::string_view expected, Deadline deadline);
  bool get_then_del(std::string_view key, Deadline deadline, ValueSink sink);
  bool get_and_expire(std::string_view key, Ttl ttl, Deadline deadline, ValueSink sink);
  // A key of another type is absent to every operation, and is overwritten by a stored value.
  std::vector<std::string_view> of_other_type(std::span<const std::string_view> keys,
                                              Deadline deadline);
  void erase_other_type(std::string_view key, Deadline deadline);
  static bool receive_type_check(Connection& connection);

  [[gnu::hot]] bool fits(std::string_view value) const noexcept;
  [[gnu::hot]] bool put(const Item& item, PutMode mode, Deadline deadline);
  bool put_if_present(const Item& item, Deadline deadline);
  void refuse(std::string_view key, PutMode mode, std::string_view why, Deadline deadline);
  void erase_refused(std::span<const std::string_view> keys, PutMode mode, Deadline deadline);
  void warn_of_refusal(std::string_view key, std::string_view why);
  void warn(Warning::Kind kind, std::string_view key, std::string_view message);
  void warn_of_other_type(std::string_view key);
  void send_batch(PutBatch& batch, PutMode mode, Deadline deadline);
  void refuse_batch(const PutBatch& batch, std::span<const Item> items, PutMode mode,
                    Deadline deadline);
  void put_over_other_types(PutBatch& batch, std::span<const Item> items, Deadline deadline);
  void put_part(std::span<const Item> items, PutMode mode, Deadline deadline, IndexSink on_failure);
  // All extend the deadline by the time that the sink takes.
  void read_part(std::span<const std::string_view> keys, Deadline& deadline, IndexedValueSink sink);
  std::size_t read_batch(std::span<const std::string_view> keys, Deadline& deadline,
                         IndexedValueSink sink);
  void read_with_lifetimes(std::span<const std::string_view> keys, Deadline& deadline,
                           TtlExtension::Sink sink);
  std::size_t erase_part(std::span<const std::string_view> keys, Deadline deadline);
  // One SCAN with redis's own pattern, into found_; `cursor` becomes that of the next.
  void find_keys(Place place, Purpose purpose, std::string_view pattern, std::size_t count,
                 std::uint64_t& cursor, Deadline deadline);
  // Removes from found_ what the glob does not match and what holds another type than a string.
  // The rest is described in listed_.
  void look_at_found(Place place, Purpose purpose, const Glob& glob, Deadline deadline);
  // Walks through the keys of a server. `glob`: what to erase of the keys that redis's pattern
  // matches; null: all of them, whatever their type.
  std::size_t erase_matching(Place place, std::string_view pattern, const Glob* glob);
  std::size_t erase_found(Place place, std::span<const std::string> found, Deadline deadline);

  const std::shared_ptr<Shared> shared_;
  const std::unique_ptr<Topology> topology_;
  bool delivered_ = false;  // whether an exchange has called its sink
  CommandBuffer commands_;
  std::vector<std::int64_t> lifetimes_;  // of a batch being read
  std::vector<std::string> found_;       // keys of one step of a scan
  struct Measured {
    std::uint64_t size;
    Ttl left;
  };
  std::vector<Measured> listed_;    // of found_
  std::vector<std::string> parts_;  // of an answer about an index
  std::size_t waiting_hint_ = 0;    // for the pool of those who wait
};

}  // namespace polycache::redis
