// How a session runs one operation on its table: it is retried after a repair, and takes the locks
// that it needs.

#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "session.h"

namespace polycache::sqlite {

// How often an operation is retried on a reopened file: another process may move or replace the
// file more than once meanwhile.
inline constexpr int most_tries = 3;

template <class Operation>
auto Session::perform(Operation operation) {
  patience_.renew();
  for (int again = 0;;) {
    try {
      // Discards damage that an earlier operation found but did not report.
      if (table_ != nullptr) table_->table.take_damaged();
      return operation();
    } catch (const DatabaseError& error) {
      if (error.cause() == DatabaseError::Cause::interrupted) continue;
      // As a plain BackendError, to which the core adds alias and operation.
      if (again++ == most_tries || !repair(error)) throw BackendError(error);
    }
  }
}

template <class Operation>
auto Session::read(Operation operation) {
  return perform([&] {
    const Moment now = moment(0);
    Table& table = open_table(now);
    tag_stamps_.note_read(now.milliseconds);
    Turn turn = alias_->place == Connection::Place::memory ? take_turn() : Turn();
    return operation(table, now, turn);
  });
}

// `entries`: how many may be written.
template <class Operation>
auto Session::write(std::size_t entries, Operation operation) {
  return perform([&] {
    const Moment now = moment(std::max<std::size_t>(entries, 1));
    Table& table = open_table(now);
    const Turn turn = take_turn();
    const Inside inside(table.connection());
    notice_tag_index(table);
    if constexpr (std::is_void_v<decltype(operation(table, now))>) {
      operation(table, now);
      tidy(table, entries, now);
    } else {
      const auto result = operation(table, now);
      tidy(table, entries, now);
      return result;
    }
  });
}

}  // namespace polycache::sqlite
