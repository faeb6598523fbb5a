// A copy of the live entries of a shard, in the order of eviction, for code that holds no lock.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "entry.h"

namespace polycache::locmem {

// Short values are copied, large ones shared.
class ShardCopy {
 public:
  struct Shown {
    std::string_view key;
    std::string_view value;
    std::int64_t deadline;
    std::uint8_t standing;
  };

  // What is copied under one lock. It has room for that before the lock is taken.
  class Batch {
   public:
    static constexpr std::size_t entries = 128;
    static constexpr std::size_t bytes = std::size_t{64} << 10U;

    Batch() {
      items_.reserve(2 * entries);
      text_.reserve(2 * bytes);
    }
    // REQUIRES: the lock of the entry's shard is held.
    void add(const Entry& entry, std::uint8_t standing) {
      ValueOwner large;
      if (entry.is_large()) {
        entry.large()->acquire();
        large = ValueOwner(entry.large());
      }
      items_.push_back({&entry, text_.size(), entry.key().size(),
                        entry.is_large() ? 0 : entry.value_size(), entry.deadline, standing,
                        std::move(large)});
      text_ += entry.key();
      if (!entry.is_large()) text_ += entry.value();
    }
    bool is_full() const noexcept { return items_.size() >= entries || text_.size() >= bytes; }

   private:
    friend class ShardCopy;
    struct Item {
      const Entry* entry;  // only compared: it may be gone
      std::size_t begin;
      std::size_t key_size;
      std::size_t value_size;  // of a copied value
      std::int64_t deadline;
      std::uint8_t standing;
      ValueOwner large;
    };
    std::vector<Item> items_;
    std::string text_;
  };

  void clear() noexcept {
    items_.clear();
    text_.clear();
    order_.clear();
  }

  // Moves what the batch has to the end of this copy.
  void take(Batch& batch) {
    for (Batch::Item& item : batch.items_) {
      item.begin += text_.size();
      items_.push_back(std::move(item));
    }
    text_ += batch.text_;
    batch.items_.clear();
    batch.text_.clear();
  }

  // The addresses of entries in the order of eviction. Entries that are missing there come last.
  std::vector<const Entry*>& order() noexcept { return order_; }

  // Calls visit(const Shown&) for each entry in that order.
  template <class Visit>
  void visit(Visit visit) const {
    for (const std::size_t index : sorted()) {
      const Batch::Item& item = items_[index];
      const std::string_view text = text_;
      visit(Shown{text.substr(item.begin, item.key_size),
                  item.large.get() != nullptr
                      ? item.large.get()->bytes()
                      : text.substr(item.begin + item.key_size, item.value_size),
                  item.deadline, item.standing});
    }
  }

 private:
  std::vector<std::size_t> sorted() const {
    using Ranked = std::pair<const Entry*, std::size_t>;
    std::vector<Ranked> ranks;
    ranks.reserve(order_.size());
    for (const Entry* entry : order_) ranks.emplace_back(entry, ranks.size());
    std::sort(ranks.begin(), ranks.end());
    constexpr auto none = static_cast<std::size_t>(-1);
    std::vector<std::size_t> by_rank(order_.size(), none);
    std::vector<std::size_t> unranked;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const auto found =
          std::lower_bound(ranks.begin(), ranks.end(), Ranked(items_[i].entry, std::size_t{0}));
      const bool is_known = found != ranks.end() && found->first == items_[i].entry;
      // Another entry may have its address meanwhile.
      if (is_known && by_rank[found->second] == none) {
        by_rank[found->second] = i;
      } else {
        unranked.push_back(i);
      }
    }
    std::vector<std::size_t> result;
    result.reserve(items_.size());
    std::copy_if(by_rank.begin(), by_rank.end(), std::back_inserter(result),
                 [](std::size_t index) { return index != none; });
    result.insert(result.end(), unranked.begin(), unranked.end());
    return result;
  }

  std::vector<Batch::Item> items_;
  std::string text_;
  std::vector<const Entry*> order_;
};

}  // namespace polycache::locmem
