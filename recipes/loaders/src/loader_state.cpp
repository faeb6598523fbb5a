#include "polycache/detail/loader_state.h"

#include <cxxabi.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <utility>

#include "polycache/author/text.h"
#include "polycache/detail/fork_mutex.h"
#include "polycache/detail/memoize_base.h"
#include "polycache/error.h"
#include "polycache/key_of.h"
#include "polycache/registry.h"
#include "unlogged.h"

namespace polycache::detail {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t longest_label = 100;
constexpr int most_ticks = 1'000'000;
constexpr int longest_log = 1'000'000;
constexpr std::size_t longest_tag = 1024;  // tags.h
constexpr std::size_t most_tags = 63;      // and the label's
// As for LoadOptions; sums of times have room for it.
constexpr milliseconds longest_time = std::chrono::hours{24 * 365 * 100};

Function function_of(const FunctionOrName& given, const CacheRegistry& registry,
                     const std::string& owner) {
  if (given.function()) return given.function()->owned_by(owner);
  if (given.name().empty()) {
    throw ConfigError(owner + " has no getter; give a function, or the name of one");
  }
  try {
    return find_function(given.name(), registry).owned_by(owner);
  } catch (const ConfigError& error) {
    throw ConfigError(owner + ": " + error.what());
  }
}

std::optional<Function> key_generator_of(const FunctionOrName& given, const CacheRegistry& registry,
                                         const std::string& owner) {
  if (!given.is_given()) return std::nullopt;
  Function function = function_of(given, registry, owner);
  if (function.result() != functions::text_of_type<std::string>) {
    throw ConfigError(owner + ": key_gen must return a std::string, which is [c8], and returns " +
                      std::string(function.result()));
  }
  return function;
}

std::chrono::sys_time<milliseconds> now() {
  return std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
}

std::string owner_of(const std::string& label) { return "loader " + quote(label); }

LoadOptions load_options_of(const LoaderOptions& options, const std::string& tag) {
  std::vector<std::string> tags = options.tags;
  tags.push_back(tag);
  const bool is_kept = options.stale.count() > 0;
  const bool is_leased = options.concurrent && options.lease.count() > 0;
  return {.timeout = options.expires,
          .tags = tags,
          .refresh_after = options.relevance ? Age(options.relevance_expires) : Age(off),
          .stale_if_error = is_kept ? Span(options.stale) : Span(off),
          .negative_timeout = options.expires,
          .lease = is_leased ? Span(options.lease) : Span(off),
          .wait = options.concurrent ? Span(options.ticks * options.tick) : Span(off)};
}

LoaderOptions checked(const CacheRegistry& registry, const std::string& label,
                      LoaderOptions options) {
  if (const std::string problem = problem_of_label(label); !problem.empty()) {
    throw ConfigError(owner_of(label) + ": " + problem);
  }
  if (const auto problem = problem_of(options)) {
    throw ConfigError(owner_of(label) + ": " + std::string(problem->member) + ' ' + problem->why);
  }
  for (const std::string* alias : {&options.cache, &options.log_cache}) {
    if (alias == &options.log_cache && alias->empty()) continue;
    if (registry.contains(*alias)) continue;
    std::string known;
    for (const std::string& other : registry.aliases()) {
      known += (known.empty() ? "" : ", ") + quote(other);
    }
    throw ConfigError(owner_of(label) + ": there is no cache " + quote(*alias) + "; there are " +
                      known);
  }
  return options;
}

}  // namespace

std::string problem_of_label(std::string_view label) {
  if (label.empty()) return "a label is not empty";
  if (label.size() > longest_label) {
    return "a label has at most " + std::to_string(longest_label) + " bytes";
  }
  for (const char c : label) {
    if (c == '@' || c == ':' || static_cast<unsigned char>(c) <= ' ' || c == 0x7f) {
      return "a label has no blank, control character, ':' or '@'";
    }
  }
  return {};
}

