// The indexes of a store (IndexExtension), as rows of two tables of its database of collections:
// one of the indexes, one of their items. Indexes by insertion have a second order, by position.
//
// An id is never used twice, and an index keeps its type while it exists. Both tables lose an index
// in one transaction, so an item under an id proves that the index exists, with the type that it
// had. Ids are therefore remembered: a statement by a remembered id is right if it finds an item.
// If it finds none, the name is looked up.
//
// Nothing here begins a transaction: make() and clear() REQUIRE one around them, the others need
// none. All REQUIRE that their caller is Inside. Where an index has another type, ValueError is
// thrown.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connection.h"
#include "polycache/author/backend.h"
#include "polycache/author/index_extension.h"

namespace polycache::sqlite {

class IndexRows {
 public:
  using Place = IndexExtension::Place;
  using Range = IndexExtension::Range;

  static constexpr const char* columns_of_indexes =
      "(id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB UNIQUE, type BLOB)";
  static constexpr const char* columns_of_items =
      "(in_index INTEGER, key BLOB, value BLOB, position INTEGER, PRIMARY KEY(in_index, key)) "
      "WITHOUT ROWID";
  // What follows the name of the table of the items in CREATE INDEX.
  static constexpr const char* index_of_positions = "(in_index, position) WHERE position > 0";

  // The names of the tables in SQL. They have been made.
  IndexRows(Connection& connection, const std::string& indexes, const std::string& items);

  // As the functions of IndexExtension; what is found is written to the strings.
  bool find(const Place& place, std::string_view key, std::string& value);
  // `order`: the time, in microseconds. Positions are times, so that no counter has to be written
  // with each item, and that they grow where an index was empty meanwhile. Returns nothing if the
  // index must be made first: then call make() and put() in one transaction.
  std::optional<IndexExtension::Put> put(const Place& place, std::string_view key,
                                         std::string_view value, PutMode mode, std::int64_t order,
                                         std::string& held);
  void make(const Place& place);
  bool erase(const Place& place, std::string_view key, std::string& value);
  struct Taken {
    std::string key;
    std::string value;
    std::uint64_t position = 0;
  };
  bool take(const Place& place, IndexExtension::Side side, Taken& taken);
  bool list(const Place& place, const Range& range, IndexExtension::EntrySink sink);
  std::uint64_t count(const Place& place);
  std::uint64_t clear(const Place& place);

 private:
  // The id of an index, and its type.
  struct Known {
    std::string name;
    std::string type;
    std::int64_t id;
  };

  std::int64_t known_id(const Place& place) const noexcept;
  void remember(const Place& place, std::int64_t id);
  // 0: there is no such index.
  std::int64_t look_up(const Place& place);
  // Calls by_id(id) until it returns true, or the index has that id now.
  template <class ById>
  bool with_id(const Place& place, ById by_id);

  bool find_item(std::int64_t id, std::string_view key, std::string& value);
  // Whether an item was there, or stored.
  bool update(std::int64_t id, std::string_view key, std::string_view value);
  bool insert(std::int64_t id, std::string_view key, std::string_view value, std::int64_t order);
  std::int64_t count_items(std::int64_t id);
  Statement& taking(const Place& place, IndexExtension::Side side) noexcept;
  Statement& listing(const Place& place, const Range& range) noexcept;

  Statement find_index_, make_, count_, erase_index_;
  Statement find_, insert_, update_, erase_, clear_;
  Statement take_first_, take_last_, take_oldest_, take_newest_;
  Statement forwards_, forwards_to_, backwards_, backwards_from_, oldest_, newest_;
  Connection& connection_;
  std::vector<Known> known_;
  std::size_t forget_next_ = 0;
};

}  // namespace polycache::sqlite
