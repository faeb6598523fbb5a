// A deque that threads and processes share, kept by the store of a cache.
//
//   polycache::Deque<std::string> jobs("jobs");       // over the alias "default"
//   jobs.push_back("resize 42.png");
//   while (const auto job = jobs.pop_front()) work(*job);
//
// Deques are no entries of the cache: no lifetime, no limit of entries and no eviction removes
// their values. On sqlite they are in a database of their own, "x.db-collections" next to "x.db",
// on redis in a list each, on locmem in the memory of the process. clear() of the cache keeps them,
// except on redis, where it empties the database. memcached and dummy have no deques; a redis that
// may evict them is refused (CollectionOptions::evicting_store).
//
// Each function takes effect in one step and one round trip, unless it says otherwise, so no value
// is lost between two users and none is popped twice. A failure throws BackendError, whatever
// "on_error" is; what a call whose answer was lost has done is then not known: a popped value may
// be gone, a pushed one may be there. No function waits for a value.
//
// Values are stored with a mark of their type (CollectionOptions::type) and changed by the alias's
// transforms, as entries are. A deque that has values of another type throws ValueError when one is
// read.
//
// A deque that is made with an alias may be used by all threads at once; one that is made with a
// Cache is used by that cache's thread alone. Registry and cache must outlive its use. Two deques
// are the same if they have one name, one store and one prefix; versions of the alias do not
// change them.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/cache.h"
#include "polycache/codec.h"
#include "polycache/collection_options.h"
#include "polycache/detail/deque_core.h"
#include "polycache/detail/type_mark.h"
#include "polycache/key.h"

namespace polycache {

struct DequeOptions {
  // How many values it keeps [without limit]. Each push removes what exceeds it from the other end,
  // in the same step. It belongs to the object, not to the store: a longer deque stays until the
  // next push.
  std::optional<std::uint64_t> maxlen = {};
  // How many values an iteration reads at once.
  std::size_t page = 100;
  CollectionOptions collection = {};
};

template <class T>
class Deque {
  static_assert(Cacheable<T>,
                "no codec for this type: include <polycache/codec_json.h>, or specialise Codec");
  using End = DequeExtension::End;

 public:
  using value_type = T;

  // Throws ValueError for an empty name, a maxlen of 0 or a page of 0; BackendError
  // (Kind::unsupported) if the store has no deques, ConfigError if it may evict them. A store that
  // cannot be reached now is asked later.
  explicit Deque(KeyView name, const DequeOptions& options = {}) : Deque(nullptr, name, options) {}
  Deque(Cache& cache, KeyView name, const DequeOptions& options = {})
      : Deque(&cache, name, options) {}

  void push_back(const T& value) { push(End::back, value); }
  void push_front(const T& value) { push(End::front, value); }

  // Adds all values, one after the other: the last one of extend_front() becomes the front. In
  // steps of at most 256 values or about 1 MiB: others may come between two steps, and a failure
  // leaves the steps before it.
  template <std::ranges::input_range Values>
  void extend_back(Values&& values) {
    extend(End::back, values);
  }
  void extend_back(std::initializer_list<T> values) { extend(End::back, values); }
  template <std::ranges::input_range Values>
  void extend_front(Values&& values) {
    extend(End::front, values);
  }
  void extend_front(std::initializer_list<T> values) { extend(End::front, values); }

  // Removes the value at that end; nothing if there is none. Of several callers, one gets it. A
  // value that cannot be read, as one of another type, is put back at that end, in a second step,
  // before ValueError is thrown.
  std::optional<T> pop_back() { return pop(End::back); }
  std::optional<T> pop_front() { return pop(End::front); }

  // The value at that end, which stays.
  std::optional<T> peek_back() const { return at(-1); }
  std::optional<T> peek_front() const { return at(0); }
  // The value at that place: 0 is the front, -1 the back. Nothing if there is none. On redis, it
  // takes the longer, the further the nearer end is.
  std::optional<T> at(std::int64_t place) const {
    const std::optional<std::string> bytes = core_->at(place);
    return bytes ? std::optional<T>(decode(*bytes)) : std::nullopt;
  }