std::optional<OptionProblem> problem_of(const LoaderOptions& options) {
  using Problem = OptionProblem;
  if (options.expires.count() <= 0) return Problem{"expires", "must be longer than zero"};
  if (options.stale.count() < 0) return Problem{"stale", "must not be negative"};
  if (options.ticks < 0 || options.ticks > most_ticks) {
    return Problem{"ticks", "must be a number from 0 to " + std::to_string(most_ticks)};
  }
  if (options.tick.count() <= 0 || options.tick > std::chrono::hours(1)) {
    return Problem{"tick", "must be longer than zero, and at most an hour"};
  }
  if (options.lease.count() < 0) return Problem{"lease", "must not be negative"};
  for (const auto& [member, time] :
       {std::pair("expires", options.expires), std::pair("stale", options.stale),
        std::pair("lease", options.lease)}) {
    if (time > longest_time) return Problem{member, "must be at most 36500 days"};
  }
  if (options.relevance && options.relevance_expires.count() <= 0) {
    return Problem{"relevance_expires", "must be longer than zero"};
  }
  if (options.relevance && options.relevance_expires >= options.expires) {
    return Problem{"relevance_expires", "must be shorter than expires"};
  }
  const auto is_no_tag = [](const std::string& tag) {
    return tag.empty() || tag.size() > longest_tag;
  };
  if (options.tags.size() > most_tags || std::ranges::any_of(options.tags, is_no_tag)) {
    return Problem{"tags", "must be at most 63 names of 1 to 1024 bytes"};
  }
  if (options.log_size < 0 || options.log_size > longest_log) {
    return Problem{"log", "must be a number from 0 to " + std::to_string(longest_log)};
  }
  return std::nullopt;
}

LoaderState::LoaderState(CacheRegistry& registry, std::string label, const FunctionOrName& getter,
                         LoaderOptions options, bool is_configured)
    : registry_(registry),
      label_(std::move(label)),
      options_(checked(registry, label_, std::move(options))),
      getter_(function_of(getter, registry, owner_of(label_))),
      key_generator_(key_generator_of(options_.key_gen, registry, owner_of(label_))),
      is_configured_(is_configured),
      head_(options_.cached_entity ? label_ + "@entity" : label_),
      tag_(label_ + "@loader"),
      load_options_(load_options_of(options_, tag_)) {}

Cache& LoaderState::cache() const { return registry_[options_.cache]; }

std::string LoaderState::key_of(std::string_view arguments) const {
  if (head_.size() + arguments.size() <= memo::longest_key) {
    return head_ + std::string(arguments);
  }
  // A '%' of an argument is followed by two digits, never by '#'.
  return head_ + ":%#" + memo::digest(arguments);
}

std::string LoaderState::key_of_generated(std::string_view text) const {
  std::string arguments;
  keys::append_part(arguments, text);
  return key_of(arguments);
}

std::string LoaderState::compute(const std::string& key, const std::string& arguments) const {
  std::shared_ptr<Unlogged> entry;
  if (options_.log_size > 0) {
    entry = std::make_shared<Unlogged>(
        shared_from_this(),
        LogEntry{.key = key, .arguments = texts_of(arguments), .created = now(), .label = label_});
  }
  const auto began = std::chrono::steady_clock::now();
  std::string result;
  try {
    result = getter_.call_encoded(arguments);
  } catch (...) {  // counted, and passed on
    failed_.fetch_add(1, std::memory_order_relaxed);
    throw;
  }
  computed_.fetch_add(1, std::memory_order_relaxed);
  if (entry) {
    const auto took = std::chrono::steady_clock::now() - began;
    entry->computed(now(), std::chrono::duration_cast<std::chrono::microseconds>(took));
    write_log(entry);
  }
  return result;
}

void LoaderState::note(const char* what) const {
  const std::lock_guard lock(fork_mutex());
  last_error_ = what;
}

