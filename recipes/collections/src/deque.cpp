#include "polycache/deque.h"

#include <utility>

#include "polycache/detail/deque_core.h"
#include "polycache/error.h"

namespace polycache::detail {
namespace {

constexpr Collection::Kind deque_kind{.what = "deque", .lack = "has no deques", .head = "d."};

// What one step adds at most, so that others never wait for long.
constexpr std::size_t values_of_step = 256;
constexpr std::size_t bytes_of_step = std::size_t{1} << 20U;

}  // namespace

DequeCore::DequeCore(Cache* cache, KeyView name, std::string mark,
                     std::optional<std::uint64_t> maxlen, std::size_t page,
                     CollectionOptions options)
    : collection_(cache, deque_kind, name, std::move(mark), std::move(options)), maxlen_(maxlen) {
  if (maxlen_ == std::uint64_t{0}) {
    collection_.throw_value_error(
        "a maxlen of 0, with which it could keep nothing; give 1 or more");
  }
  if (page == 0) collection_.throw_value_error("a page of 0 values; give 1 or more");
  collection_.check_store<DequeExtension>();
}

void DequeCore::push_packed(End end, const std::vector<std::string>& packed) const {
  const std::vector<std::string_view> values(packed.begin(), packed.end());
  collection_.run<DequeExtension>(Op::deque_push,
                                  [&](DequeExtension& deques, std::string_view key) {
                                    deques.push(key, end, values, maxlen_.value_or(0));
                                    return true;
                                  });
}

void DequeCore::push(End end, std::string_view bytes) const {
  push_packed(end, {collection_.pack(bytes)});
}

void DequeCore::Batch::add(std::string_view bytes) {
  packed_.push_back(deque_.collection_.pack(bytes));
  bytes_ += packed_.back().size();
  if (packed_.size() >= values_of_step || bytes_ >= bytes_of_step) finish();
}

void DequeCore::Batch::finish() {
  if (packed_.empty()) return;
  deque_.push_packed(end_, packed_);
  packed_.clear();
  bytes_ = 0;
}

bool DequeCore::pop(End end, const std::function<void(std::string_view)>& use) const {
  std::string stored;
  const bool popped = collection_.run<DequeExtension>(
      Op::deque_pop, [&](DequeExtension& deques, std::string_view key) {
        return deques.pop(key, end, [&](std::string_view value) { stored = value; });
      });
  if (!popped) return false;
  try {
    use(collection_.unpack(stored));
  } catch (...) {
    // Without the limit: it was one of those that the deque had.
    collection_.run<DequeExtension>(Op::deque_push,
                                    [&](DequeExtension& deques, std::string_view key) {
                                      const std::string_view value = stored;
                                      deques.push(key, end, {&value, 1}, 0);
                                      return true;
                                    });
    throw;
  }
  return true;
}

std::optional<std::string> DequeCore::at(std::int64_t place) const {
  std::string stored;
  const bool found = collection_.run<DequeExtension>(
      Op::deque_read, [&](DequeExtension& deques, std::string_view key) {
        return deques.at(key, place, [&](std::string_view value) { stored = value; });
      });
  if (!found) return std::nullopt;
  return collection_.unpack(stored);
}

std::vector<std::string> DequeCore::list(std::uint64_t from, std::size_t at_most) const {
  std::vector<std::string> values;
  if (at_most == 0) return values;
  collection_.run<DequeExtension>(
      Op::deque_read, [&](DequeExtension& deques, std::string_view key) {
        values.clear();
        return deques.list(key, from, at_most,
                           [&](std::string_view value) { values.emplace_back(value); }) > 0;
      });
  for (std::string& value : values) value = collection_.unpack(value);
  return values;
}

std::uint64_t DequeCore::size() const {
  std::uint64_t size = 0;
  collection_.run<DequeExtension>(Op::deque_size,
                                  [&](DequeExtension& deques, std::string_view key) {
                                    size = deques.size(key);
                                    return size > 0;
                                  });
  return size;
}

void DequeCore::rotate(std::int64_t steps) const {
  if (steps > DequeExtension::most_steps || steps < -DequeExtension::most_steps) {
    collection_.throw_value_error("rotates by at most 2^53 steps");
  }
  collection_.run<DequeExtension>(Op::deque_rotate,
                                  [&](DequeExtension& deques, std::string_view key) {
                                    deques.rotate(key, steps);
                                    return true;
                                  });
}

bool DequeCore::clear() const {
  return collection_.run<DequeExtension>(
      Op::deque_clear,
      [](DequeExtension& deques, std::string_view key) { return deques.erase_deque(key); });
}

}  // namespace polycache::detail
