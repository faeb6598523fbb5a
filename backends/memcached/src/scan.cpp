// Listing the keys, server by server.
//
// memcached lists all items of a server or none: it has no place to continue from. A page therefore
// reads a whole list and keeps the items with the least hashes of their keys, so that its memory is
// bounded; the next page reads the list again and keeps the items with the next hashes. Up to
// most_listed matching items, which is nearly always, one list is enough.

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "polycache/author/glob.h"
#include "polycache/author/scan_position.h"
#include "session.h"

namespace polycache::memcached {
namespace {

constexpr std::size_t most_listed = std::size_t{1} << 16U;  // of a page
constexpr std::size_t asked_at_once = 100;
constexpr std::uint64_t no_limit = std::numeric_limits<std::uint64_t>::max();

struct Item {
  std::uint64_t hash;
  std::string key;
  std::int64_t expiration;
  std::uint64_t size;
};

// The matching items from one hash on, up to about most_listed.
class Page {
 public:
  Page(const Glob& glob, std::uint64_t from) noexcept : glob_(glob), from_(from) {}

  void offer(const DumpedItem& item) {
    if (!glob_.matches(item.key)) return;
    const std::uint64_t hash = std::hash<std::string_view>()(item.key);
    if (hash < from_ || hash > last_) return;
    items_.push_back({hash, std::string(item.key), item.expiration, item.size});
    if (items_.size() == 2 * most_listed) shorten();
  }

  // Call it once, after the last item. An item that the server has listed twice is there once.
  std::vector<Item>& finish() {
    if (items_.size() > most_listed) shorten();
    const auto place = [](const Item& item) { return std::tie(item.hash, item.key); };
    std::sort(items_.begin(), items_.end(),
              [&](const Item& a, const Item& b) { return place(a) < place(b); });
    const auto same = [&](const Item& a, const Item& b) { return place(a) == place(b); };
    items_.erase(std::unique(items_.begin(), items_.end(), same), items_.end());
    return items_;
  }
  // Whether there are items with greater hashes, and the least hash that they can have.
  bool is_cut() const noexcept { return last_ != no_limit; }
  std::uint64_t next() const noexcept { return last_ + 1; }

 private:
  // Items of one hash stay together.
  void shorten() {
    const auto by_hash = [](const Item& a, const Item& b) { return a.hash < b.hash; };
    const auto last = items_.begin() + (most_listed - 1);
    std::nth_element(items_.begin(), last, items_.end(), by_hash);
    last_ = last->hash;
    std::erase_if(items_, [this](const Item& item) { return item.hash > last_; });
  }

  const Glob& glob_;
  const std::uint64_t from_;
  std::uint64_t last_ = no_limit;  // of what is kept
  std::vector<Item> items_;
};

std::int64_t unix_millis(Moment moment) noexcept {
  return std::chrono::duration_cast<std::chrono::milliseconds>(moment.time_since_epoch()).count();
}

// The server's expiry comes up to three seconds after the entry's deadline, which is in the item's
// flags and not in the list. Near that time, or if the alias has a clock of its own, the item
// itself says whether it lives.
class Lifetimes {
 public:
  explicit Lifetimes(Moment of_alias) noexcept
      : now_(unix_millis(Clock::real().system_now())),
        clocks_differ_(std::abs(unix_millis(of_alias) - now_) > 1000) {}

  bool is_sure(const Item& item) const noexcept {
    if (item.expiration == 0) return !clocks_differ_;
    return !clocks_differ_ && left(item) > 4000;
  }
  Ttl left_of(const Item& item) const noexcept {
    if (item.expiration == 0) return Ttl::forever();
    return Ttl(std::chrono::milliseconds(std::max<std::int64_t>(left(item), 1)));
  }

 private:
  std::int64_t left(const Item& item) const noexcept { return item.expiration * 1000 - now_; }

  const std::int64_t now_;
  const bool clocks_differ_;
};

}  // namespace

std::string Session::scan(std::string_view pattern, std::string_view cursor,
                          std::size_t /*at_most*/, FunctionRef<void(const Listed&)> sink) {
  const Glob glob(pattern);
  // The part is a server, the point the least hash that has not been listed there.
  auto position = ScanPosition::from(cursor, topology_.parts(), no_limit, "memcached");
  Page page(glob, position.point);
  const Place place = topology_.server_of_part(position.part);
  at(place, Access::read, deadline(), [&](Connection& server) {
    server.dump([&](const DumpedItem& item) { page.offer(item); });
    std::vector<Item>& items = page.finish();
    const Lifetimes lifetimes(now());
    const auto sure = std::partition(items.begin(), items.end(),
                                     [&](const Item& item) { return !lifetimes.is_sure(item); });
    std::vector<std::string_view> keys;
    for (auto begin = items.begin(); begin != sure;) {
      const auto end = begin + std::min<std::ptrdiff_t>(asked_at_once, sure - begin);
      keys.clear();
      std::for_each(begin, end, [&](const Item& item) { keys.emplace_back(item.key); });
      server.limit(deadline());
      server.ask(keys, Want::value);
      server.answer(keys, Want::value, [&](std::size_t i, const Found& found) {
        if (has_expired(found.flags, now())) return;
        const Item& item = *(begin + static_cast<std::ptrdiff_t>(i));
        sink({.key = item.key, .size = item.size, .left = time_left(found.flags, now())});
      });
      begin = end;
    }
    std::for_each(sure, items.end(), [&](const Item& item) {
      sink({.key = item.key, .size = item.size, .left = lifetimes.left_of(item)});
    });
  });
  if (page.is_cut()) {
    position.point = page.next();
  } else {
    position = {.part = position.part + 1, .point = 0};
    if (position.part == topology_.parts()) return {};
  }
  return position.cursor();
}

}  // namespace polycache::memcached
