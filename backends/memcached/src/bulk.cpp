// Operations on many keys, which several servers may share.

#include <algorithm>
#include <utility>
#include <vector>

#include "session.h"

namespace polycache::memcached {
namespace {

// How many keys one request contains: enough that the round trip is negligible, few enough that the
// server answers other clients in between.
constexpr std::size_t keys_at_once = 1000;

// How many items are distributed over the servers at once, which bounds the memory for that.
constexpr std::size_t items_at_once = 1000;

}  // namespace

void Session::begin_bulk() noexcept {
  for (Share& share : shares_) share.failed = false;
}

// All servers share one deadline, but none may use all of it.
net::Deadline Session::share_of(net::Deadline deadline) const noexcept {
  return shares_.size() == 1 ? deadline : net::halfway_to(deadline);
}

void Session::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  find_many(keys, [&](std::size_t index, const Found& found) { sink(index, found.value); });
}

void Session::get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) {
  find_many(keys, [&](std::size_t index, const Found& found) {
    sink(index, found.value, time_left(found.flags, now()));
  });
}

void Session::find_many(std::span<const std::string_view> keys,
                        FunctionRef<void(std::size_t, const Found&)> sink) {
  for (const std::string_view key : keys) check_key(key);
  // The clock is read once. For the last replies that time is slightly old, so an entry may be
  // returned late, but is never lost early.
  const Moment begin = now();
  net::Deadline whole = deadline();
  const auto live = [&](std::size_t index, const Found& found) {
    if (has_expired(found.flags, begin)) return;
    const net::Deadline delivered = net::coarse_now();
    sink(index, found);
    whole += net::coarse_now() - delivered;  // the sink's time does not count for the other replies
  };
  FirstFailure failure;
  begin_bulk();
  for (std::size_t first = 0; first < keys.size(); first += keys_at_once) {
    const auto part = keys.subspan(first, std::min(keys_at_once, keys.size() - first));
    if (shares_.size() > 1) {
      find_part(part, first, whole, live, failure);
      continue;
    }
    at(topology_.server_of_part(0), Access::read, share_of(whole), [&](Connection& server) {
      server.ask(part, Want::value);
      server.answer(part, Want::value,
                    [&](std::size_t i, const Found& found) { live(first + i, found); });
    });
  }
  failure.rethrow();
}

// Sends all requests before the first reply is read, so that the servers work in parallel. All
// operations take their connections in the order of the servers, which prevents deadlocks.
void Session::find_part(std::span<const std::string_view> keys, std::size_t first,
                        const net::Deadline& deadline,
                        FunctionRef<void(std::size_t, const Found&)> sink, FirstFailure& failure) {
  struct GiveBack {
    ~GiveBack() {
      for (Share& share : shares) share.call.reset();
    }
    std::vector<Share>& shares;
  } const give_back{shares_};
  distribute(keys, first);
  ask_all(deadline, failure);
  for (Share& share : shares_) {
    if (!share.call) continue;
    share.call->limit(share_of(deadline));
    share.failed = !failure.attempt([&] {
      share.call->run([&](Connection& server) {
        server.answer(share.keys, Want::value,
                      [&](std::size_t k, const Found& found) { sink(share.indices[k], found); });
      });
    });
    share.call.reset();
  }
}

void Session::ask_all(net::Deadline deadline, FirstFailure& failure) {
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[i];
    if (share.keys.empty() || share.failed) continue;
    share.failed = !failure.attempt([&] {
      const Place place = topology_.server_of_part(i);
      Server::Call call(*place.server, *place.hint, Access::read, share_of(deadline));
      call.run_part([&](Connection& server) { server.ask(share.keys, Want::value); });
      share.call = std::move(call);
    });
  }
}

// Distributes the keys to the servers' shares, numbered from `first`.
void Session::distribute(std::span<const std::string_view> keys, std::size_t first) {
  for (Share& share : shares_) {
    share.keys.clear();
    share.indices.clear();
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Share& share = shares_[topology_.part_of(keys[i])];
    share.keys.push_back(keys[i]);
    share.indices.push_back(first + i);
  }
}

void Session::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  for (const Item& item : items) check_key(item.key);
  FirstFailure failure;
  begin_bulk();
  const net::Deadline whole = deadline();
  if (mode != PutMode::always) {
    put_many_one_by_one(items, mode, whole, on_failure, failure);
  } else {
    for (std::size_t first = 0; first < items.size(); first += items_at_once) {
      const std::size_t size = std::min(items_at_once, items.size() - first);
      put_batch(items.subspan(first, size), first, whole, on_failure, failure);
    }
  }
  failure.rethrow();
}

