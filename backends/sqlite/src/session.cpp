#include "session.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "polycache/author/counter.h"
#include "polycache/author/fork.h"
#include "polycache/author/text.h"
#include "session_operation.h"

namespace polycache::sqlite {
namespace {

// How many bytes of values a bulk read copies before it passes them on, and how large a buffer is
// kept for the next operation.
constexpr std::size_t many_bytes = std::size_t{256} << 10U;
constexpr std::size_t kept_buffer = std::size_t{1} << 20U;

// How many rows a page of a scan, and a step of erase_pattern(), examine at most.
constexpr std::size_t most_listed = 10'000;
constexpr std::int64_t rows_of_step = 256;

// Where a page begins.
std::int64_t first_id(std::string_view cursor) {
  std::int64_t id = INT64_MIN;
  if (cursor.empty()) return id;
  const char* const end = cursor.data() + cursor.size();
  const auto read = std::from_chars(cursor.data(), end, id);
  if (read.ec == std::errc() && read.ptr == end) return id;
  throw ValueError("the cursor " + quote(cursor) + " is none of this sqlite store");
}

}  // namespace

void Session::report_damage(Table& table, std::string_view key) const {
  if (!table.take_damaged()) return;
  alias_->warn(Warning::Kind::entry_damaged, key,
               "sqlite " + quote_path(alias_->shown) + ": the entry " + quote(key) +
                   " does not match its checksum, so its bytes changed on the disk; it is treated "
                   "as absent; if this happens more often, check the disk");
}

Session::Turn Session::take_turn() { return share_->take_turn(patience_, alias_->shown); }

// --- reading ---

template <class Deliver>
bool Session::read_one(std::string_view key, Deliver deliver) {
  return read([&](Table& table, const Moment& now, Turn& turn) {
    std::int64_t expires = 0;
    bool found = false;
    {
      const Inside inside(table.connection());
      const std::optional<LogStamp> before = near_stamp(table);
      found = before && alias_->near->find(key, *before, now.milliseconds, buffer_, expires);
      if (!found) {
        const Table::Row row = table.find(key, now);
        if (row) {
          found = true;
          expires = row.expires();
          buffer_.assign(row.value());
        }
        // A commit between the stamp and the read leaves a newer value with an older stamp, which
        // no later read has.
        if (row && before) {
          alias_->near->keep(key, buffer_, expires, *before, now.milliseconds);
        }
      }
      if (found) note_version(key, buffer_.size(), expires);
    }
    if (!found) {
      report_damage(table, key);
      return false;
    }
    if (turn.owns_lock()) turn.unlock();
    deliver(buffer_, expires, now);
    give_back_buffer();
    return true;
  });
}

void Session::give_back_buffer() noexcept {
  if (buffer_.capacity() > kept_buffer) buffer_ = std::string();
}

bool Session::get(std::string_view key, ValueSink sink) {
  return read_one(key, [&](std::string_view value, std::int64_t, const Moment&) { sink(value); });
}

bool Session::get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) {
  return read_one(key, [&](std::string_view value, std::int64_t expires, const Moment& now) {
    sink(value, now.left(expires));
  });
}

bool Session::contains(std::string_view key, ValueSink head) {
  return read([&](Table& table, const Moment& now, Turn& turn) {
    bool found = false;
    {
      const Inside inside(table.connection());
      found = table.find_head(key, buffer_, now);
    }
    if (!found) {
      report_damage(table, key);
      return false;
    }
    if (turn.owns_lock()) turn.unlock();
    head(buffer_);
    return true;
  });
}

std::optional<LogStamp> Session::near_stamp(Table& table) noexcept {
  if (alias_->near == nullptr) [[likely]]
    return std::nullopt;
  LogStamp stamp{.opening = opening_};
  // Without a write-ahead log, readers block writers.
  if (table.readers_block_writers() || !table.connection().read_log_stamp(stamp)) {
    return std::nullopt;
  }
  return stamp;
}

bool Session::copy_near_values(Table& table, std::span<const std::string_view> keys,
                               const Moment& now) {
  const Inside inside(table.connection());
  const std::optional<LogStamp> stamp = near_stamp(table);
  if (!stamp) return false;
  buffer_.clear();
  hits_.clear();
  std::string value;
  std::int64_t expires = 0;
  for (std::size_t i = 0; i < keys.size() && buffer_.size() <= many_bytes; ++i) {
    if (!alias_->near->find(keys[i], *stamp, now.milliseconds, value, expires)) return false;
    buffer_.append(value);
    note_version(keys[i], value.size(), expires);
    hits_.push_back({i, expires, buffer_.size()});
  }
  return hits_.size() == keys.size();
}

