// The deques of a store (DequeExtension), as rows of a table of its database of collections. The
// places of a deque's values are numbers without gaps, so its ends say how many there are.
//
// Nothing here begins a transaction. Functions that change several rows REQUIRE one around them;
// all REQUIRE that their caller is Inside.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "connection.h"
#include "polycache/author/backend.h"
#include "polycache/author/deque_extension.h"

namespace polycache::sqlite {

class DequeRows {
 public:
  using End = DequeExtension::End;

  static constexpr const char* columns =
      "(key BLOB, place INTEGER, value BLOB, PRIMARY KEY(key, place)) WITHOUT ROWID";

  // `table`: its name in SQL. Table::collections_table() has made it.
  DequeRows(Connection& connection, const std::string& table);

  // One value, without a limit: needs no transaction.
  void push_one(std::string_view key, End end, std::string_view value);
  void push(std::string_view key, End end, std::span<const std::string_view> values,
            std::uint64_t most);
  // Needs no transaction. Writes the value to `value`.
  bool pop(std::string_view key, End end, std::string& value);
  bool at(std::string_view key, std::int64_t place, std::string& value);
  std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most, ValueSink sink);
  std::uint64_t size(std::string_view key);
  void rotate(std::string_view key, std::int64_t steps);
  bool erase(std::string_view key);

 private:
  struct Ends {
    std::int64_t first = 0;
    std::int64_t count = 0;  // 0: there is no such deque
  };
  Ends ends(std::string_view key);
  void insert(std::string_view key, std::int64_t place, std::string_view value);
  void erase(std::string_view key, std::int64_t first, std::int64_t last);
  void move(std::string_view key, std::int64_t first, std::int64_t last, std::int64_t by);

  Statement ends_, push_front_, push_back_, insert_, pop_front_, pop_back_;
  Statement from_front_, from_back_, list_, move_, erase_range_, erase_;
  Connection& connection_;
};

}  // namespace polycache::sqlite
