// A layer that records the calls to a store, and its answers.
//
//   auto recording = testing::Recording::named("shop", clock);
//   ... "layers": [{"name": "recording", "options": {"into": "shop"}}] ...
//   EXPECT_EQ(recording->text(),
//             "default: get :1:user:7 -> miss\n"
//             "default: put :1:user:7 Ada for 300s -> stored\n");
//
// The plugin is linked (Environment::linked_plugins = {&testing::recording_layer}); ScopedCaches
// already puts it around every store. Keys are final ("prefix:version:key"), values are bytes.
// It hides no extension of the store, and records calls of those that polycache defines. Values
// stay in memory until Recording::clear().

#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/around_layer.h"
#include "polycache/author/clock.h"
#include "polycache/author/plugin.h"
#include "polycache/author/text.h"
#include "polycache/testing/shared_by_name.h"

namespace polycache::testing {

// One call of a store.
struct RecordedCall {
  struct Item {
    std::string key = {};
    std::optional<std::string> value = {};  // written, or found
    std::optional<Ttl> ttl = {};            // requested, or remaining
    bool done = false;                      // found, stored, touched, erased
  };

  std::string alias = {};
  // get, contains, put, add and replace (a put if absent, if present), touch, erase, clear,
  // incr, get_many, put_many (add_many, replace_many), erase_many, get_with_ttl,
  // get_many_with_ttl, put_if_equal, erase_if_equal, pop, erase_prefix, scan (one page; the key is
  // the pattern), erase_pattern, get_and_renew, create_tag_index, drop_tag_index, erase_tagged (by
  // versions of tags, which are no keys), take_lock, renew_lock, release_lock, wait_for_lock,
  // use_limit, forget_limit, push_front, push_back, pop_front, pop_back, deque_at, list_deque,
  // deque_size, rotate_deque, erase_deque, find_in_index, put_in_index (with the key in
  // `expected`), erase_from_index, take_from_index, list_index, count_index, clear_index
  std::string operation = {};
  std::vector<Item> items = {};              // in the order of the keys; none for clear
  std::optional<std::string> expected = {};  // put_if_equal, erase_if_equal
  std::int64_t delta = 0;  // incr; use_limit: the cost; of deques as StoreCall has it
  // incr: the sum; erase_many, erase_prefix, erase_pattern, erase_tagged: how many; scan: how many
  // it listed; take_lock: the fence; use_limit: the time that decided; list_deque, deque_size: how
  // many
  std::optional<std::int64_t> number = {};
  std::string error = {};  // of the exception; empty if there was none

  // "default: put :1:user:7 Ada for 300s -> stored". Keys and values that are not plain words
  // are quoted, and truncated after some 80 characters.
  std::string text() const;

 private:
  std::string answer() const;
};

// The recorded calls, in the order in which they ended. Thread-safe.
class Recording {
 public:
  // The recording that the layer's option "into" names, for registries with that clock.
  static std::shared_ptr<Recording> named(std::string_view name = "",
                                          const Clock& clock = Clock::real()) {
    return shared_by_name<Recording>(name, clock);
  }

  void add(RecordedCall call) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(call));
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }

  std::vector<RecordedCall> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }
  // The number of calls of that name ("get"); of all aliases, or of one.
  std::size_t count(std::string_view operation, std::string_view alias = "") const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(calls_.begin(), calls_.end(), [&](const RecordedCall& call) {
          return call.operation == operation && (alias.empty() || call.alias == alias);
        }));
  }
  // One line for each call.
  std::string text() const {
    std::string all;
    const std::lock_guard lock(mutex_);
    for (const RecordedCall& call : calls_) all.append(call.text()).push_back('\n');
    return all;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<RecordedCall> calls_;  // guarded by the mutex
};

namespace detail {

inline std::string word(std::string_view text) {
  const bool is_plain =
      !text.empty() && text.size() <= 80 && std::all_of(text.begin(), text.end(), [](char c) {
        return c > ' ' && c < '\x7f' && c != '"' && c != ',';
      });
  return is_plain ? std::string(text) : quote(text);
}

inline std::string lifetime(Ttl ttl) {
  if (ttl.is_forever()) return " for ever";
  const std::int64_t ms = ttl.value().count();
  return ms % 1000 == 0 ? " for " + std::to_string(ms / 1000) + "s"
                        : " for " + std::to_string(ms) + "ms";
}

}  // namespace detail

inline std::string RecordedCall::text() const {
  const bool writes = !operation.starts_with("get") && operation != "pop";
  std::string line = alias + ": " + operation;
  const char* separator = " ";
  for (const Item& item : items) {
    line.append(separator).append(detail::word(item.key));
    if (writes && item.value) line.append(" ").append(detail::word(*item.value));
    if (writes && item.ttl) line.append(detail::lifetime(*item.ttl));
    separator = ", ";
  }
  if (expected) line.append(" if it is ").append(detail::word(*expected));
  if (operation == "incr") line.append(" by ").append(std::to_string(delta));
  return line + " -> " + answer();
}

