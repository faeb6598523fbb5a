// Deques, in the database of the collections.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "deque_rows.h"
#include "session.h"
#include "session_operation.h"

namespace polycache::sqlite {

void Session::push(std::string_view key, End end, std::span<const std::string_view> values,
                   std::uint64_t most) {
  collections().write(0, [&](Table& table, const Moment&) {
    DequeRows& deques = table.deques();
    if (values.size() == 1 && most == 0) return deques.push_one(key, end, values.front());
    Transaction transaction(table, Transaction::Kind::write);
    deques.push(key, end, values, most);
    transaction.commit();
  });
}

bool Session::pop(std::string_view key, End end, ValueSink sink) {
  const bool popped = collections().write(
      0, [&](Table& table, const Moment&) { return table.deques().pop(key, end, buffer_); });
  if (popped) sink(buffer_);
  give_back_buffer();
  return popped;
}

bool Session::at(std::string_view key, std::int64_t place, ValueSink sink) {
  const bool found = collections().read([&](Table& table, const Moment&, Turn&) {
    DequeRows& deques = table.deques();
    const Inside inside(table.connection());
    return deques.at(key, place, buffer_);
  });
  if (found) sink(buffer_);
  give_back_buffer();
  return found;
}

std::size_t Session::list(std::string_view key, std::uint64_t from, std::size_t at_most,
                          ValueSink sink) {
  collections().read([&](Table& table, const Moment&, Turn&) {
    DequeRows& deques = table.deques();
    const Inside inside(table.connection());
    buffer_.clear();
    hits_.clear();
    deques.list(key, from, at_most, [&](std::string_view value) {
      buffer_.append(value);
      hits_.push_back({.index = hits_.size(), .expires = 0, .end = buffer_.size()});
    });
  });
  std::size_t begin = 0;
  for (const Hit& hit : hits_) {
    sink(std::string_view(buffer_).substr(begin, hit.end - begin));
    begin = hit.end;
  }
  give_back_buffer();
  return hits_.size();
}

std::uint64_t Session::size(std::string_view key) {
  return collections().read([&](Table& table, const Moment&, Turn&) {
    DequeRows& deques = table.deques();
    const Inside inside(table.connection());
    return deques.size(key);
  });
}

void Session::rotate(std::string_view key, std::int64_t steps) {
  collections().write(0, [&](Table& table, const Moment&) {
    DequeRows& deques = table.deques();
    Transaction transaction(table, Transaction::Kind::write);
    deques.rotate(key, steps);
    transaction.commit();
  });
}

bool Session::erase_deque(std::string_view key) {
  return collections().write(
      0, [&](Table& table, const Moment&) { return table.deques().erase(key); });
}

}  // namespace polycache::sqlite
