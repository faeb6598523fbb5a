#include "front/lease.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <random>
#include <thread>
#include <utility>

#include "front/entry.h"
#include "polycache/author/fork.h"

namespace polycache {
namespace {

void append(std::string& bytes, std::uint64_t number) {
  for (std::size_t i = 0; i < sizeof number; ++i, number >>= 8U) {
    bytes.push_back(static_cast<char>(number & 0xffU));
  }
}

// Another one each time, in all processes, also those that one fork made. 24 bytes, so that all of
// a placeholder is in its first 64.
std::string new_owner() {
  static const std::uint64_t process = [] {
    std::random_device random;
    return std::uint64_t{random()} << 32U | random();
  }();
  static std::atomic<std::uint64_t> count{0};
  std::string owner;
  append(owner, process);
  append(owner, static_cast<std::uint64_t>(getpid()));
  append(owner, count.fetch_add(1, std::memory_order_relaxed));
  return owner;
}

// Says when it ends, for keep_lease_time().
std::string placeholder_of(std::chrono::milliseconds time, const Clock& clock) {
  constexpr std::int64_t longest = std::int64_t{1} << 60U;
  const std::int64_t now = entry_time(clock);
  const EntryHead head{.flags = flag_leased,
                       .created = now,
                       .fresh_until = now + std::min(longest, std::int64_t{time.count()})};
  return make_frame(head, {}, new_owner());
}

}  // namespace

Lease::Lease(std::string_view key, std::chrono::milliseconds time, const Clock& clock)
    : key_(key), time_(time), bytes_(placeholder_of(time, clock)), forks_(fork_count()) {}

bool Lease::is_mine() const noexcept { return fork_count() == forks_; }

bool Lease::is_over() const noexcept {
  const auto age = std::chrono::steady_clock::now() - began_;
  return std::chrono::floor<std::chrono::milliseconds>(age) >= time_.value();
}

bool Lease::take_place_of(std::optional<std::string_view> stored, Backend& session,
                          CompareExtension& compare) {
  const bool taken = stored ? compare.put_if_equal(key_, *stored, bytes_, time_)
                            : session.put(key_, bytes_, time_, PutMode::if_absent);
  if (taken) place_ = Place::key;
  return taken;
}

bool Lease::take_separate(std::string lease_key, Backend& session) {
  separate_key_ = std::move(lease_key);
  const bool taken = session.put(separate_key_, bytes_, time_, PutMode::if_absent);
  if (taken) place_ = Place::separate;
  return taken;
}

std::string_view Lease::placeholder() const noexcept {
  return place_ == Place::key ? std::string_view(bytes_) : std::string_view();
}

bool Lease::put(std::string_view value, Ttl ttl, CompareExtension& compare) {
  const bool stored = is_mine() && compare.put_if_equal(key_, bytes_, value, ttl);
  if (stored) place_ = Place::none;
  return stored;
}

void Lease::end(CompareExtension& compare) {
  const Place place = std::exchange(place_, Place::none);
  if (place == Place::none || !is_mine()) return;
  compare.erase_if_equal(place == Place::key ? key_ : std::string_view(separate_key_), bytes_);
}

bool Pauses::next() {
  constexpr std::chrono::microseconds longest_pause = std::chrono::milliseconds(50);
  if (std::chrono::steady_clock::now() - began_ >= longest_) return false;
  std::this_thread::sleep_for(pause_);
  pause_ = std::min(pause_ * 3 / 2, longest_pause);
  return true;
}

void keep_lease_time(Backend& session, std::string_view key, std::string_view shown,
                     const Clock& clock) {
  auto* const compare = static_cast<CompareExtension*>(session.extension(CompareExtension::id));
  const std::int64_t end = head_of_frame(shown).fresh_until;
  if (compare == nullptr || end == 0) return;
  const std::int64_t left = end - entry_time(clock);
  if (left > 0) {
    compare->put_if_equal(key, shown, shown, Ttl(std::chrono::milliseconds(left)));
  } else {
    compare->erase_if_equal(key, shown);
  }
}

bool is_placeholder(std::string_view stored) noexcept {
  return is_framed(stored) && stored.size() >= entry_head_size &&
         (head_of_frame(stored).flags & flag_leased) != 0;
}

}  // namespace polycache