inline std::string RecordedCall::answer() const {
  if (!error.empty()) return "threw " + quote(error);
  if (number) return std::to_string(*number);
  if (items.empty()) return "done";
  const bool reads = operation.starts_with("get") || operation == "pop";
  const bool stores = operation.starts_with("put") || operation.starts_with("add") ||
                      operation.starts_with("replace");
  std::string text;
  for (const Item& item : items) {
    if (!text.empty()) text += ", ";
    if (stores) {
      text += item.done ? "stored" : "not stored";
    } else if (!item.done) {
      text += "miss";
    } else if (!reads) {
      text += "done";
    } else {
      text += "hit " + detail::word(item.value.value_or(""));
      if (item.ttl) text += detail::lifetime(*item.ttl);
    }
  }
  return text;
}

// Without early refusals, or refused calls would not be recorded.
inline constexpr Transparency recording_transparency{.early_refusals = false};

class RecordingLayer final : public AroundLayer {
 public:
  // REQUIRES: inner and recording are not null
  RecordingLayer(std::unique_ptr<Backend> inner, std::shared_ptr<Recording> recording,
                 std::string alias)
      : AroundLayer(std::move(inner), recording_transparency),
        recording_(std::move(recording)),
        alias_(std::move(alias)) {}

  StoreAnswer around(const StoreCall& call, StoreGo go) override {
    if (call.op == StoreOp::check_health) return go(call.deliver);
    RecordedCall record = begin(call);
    try {
      const StoreAnswer answer = proceed(call, go, record);
      recording_->add(std::move(record));
      return answer;
    } catch (const std::exception& error) {
      record.error = error.what();
      recording_->add(std::move(record));
      throw;
    }
  }

 private:
  RecordedCall begin(const StoreCall& call) const {
    RecordedCall record{.alias = alias_, .operation = std::string(call.name)};
    if (call.mode != PutMode::always) {
      record.operation.replace(0, 3, call.mode == PutMode::if_absent ? "add" : "replace");
    }
    for (std::size_t i = 0; i < call.size(); ++i) {
      RecordedCall::Item& item = record.items.emplace_back();
      item.key = call.key(i);
      item.value = call.value(i);
      item.ttl = call.ttl(i);
    }
    record.expected = call.expected;
    record.delta = call.delta;
    return record;
  }

  static StoreAnswer proceed(const StoreCall& call, StoreGo go, RecordedCall& record) {
    const bool reads = call.name.starts_with("get") || call.op == StoreOp::pop ||
                       call.op == StoreOp::pop_deque || call.op == StoreOp::deque_at;
    std::vector<bool> failed(call.op == StoreOp::put_many ? call.size() : 0);
    const StoreAnswer answer = go([&](const StoreItem& item) {
      if (!failed.empty()) failed[item.index] = true;
      if (reads && item.index < record.items.size()) {
        RecordedCall::Item& found = record.items[item.index];
        found.value = item.value;
        if (call.op != StoreOp::get_and_renew) found.ttl = item.left;
        found.done = true;
      }
      call.deliver(item);
    });
    for (RecordedCall::Item& item : record.items) item.done = item.done || answer.done;
    for (std::size_t i = 0; i < failed.size(); ++i) record.items[i].done = !failed[i];
    record.number = answer.number;
    return answer;
  }

  std::shared_ptr<Recording> recording_;
  std::string alias_;
};

class RecordingLayerFactory final : public AroundLayerFactory {
 public:
  // REQUIRES: inner and recording are not null
  RecordingLayerFactory(std::shared_ptr<BackendFactory> inner, std::shared_ptr<Recording> recording,
                        std::string alias = "store")
      : AroundLayerFactory(std::move(inner), recording_transparency),
        recording_(std::move(recording)),
        alias_(std::move(alias)) {}

 protected:
  std::unique_ptr<Backend> wrap(std::unique_ptr<Backend> session) override {
    return std::make_unique<RecordingLayer>(std::move(session), recording_, alias_);
  }

 private:
  std::shared_ptr<Recording> recording_;
  std::string alias_;
};

// Option "into": the name of the recording; the default is an empty name.
inline constexpr PluginDescriptor recording_layer =
    layer_plugin("recording", POLYCACHE_VERSION,
                 [](const OptionReader& options,
                    const BackendContext& context) -> std::unique_ptr<BackendFactory> {
                   return std::make_unique<RecordingLayerFactory>(
                       context.inner, Recording::named(options.string("into", ""), context.clock),
                       std::string(context.alias));
                 });

}  // namespace polycache::testing
