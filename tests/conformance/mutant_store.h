// A store with one mistake, to test the conformance suite itself: the environment variable
// POLYCACHE_MUTANT names the mistake; without it the store is right. check_mutants.py knows for
// each mistake the test that must notice it.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/counter.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/entry_tags.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/index_table.h"
#include "polycache/author/plugin.h"
#include "polycache/error.h"

namespace polycache::testing {

// Whether the store makes this mistake.
inline bool makes(std::string_view mistake) {
  static const char* const chosen = std::getenv("POLYCACHE_MUTANT");
  return chosen != nullptr && mistake == chosen;
}

struct MutantEntry {
  std::string value;
  std::int64_t deadline = 0;  // the first millisecond after its life
};

struct MutantTable {
  std::mutex mutex;
  // Guarded by the mutex.
  std::map<std::string, MutantEntry, std::less<>> entries;
  bool has_tag_index = false;
  std::multimap<std::uint64_t, std::string> old_rows;
  struct Holder {
    std::string token;
    std::int64_t end;
  };
  std::map<std::string, std::vector<Holder>, std::less<>> locks;
  std::uint64_t fence = 0;
  std::map<std::string, std::string, std::less<>> limits;
  std::map<std::string, std::deque<std::string>, std::less<>> deques;
  IndexTable indexes = {};  // has a mutex of its own
};

class MutantSession final : public Backend,
                            public TtlExtension,
                            public CompareExtension,
                            public PopExtension,
                            public ErasePrefixExtension,
                            public ScanExtension,
                            public ErasePatternExtension,
                            public RenewExtension,
                            public TagIndexExtension,
                            public TagStampExtension,
                            public LockExtension,
                            public LimitExtension,
                            public DequeExtension,
                            public IndexExtension {
 public:
  static constexpr std::size_t most_bytes = std::size_t{2} << 20U;

  MutantSession(std::shared_ptr<MutantTable> table, const Clock& clock,
                std::function<void(const Warning&)> report)
      : table_(makes("sessions_share_nothing") ? std::make_shared<MutantTable>()
                                               : std::move(table)),
        clock_(clock),
        report_(std::move(report)) {}

  bool get(std::string_view key, ValueSink sink) override {
    if (makes("session_remembers_what_it_read")) {
      const auto known = remembered_.find(key);
      if (known != remembered_.end()) return sink(known->second), true;
    }
    auto turn = take_turn();
    const MutantEntry* const entry = find(key);
    if (entry == nullptr) return false;
    if (makes("empty_value_is_a_miss") && entry->value.empty()) return false;
    const std::string value = entry->value;
    if (!makes("sink_under_the_lock") && turn.owns_lock()) turn.unlock();
    sink(value);
    if (makes("get_calls_the_sink_twice")) sink(value);
    if (makes("session_remembers_what_it_read")) remembered_[std::string(key)] = value;
    return true;
  }

  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    if (value.size() > most_bytes) return refuse(key, value, mode);
    if (mode == PutMode::if_absent && is_add_in_two_steps())
      return add_in_two_steps(key, value, ttl);
    const auto turn = take_turn();
    const bool expired_counts = (mode == PutMode::if_absent && makes("add_leaves_expired")) ||
                                (mode == PutMode::if_present && makes("replace_finds_expired"));
    MutantEntry* const entry = expired_counts ? find_any(key) : find(key);
    if (mode == PutMode::if_absent && entry != nullptr) {
      if (makes("add_changes_the_lifetime")) entry->deadline = deadline(ttl);
      return expired_counts && entry->deadline <= now();
    }
    if (mode == PutMode::if_present && entry == nullptr && !makes("replace_creates")) return false;
    const bool keeps_lifetime =
        entry != nullptr && (makes("set_keeps_the_old_lifetime") ||
                             (mode == PutMode::if_present && makes("replace_keeps_the_lifetime")));
    const std::int64_t end = keeps_lifetime ? entry->deadline : deadline(ttl);
    table_->entries.insert_or_assign(stored_key(key), MutantEntry{stored_value(value), end});
    visit_tag_versions(
        value, [&](std::uint64_t version) { table_->old_rows.emplace(version, stored_key(key)); });
    return true;
  }

  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    const auto turn = take_turn();
    MutantEntry* const entry = makes("touch_revives_expired") ? find_any(key) : find(key);
    if (entry == nullptr) {
      if (makes("touch_creates")) table_->entries[stored_key(key)] = {"", deadline(ttl)};
      return makes("touch_creates");
    }
    const bool was_forever = entry->deadline == no_deadline;
    if (!makes("touch_keeps_the_lifetime")) entry->deadline = deadline(ttl);
    if (makes("touch_empties")) entry->value.clear();
    if (!makes("touch_shows_no_head")) {
      head(std::string_view(entry->value).substr(0, makes("touch_shows_10_bytes") ? 10 : 64));
    }
    return !(was_forever && makes("touch_says_false_without_a_lifetime"));
  }

  bool erase(std::string_view key) override {
    if (makes("erase_is_two_steps")) {
      const auto found = copy_any(key);
      return found && found->deadline > now() && remove(key);
    }
    const auto turn = take_turn();
    const bool there = makes("erase_finds_expired") ? find_any(key) : find(key);
    table_->entries.erase(stored_key(key));
    return there || makes("erase_is_always_true");
  }

  void clear() override {
    const auto turn = take_turn();
    auto& entries = table_->entries;
    const bool leaves_one = makes("clear_leaves_the_last") && entries.size() > 1;
    entries.erase(entries.begin(), leaves_one ? std::prev(entries.end()) : entries.end());
  }

  bool contains(std::string_view key, ValueSink head) override {
    auto turn = take_turn();
    const MutantEntry* const entry = makes("contains_finds_expired") ? find_any(key) : find(key);
    if (entry == nullptr) return false;
    const std::string value =
        makes("contains_shows_the_tail")
            ? entry->value.substr(entry->value.size() -
                                  std::min<std::size_t>(64, entry->value.size()))
            : entry->value.substr(0, makes("contains_shows_too_little") ? 10 : 100);
    if (turn.owns_lock()) turn.unlock();
    head(value);
    if (makes("contains_calls_the_sink_twice")) head(value);
    return true;
  }

  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override {
    if (makes("cannot_count")) {
      throw BackendError(BackendError::Kind::unsupported, "", "this store cannot count");
    }
    if (makes("incr_is_two_steps")) return incr_in_two_steps(key, delta);
    const auto turn = take_turn();
    MutantEntry* const entry = find(key);
    if (entry == nullptr) {
      if (!makes("incr_creates")) return std::nullopt;
      table_->entries[stored_key(key)] = {std::to_string(delta), no_deadline};
      return delta;
    }
    const std::int64_t sum = add(entry->value, delta);
    entry->value = std::to_string(sum);
    if (makes("incr_loses_the_lifetime")) entry->deadline = no_deadline;
    return sum;
  }

  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override {
    std::map<std::string_view, int> seen;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (makes("get_many_skips_duplicates") && seen[keys[i]]++ > 0) continue;
      const std::size_t index = makes("get_many_mixes_up_indexes") ? keys.size() - 1 - i : i;
      const auto found = makes("get_many_finds_expired") ? copy_any(keys[i]) : copy(keys[i]);
      if (found) sink(index, found->value);
    }
  }

  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override {
    std::map<std::string_view, int> seen;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const auto& [key, value, own_ttl] = items[i];
      if (makes("put_many_keeps_the_first_of_one_key") && seen[key]++ > 0) continue;
      const Ttl ttl = makes("put_many_gives_all_one_lifetime") ? items[0].ttl : own_ttl;
      if (!put(key, value, ttl, mode) && !makes("put_many_ignores_failures")) on_failure(i);
    }
    if (!makes("put_many_erases_refused_at_the_end")) return;
    for (const Item& item : items) {
      if (item.value.size() > most_bytes) erase(item.key);
    }
  }

  std::size_t erase_many(std::span<const std::string_view> keys) override {
    std::map<std::string_view, bool> erased;
    std::size_t count = 0;
    for (const std::string_view key : keys) {
      const bool there = makes("erase_many_counts_expired") && copy_any(key);
      const bool here = erase(key) || there;
      count += here || (makes("erase_many_counts_one_key_twice") && erased[key]) ? 1 : 0;
      erased[key] = erased[key] || here;
    }
    return count;
  }

  void* extension(std::string_view id) noexcept override {
    if (id == TagIndexExtension::id) return static_cast<TagIndexExtension*>(this);
    if (id == TagStampExtension::id) return static_cast<TagStampExtension*>(this);
    if (id == LockExtension::id) return static_cast<LockExtension*>(this);
    if (id == LimitExtension::id) return static_cast<LimitExtension*>(this);
    if (id == DequeExtension::id) return static_cast<DequeExtension*>(this);
    if (id == IndexExtension::id) return static_cast<IndexExtension*>(this);
    if (id == TtlExtension::id || makes("every_extension_is_there")) {
      return static_cast<TtlExtension*>(this);
    }
    if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
    if (id == PopExtension::id ||
        (id == "polycache.pop/2" && makes("offers_an_extension_that_no_list_has"))) {
      return static_cast<PopExtension*>(this);
    }
    if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
    if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
    if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
    if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
    return nullptr;
  }

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override {
    const auto found = makes("ttl_finds_expired") ? copy_any(key) : copy(key);
    if (!found) return false;
    sink(found->value, left(*found));
    return true;
  }
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto found = copy(keys[i]);
      if (!found) continue;
      sink(i, found->value, makes("ttl_of_many_is_forever") ? Ttl::forever() : left(*found));
    }
  }

  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override {
    if (makes("compare_is_two_steps")) {
      const auto found = copy(key);
      if (!found || found->value != expected) return false;
      const auto end = ttl ? deadline(*ttl) : found->deadline;
      const auto turn = take_turn();
      table_->entries[stored_key(key)] = {std::string(value), end};
      return true;
    }
    const auto turn = take_turn();
    MutantEntry* const entry = makes("compare_finds_expired") ? find_any(key) : find(key);
    if (entry == nullptr) {
      if (makes("compare_creates")) {
        table_->entries[stored_key(key)] = {std::string(value), no_deadline};
      }
      return makes("compare_creates");
    }
    if (!equals(entry->value, expected)) return false;
    entry->value = value;
    if (ttl) entry->deadline = deadline(*ttl);
    if (!ttl && makes("compare_loses_the_lifetime")) entry->deadline = no_deadline;
    return true;
  }
  bool erase_if_equal(std::string_view key, std::string_view expected) override {
    const auto turn = take_turn();
    const MutantEntry* const entry = find(key);
    if (entry == nullptr || !equals(entry->value, expected)) return false;
    table_->entries.erase(stored_key(key));
    return true;
  }

  bool pop(std::string_view key, ValueSink sink) override {
    const auto found = makes("pop_is_two_steps") ? copy_any(key) : std::nullopt;
    if (found && found->deadline <= now()) return false;
    auto turn = take_turn();
    const MutantEntry* const entry = find(key);
    if (entry == nullptr && !found) return false;
    const std::string value = found ? found->value : entry->value;
    if (!makes("pop_leaves_the_entry")) table_->entries.erase(stored_key(key));
    if (turn.owns_lock()) turn.unlock();
    sink(value);
    if (makes("pop_calls_the_sink_twice")) sink(value);
    return true;
  }

  bool get(std::string_view key, Ttl ttl, ValueSink sink) override {
    auto turn = take_turn();
    MutantEntry* const entry = makes("renew_revives_expired") ? find_any(key) : find(key);
    if (entry == nullptr) {
      if (makes("renew_creates")) table_->entries[stored_key(key)] = {"", deadline(ttl)};
      return false;
    }
    if (!makes("renew_keeps_the_lifetime")) entry->deadline = deadline(ttl);
    const std::string value = entry->value;
    if (turn.owns_lock()) turn.unlock();
    sink(value);
    if (makes("renew_calls_the_sink_twice")) sink(value);
    return true;
  }

  std::size_t erase_prefix(std::string_view prefix) override {
    const auto turn = take_turn();
    if (makes("erase_prefix_takes_too_much")) prefix.remove_suffix(1);
    const bool ends_early = makes("erase_prefix_ends_at_a_high_byte");
    return std::erase_if(table_->entries, [&](const auto& entry) {
      const std::string_view key = entry.first;
      if (ends_early && key.substr(0, prefix.size() + 1) == std::string(prefix) + "\xFF") {
        return false;
      }
      return makes("erase_prefix_takes_a_pattern") ? is_like(key, prefix) : key.starts_with(prefix);
    });
  }

  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                   FunctionRef<void(const Listed&)> sink) override {
    const Glob glob(pattern);
    if (!cursor.empty() && cursor.front() != 'k') throw ValueError("this is no cursor");
    std::string next;
    for (const auto& [key, entry] : page(cursor, at_most, next)) {
      if (entry.deadline <= now() && !makes("scan_lists_expired")) continue;
      if (!matches(glob, key)) continue;
      sink({.key = key,
            .size = makes("scan_reports_no_size") ? 0 : entry.value.size(),
            .left = makes("scan_says_forever") ? Ttl::forever() : left(entry)});
    }
    return makes("scan_ends_after_a_page") ? std::string() : next;
  }

  std::size_t erase_pattern(std::string_view pattern) override {
    const Glob glob(pattern);
    std::size_t erased = 0;
    const auto turn = take_turn();
    std::erase_if(table_->entries, [&](const auto& item) {
      const bool takes = makes("erase_pattern_takes_a_prefix") ? item.first.starts_with(glob.head())
                                                               : glob.matches(item.first);
      const bool is_live = item.second.deadline > now() || makes("erase_pattern_counts_expired");
      erased += takes && is_live ? 1 : 0;
      return takes;
    });
    return erased;
  }

  bool has_index() override {
    const auto turn = take_turn();
    return table_->has_tag_index;
  }
  bool create_index() override {
    const auto turn = take_turn();
    return !std::exchange(table_->has_tag_index, true);
  }
  bool drop_index() override {
    const auto turn = take_turn();
    return std::exchange(table_->has_tag_index, makes("tag_index_cannot_be_dropped"));
  }
  std::size_t erase_tagged(std::span<const std::uint64_t> versions) override {
    std::size_t erased = 0;
    const auto turn = take_turn();
    std::erase_if(table_->entries, [&](const auto& item) {
      bool takes = false;
      visit_tag_versions(item.second.value, [&](std::uint64_t version) {
        takes = takes || std::find(versions.begin(), versions.end(), version) != versions.end();
      });
      if (makes("tag_index_has_old_rows")) {
        takes = std::any_of(versions.begin(), versions.end(), [&](std::uint64_t version) {
          const auto [begin, end] = table_->old_rows.equal_range(version);
          return std::any_of(begin, end, [&](const auto& row) { return row.second == item.first; });
        });
      }
      const bool is_live = item.second.deadline > now() || makes("tag_index_counts_expired");
      erased += takes && is_live ? 1 : 0;
      return takes && !makes("tag_index_only_counts");
    });
    return erased;
  }

  // A sum over all versions.
  std::uint64_t tag_stamp() override {
    if (makes("tag_stamp_never_changes")) return 1;
    const auto turn = take_turn();
    std::uint64_t sum = 0;
    for (const auto& [key, entry] : table_->entries) {
      if (!is_tag_version(key, entry.value.size())) continue;
      if (entry.deadline <= now() && !makes("tag_stamp_has_ended_versions")) continue;
      sum += std::hash<std::string>()(makes("tag_stamp_has_no_values") ? key : key + entry.value);
    }
    if (makes("tag_stamp_is_new_each_time")) sum += ++stamps_;
    return sum;
  }

  Taken take(const Claim& claim, std::chrono::milliseconds lease) override {
    auto turn = take_turn();
    auto& holders = table_->locks[std::string(claim.key)];
    std::erase_if(holders, [&](const auto& holder) {
      return holder.token == claim.token || (holder.end <= now() && !makes("lock_end_is_ignored"));
    });
    const std::size_t places = makes("lock_has_one_place") ? 1 : claim.permits;
    const bool is_free = holders.size() < places;
    if (makes("lock_is_two_steps")) {
      turn.unlock();
      clock_.steady_now();  // where a restless clock pauses
      std::this_thread::yield();
      turn.lock();
    }
    if (!is_free) return {.wait = std::chrono::milliseconds(1)};
    table_->locks[std::string(claim.key)].push_back(
        {std::string(claim.token), now() + lease.count()});
    if (!makes("lock_fences_repeat")) ++table_->fence;
    return {.taken = true, .fence = std::max<std::uint64_t>(table_->fence, 1)};
  }
  bool renew(const Claim& claim, std::chrono::milliseconds lease) override {
    const auto turn = take_turn();
    for (auto& holder : table_->locks[std::string(claim.key)]) {
      if (holder.token != claim.token) continue;
      const bool has_ended = holder.end <= now() && !makes("lock_end_is_ignored");
      if (has_ended && !makes("lock_renews_what_has_ended")) continue;
      if (!makes("lock_renewal_changes_nothing")) holder.end = now() + lease.count();
      return true;
    }
    return false;
  }
  bool release(const Claim& claim) override {
    const auto turn = take_turn();
    return std::erase_if(table_->locks[std::string(claim.key)], [&](const auto& holder) {
             return (holder.token == claim.token || makes("lock_release_frees_another")) &&
                    holder.end > now();
           }) > 0;
  }
  bool wait(std::string_view, std::chrono::milliseconds limit) override {
    if (makes("lock_wait_is_forever")) std::this_thread::sleep_for(60 * limit);
    return false;
  }

  using Values = std::deque<std::string>;
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most) override {
    const auto turn = take_turn();
    Values& all = table_->deques[std::string(key)];
    const auto front = all.begin();
    if (end == End::front && makes("deque_front_keeps_the_order")) {
      all.insert(front, values.begin(), values.end());
    } else {
      for (const std::string_view value : values) {
        end == End::front ? all.emplace_front(value) : all.emplace_back(value);
      }
    }
    if (most == 0 || makes("deque_limit_is_ignored")) return;
    const bool from_front = (end == End::back) != makes("deque_limit_drops_what_is_new");
    while (all.size() > most) from_front ? all.pop_front() : all.pop_back();
  }
  bool pop(std::string_view key, End end, ValueSink sink) override {
    auto turn = take_turn();
    Values& all = table_->deques[std::string(key)];
    if (all.empty()) return false;
    const bool from_front = end == End::front || makes("deque_has_one_end");
    const std::string value = from_front ? all.front() : all.back();
    if (makes("deque_pop_is_two_steps")) {
      turn.unlock();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      turn.lock();
    }
    if (!all.empty()) from_front ? all.pop_front() : all.pop_back();
    turn.unlock();
    sink(value);
    return true;
  }
  bool at(std::string_view key, std::int64_t place, ValueSink sink) override {
    auto turn = take_turn();
    const Values& all = table_->deques[std::string(key)];
    const auto count = static_cast<std::int64_t>(all.size());
    if (place < 0 && !makes("deque_places_begin_at_the_front")) place += count;
    if (place < 0 || place >= count) return false;
    const std::string value = all[static_cast<std::size_t>(place)];
    turn.unlock();
    sink(value);
    return true;
  }
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                   ValueSink sink) override {
    auto turn = take_turn();
    const Values all = table_->deques[std::string(key)];
    turn.unlock();
    std::size_t count = 0;
    const std::size_t first = makes("deque_pages_begin_at_the_front") ? 0 : from;
    for (std::size_t i = first; i < all.size() && count < at_most; ++i, ++count) sink(all[i]);
    return count;
  }
  std::uint64_t size(std::string_view key) override {
    const auto turn = take_turn();
    return table_->deques[std::string(key)].size();
  }
  void rotate(std::string_view key, std::int64_t steps) override {
    const auto turn = take_turn();
    Values& all = table_->deques[std::string(key)];
    if (all.empty()) return;
    const auto count = static_cast<std::int64_t>(all.size());
    if (makes("deque_rotates_the_other_way")) steps = -steps;
    for (steps = (steps % count + count) % count; steps > 0; --steps) {
      all.push_front(all.back());
      all.pop_back();
    }
  }
  bool erase_deque(std::string_view key) override {
    const auto turn = take_turn();
    if (makes("deque_erasure_erases_all_deques")) {
      const bool was_there = !table_->deques[std::string(key)].empty();
      table_->deques.clear();
      return was_there;
    }
    Values& all = table_->deques[std::string(key)];
    const bool was_there = !all.empty();
    all.clear();
    return was_there;
  }

  // LockExtension, DequeExtension, IndexExtension
  LockExtension::Keeping keeping() override {
    return makes("lock_says_that_it_is_evicted") || makes("index_says_that_it_is_evicted")
               ? LockExtension::Keeping::may_evict
               : LockExtension::Keeping::kept;
  }

  Used use(const Use& use) override {
    auto turn = take_turn();
    std::string& state = table_->limits[std::string(use.key)];
    Used used{.now = clock_.system_now().time_since_epoch() / std::chrono::microseconds(1),
              .before = state};
    const std::int64_t cost =
        makes("limit_ignores_the_cost") ? std::min<std::int64_t>(use.cost, 1) : use.cost;
    const rates::Step step = rates::use(use.rate, used.before, used.now, cost);
    used.allowed = step.verdict.allowed;
    if (makes("limit_is_two_steps")) {
      turn.unlock();
      clock_.steady_now();  // where a restless clock pauses
      std::this_thread::yield();
      turn.lock();
    }
    if (use.cost == 0 && makes("limit_counts_a_question")) {
      state = rates::use(use.rate, used.before, used.now, 1).state;
    }
    if (used.allowed && use.cost > 0) state = step.state;
    if (!used.allowed && makes("limit_forgets_what_it_refuses")) state.clear();
    return used;
  }
  bool forget(std::string_view key) override {
    const auto turn = take_turn();
    if (!makes("limit_is_never_forgotten")) return table_->limits.erase(std::string(key)) > 0;
    return table_->limits.contains(key);
  }
  bool find(const Place& place, std::string_view key, ValueSink sink) override {
    const auto deliver = [&](std::string_view value) {
      sink(value);
      if (makes("index_find_calls_the_sink_twice")) sink(value);
    };
    return table_->indexes.find(as_stored(place), key, deliver);
  }
  Put put(const Place& place, std::string_view key, std::string_view value, PutMode mode,
          ValueSink sink) override {
    if (makes("index_put_moves_to_the_end")) table_->indexes.erase(place, key, sink);
    if (makes("index_put_has_one_mode")) mode = PutMode::always;
    if (makes("index_put_is_two_steps") && mode == PutMode::if_absent) {
      if (table_->indexes.find(place, key, sink)) return {.was_there = true};
      clock_.steady_now();  // where a restless clock pauses
      std::this_thread::yield();
      mode = PutMode::always;
      return {.stored = table_->indexes.put(place, key, value, mode, sink).stored};
    }
    return table_->indexes.put(as_stored(place), key, value, mode, sink);
  }
  bool erase(const Place& place, std::string_view key, ValueSink sink) override {
    if (makes("index_erase_leaves_the_item")) return table_->indexes.find(place, key, sink);
    return table_->indexes.erase(as_stored(place), key, sink);
  }
  bool take(const Place& place, Side side, EntrySink sink) override {
    if (!makes("index_take_is_two_steps")) {
      return table_->indexes.take(as_stored(place), side, sink);
    }
    std::string key;
    const bool found =
        shows_one(place, side, [&](const Entry& entry) { key = entry.key, sink(entry); });
    clock_.steady_now();  // where a restless clock pauses
    std::this_thread::yield();
    table_->indexes.erase(place, key, [](std::string_view) {});
    return found;
  }
  bool list(const Place& place, const Range& range, EntrySink sink) override {
    Range other = range;
    const std::string behind = std::string(range.to.value_or("")) + '\0';
    if (makes("index_range_includes_its_end") && range.to) other.to = behind;
    if (makes("index_lists_forwards_only")) other.side = Side::first;
    const bool more = table_->indexes.list(as_stored(place), other, sink);
    return more && !makes("index_says_that_there_is_no_more");
  }
  std::uint64_t count(const Place& place) override {
    return table_->indexes.count(as_stored(place));
  }
  std::uint64_t clear(const Place& place) override { return table_->indexes.clear(place); }

 private:
  static constexpr std::int64_t no_deadline = std::numeric_limits<std::int64_t>::max();

  static Place as_stored(Place place) {
    if (makes("index_has_any_type")) place.type = "any";
    if (makes("index_is_by_key_only")) place.order = Order::by_key;
    return place;
  }
  bool shows_one(const Place& place, Side side, EntrySink sink) {
    bool shown = false;
    table_->indexes.list(place, {.side = side, .at_most = 1}, [&](const Entry& entry) {
      shown = true;
      sink(entry);
    });
    return shown;
  }

  std::unique_lock<std::mutex> take_turn() const {
    if (makes("no_lock")) return {};
    return std::unique_lock(table_->mutex);
  }

  std::int64_t now() const {
    return std::chrono::floor<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch())
        .count();
  }
  std::int64_t deadline(Ttl ttl) const {
    if (ttl.is_forever()) return no_deadline;
    std::int64_t life = ttl.value().count();
    if (makes("long_lifetimes_wrap")) life = static_cast<std::int32_t>(life);
    if (makes("gone_a_moment_early")) --life;
    if (makes("lives_in_whole_seconds")) life = (life + 999) / 1000 * 1000;
    return now() + life;
  }
  Ttl left(const MutantEntry& entry) const {
    if (entry.deadline == no_deadline) return Ttl::forever();
    if (makes("ttl_is_the_whole_lifetime")) return Ttl(std::chrono::minutes(1));
    return Ttl(std::chrono::milliseconds(std::max(entry.deadline - now(), std::int64_t{1})));
  }

  static std::string stored_key(std::string_view key) {
    std::string stored(key);
    if (makes("keys_end_at_a_zero_byte")) stored.resize(std::min(key.find('\0'), key.size()));
    if (makes("keys_end_after_100_bytes")) stored.resize(std::min<std::size_t>(key.size(), 100));
    if (makes("keys_end_after_255_bytes")) stored.resize(std::min<std::size_t>(key.size(), 255));
    if (makes("keys_ignore_case")) {
      for (char& c : stored) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    }
    if (makes("keys_lose_blanks_at_the_end")) {
      while (stored.ends_with(' ')) stored.pop_back();
    }
    if (makes("keys_are_a_hash_of_16_bits")) {
      stored = std::to_string(std::hash<std::string_view>()(key) & 0xFFFFU);
    }
    return stored;
  }
  static std::string stored_value(std::string_view value) {
    if (makes("values_end_at_a_zero_byte")) return std::string(value.substr(0, value.find('\0')));
    if (makes("large_values_lose_a_byte") && value.size() > 500'000) value.remove_suffix(1);
    return std::string(value);
  }
  static bool equals(std::string_view value, std::string_view expected) {
    if (makes("compare_ignores_the_expected")) return true;
    if (makes("compare_looks_at_the_beginning")) return value.starts_with(expected);
    return value == expected;
  }
  // As LIKE in SQL.
  static bool is_like(std::string_view key, std::string_view pattern) {
    return key.size() >= pattern.size() &&
           std::equal(pattern.begin(), pattern.end(), key.begin(),
                      [](char wanted, char c) { return wanted == '_' || wanted == c; });
  }
  static std::int64_t add(std::string_view bytes, std::int64_t delta) {
    const auto number = parse_counter(bytes);
    if (!number && makes("incr_takes_text_for_zero")) return delta;
    if (number && makes("incr_wraps")) {
      return static_cast<std::int64_t>(static_cast<std::uint64_t>(*number) +
                                       static_cast<std::uint64_t>(delta));
    }
    return add_to_counter(bytes, delta);
  }

  static bool matches(const Glob& glob, std::string_view key) {
    return makes("scan_takes_a_prefix") ? key.starts_with(glob.head()) : glob.matches(key);
  }
  // The entries after a cursor, which is 'k' and a key, or by mistake a number.
  std::vector<std::pair<std::string, MutantEntry>> page(std::string_view cursor,
                                                        std::size_t at_most, std::string& next) {
    std::vector<std::pair<std::string, MutantEntry>> page;
    const auto turn = take_turn();
    const auto& entries = table_->entries;
    const bool counts = makes("scan_counts_its_place");
    std::size_t place = 0;
    auto entry = entries.begin();
    if (!cursor.empty() && counts) {
      place = std::stoul(std::string(cursor.substr(1)));
      std::advance(entry, static_cast<std::ptrdiff_t>(std::min(place, entries.size())));
    } else if (!cursor.empty()) {
      entry = entries.upper_bound(cursor.substr(1));
    }
    for (; entry != entries.end() && page.size() < at_most; ++entry) page.push_back(*entry);
    if (entry == entries.end() || page.empty()) return page;
    next = 'k' + (counts ? std::to_string(place + page.size()) : page.back().first);
    return page;
  }

  // The next two: with the lock held.
  MutantEntry* find_any(std::string_view key) {
    const auto entry = table_->entries.find(stored_key(key));
    return entry == table_->entries.end() ? nullptr : &entry->second;
  }
  MutantEntry* find(std::string_view key) {
    MutantEntry* const entry = find_any(key);
    return entry != nullptr && entry->deadline > now() ? entry : nullptr;
  }
  std::optional<MutantEntry> copy_any(std::string_view key) {
    const auto turn = take_turn();
    const MutantEntry* const entry = find_any(key);
    return entry == nullptr ? std::nullopt : std::optional(*entry);
  }
  std::optional<MutantEntry> copy(std::string_view key) {
    const auto turn = take_turn();
    const MutantEntry* const entry = find(key);
    return entry == nullptr ? std::nullopt : std::optional(*entry);
  }
  bool remove(std::string_view key) {
    const auto turn = take_turn();
    table_->entries.erase(stored_key(key));
    return true;
  }

  bool refuse(std::string_view key, std::string_view value, PutMode mode) {
    const bool keeps_older =
        makes("refused_keeps_the_older") || makes("put_many_erases_refused_at_the_end");
    if (mode != PutMode::if_absent && !keeps_older) remove(key);
    if (makes("refused_is_called_stored")) return true;
    if (makes("refused_without_a_warning")) return false;
    const std::string message =
        "a value of " + std::to_string(value.size()) + " bytes is too large";
    report_({.kind = Warning::Kind::value_refused, .key = key, .message = message});
    return false;
  }

  static bool is_add_in_two_steps() {
    return makes("add_is_two_steps") || makes("add_throws_in_threads");
  }
  bool add_in_two_steps(std::string_view key, std::string_view value, Ttl ttl) {
    static const std::thread::id first_thread = std::this_thread::get_id();
    if (makes("add_throws_in_threads") && std::this_thread::get_id() != first_thread) {
      throw std::runtime_error("I am a mutant");
    }
    if (copy(key)) return false;
    const std::int64_t end = deadline(ttl);
    const auto turn = take_turn();
    table_->entries[stored_key(key)] = {std::string(value), end};
    return true;
  }
  std::optional<std::int64_t> incr_in_two_steps(std::string_view key, std::int64_t delta) {
    const auto found = copy(key);
    if (!found) return std::nullopt;
    const std::int64_t sum = add_to_counter(found->value, delta);
    const std::int64_t end = deadline(left(*found));
    const auto turn = take_turn();
    table_->entries[stored_key(key)] = {std::to_string(sum), end};
    return sum;
  }

  std::shared_ptr<MutantTable> table_;
  const Clock& clock_;
  std::function<void(const Warning&)> report_;
  std::map<std::string, std::string, std::less<>> remembered_;
  std::uint64_t stamps_ = 0;
};