void Session::put_batch(std::span<const Item> items, std::size_t first, net::Deadline deadline,
                        IndexSink on_failure, FirstFailure& failure) {
  distribute(items, first);
  for (std::size_t i = 0; i < shares_.size(); ++i) {
    Share& share = shares_[i];
    share.stored.assign(share.items.size(), false);
    if (!share.failed && !share.items.empty()) {
      share.failed = !failure.attempt([&] {
        at(topology_.server_of_part(i), Access::write, share_of(deadline),
           [&](Connection& server) { put_share(server, share); });
      });
    }
    for (std::size_t k = 0; k < share.items.size(); ++k) {
      if (!share.stored[k]) on_failure(share.indices[k]);
    }
  }
}

void Session::put_many_one_by_one(std::span<const Item> items, PutMode mode, net::Deadline deadline,
                                  IndexSink on_failure, FirstFailure& failure) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    const std::size_t part = topology_.part_of(item.key);
    Share& share = shares_[part];
    bool stored = false;
    if (!share.failed) {
      share.failed = !failure.attempt([&] {
        stored = at(
            topology_.server_of_part(part), Access::write, share_of(deadline),
            [&](Connection& server) { return put(server, item.key, item.value, item.ttl, mode); });
      });
    }
    if (!stored) on_failure(i);
  }
}

void Session::distribute(std::span<const Item> items, std::size_t first) {
  for (Share& share : shares_) {
    share.items.clear();
    share.indices.clear();
  }
  const Moment begin = now();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item& item = items[i];
    Share& share = shares_[topology_.part_of(item.key)];
    share.items.push_back({item.key, item.value, lifetime_for(item.ttl, begin)});
    share.indices.push_back(first + i);
  }
}

// All that fit go in one request. A refused value also erases the older one, unless a later item of
// the same key has replaced that, or is refused itself.
void Session::put_share(Connection& server, Share& share) {
  const std::span<const NewItem> items = share.items;
  const auto does_not_fit = [&](const NewItem& item) { return !fits(item.value); };
  for (auto first = items.begin(); first != items.end();) {
    first = std::find_if_not(first, items.end(), does_not_fit);
    const auto last = std::find_if(first, items.end(), does_not_fit);
    const auto offset = static_cast<std::size_t>(first - items.begin());
    if (first != last) {
      server.set_many({first, last}, [&](std::size_t i, Outcome outcome) {
        share.stored[offset + i] = outcome == Outcome::done;
      });
    }
    first = last;
  }
  refuse_of(server, share);
}

// Erases the keys of refused items in one request: one by one, each could use all of the time. If a
// later item has the same key, it has replaced the older value, or is refused itself.
void Session::refuse_of(Connection& server, Share& share) {
  const std::span<const NewItem> items = share.items;
  std::vector<std::string_view> keys;
  std::vector<std::size_t> refused;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (share.stored[i]) continue;
    refused.push_back(i);
    const auto rest = items.subspan(i + 1);
    const bool is_last = std::none_of(
        rest.begin(), rest.end(), [&](const NewItem& other) { return other.key == items[i].key; });
    if (is_last) keys.push_back(items[i].key);
  }
  // If the server itself refused the values, it has dropped the older ones.
  if (!keys.empty()) server.drop_many(keys);
  for (const std::size_t i : refused) report_refusal(items[i].key, items[i].value.size());
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  for (const std::string_view key : keys) check_key(key);
  const Moment begin = now();
  std::size_t erased = 0;
  const auto count = [&](std::size_t, Removed removed) {
    if (removed.done && !has_expired(removed.flags, begin)) ++erased;
  };
  FirstFailure failure;
  begin_bulk();
  const net::Deadline whole = deadline();
  for (std::size_t first = 0; first < keys.size(); first += keys_at_once) {
    distribute(keys.subspan(first, std::min(keys_at_once, keys.size() - first)), first);
    for (std::size_t i = 0; i < shares_.size(); ++i) {
      Share& share = shares_[i];
      if (share.failed || share.keys.empty()) continue;
      share.failed = !failure.attempt([&] {
        at(topology_.server_of_part(i), Access::write, share_of(whole),
           [&](Connection& server) { server.erase_many(share.keys, count); });
      });
    }
  }
  failure.rethrow();
  return erased;
}

}  // namespace polycache::memcached
