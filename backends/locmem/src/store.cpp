#include "store.h"

#include <new>
#include <random>
#include <utility>

#include "polycache/counter.h"

namespace polycache::locmem {
namespace {

std::size_t random_seed() {
  std::random_device device;
  return (static_cast<std::size_t>(device()) << 32) ^ device();
}

constexpr int kSweptPerWrite = 4;

}  // namespace

std::size_t Store::Hash::operator()(std::string_view key) const noexcept {
  // FNV-1a from a secret start, finished by a secret multiplication.
  std::uint64_t hash = 14695981039346656037u ^ seed;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  hash ^= hash >> 32;
  return (hash + seed) * (seed | 1);
}

Store::Store(const Settings& settings, const Clock& clock, ForkGuard& fork_guard)
    : settings_(settings), clock_(clock), fork_guard_(fork_guard), index_(16, Hash{random_seed()}) {
  fork_guard_.add(*this);
}

Store::~Store() { fork_guard_.remove(*this); }

Store::Time Store::deadline_of(Ttl ttl) const noexcept {
  if (ttl.is_forever()) return Time::max();
  const Time now = clock_.steady_now();
  const auto room = std::chrono::floor<std::chrono::milliseconds>(Time::max() - now);
  return ttl.value() >= room ? Time::max() : now + ttl.value();
}

bool Store::is_live(const Entry& entry) const noexcept {
  return entry.deadline == Time::max() || clock_.steady_now() < entry.deadline;
}

Store::Order::iterator Store::find(std::string_view key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return order_.end();
  if (is_live(*found->second)) return found->second;
  remove(found->second);
  return order_.end();
}

std::uint64_t Store::weight(std::string_view key, std::string_view value) const noexcept {
  return key.size() + value.size() + kOverhead;
}

void Store::remove(Order::iterator entry) {
  if (swept_ == entry) ++swept_;
  index_.erase(entry->key);
  bytes_ -= weight(entry->key, *entry->value);
  order_.erase(entry);
}

bool Store::get(std::string_view key, ValueSink sink) {
  std::shared_ptr<const std::string> value;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(key);
    if (entry == order_.end()) return false;
    use(entry);
    value = entry->value;
  }
  sink(*value);
  return true;
}

bool Store::get_with_ttl(std::string_view key, TtlSink sink) {
  std::shared_ptr<const std::string> value;
  Ttl left = Ttl::forever();
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(key);
    if (entry == order_.end()) return false;
    use(entry);
    value = entry->value;
    if (entry->deadline != Time::max()) {
      // Rounded up: a live entry has some time left.
      const auto rest =
          std::chrono::ceil<std::chrono::milliseconds>(entry->deadline - clock_.steady_now());
      left = Ttl(std::max(rest, std::chrono::milliseconds(1)));
    }
  }
  sink(*value, left);
  return true;
}

bool Store::contains(std::string_view key, ValueSink head) {
  std::shared_ptr<const std::string> value;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(key);
    if (entry == order_.end()) return false;
    value = entry->value;
  }
  head(*value);
  return true;
}

bool Store::pop(std::string_view key, ValueSink sink) {
  std::shared_ptr<const std::string> value;
  {
    const std::lock_guard lock(mutex_);
    const auto entry = find(key);
    if (entry == order_.end()) return false;
    value = entry->value;
    remove(entry);
  }
  sink(*value);
  return true;
}

PutResult Store::put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) {
  const std::lock_guard lock(mutex_);
  sweep();
  auto entry = find(key);
  const bool there = entry != order_.end();
  if (mode == (there ? PutMode::if_absent : PutMode::if_present)) return PutResult::not_stored;
  try {
    if (weight(key, value) > settings_.max_bytes) throw std::bad_alloc();
    if (there) {
      replace(entry, std::make_shared<const std::string>(value));
      entry->deadline = deadline_of(ttl);
      return PutResult::stored;
    }
    Order fresh;
    fresh.push_back(
        {std::string(key), std::make_shared<const std::string>(value), deadline_of(ttl)});
    make_room(weight(key, value));
    index_.emplace(fresh.front().key, fresh.begin());
    order_.splice(order_.begin(), fresh);
    bytes_ += weight(key, value);
    return PutResult::stored;
  } catch (const std::bad_alloc&) {
    entry = find(key);
    if (entry != order_.end()) remove(entry);
    return PutResult::refused;
  }
}

