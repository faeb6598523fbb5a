// An ordered map between threads and processes, kept by the store of a cache.
//
//   polycache::Index<std::string, int> stock("stock");      // over the alias "default"
//   stock.insert_or_assign("apple", 3);
//   if (auto item = stock.popitem(polycache::IndexEnd::first)) sell(item->first, item->second);
//   for (const auto& [name, count] : stock.between("a", "n")) print(name, count);
//
// Items stay until they are erased: they have no lifetime, are not evicted, and clear() of the
// cache keeps them on locmem and sqlite. locmem, sqlite and redis have indexes; docs/collections.md
// has a table of the stores.
//
// Keys are ordered as their values are, whatever store it is (ordered_key.h); in an index that
// by_insertion() makes, in the order in which they came. An index has the types with which its
// first item was inserted until it is cleared: other types are refused. "Type" here is what the
// bytes are: integers of all sizes are one type of values, and so are all types with a codec of
// their own.
//
// Each function is one step, in one round trip, and takes effect for all threads and processes at
// once or not at all; of several that pop, each gets another item. If the process dies between the
// store's answer and the use of a popped item, the item is gone.
//
// An index that is made with an alias may be used by any threads at once; one that is made with a
// Cache is used by that cache's thread alone. Registry and cache must outlive it.
//
// Every function may throw: BackendError if the store fails, whatever "on_error" is; then nothing
// is known of a change. ConfigError if the store may evict it. ValueError if it holds other types,
// and if an item cannot be read as V. InvalidKey for a key that has no order (ordered_key.h).

#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "polycache/cache.h"
#include "polycache/codec.h"
#include "polycache/collection_options.h"
#include "polycache/detail/index_core.h"
#include "polycache/key.h"
#include "polycache/ordered_key.h"

namespace polycache {

// first, last
using IndexEnd = IndexExtension::Side;

template <Orderable K, Cacheable V>
class Index;

// Items of an index, to be read in a loop. It reads a page at a time, each as of one moment:
//
// - Every item that is there during the whole loop is seen exactly once.
// - An item that is inserted or removed meanwhile is seen or not; a value is that of its page.
// - No key is seen twice, and keys come in order. By insertion, a key that is erased and inserted
//   again behind the place of the loop is seen again.
//
// The loop may change the index. begin() begins anew. The index must outlive the loop; a range is
// used by one thread.
template <Orderable K, Cacheable V>
class IndexRange {
 public:
  class Iterator;

  // The same items, from the other end.
  IndexRange reversed() const {
    IndexRange other = *this;
    other.end_ = end_ == IndexEnd::first ? IndexEnd::last : IndexEnd::first;
    return other;
  }
  // The same, with so many items in a page [100]. A store may take fewer. 0 counts as 1.
  IndexRange page(std::size_t items) const {
    IndexRange other = *this;
    other.page_ = items == 0 ? 1 : items;
    return other;
  }

  Iterator begin() const { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  friend class Index<K, V>;
  explicit IndexRange(const detail::IndexCore& core) noexcept : core_(&core) {}

  const detail::IndexCore* core_;
  std::string from_;
  std::optional<std::string> to_;
  IndexEnd end_ = IndexEnd::first;
  std::size_t page_ = 100;
};

template <Orderable K, Cacheable V>
class Index {
 public:
  using Item = std::pair<K, V>;

  // Two objects are one index if they have one name, one store and one prefix. Throws ValueError
  // for an empty name; BackendError (Kind::unsupported) if the store has no indexes, ConfigError if
  // it may evict them. A store that cannot be reached now is asked later.
  explicit Index(KeyView name, CollectionOptions options = {})
      : Index(nullptr, name, detail::IndexCore::Order::by_key, std::move(options)) {}
  Index(Cache& cache, KeyView name, CollectionOptions options = {})
      : Index(&cache, name, detail::IndexCore::Order::by_key, std::move(options)) {}

  // An index whose items are in the order in which their keys came, as in Python's diskcache. A new
  // value keeps the place of its key; a key that is erased and inserted again comes last.
  static Index by_insertion(KeyView name, CollectionOptions options = {}) {
    return Index(nullptr, name, detail::IndexCore::Order::by_insertion, std::move(options));
  }
  static Index by_insertion(Cache& cache, KeyView name, CollectionOptions options = {}) {
    return Index(&cache, name, detail::IndexCore::Order::by_insertion, std::move(options));
  }

  // Stores the value if the key is absent. Returns whether it did.
  bool insert(const K& key, const V& value) { return put(key, value, PutMode::if_absent).stored; }
  // Stores the value. Returns whether the key is new.
  bool insert_or_assign(const K& key, const V& value) {
    return !put(key, value, PutMode::always).was_there;
  }
  // Stores the value if the key is there. Returns whether it did.
  bool assign(const K& key, const V& value) { return put(key, value, PutMode::if_present).stored; }
  // The value that is there; stores and returns `value` if the key is absent.
  V setdefault(const K& key, const V& value) {
    const detail::IndexCore::Put put = this->put(key, value, PutMode::if_absent);
    return put.stored ? value : value_of(put.held);
  }

  // The value; empty if the key is absent.
  std::optional<V> find(const K& key) const {
    const std::optional<std::string> bytes = core_.find(ordered_bytes(key));
    return bytes ? std::optional<V>(value_of(*bytes)) : std::nullopt;
  }
  bool contains(const K& key) const { return core_.contains(ordered_bytes(key)); }

