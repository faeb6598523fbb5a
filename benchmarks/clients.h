// What the stores that have a client library are asked to do: the same keys, values and
// operations through caches["alias"] and on the bare client.

#pragma once

#include <polycache/polycache.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "duel.h"

namespace duel {

using Keys = std::vector<std::string>;
using Items = std::vector<std::pair<std::string, std::string>>;

struct Pace {
  std::size_t operations;  // of one slice
  std::size_t slices;
};

struct ClientRound {
  std::string alias;
  std::string name;  // what the operations' names begin with
  std::size_t value_bytes = 100;
  std::size_t keys = 10'000;

  Pace reads = {50, 2000};
  Pace writes = {50, 2000};
  Pace bulk_reads = {5, 2000};
  Pace bulk_writes = {5, 2000};
  Average of_writes = Average::median;

  std::optional<Goal> get = {};
  std::optional<Goal> set = {};
  std::optional<Goal> get_many = {};
  std::optional<Goal> set_many = {};
};

// Bare is a class with
//   std::optional<std::string> get(const std::string& key);
//   bool set(const std::string& key, std::string_view value);
//   std::vector<std::optional<std::string>> get_many(const Keys& keys);
//   bool set_many(const Items& items);
template <class Bare>
class Clients {
 public:
  // Writes every key on both sides.
  Clients(ClientRound round, Bare& bare)
      : round_(std::move(round)), bare_(bare), popular_(popular(round_.keys, 20'000)) {
    for (std::size_t i = 0; i < round_.keys; ++i) {
      keys_.push_back("user:profile:" + std::to_string(i * 7919 % round_.keys));
      finals_.push_back(cache().final_key(keys_.back()));
    }
    for (std::size_t first = 0; first < round_.keys; first += bulk_keys) {
      key_groups_.push_back(part(keys_, first));
      final_groups_.push_back(part(finals_, first));
      expect(cache().set_many(items(key_groups_.back())).empty());
      expect(bare_.set_many(items(final_groups_.back())));
    }
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  const std::string& key(std::size_t i) const { return keys_[i % keys_.size()]; }
  const std::string& final_key(std::size_t i) const { return finals_[i % finals_.size()]; }

  void run(Table& table, const Stopwatch& stopwatch) {
    for (const Contest& contest : {get(), miss(), set(), mixed(), get_many(), set_many()}) {
      table.add(contest, stopwatch);
    }
  }

 private:
  static constexpr std::size_t bulk_keys = 100;  // keys of one bulk operation

  static Keys part(const Keys& all, std::size_t first) {
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    return Keys(begin, begin + static_cast<std::ptrdiff_t>(bulk_keys));
  }
  static const Keys& group(const std::vector<Keys>& groups, std::size_t i) {
    return groups[i * 37 % groups.size()];
  }

  polycache::Cache& cache() const { return polycache::caches[round_.alias]; }

  // Another one each time: SQLite skips a page that does not change.
  std::string_view next_value() {
    ++written_;
    value_.resize(round_.value_bytes, 'v');
    return value_.replace(0, sizeof written_, reinterpret_cast<const char*>(&written_),
                          sizeof written_);
  }
  Items items(const Keys& keys) {
    Items items;
    items.reserve(keys.size());
    for (const std::string& key : keys) items.emplace_back(key, next_value());
    return items;
  }

  Contest contest(const char* operation, Pace pace, const std::optional<Goal>& goal = {}) const {
    return {.name = round_.name + " " + operation,
            .operations = pace.operations,
            .slices = pace.slices,
            .goal = goal,
            .ours = {}};
  }

  Contest get() {
    Contest get = contest("get", round_.reads, round_.get);
    get.ours =
        each([this](std::size_t i) { expect(cache().get(key(i))->size() == round_.value_bytes); });
    get.theirs = each(
        [this](std::size_t i) { expect(bare_.get(final_key(i))->size() == round_.value_bytes); });
    return get;
  }

  Contest miss() {
    Contest miss = contest("get, miss", round_.reads);
    miss.ours = each([this](std::size_t) { expect(!cache().get(none_)); });
    miss.theirs = each([this](std::size_t) { expect(!bare_.get(final_none_)); });
    return miss;
  }

  Contest set() {
    Contest set = contest("set", round_.writes, round_.set);
    set.average = round_.of_writes;
    set.ours = each([this](std::size_t i) { expect(cache().set(key(i), next_value())); });
    set.theirs = each([this](std::size_t i) { expect(bare_.set(final_key(i), next_value())); });
    return set;
  }

  Contest mixed() {
    Contest mixed = contest("get:set 95:5, zipf", round_.reads);
    mixed.average = round_.of_writes;
    mixed.ours = each([this](std::size_t i) {
      const std::string& k = keys_[popular_[i % popular_.size()]];
      expect(i % 20 == 0 ? cache().set(k, next_value()) : cache().get(k).has_value());
    });
    mixed.theirs = each([this](std::size_t i) {
      const std::string& k = finals_[popular_[i % popular_.size()]];
      expect(i % 20 == 0 ? bare_.set(k, next_value()) : bare_.get(k).has_value());
    });
    return mixed;
  }

  Contest get_many() {
    Contest many = contest("get_many(100), per key", round_.bulk_reads, round_.get_many);
    many.keys_each = bulk_keys;
    many.ours = each([this](std::size_t i) {
      expect(cache().get_many(group(key_groups_, i)).back().has_value());
    });
    many.theirs = each([this](std::size_t i) {
      expect(bare_.get_many(group(final_groups_, i)).back().has_value());
    });
    return many;
  }

  Contest set_many() {
    Contest many = contest("set_many(100), per key", round_.bulk_writes, round_.set_many);
    many.keys_each = bulk_keys;
    many.average = round_.of_writes;
    many.ours = each_prepared(
        [this](std::size_t i) { return items(group(key_groups_, i)); },
        [this](std::size_t, const Items& made) { expect(cache().set_many(made).empty()); });
    many.theirs =
        each_prepared([this](std::size_t i) { return items(group(final_groups_, i)); },
                      [this](std::size_t, const Items& made) { expect(bare_.set_many(made)); });
    return many;
  }

  const ClientRound round_;
  Bare& bare_;
  const std::vector<std::size_t> popular_;
  Keys keys_;
  Keys finals_;
  std::vector<Keys> key_groups_;
  std::vector<Keys> final_groups_;
  const std::string none_ = "user:profile:none";
  const std::string final_none_ = cache().final_key(none_);
  std::uint64_t written_ = 0;
  std::string value_;
};

}  // namespace duel
