// Indexes, in the database of the collections.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "index_rows.h"
#include "near_tier.h"
#include "polycache/error.h"
#include "session.h"
#include "session_operation.h"

namespace polycache::sqlite {
namespace {

// The key of an item in the near tier of the collections. Texts of other lengths make other keys.
void write_near_key(std::string& out, const IndexExtension::Place& place, std::string_view key) {
  out.clear();
  for (const std::string_view text : {place.key, place.type}) {
    const auto size = static_cast<std::uint64_t>(text.size());
    out.append(reinterpret_cast<const char*>(&size), sizeof size).append(text);
  }
  out.append(key);
}

}  // namespace

bool Session::find(const IndexExtension::Place& place, std::string_view key, ValueSink sink) {
  Session& own = collections();
  const bool found = own.read([&](Table& table, const Moment& now, Turn&) {
    IndexRows& indexes = table.indexes();
    const Inside inside(table.connection());
    const std::optional<LogStamp> before = own.near_stamp(table);
    if (!before) return indexes.find(place, key, buffer_);
    NearTier& near = *own.alias_->near;
    write_near_key(near_key_, place, key);
    std::int64_t expires = 0;
    if (near.find(near_key_, *before, now.milliseconds, buffer_, expires)) return true;
    if (!indexes.find(place, key, buffer_)) return false;
    near.keep(near_key_, buffer_, no_expiry, *before, now.milliseconds);
    return true;
  });
  if (found) sink(buffer_);
  give_back_buffer();
  return found;
}

IndexExtension::Put Session::put(const IndexExtension::Place& place, std::string_view key,
                                 std::string_view value, PutMode mode, ValueSink sink) {
  const std::int64_t limit = alias_->max_value_bytes;
  if (limit > 0 && key.size() + value.size() > static_cast<std::size_t>(limit)) {
    throw ValueError("a key of " + std::to_string(key.size()) + " bytes with a value of " +
                     std::to_string(value.size()) +
                     " was not stored: both are larger than max_value_bytes");
  }
  const IndexExtension::Put put = collections().write(0, [&](Table& table, const Moment& now) {
    IndexRows& indexes = table.indexes();
    const auto try_to_put = [&] {
      return indexes.put(place, key, value, mode, now.order, buffer_);
    };
    if (const auto done = try_to_put()) return *done;
    Transaction transaction(table, Transaction::Kind::write);
    indexes.make(place);
    const IndexExtension::Put done = try_to_put().value();
    transaction.commit();
    return done;
  });
  if (!put.stored && put.was_there) sink(buffer_);
  give_back_buffer();
  return put;
}

bool Session::erase(const IndexExtension::Place& place, std::string_view key, ValueSink sink) {
  const bool erased = collections().write(
      0, [&](Table& table, const Moment&) { return table.indexes().erase(place, key, buffer_); });
  if (erased) sink(buffer_);
  give_back_buffer();
  return erased;
}

bool Session::take(const IndexExtension::Place& place, IndexExtension::Side side,
                   IndexExtension::EntrySink sink) {
  IndexRows::Taken taken;
  const bool done = collections().write(
      0, [&](Table& table, const Moment&) { return table.indexes().take(place, side, taken); });
  if (done) sink({.key = taken.key, .value = taken.value, .position = taken.position});
  return done;
}

bool Session::list(const IndexExtension::Place& place, const IndexExtension::Range& range,
                   IndexExtension::EntrySink sink) {
  struct Item {
    std::size_t key_end;
    std::size_t value_end;
    std::uint64_t position;
  };
  std::string bytes;
  std::vector<Item> page;
  const bool more = collections().read([&](Table& table, const Moment&, Turn&) {
    IndexRows& indexes = table.indexes();
    const Inside inside(table.connection());
    bytes.clear();  // of a first try
    page.clear();
    return indexes.list(place, range, [&](const IndexExtension::Entry& entry) {
      bytes.append(entry.key);
      const std::size_t key_end = bytes.size();
      bytes.append(entry.value);
      page.push_back({key_end, bytes.size(), entry.position});
    });
  });
  std::size_t begin = 0;
  for (const Item& item : page) {
    const std::string_view all = bytes;
    sink({.key = all.substr(begin, item.key_end - begin),
          .value = all.substr(item.key_end, item.value_end - item.key_end),
          .position = item.position});
    begin = item.value_end;
  }
  return more;
}

std::uint64_t Session::count(const IndexExtension::Place& place) {
  return collections().read([&](Table& table, const Moment&, Turn&) {
    IndexRows& indexes = table.indexes();
    const Inside inside(table.connection());
    return indexes.count(place);
  });
}

std::uint64_t Session::clear(const IndexExtension::Place& place) {
  return collections().write(0, [&](Table& table, const Moment&) {
    IndexRows& indexes = table.indexes();
    Transaction transaction(table, Transaction::Kind::write);
    const std::uint64_t count = indexes.clear(place);
    transaction.commit();
    return count;
  });
}

}  // namespace polycache::sqlite
