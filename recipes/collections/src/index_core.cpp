#include "polycache/detail/index_core.h"

#include <utility>

#include "polycache/author/text.h"
#include "polycache/error.h"
#include "polycache/observer.h"

namespace polycache::detail {
namespace {

constexpr Collection::Kind index_kind{.what = "index", .lack = "has no indexes", .head = "i."};

}  // namespace

IndexCore::IndexCore(Cache* cache, KeyView name, Order order, const std::string& keys,
                     std::string_view values, const CollectionOptions& options)
    : collection_(cache, index_kind, name, std::string(values), options),
      order_(order),
      type_(keys + " to " + (options.type.empty() ? std::string(values) : options.type) +
            (order == Order::by_key ? ", by key" : ", by insertion")) {
  collection_.check_store<IndexExtension>();
}

std::string IndexCore::start() const { return "index " + quote(name()) + ": "; }

void IndexCore::must_be_by_key(std::string_view function) const {
  if (order_ == Order::by_key) return;
  throw ValueError(start() + std::string(function) +
                   ": it is by insertion, so no keys follow one another; use items(), or an index "
                   "by key");
}

void IndexCore::throw_unreadable(std::string_view what) const {
  throw ValueError(start() + "the " + std::string(what) + " of an item cannot be read as " +
                   quote(type_) + "; use the types and the codec with which it was made");
}

// f(extension, place) as one operation of the cache.
template <class F>
bool IndexCore::call(Op op, F f) const {
  try {
    return collection_.run<IndexExtension>(op, [&](IndexExtension& indexes, std::string_view key) {
      return f(indexes, IndexExtension::Place{.key = key, .type = type_, .order = order_});
    });
  } catch (const ValueError& error) {
    throw ValueError(error.kind(), start() + error.what());
  }
}

// --- Operations. What a store delivers is copied, and decoded after the operation. ---

std::optional<std::string> IndexCore::find(std::string_view key) const {
  std::optional<std::string> value;
  call(Op::find_in_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    return indexes.find(place, key, [&](std::string_view bytes) { value = bytes; });
  });
  return value;
}

bool IndexCore::contains(std::string_view key) const {
  return call(Op::find_in_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    return indexes.find(place, key, [](std::string_view) {});
  });
}

IndexCore::Put IndexCore::put(std::string_view key, std::string_view value, PutMode mode) const {
  Put put;
  call(Op::put_in_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    const IndexExtension::Put done =
        indexes.put(place, key, value, mode, [&](std::string_view bytes) { put.held = bytes; });
    put.stored = done.stored;
    put.was_there = done.was_there;
    return done.stored;
  });
  return put;
}

std::optional<std::string> IndexCore::erase(std::string_view key) const {
  std::optional<std::string> value;
  call(Op::erase_from_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    return indexes.erase(place, key, [&](std::string_view bytes) { value = bytes; });
  });
  return value;
}

std::optional<IndexCore::Item> IndexCore::take(Side side) const {
  std::optional<Item> item;
  call(Op::take_from_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    return indexes.take(place, side, [&](const IndexExtension::Entry& entry) {
      item = Item{std::string(entry.key), std::string(entry.value), entry.position};
    });
  });
  return item;
}

IndexCore::Page IndexCore::list(const Range& range) const {
  Page page;
  call(Op::list_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    page.more = indexes.list(place, range, [&](const IndexExtension::Entry& entry) {
      page.items.push_back({std::string(entry.key), std::string(entry.value), entry.position});
    });
    return !page.items.empty();
  });
  return page;
}

std::uint64_t IndexCore::count() const {
  std::uint64_t count = 0;
  call(Op::count_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    count = indexes.count(place);
    return count != 0;
  });
  return count;
}

std::uint64_t IndexCore::clear() const {
  std::uint64_t count = 0;
  call(Op::clear_index, [&](IndexExtension& indexes, const IndexExtension::Place& place) {
    count = indexes.clear(place);
    return count != 0;
  });
  return count;
}

}  // namespace polycache::detail