  // Removes the key. Returns whether it was there.
  bool erase(const K& key) { return core_.erase(ordered_bytes(key)).has_value(); }
  // Removes the key and returns its value; empty if it was absent.
  std::optional<V> pop(const K& key) {
    const std::optional<std::string> bytes = core_.erase(ordered_bytes(key));
    return bytes ? std::optional<V>(value_of(*bytes)) : std::nullopt;
  }
  // Removes and returns the item at this end; empty if there is none.
  std::optional<Item> popitem(IndexEnd end = IndexEnd::last) {
    const std::optional<detail::IndexCore::Item> item = core_.take(end);
    return item ? std::optional<Item>(item_of(core_, *item)) : std::nullopt;
  }
  // Returns it, and does not remove it.
  std::optional<Item> peekitem(IndexEnd end = IndexEnd::last) const {
    const detail::IndexCore::Page page = core_.list({.side = end, .at_most = 1});
    return page.items.empty() ? std::nullopt
                              : std::optional<Item>(item_of(core_, page.items.front()));
  }

  // On sqlite, it takes the longer, the more there are.
  std::size_t size() const { return static_cast<std::size_t>(core_.count()); }
  bool empty() const { return core_.list({.at_most = 1}).items.empty(); }
  // Removes all items; a later insert may be of other types. Returns how many there were.
  std::size_t clear() { return static_cast<std::size_t>(core_.clear()); }

  // All items, in order.
  IndexRange<K, V> items() const { return IndexRange<K, V>(core_); }
  auto begin() const { return items().begin(); }
  std::default_sentinel_t end() const noexcept { return {}; }
  // The items from the last one on.
  IndexRange<K, V> reversed() const { return items().reversed(); }
  // The items with keys from `from` on, and less than `to`. These three throw ValueError if the
  // index is by insertion.
  IndexRange<K, V> between(const K& from, const K& to) const {
    return range("between()", &from, &to);
  }
  IndexRange<K, V> from(const K& key) const { return range("from()", &key, nullptr); }
  IndexRange<K, V> until(const K& key) const { return range("until()", nullptr, &key); }

  const std::string& name() const noexcept { return core_.name(); }

 private:
  friend class IndexRange<K, V>;

  Index(Cache* cache, KeyView name, detail::IndexCore::Order order, CollectionOptions options)
      : core_(cache, name, order, detail::ordered::type_text<K>(), detail::value_text<V>(),
              std::move(options)) {}

  detail::IndexCore::Put put(const K& key, const V& value, PutMode mode) {
    std::string scratch;
    return core_.put(ordered_bytes(key), core_.pack(encode_value(value, scratch)), mode);
  }
  V value_of(std::string_view bytes) const { return value_of(core_, bytes); }
  static V value_of(const detail::IndexCore& core, std::string_view bytes) {
    const std::string unpacked = core.unpack(bytes);
    std::optional<V> value = Codec<V>::decode(unpacked);
    if (!value) core.throw_unreadable("value");
    return *std::move(value);
  }
  static Item item_of(const detail::IndexCore& core, const detail::IndexCore::Item& item) {
    std::optional<K> key = from_ordered_bytes<K>(item.key);
    if (!key) core.throw_unreadable("key");
    return {*std::move(key), value_of(core, item.value)};
  }
  IndexRange<K, V> range(std::string_view function, const K* from, const K* to) const {
    core_.must_be_by_key(function);
    IndexRange<K, V> range(core_);
    if (from != nullptr) range.from_ = ordered_bytes(*from);
    if (to != nullptr) range.to_ = ordered_bytes(*to);
    return range;
  }

  detail::IndexCore core_;
};

// Copies go on together. ++ may read the next page.
template <Orderable K, Cacheable V>
class IndexRange<K, V>::Iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = std::pair<K, V>;
  using difference_type = std::ptrdiff_t;

  const value_type& operator*() const noexcept { return *state_->item; }
  const value_type* operator->() const noexcept { return &*state_->item; }
  Iterator& operator++() {
    state_->next();
    return *this;
  }
  void operator++(int) { state_->next(); }
  friend bool operator==(const Iterator& iterator, std::default_sentinel_t) noexcept {
    return !iterator.state_->item;
  }

 private:
  friend class IndexRange;

  struct State {
    explicit State(const IndexRange& of) : range(of) { read_page(); }

    void next() {
      if (at == page.items.size() && page.more) read_page();
      if (at == page.items.size()) {
        item.reset();
      } else {
        item.emplace(Index<K, V>::item_of(*range.core_, page.items[at++]));
      }
    }
    // What follows the last item that was read.
    void read_page() {
      using Core = detail::IndexCore;
      if (!page.items.empty()) {
        const Core::Item& last = page.items.back();
        const bool forwards = range.end_ == IndexEnd::first;
        (forwards ? after : before) = last.position;
        if (range.core_->order() == Core::Order::by_key) {
          if (forwards) range.from_ = last.key + '\0';
          if (!forwards) range.to_ = last.key;
        }
      }
      page = range.core_->list({.from = range.from_,
                                .to = range.to_,
                                .after = after,
                                .before = before,
                                .side = range.end_,
                                .at_most = range.page_});
      at = 0;
    }

    IndexRange range;  // of what is still to be read
    std::uint64_t after = 0;
    std::uint64_t before = UINT64_MAX;
    detail::IndexCore::Page page;
    std::size_t at = 0;  // in the page: the next item
    std::optional<value_type> item;
  };

  explicit Iterator(const IndexRange& range) : state_(std::make_shared<State>(range)) {
    state_->next();
  }

  std::shared_ptr<State> state_;
};

}  // namespace polycache
