#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "front/final_keys.h"
#include "front/live_entry.h"
#include "front/operation.h"
#include "front/reading.h"
#include "front/scratch.h"
#include "front/stored_form.h"
#include "front/tag_versions.h"
#include "polycache/cache.h"

namespace polycache {
namespace {

std::vector<std::string> keys_of(std::span<const ItemView> items) {
  std::vector<std::string> keys;
  keys.reserve(items.size());
  for (const ItemView& item : items) keys.emplace_back(item.key());
  return keys;
}

}  // namespace

void Cache::get_many_bytes(std::span<const std::string_view> keys, ReadOptions options,
                           IndexedDecode decode, FunctionRef<void(std::size_t index)> drop) {
  if (keys.empty()) return;
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, keys.size());
  for (const std::string_view key : keys) final_keys.add(key);
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::get_many, views);
  std::vector<std::pair<std::size_t, Reading>> unreadable;
  TaggedReadings tagged;
  std::size_t hits = 0;
  std::vector<std::size_t> found;  // if they are to be renewed
  const bool renews = !options.touch.is_default();
  const auto count = [&](std::size_t i, Reading& reading) {
    if (reading.has_value()) ++hits;
    if (reading.has_value() && renews) [[unlikely]]
      found.push_back(i);
    if (reading.unreadable()) [[unlikely]]
      unreadable.emplace_back(i, std::move(reading));
  };
  operation.run_many<bool>(Access::read, views, false, [&](Backend& session) {
    session.get_many(views, [&](std::size_t i, std::string_view stored) {
      Reading reading;
      read_entry(*state_, views[i], reading, stored,
                 [&](std::string_view bytes) { return decode(i, bytes); });
      count(i, reading);
      if (reading.outcome == Outcome::tagged) [[unlikely]]
        tagged.emplace_back(i, std::move(reading));
    });
    if (tagged.empty()) [[likely]]
      return true;
    check_tags_of(operation, session, tagged);
    for (auto& [i, reading] : tagged) count(i, reading);
    return true;
  });
  for (const auto& [i, reading] : tagged) {
    if (!reading.has_value()) drop(i);  // also if the store failed before they were checked
  }
  if (renews) [[unlikely]]
    renew_many(operation, views, found, options.touch);
  hits = std::min(hits, keys.size());  // a store may deliver a key twice
  operation.have_been_read(hits, keys.size());
  if (unreadable.empty()) return;
  operation.may_throw();
  for (const auto& [i, reading] : unreadable) warn_unreadable(*state_, views[i], reading);
  operation.ends_many(hits);
}

void Cache::renew_many(Operation& operation, std::span<const std::string_view> keys,
                       std::span<const std::size_t> found, const Timeout& timeout) {
  const std::optional<Ttl> ttl = state_->resolve(timeout);
  if (!ttl) {
    tally_->erased.add(operation.must([&](Backend& session) { return session.erase_many(keys); }));
    return;
  }
  if (found.empty()) return;
  operation.run_many<bool>(Access::write, keys, false, [&](Backend& session) {
    for (const std::size_t i : found) touch_live(session, keys[i], *ttl, *state_);
    return true;
  });
}

std::vector<std::string> Cache::put_many_items(std::span<const ItemView> items,
                                               const WriteOptions& options) {
  if (items.empty()) return {};
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, items.size());
  for (const ItemView& item : items) final_keys.add(item.key());
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::set_many, views);
  for (const std::string_view key : views) state_->outdate(key);
  const std::optional<Ttl> ttl = state_->resolve(options.timeout);
  if (!ttl) {
    operation.have_been_erased(
        operation.must([&](Backend& session) { return session.erase_many(views); }));
    operation.ends_many(items.size());
    return {};
  }

  const std::optional<std::string> tags = tags_for(operation, options.tags, *ttl);
  if (!tags) {
    operation.have_been_written(0, items.size());
    return keys_of(items);
  }

  // Values written to the scratch buffer are copied; others stay where they are.
  std::vector<Item> stored;
  stored.reserve(items.size());
  std::vector<std::string> copies;
  Scratch scratch(scratch_, scratch_taken_);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view bytes = items[i].encode(scratch.buffer());
    const std::less<> before;
    const char* const begin = scratch.buffer().data();
    const bool in_scratch =
        !before(bytes.data(), begin) && before(bytes.data(), begin + scratch.buffer().size() + 1);
    std::string framed;
    const std::string_view form = stored_form(*state_, views[i], bytes, *tags, framed);
    const bool is_framed_here = form.data() == framed.data();
    if (in_scratch || is_framed_here) {
      if (copies.empty()) copies.reserve(items.size());  // keeps views into it valid
      copies.push_back(is_framed_here ? std::move(framed) : std::string(bytes));
      stored.push_back({views[i], copies.back(), *ttl});
    } else {
      stored.push_back({views[i], bytes, *ttl});
    }
  }

  std::vector<std::string> failed;
  const bool done = operation.run_many<bool>(Access::write, views, false, [&](Backend& session) {
    session.put_many(stored, PutMode::always,
                     [&](std::size_t i) { failed.emplace_back(items[i].key()); });
    return true;
  });
  if (!done) failed = keys_of(items);
  const std::size_t refused = std::min(failed.size(), items.size());
  operation.have_been_written(items.size() - refused, items.size());
  return failed;
}

std::size_t Cache::erase_many_keys(std::span<const std::string_view> keys, KeyOptions options) {
  if (keys.empty()) return 0;
  const Busy busy(*this);
  FinalKeys final_keys(*state_, options.version, keys.size());
  for (const std::string_view key : keys) final_keys.add(key);
  const std::vector<std::string_view> views = final_keys.views();
  Operation operation(*this, Op::erase_many, views);
  for (const std::string_view key : views) state_->outdate(key);
  const std::size_t erased =
      operation.must([&](Backend& session) { return session.erase_many(views); });
  operation.have_been_erased(erased);
  return erased;
}

}  // namespace polycache
