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
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/author/clock.h"
#include "polycache/author/extension.h"
#include "polycache/author/layer.h"
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
  // get_many_with_ttl, put_if_equal, erase_if_equal, pop, erase_prefix
  std::string operation = {};
  std::vector<Item> items = {};              // in the order of the keys; none for clear
  std::optional<std::string> expected = {};  // put_if_equal, erase_if_equal
  std::int64_t delta = 0;                    // incr
  std::optional<std::int64_t> number = {};   // incr: the sum; erase_many, erase_prefix: how many
  std::string error = {};                    // of the exception; empty if there was none

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

class RecordingLayer final : public Layer,
                             public TtlExtension,
                             public CompareExtension,
                             public PopExtension,
                             public ErasePrefixExtension {
 public:
  // REQUIRES: inner and recording are not null
  RecordingLayer(std::unique_ptr<Backend> inner, std::shared_ptr<Recording> recording,
                 std::string alias)
      : Layer(std::move(inner)), recording_(std::move(recording)), alias_(std::move(alias)) {}

  bool get(std::string_view key, ValueSink sink) override {
    return one("get", {.key = std::string(key)}, [&](RecordedCall::Item& item) {
      return inner().get(key, [&](std::string_view value) {
        item.value = value;
        sink(value);
      });
    });
  }
  bool put(std::string_view key, std::string_view value, Ttl ttl, PutMode mode) override {
    return one(put_name(mode), {.key = std::string(key), .value = std::string(value), .ttl = ttl},
               [&](RecordedCall::Item&) { return inner().put(key, value, ttl, mode); });
  }
  bool touch(std::string_view key, Ttl ttl, ValueSink head) override {
    return one("touch", {.key = std::string(key), .ttl = ttl},
               [&](RecordedCall::Item&) { return inner().touch(key, ttl, head); });
  }
  bool erase(std::string_view key) override {
    return one("erase", {.key = std::string(key)},
               [&](RecordedCall::Item&) { return inner().erase(key); });
  }
  void clear() override {
    record({.alias = alias_, .operation = "clear"}, [&](RecordedCall&) { inner().clear(); });
  }
  bool contains(std::string_view key, ValueSink head) override {
    return one("contains", {.key = std::string(key)},
               [&](RecordedCall::Item&) { return inner().contains(key, head); });
  }
  std::optional<std::int64_t> incr(std::string_view key, std::int64_t delta) override {
    RecordedCall call = begin("incr", {&key, 1});
    call.delta = delta;
    return record(std::move(call), [&](RecordedCall& done) {
      done.number = inner().incr(key, delta);
      done.items.front().done = done.number.has_value();
      return done.number;
    });
  }
  void get_many(std::span<const std::string_view> keys, IndexedValueSink sink) override {
    record(begin("get_many", keys), [&](RecordedCall& call) {
      inner().get_many(keys, [&](std::size_t i, std::string_view value) {
        call.items[i].value = value;
        call.items[i].done = true;
        sink(i, value);
      });
    });
  }
  void put_many(std::span<const Item> items, PutMode mode, IndexSink on_failure) override {
    RecordedCall call{.alias = alias_, .operation = put_name(mode) + "_many"};
    for (const auto& [key, value, ttl] : items) {
      call.items.push_back({.key = std::string(key), .value = std::string(value), .ttl = ttl});
    }
    record(std::move(call), [&](RecordedCall& done) {
      std::vector<bool> failed(items.size());
      inner().put_many(items, mode, [&](std::size_t i) {
        failed[i] = true;
        on_failure(i);
      });
      for (std::size_t i = 0; i < failed.size(); ++i) done.items[i].done = !failed[i];
    });
  }
  std::size_t erase_many(std::span<const std::string_view> keys) override {
    return record(begin("erase_many", keys), [&](RecordedCall& call) {
      const std::size_t erased = inner().erase_many(keys);
      call.number = static_cast<std::int64_t>(erased);
      return erased;
    });
  }

  void* extension(std::string_view id) noexcept override {
    void* const of_store = inner().extension(id);
    if (of_store == nullptr) return nullptr;
    if (id == TtlExtension::id) return static_cast<TtlExtension*>(this);
    if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
    if (id == PopExtension::id) return static_cast<PopExtension*>(this);
    if (id == ErasePrefixExtension::id) return static_cast<ErasePrefixExtension*>(this);
    if (id == AdmissionExtension::id) return nullptr;  // or rejected calls would not be recorded
    return of_store;                                   // calls of unknown ones are not recorded
  }

  bool get(std::string_view key, FunctionRef<void(std::string_view, Ttl)> sink) override {
    return one("get_with_ttl", {.key = std::string(key)}, [&](RecordedCall::Item& item) {
      return of_inner<TtlExtension>().get(key, [&](std::string_view value, Ttl left) {
        item.value = value;
        item.ttl = left;
        sink(value, left);
      });
    });
  }
  void get_many(std::span<const std::string_view> keys, TtlExtension::Sink sink) override {
    record(begin("get_many_with_ttl", keys), [&](RecordedCall& call) {
      of_inner<TtlExtension>().get_many(keys, [&](std::size_t i, std::string_view value, Ttl left) {
        call.items[i] = {call.items[i].key, std::string(value), left, true};
        sink(i, value, left);
      });
    });
  }
  bool put_if_equal(std::string_view key, std::string_view expected, std::string_view value,
                    std::optional<Ttl> ttl) override {
    RecordedCall call{.alias = alias_, .operation = "put_if_equal"};
    call.items.push_back({.key = std::string(key), .value = std::string(value), .ttl = ttl});
    call.expected = expected;
    return record(std::move(call), [&](RecordedCall& done) {
      return done.items.front().done =
                 of_inner<CompareExtension>().put_if_equal(key, expected, value, ttl);
    });
  }
  bool erase_if_equal(std::string_view key, std::string_view expected) override {
    RecordedCall call = begin("erase_if_equal", {&key, 1});
    call.expected = expected;
    return record(std::move(call), [&](RecordedCall& done) {
      return done.items.front().done = of_inner<CompareExtension>().erase_if_equal(key, expected);
    });
  }
  bool pop(std::string_view key, ValueSink sink) override {
    return one("pop", {.key = std::string(key)}, [&](RecordedCall::Item& item) {
      return of_inner<PopExtension>().pop(key, [&](std::string_view value) {
        item.value = value;
        sink(value);
      });
    });
  }
  std::size_t erase_prefix(std::string_view prefix) override {
    return record(begin("erase_prefix", {&prefix, 1}), [&](RecordedCall& call) {
      const std::size_t erased = of_inner<ErasePrefixExtension>().erase_prefix(prefix);
      call.number = static_cast<std::int64_t>(erased);
      return erased;
    });
  }

 private:
  static std::string put_name(PutMode mode) {
    return mode == PutMode::if_absent ? "add" : mode == PutMode::if_present ? "replace" : "put";
  }

  RecordedCall begin(std::string_view operation, std::span<const std::string_view> keys) const {
    RecordedCall call{.alias = alias_, .operation = std::string(operation)};
    for (const std::string_view key : keys) call.items.push_back({.key = std::string(key)});
    return call;
  }

  // REQUIRES: extension() has returned it, so the store has it.
  template <class Extension>
  Extension& of_inner() noexcept {
    return *static_cast<Extension*>(inner().extension(Extension::id));
  }

  // A call with one key.
  template <class F>
  bool one(std::string operation, RecordedCall::Item item, F&& f) {
    RecordedCall call{.alias = alias_, .operation = std::move(operation)};
    call.items.push_back(std::move(item));
    return record(std::move(call), [&](RecordedCall& done) {
      return done.items.front().done = f(done.items.front());
    });
  }

  // Runs f(call), which completes the call, and records it, whether or not f throws.
  template <class F>
  std::invoke_result_t<F&, RecordedCall&> record(RecordedCall call, F&& f) {
    try {
      if constexpr (std::is_void_v<decltype(f(call))>) {
        f(call);
        recording_->add(std::move(call));
      } else {
        const auto result = f(call);
        recording_->add(std::move(call));
        return result;
      }
    } catch (const std::exception& error) {
      call.error = error.what();
      recording_->add(std::move(call));
      throw;
    }
  }

  std::shared_ptr<Recording> recording_;
  std::string alias_;
};

class RecordingLayerFactory final : public LayerFactory {
 public:
  // REQUIRES: inner and recording are not null
  RecordingLayerFactory(std::shared_ptr<BackendFactory> inner, std::shared_ptr<Recording> recording,
                        std::string alias = "store")
      : LayerFactory(std::move(inner)),
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