template <class F>
Invalidation LoaderState::run(Needs needs, F f) const {
  const auto here = [&] {
    return f(cache(), needs == Needs::values_and_log ? &registry_[log_alias()] : nullptr);
  };
  invalidations_.fetch_add(1, std::memory_order_relaxed);
  if (!options_.delay_invalidation) return here();
  struct Delayed {
    std::shared_ptr<const LoaderState> self;
    std::unique_ptr<Cache> values;
    std::unique_ptr<Cache> log;
    F f;

    void operator()() {
      try {
        f(*values, log.get());
      } catch (const std::exception& error) {
        self->failed_invalidations_.fetch_add(1, std::memory_order_relaxed);
        self->note(error.what());
      } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
        throw;
      } catch (...) {  // a predicate may throw anything
        self->failed_invalidations_.fetch_add(1, std::memory_order_relaxed);
        self->note("something that is not a std::exception");
      }
    }
  };
  const bool is_posted = registry_.executor()->post(
      Delayed{shared_from_this(), registry_.open(options_.cache),
              needs == Needs::values_and_log ? registry_.open(log_alias()) : nullptr, f});
  if (!is_posted) return here();
  return {.is_delayed = true, .removed = {}, .log_was_cut = false};
}

Invalidation LoaderState::invalidate(const std::string& key) const {
  return run(Needs::values, [key](Cache& values, Cache*) {
    return Invalidation{.is_delayed = false, .removed = values.erase(key) ? 1U : 0U};
  });
}

Invalidation LoaderState::invalidate_all() const {
  return run(Needs::values, [tag = tag_](Cache& values, Cache*) {
    values.erase_tag(tag);
    return Invalidation{};
  });
}

Invalidation LoaderState::invalidate_if(LogPredicate predicate) const {
  if (!predicate) throw ValueError(owner_of(label_) + ": invalidate_if needs a predicate");
  return run(Needs::values_and_log,
             [self = shared_from_this(), predicate = std::move(predicate)](
                 Cache& values, Cache* log) { return self->erase_if(values, *log, predicate); });
}

Invalidation LoaderState::erase_if(Cache& values, Cache& log, const LogPredicate& predicate) const {
  Invalidation done{.is_delayed = false, .removed = 0U, .log_was_cut = options_.log_size == 0};
  const auto erase = [&](const std::vector<LogEntry>& entries) {
    std::vector<std::string> keys;
    for (const LogEntry& entry : entries) {
      if (predicate(entry)) keys.push_back(entry.key);
    }
    if (!keys.empty()) *done.removed += values.erase_many(keys);
  };
  // First those that are being computed: one that ends meanwhile is in the log, which comes next.
  erase(unlogged_entries());
  LogQuery query;
  do {
    const LogPage page = read_log(log, query);
    erase(page.entries);
    done.log_was_cut = done.log_was_cut || page.is_cut;
    query.before = page.next;
  } while (query.before != 0);
  done.log_was_cut = done.log_was_cut || unlogged_ > 0;
  return done;
}

LoaderInfo LoaderState::describe() const {
  const auto name_of = [](const Function& function) {
    return function.name().empty() ? std::string("a function") : function.name();
  };
  LoaderInfo info{
      .label = label_,
      .getter = name_of(getter_),
      .signature = std::string(getter_.parameters()) + " -> " + std::string(getter_.result()),
      .key_gen = key_generator_ ? name_of(*key_generator_) : std::string(),
      .is_configured = is_configured_,
      .options = options_,
      .computed = computed_,
      .failed = failed_,
      .invalidations = invalidations_,
      .failed_invalidations = failed_invalidations_,
      .unlogged = unlogged_,
      .last_error = {}};
  const std::lock_guard lock(fork_mutex());
  info.last_error = last_error_;
  return info;
}

void LoaderState::refuse_entity() const {
  throw ConfigError(owner_of(label_) +
                    ": get<CachedEntity<T>>() needs the option cached_entity, with which values "
                    "carry their times");
}

}  // namespace polycache::detail