// Copies the values of keys from `from` on into the buffer, up to about `bytes`. Returns where to
// continue.
std::size_t Session::copy_values(Table& table, std::span<const std::string_view> keys,
                                 std::size_t from, std::size_t bytes, const Moment& now) {
  const Inside inside(table.connection());
  buffer_.clear();
  hits_.clear();
  for (; from < keys.size() && buffer_.size() <= bytes; ++from) {
    const Table::Row row = table.find(keys[from], now);
    if (!row) {
      report_damage(table, keys[from]);
      continue;
    }
    const std::string_view value = row.value();
    buffer_.append(value);
    note_version(keys[from], value.size(), row.expires());
    hits_.push_back({from, row.expires(), buffer_.size()});
  }
  return from;
}

template <class Deliver>
void Session::read_many(std::span<const std::string_view> keys, Deliver deliver) {
  if (keys.empty()) return;
  std::size_t delivered = 0;  // of the keys: a retry continues after them
  read([&](Table& table, const Moment& now, Turn& turn) {
    // Foreign sinks run in a transaction only if no writer waits for its end.
    const std::size_t bytes = table.readers_block_writers() ? SIZE_MAX : many_bytes;
    const auto deliver_hits = [&] {
      std::size_t begin = 0;
      for (const Hit& hit : hits_) {
        const std::string_view value(buffer_.data() + begin, hit.end - begin);
        deliver(hit.index, value, hit.expires, now);
        begin = hit.end;
      }
    };
    if (delivered == 0 && copy_near_values(table, keys, now)) {
      deliver_hits();
      give_back_buffer();
      return;
    }
    std::optional<Transaction> transaction(std::in_place, table, Transaction::Kind::read);
    for (std::size_t next = delivered; next < keys.size();) {
      next = copy_values(table, keys, next, bytes, now);
      if (next == keys.size()) {
        transaction->commit();
        transaction.reset();
        if (turn.owns_lock()) turn.unlock();
      }
      deliver_hits();
      delivered = next;
    }
    give_back_buffer();
  });
}

void Session::get_many(std::span<const std::string_view> keys, IndexedValueSink sink) {
  read_many(keys, [&](std::size_t i, std::string_view value, std::int64_t, const Moment&) {
    sink(i, value);
  });
}

void Session::get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) {
  read_many(keys, [&](std::size_t i, std::string_view value, std::int64_t expires,
                      const Moment& now) { sink(i, value, now.left(expires)); });
}

// --- writing ---

void Session::warn_too_large(std::string_view key, std::size_t size) const {
  alias_->warn(Warning::Kind::value_refused, key,
               "sqlite " + quote_path(alias_->shown) + ": a value of " + std::to_string(size) +
                   " bytes is larger than the store allows (max_value_bytes, size_limit); it was "
                   "not stored, and an older value of its key was removed");
}

bool Session::refuse(Table& table, const Item& item, PutMode mode, const Moment& now) {
  // add() keeps a live entry in any case.
  if (mode != PutMode::if_absent) table.erase(item.key, now);
  warn_too_large(item.key, item.value.size());
  return false;
}

bool Session::is_too_large(const Table& table, std::string_view key,
                           std::string_view value) const noexcept {
  const std::int64_t limit = alias_->max_value_bytes;
  return (limit > 0 && value.size() > static_cast<std::size_t>(limit)) ||
         !table.fits_alone(key, value);
}

bool Session::put_one(Table& table, const Item& item, PutMode mode, const Moment& now) {
  if (is_too_large(table, item.key, item.value)) return refuse(table, item, mode, now);
  try {
    const bool stored = table.put(item.key, item.value, item.ttl, mode, now);
    report_damage(table, item.key);
    return stored;
  } catch (const DatabaseError& error) {
    if (error.cause() != DatabaseError::Cause::too_big) throw;
  }
  return refuse(table, item, mode, now);
}

bool Session::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  return write(1, [&](Table& table, const Moment& now) {
    return put_whole(table, now, [&] { return put_one(table, {key, value, ttl}, mode, now); });
  });
}

// Together with the entry's rows in the index of tags, and with what goes to make room for it.
template <class PutOne>
bool Session::put_whole(Table& table, const Moment& now, PutOne put) {
  if (!table.has_tag_index() && !table.has_limits()) [[likely]]
    return put();
  Transaction transaction(table, Transaction::Kind::write);
  const bool stored = put();
  if (stored && table.has_limits()) table.keep_limits(now);
  transaction.commit();
  return stored;
}

