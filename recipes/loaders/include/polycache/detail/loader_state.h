// What a loader is, without the types of its values (loaders.h).

#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/cache.h"
#include "polycache/function.h"
#include "polycache/load_options.h"
#include "polycache/loader_log.h"
#include "polycache/loader_options.h"

namespace polycache {

class CacheRegistry;

// What describe() says of a loader.
struct LoaderInfo {
  std::string label;
  std::string getter;     // "./libshop.so:filter_foos"; "a function" if it has no name
  std::string signature;  // "(i64,[c8]) -> [s(i32,[c8])]"
  std::string key_gen;    // empty: the key has the arguments
  bool is_configured = false;
  LoaderOptions options;
  // Of this process, since the loader was declared.
  std::uint64_t computed = 0;
  std::uint64_t failed = 0;                // the getter threw
  std::uint64_t invalidations = 0;         // calls of invalidate() and its kin
  std::uint64_t failed_invalidations = 0;  // of the delayed ones
  std::uint64_t unlogged = 0;              // computed, but the log was not written
  std::string last_error;                  // of the last two
};

namespace detail {

// Thread-safe.
class LoaderState : public std::enable_shared_from_this<LoaderState> {
 public:
  // Throws ConfigError.
  LoaderState(CacheRegistry& registry, std::string label, const FunctionOrName& getter,
              LoaderOptions options, bool is_configured);

  const std::string& label() const noexcept { return label_; }
  const LoaderOptions& options() const noexcept { return options_; }
  const LoadOptions& load_options() const noexcept { return load_options_; }
  const Function& getter() const noexcept { return getter_; }
  const std::optional<Function>& key_generator() const noexcept { return key_generator_; }
  bool has_entities() const noexcept { return options_.cached_entity; }
  bool is_configured() const noexcept { return is_configured_; }
  Cache& cache() const;

  // `arguments`: ":3:red". A long key is hashed.
  std::string key_of(std::string_view arguments) const;
  std::string key_of_generated(std::string_view text) const;

  // Calls the getter, and writes the log.
  std::string compute(const std::string& key, const std::string& arguments) const;

  Invalidation invalidate(const std::string& key) const;
  Invalidation invalidate_if(LogPredicate predicate) const;
  Invalidation invalidate_all() const;
  LogPage log(const LogQuery& query) const;
  LoaderInfo describe() const;

  [[noreturn]] void refuse_entity() const;

 private:
  const std::string& log_alias() const noexcept {
    return options_.log_cache.empty() ? options_.cache : options_.log_cache;
  }
  std::string counter_key() const { return label_ + "@log"; }
  std::string slot_key(std::uint64_t number) const;
  std::vector<std::string> texts_of(const std::string& arguments) const;
  // A computation that has no entry in the log yet.
  class Unlogged;
  std::vector<LogEntry> unlogged_entries() const;
  template <class F>
  void try_to_log(const F& f) const;
  void write_log(const std::shared_ptr<Unlogged>& unlogged) const;
  void write_log(Cache& cache, LogEntry& entry) const;
  LogPage read_log(Cache& cache, const LogQuery& query) const;
  Invalidation erase_if(Cache& values, Cache& log, const LogPredicate& predicate) const;
  enum class Needs : unsigned char { values, values_and_log };
  // Runs it on this thread's caches, or delayed on some of its own. The second cache is null if
  // only values are needed.
  template <class F>
  Invalidation run(Needs needs, F f) const;
  void see(std::uint64_t number) const noexcept;
  void note(const char* what) const;

  CacheRegistry& registry_;
  const std::string label_;
  const LoaderOptions options_;
  const Function getter_;
  const std::optional<Function> key_generator_;
  const bool is_configured_;
  const std::string head_;  // "label", or "label@entity"
  const std::string tag_;
  const LoadOptions load_options_;

  mutable std::atomic<std::uint64_t> computed_{0};
  mutable std::atomic<std::uint64_t> failed_{0};
  mutable std::atomic<std::uint64_t> invalidations_{0};
  mutable std::atomic<std::uint64_t> failed_invalidations_{0};
  mutable std::atomic<std::uint64_t> unlogged_{0};
  // The highest number that this process has seen in the log, and whether the log has begun anew.
  mutable std::atomic<std::uint64_t> highest_{0};
  mutable std::atomic<bool> log_was_lost_{false};
  // Guarded by fork_mutex().
  mutable std::string last_error_;
  mutable std::list<LogEntry> without_entry_;
};

// What is wrong with options, as "member" and "must be ..."; empty: nothing.
struct OptionProblem {
  std::string_view member;
  std::string why;
};
std::optional<OptionProblem> problem_of(const LoaderOptions& options);
// The same for a label; empty: nothing.
std::string problem_of_label(std::string_view label);

}  // namespace detail
}  // namespace polycache