// Keeps the entry whatever else has to go.
void Store::replace(Order::iterator entry, std::shared_ptr<const std::string> value) {
  use(entry);
  bytes_ = bytes_ - entry->value->size() + value->size();
  entry->value = std::move(value);
  while (bytes_ > settings_.max_bytes) remove(std::prev(order_.end()));
}

void Store::make_room(std::uint64_t bytes) {
  if (settings_.policy == Policy::django && order_.size() >= settings_.max_entries) cull();
  while (order_.size() >= settings_.max_entries || bytes_ + bytes > settings_.max_bytes) {
    remove(std::prev(order_.end()));
  }
}

// As Django's locmem, but what is expired goes first.
void Store::cull() {
  for (auto it = order_.begin(); it != order_.end();) {
    const auto entry = it++;
    if (!is_live(*entry)) remove(entry);
  }
  if (order_.size() < settings_.max_entries) return;
  const std::size_t share =
      settings_.cull_frequency == 0 ? order_.size() : order_.size() / settings_.cull_frequency;
  for (std::size_t n = std::max<std::size_t>(share, 1); n > 0; --n) remove(std::prev(order_.end()));
}

// Looks at a few entries on the back of each write, so that expired ones leave memory
// without being read.
void Store::sweep() {
  for (int n = 0; n < kSweptPerWrite && !order_.empty(); ++n) {
    if (swept_ == order_.begin()) swept_ = order_.end();
    const auto entry = --swept_;
    if (!is_live(*entry)) remove(entry);
  }
}

bool Store::touch(std::string_view key, Ttl ttl) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(key);
  if (entry == order_.end()) return false;
  entry->deadline = deadline_of(ttl);
  return true;
}

bool Store::erase(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(key);
  if (entry == order_.end()) return false;
  remove(entry);
  return true;
}

void Store::clear() {
  const std::lock_guard lock(mutex_);
  index_.clear();
  order_.clear();
  swept_ = order_.end();
  bytes_ = 0;
}

std::optional<std::int64_t> Store::incr(std::string_view key, std::int64_t delta) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(key);
  if (entry == order_.end()) return std::nullopt;
  const std::int64_t sum = add_to_counter(*entry->value, delta);
  replace(entry, std::make_shared<const std::string>(std::to_string(sum)));
  return sum;
}

PutResult Store::put_if_equal(std::string_view key, std::string_view expected,
                              std::string_view value, std::optional<Ttl> ttl) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(key);
  if (entry == order_.end() || *entry->value != expected) return PutResult::not_stored;
  if (weight(key, value) > settings_.max_bytes) {
    remove(entry);
    return PutResult::refused;
  }
  replace(entry, std::make_shared<const std::string>(value));
  if (ttl) entry->deadline = deadline_of(*ttl);
  return PutResult::stored;
}

bool Store::erase_if_equal(std::string_view key, std::string_view expected) {
  const std::lock_guard lock(mutex_);
  const auto entry = find(key);
  if (entry == order_.end() || *entry->value != expected) return false;
  remove(entry);
  return true;
}

std::size_t Store::erase_prefix(std::string_view prefix) {
  const std::lock_guard lock(mutex_);
  std::size_t erased = 0;
  for (auto it = order_.begin(); it != order_.end();) {
    const auto entry = it++;
    if (!std::string_view(entry->key).starts_with(prefix)) continue;
    remove(entry);
    ++erased;
  }
  return erased;
}

}  // namespace polycache::locmem