bool Session::touch(std::string_view key, Ttl ttl, ValueSink head) {
  const bool found = write(
      0, [&](Table& table, const Moment& now) { return table.touch(key, ttl, buffer_, now); });
  if (found) head(buffer_);
  return found;
}

bool Session::erase(std::string_view key) {
  return write(0, [&](Table& table, const Moment& now) { return table.erase(key, now); });
}

void Session::clear() {
  write(0, [&](Table& table, const Moment&) { table.clear(); });
}

std::optional<std::int64_t> Session::incr(std::string_view key, std::int64_t delta) {
  return write(0, [&](Table& table, const Moment& now) -> std::optional<std::int64_t> {
    Transaction transaction(table, Transaction::Kind::write);
    Table::Row row = table.find(key, now);
    if (!row) {
      report_damage(table, key);
      return std::nullopt;
    }
    const std::int64_t sum = add_to_counter(row.value(), delta);
    row.close();
    table.replace_value(key, std::to_string(sum), now);
    transaction.commit();
    return sum;
  });
}

void Session::put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) {
  std::vector<std::size_t> failed;
  write(items.size(), [&](Table& table, const Moment& first) {
    failed.clear();  // of a first try
    Moment now = first;
    Transaction transaction(table, Transaction::Kind::write);
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (!put_one(table, items[i], mode, now)) {
        failed.push_back(i);
      } else if (table.has_limits()) {
        table.keep_limits(now);
      }
      if (i < most_orders - 1) ++now.order;
    }
    transaction.commit();
  });
  for (const std::size_t i : failed) on_failure(i);
}

std::size_t Session::erase_many(std::span<const std::string_view> keys) {
  return write(0, [&](Table& table, const Moment& now) {
    Transaction transaction(table, Transaction::Kind::write);
    std::size_t erased = 0;
    for (const std::string_view key : keys) erased += table.erase(key, now) ? 1 : 0;
    transaction.commit();
    return erased;
  });
}

bool Session::put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                           std::optional<Ttl> ttl) {
  return write(1, [&](Table& table, const Moment& now) {
    if (is_too_large(table, key, value)) {
      if (table.erase_if_equal(key, expected, now)) warn_too_large(key, value.size());
      return false;
    }
    const bool stored =
        put_whole(table, now, [&] { return table.put_if_equal(key, expected, value, ttl, now); });
    report_damage(table, key);
    return stored;
  });
}

bool Session::erase_if_equal(std::string_view key, std::string_view expected) {
  return write(0, [&](Table& table, const Moment& now) {
    const bool erased = table.erase_if_equal(key, expected, now);
    report_damage(table, key);
    return erased;
  });
}

bool Session::pop(std::string_view key, ValueSink sink) {
  const bool popped = write(0, [&](Table& table, const Moment& now) {
    const bool was_there = table.pop(key, buffer_, now);
    report_damage(table, key);
    return was_there;
  });
  if (popped) sink(buffer_);
  give_back_buffer();
  return popped;
}

bool Session::get(std::string_view key, Ttl ttl, ValueSink sink) {
  const bool found = write(0, [&](Table& table, const Moment& now) {
    const bool was_there = table.renew(key, ttl, buffer_, now);
    report_damage(table, key);
    return was_there;
  });
  if (found) sink(buffer_);
  give_back_buffer();
  return found;
}

std::size_t Session::erase_prefix(std::string_view prefix) {
  std::int64_t removed = 0;  // including those of an interrupted try
  perform([&] {
    const Moment now = moment(1);
    Table& table = open_table(now);
    const Turn turn = take_turn();
    table.erase_prefix(prefix, removed);
    tidy(table, 0, now);
  });
  return static_cast<std::size_t>(removed);
}

// --- by pattern ---

std::optional<std::int64_t> Session::list_rows(const Glob& glob, std::int64_t from,
                                               std::int64_t rows) {
  return read([&](Table& table, const Moment& now, Turn&) {
    const Inside inside(table.connection());
    buffer_.clear();
    rows_.clear();
    const auto keep = [&](std::string_view key, std::int64_t size, std::int64_t expires) {
      if (!glob.matches(key)) return;
      buffer_.append(key);
      rows_.push_back({buffer_.size(), size, now.left(expires)});
    };
    return table.list(from, rows, now, keep);
  });
}

std::string Session::scan(std::string_view pattern, std::string_view cursor, std::size_t at_most,
                          FunctionRef<void(const Listed&)> sink) {
  const Glob glob(pattern);
  const auto rows = static_cast<std::int64_t>(std::min(at_most, most_listed));
  const auto next = list_rows(glob, first_id(cursor), rows);
  std::size_t begin = 0;
  for (const Row& row : rows_) {
    const std::string_view key(buffer_.data() + begin, row.key_end - begin);
    sink({.key = key, .size = static_cast<std::uint64_t>(row.size), .left = row.left});
    begin = row.key_end;
  }
  give_back_buffer();
  return next ? std::to_string(*next) : std::string();
}