class MutantFactory final : public BackendFactory, private MaintenanceExtension {
 public:
  explicit MutantFactory(const BackendContext& context)
      : clock_(context.clock), report_(context.report) {}

  std::unique_ptr<Backend> connect() override {
    return std::make_unique<MutantSession>(table_, clock_, report_);
  }
  void* extension(std::string_view asked) noexcept override {
    return asked == MaintenanceExtension::id ? static_cast<MaintenanceExtension*>(this) : nullptr;
  }

 private:
  std::size_t expire() override {
    const std::lock_guard lock(table_->mutex);
    return std::erase_if(table_->entries, [&](const auto& item) {
      const bool has_end = item.second.deadline != std::numeric_limits<std::int64_t>::max();
      return makes("expire_removes_live_ones") ? has_end : is_over(item.second);
    });
  }
  std::size_t cull() override { return 0; }
  std::optional<std::uint64_t> volume() override { return std::nullopt; }
  Counts counts() override {
    Counts counts{.total = 0, .expired = 0, .unexpired = 0, .forever = 0};
    const std::lock_guard lock(table_->mutex);
    for (const auto& [key, entry] : table_->entries) {
      ++*counts.total;
      ++*(is_over(entry) && !makes("counts_expired_as_live") ? counts.expired : counts.unexpired);
      if (entry.deadline == std::numeric_limits<std::int64_t>::max()) ++*counts.forever;
    }
    return counts;
  }
  bool is_over(const MutantEntry& entry) const {
    return entry.deadline <=
           std::chrono::floor<std::chrono::milliseconds>(clock_.steady_now().time_since_epoch())
               .count();
  }

  std::shared_ptr<MutantTable> table_ = std::make_shared<MutantTable>();
  const Clock& clock_;
  std::function<void(const Warning&)> report_;
};

}  // namespace polycache::testing
