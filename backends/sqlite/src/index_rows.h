// The indexes of a store (IndexExtension), as rows of two tables of its database of collections:
// one of the indexes, one of their items. Indexes by insertion have a second order, by position.
//
// Nothing here begins a transaction. put(), erase(), take(), list() and clear() REQUIRE one around
// them; all REQUIRE that their caller is Inside. Where an index has another type, ValueError is
// thrown.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "connection.h"
#include "polycache/author/backend.h"
#include "polycache/author/index_extension.h"

namespace polycache::sqlite {

class IndexRows {
 public:
  using Place = IndexExtension::Place;
  using Range = IndexExtension::Range;

  static constexpr const char* columns_of_indexes =
      "(id INTEGER PRIMARY KEY, name BLOB UNIQUE, type BLOB)";
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
  // with each item, and that they grow where an index was empty meanwhile.
  IndexExtension::Put put(const Place& place, std::string_view key, std::string_view value,
                          PutMode mode, std::int64_t order, std::string& held);
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
  // The id of the index; 0: there is none.
  std::int64_t id_of(const Place& place);
  std::int64_t made(const Place& place);
  std::int64_t next_position(std::int64_t id, std::int64_t order);
  std::int64_t count_items(std::int64_t id);
  bool list_rows(Statement& statement, const Range& range, IndexExtension::EntrySink sink);

  Statement find_index_, add_index_, count_, erase_index_;
  Statement find_in_index_, last_position_, insert_, update_, erase_, clear_;
  Statement take_first_, take_last_, take_oldest_, take_newest_;
  Statement forwards_, forwards_to_, backwards_, backwards_from_, oldest_, newest_;
};

}  // namespace polycache::sqlite