// Reads before it locks the file: steps without a match write nothing.
std::size_t Session::erase_pattern(std::string_view pattern) {
  const Glob glob(pattern);
  std::size_t erased = 0;
  std::vector<std::string_view> keys;
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    next = list_rows(glob, *next, rows_of_step);
    keys.clear();
    std::size_t begin = 0;
    for (const Row& row : rows_) {
      keys.emplace_back(buffer_.data() + begin, row.key_end - begin);
      begin = row.key_end;
    }
    if (!keys.empty()) erased += erase_many(keys);
  }
  give_back_buffer();
  return erased;
}

// --- the index of tags ---

bool Session::has_index() {
  return read([&](Table& table, const Moment&, Turn&) {
    notice_tag_index(table);
    return table.has_tag_index();
  });
}

bool Session::create_index() {
  bool made = false;
  write(0, [&](Table& table, const Moment&) {
    made = table.create_tag_index();
    share_->note_tag_index_change();
  });
  for (std::optional<std::int64_t> next = INT64_MIN; next;) {
    next = write(0, [&](Table& table, const Moment&) { return table.fill_tag_index(*next); });
  }
  return made;
}

bool Session::drop_index() {
  return write(0, [&](Table& table, const Moment&) {
    const bool was_there = table.drop_tag_index();
    share_->note_tag_index_change();
    return was_there;
  });
}

std::size_t Session::erase_tagged(std::span<const std::uint64_t> versions) {
  std::size_t live = 0;
  for (const std::uint64_t version : versions) {
    for (bool more = true; more;) {
      std::size_t of_step = 0;
      more = write(0, [&](Table& table, const Moment& now) {
        of_step = 0;  // of a first try
        return table.erase_tagged(version, now, of_step);
      });
      live += of_step;
    }
  }
  return live;
}

// --- stamps of tags ---

// In a forked child the connection is the parent's until the next operation.
std::uint64_t Session::tag_stamp() {
  if (table_ == nullptr || share_->fork() != fork_count()) {
    tag_stamps_.renew();
    return tag_stamps_.stamp(0);
  }
  Connection& connection = table_->table.connection();
  const Inside inside(connection);
  if (alias_->near == nullptr || table_->table.readers_block_writers()) {
    return tag_stamps_.stamp(connection.data_version());
  }
  // A hit in the near tier begins no transaction, so the data version may be older than the hit.
  const std::optional<LogStamp> now = near_stamp(table_->table);
  if ((!now || *now != tagged_at_) && ++tagged_version_ == 0) tag_stamps_.renew();
  if (now) tagged_at_ = *now;
  return tag_stamps_.stamp(tagged_version_);
}

// --- locks ---

// Whether one is taken is read before the file is locked, so that those who wait for one delay
// no writes.
LockExtension::Taken Session::take(const Claim& claim, std::chrono::milliseconds lease) {
  const std::optional<Taken> refused = read([&](Table& table, const Moment& now, Turn&) {
    const Inside inside(table.connection());
    return table.refuse_lock(claim, now);
  });
  if (refused) return *refused;
  return write(0, [&](Table& table, const Moment& now) {
    Transaction transaction(table, Transaction::Kind::write);
    const Taken taken = table.take_lock(claim, lease, now);
    transaction.commit();
    return taken;
  });
}

bool Session::renew(const Claim& claim, std::chrono::milliseconds lease) {
  return write(
      0, [&](Table& table, const Moment& now) { return table.renew_lock(claim, lease, now); });
}

bool Session::release(const Claim& claim) {
  return write(0, [&](Table& table, const Moment& now) { return table.release_lock(claim, now); });
}

void* Session::extension(std::string_view id) noexcept {
  if (id == TagStampExtension::id) return static_cast<TagStampExtension*>(this);
  if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
  if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
  if (id == PopExtension::id) return static_cast<PopExtension*>(this);
  if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
  if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
  if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
  if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
  if (id == TagIndexExtension::id) return static_cast<TagIndexExtension*>(this);
  if (id == LockExtension::id) return static_cast<LockExtension*>(this);
  if (id == DequeExtension::id) return static_cast<DequeExtension*>(this);
  if (id == IndexExtension::id) return static_cast<IndexExtension*>(this);
  return nullptr;
}

}  // namespace polycache::sqlite
