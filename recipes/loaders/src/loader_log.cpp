// The log of a loader: a ring of entries "label@log:17", and the counter "label@log", which says
// how many there have been.

#include <cxxabi.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/detail/fork_mutex.h"
#include "polycache/detail/loader_state.h"
#include "polycache/error.h"
#include "polycache/key_of.h"
#include "polycache/registry.h"
#include "unlogged.h"

namespace polycache::detail {
namespace {

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Without the escapes of key_of.h.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
    if (low < 0) {
      plain += text[i];
    } else {
      plain += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return plain;
}

}  // namespace

std::string LoaderState::slot_key(std::uint64_t number) const {
  const auto size = static_cast<std::uint64_t>(std::max(options_.log_size, 1));
  return counter_key() + ':' + std::to_string(number % size);
}

// Of ":3:red", "3" and "red".
std::vector<std::string> LoaderState::texts_of(const std::string& arguments) const {
  std::vector<std::string> texts;
  try {
    const std::string text = getter_.key_of_encoded(arguments);
    for (std::string_view rest = text; rest.starts_with(':');) {
      rest.remove_prefix(1);
      const std::size_t end = std::min(rest.find(':'), rest.size());
      texts.push_back(unescaped(rest.substr(0, end)));
      rest.remove_prefix(end);
    }
  } catch (const CacheError&) {  // an argument has no text
    texts.clear();
  }
  return texts;
}

LoaderState::Unlogged::Unlogged(std::shared_ptr<const LoaderState> owner, LogEntry entry)
    : owner_(std::move(owner)) {
  std::list<LogEntry> one;
  one.push_back(std::move(entry));
  entry_ = one.begin();
  const std::lock_guard lock(fork_mutex());
  owner_->without_entry_.splice(owner_->without_entry_.end(), one);
}

LoaderState::Unlogged::~Unlogged() {
  if (is_computed_ && !is_written_) owner_->unlogged_.fetch_add(1, std::memory_order_relaxed);
  std::list<LogEntry> one;  // destroyed when the mutex is free
  const std::lock_guard lock(fork_mutex());
  one.splice(one.end(), owner_->without_entry_, entry_);
}

LogEntry LoaderState::Unlogged::entry() const {
  const std::lock_guard lock(fork_mutex());
  return *entry_;
}

void LoaderState::Unlogged::computed(std::chrono::sys_time<std::chrono::milliseconds> when,
                                     std::chrono::microseconds took) {
  const std::lock_guard lock(fork_mutex());
  entry_->created = when;
  entry_->took = took;
  is_computed_ = true;
}

std::vector<LogEntry> LoaderState::unlogged_entries() const {
  const std::lock_guard lock(fork_mutex());
  return {without_entry_.begin(), without_entry_.end()};
}

void LoaderState::write_log(Cache& cache, LogEntry& entry) const {
  const std::uint64_t before = highest_;
  const auto number = cache.incr(counter_key(), 1, {.timeout = never, .initial = 0});
  entry.number = static_cast<std::uint64_t>(number);
  if (entry.number <= before) log_was_lost_ = true;
  see(entry.number);
  if (cache.set(slot_key(entry.number), entry, {.timeout = never})) return;
  throw CacheError("the log entry of " + quote(entry.key) + " was not stored");
}

// The value is worth more than its log entry, whatever the store, its alias or an observer throws.
template <class F>
void LoaderState::try_to_log(const F& f) const {
  try {
    f();
    return;
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
    throw;
  } catch (const std::exception& error) {
    note(error.what());
  } catch (...) {  // a handler of warnings may throw anything
    note("something that is not a std::exception");
  }
}

void LoaderState::write_log(const std::shared_ptr<Unlogged>& unlogged) const {
  const auto write = [unlogged](const LoaderState& self, Cache& cache) {
    LogEntry entry = unlogged->entry();
    self.write_log(cache, entry);
    unlogged->written();
  };
  try_to_log([&] {
    if (options_.log_in_background) {
      auto job = [write, self = shared_from_this(),
                  cache = std::shared_ptr<Cache>(registry_.open(log_alias()))] {
        self->try_to_log([&] { write(*self, *cache); });
      };
      if (registry_.executor()->post(std::move(job))) return;
    }
    write(*this, registry_[log_alias()]);
  });
}

void LoaderState::see(std::uint64_t number) const noexcept {
  std::uint64_t highest = highest_;
  while (highest < number && !highest_.compare_exchange_weak(highest, number)) {
  }
}

LogPage LoaderState::read_log(Cache& cache, const LogQuery& query) const {
  LogPage page;
  std::optional<std::uint64_t> head;
  const std::uint64_t before = highest_;
  const Entry<std::int64_t> counter = cache.get_entry<std::int64_t>(counter_key());
  if (counter.status == EntryStatus::error) {
    throw BackendError(BackendError::Kind::unreachable, "",
                       "loader " + quote(label_) + ": the log cannot be read: " + counter.error);
  }
  if (counter.value) head = static_cast<std::uint64_t>(std::max<std::int64_t>(*counter.value, 0));
  if (head.value_or(0) < before) log_was_lost_ = true;
  see(head.value_or(0));
  page.is_cut = log_was_lost_;
  if (!head || *head == 0 || options_.log_size == 0) return page;
  const auto size = static_cast<std::uint64_t>(options_.log_size);
  const std::uint64_t oldest = *head > size ? *head - size + 1 : 1;
  page.is_cut = page.is_cut || oldest > 1;
  if (query.before <= oldest) return page;
  const std::uint64_t newest = std::min(*head, query.before - 1);
  const std::uint64_t count =
      std::clamp<std::uint64_t>(query.count, 1, std::min<std::uint64_t>(newest - oldest + 1, 1000));
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < count; ++i) keys.push_back(slot_key(newest - i));
  std::vector<std::optional<LogEntry>> found = cache.get_many<LogEntry>(keys);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (found[i] && found[i]->number == newest - i) {
      page.entries.push_back(std::move(*found[i]));
    } else {
      page.is_cut = true;
    }
  }
  if (newest - count + 1 > oldest) page.next = newest - count + 1;
  return page;
}

LogPage LoaderState::log(const LogQuery& query) const {
  return read_log(registry_[log_alias()], query);
}

}  // namespace polycache::detail