  std::uint64_t size() const { return core_->size(); }
  bool empty() const { return size() == 0; }

  // Moves so many values one after the other from the back to the front; if negative, from the
  // front to the back. In one step, whose time grows with the steps, up to half the size. Throws
  // ValueError for more than 2^53 steps.
  void rotate(std::int64_t steps = 1) { core_->rotate(steps); }

  // Removes all values. Returns whether there were any.
  bool clear() { return core_->clear(); }

  // The values from that place on, all of one moment; at most so many.
  std::vector<T> values(std::uint64_t from = 0, std::size_t at_most = SIZE_MAX) const {
    std::vector<T> all;
    for (const std::string& bytes : core_->list(from, at_most)) all.push_back(decode(bytes));
    return all;
  }

  // Iterates from the front to the back, in pages of DequeOptions::page values: for (const T& value
  // : deque). The deque may change meanwhile. Each page has the values that are at its places at
  // the moment when it is read: an iteration skips as many values as are popped from the front
  // before it arrives, and repeats as many as are pushed there. It ends at the back, or after as
  // many values as the deque had when the second page was due, so that it ends though others push.
  // What is to see one moment uses values(). An iterator belongs to one thread, and ends with the
  // deque.
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    explicit Iterator(const Deque& deque) : walk_(std::make_shared<Walk>(deque)) {}
    const T& operator*() const { return walk_->page[walk_->next]; }
    const T* operator->() const { return &**this; }
    Iterator& operator++() {
      walk_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& iterator, std::default_sentinel_t) {
      return iterator.walk_->next == iterator.walk_->page.size();
    }

   private:
    struct Walk {
      explicit Walk(const Deque& of) : deque(of), page(of.values(0, of.page_)), read(page.size()) {}
      void advance() {
        if (++next < page.size() || page.size() < deque.page_) return;
        if (!end) end = deque.size();
        next = 0;
        page.clear();
        if (read >= *end) return;
        page = deque.values(read, std::min<std::uint64_t>(deque.page_, *end - read));
        read += page.size();
      }

      const Deque& deque;
      std::vector<T> page;
      std::size_t next = 0;    // in the page
      std::uint64_t read = 0;  // values
      std::optional<std::uint64_t> end = {};
    };

    std::shared_ptr<Walk> walk_;  // copies of an iterator advance together
  };
  Iterator begin() const { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

  const std::string& name() const noexcept { return core_->name(); }
  std::optional<std::uint64_t> maxlen() const noexcept { return core_->maxlen(); }

 private:
  Deque(Cache* cache, KeyView name, const DequeOptions& options)
      : core_(std::make_unique<detail::DequeCore>(
            cache, name, detail::type_mark<T>(), options.maxlen, options.page, options.collection)),
        page_(options.page) {}

  static std::string_view encode(const T& value, std::string& scratch) {
    return Codec<T>::encode(value, scratch);
  }
  T decode(std::string_view bytes) const {
    std::optional<T> value = Codec<T>::decode(bytes);
    if (!value) core_->throw_undecodable();
    return *std::move(value);
  }
  void push(End end, const T& value) {
    std::string scratch;
    core_->push(end, encode(value, scratch));
  }
  std::optional<T> pop(End end) {
    std::optional<T> value;
    core_->pop(end, [&](std::string_view bytes) { value.emplace(decode(bytes)); });
    return value;
  }
  template <class Values>
  void extend(End end, Values& values) {
    detail::DequeCore::Batch batch(*core_, end);
    std::string scratch;
    for (const T& value : values) batch.add(encode(value, scratch));
    batch.finish();
  }

  std::unique_ptr<detail::DequeCore> core_;
  std::size_t page_;
};

}  // namespace polycache
