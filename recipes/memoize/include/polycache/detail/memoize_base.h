// What all memoized functions have: a name, options, a cache, and keys; and how one reads, computes
// and stores its results.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "polycache/author/glob.h"
#include "polycache/cache.h"
#include "polycache/cache_handle.h"
#include "polycache/detail/memoize_call.h"
#include "polycache/detail/memoize_parameters.h"
#include "polycache/error.h"
#include "polycache/key.h"
#include "polycache/key_of.h"
#include "polycache/load.h"
#include "polycache/load_options.h"
#include "polycache/memoize_options.h"
#include "polycache/options.h"

namespace polycache::detail::memo {

// 32 hex digits: 128 bits of the SHA-256.
std::string digest(std::string_view text);

inline constexpr std::size_t longest_key = 200;
inline constexpr std::size_t longest_name = 150;

// What is public, memoize.h describes.
class Base {
 public:
  const std::string& name() const noexcept { return name_; }

  std::size_t invalidate_all() const {
    Cache& cache = this->cache();
    const KeyOptions options{.version = options_.version};
    const std::size_t single = cache.erase(head_, options) ? 1 : 0;
    return single + cache.erase_pattern(Glob::escape(head_ + ":") + "*", options);
  }

 protected:
  Base(Cache* cache, KeyView name, LoadOptions options, MemoizeOptions memo)
      : name_(name.text()),
        head_(name_ + '@' + std::to_string(memo.version)),
        options_(std::move(options)),
        memo_(std::move(memo)),
        cache_(cache != nullptr ? CacheHandle(*cache) : CacheHandle(memo_.cache, memo_.registry)) {
    if (name_.empty() || name_.size() > longest_name) {
      throw ValueError("memoize: the name of a function has 1 to " + std::to_string(longest_name) +
                       " bytes, this one " + std::to_string(name_.size()) + "; give another");
    }
    for (const char c : name_) {
      if (c != '@' && c > ' ' && c != 0x7f) continue;
      if (static_cast<unsigned char>(c) >= 0x80) continue;
      throw ValueError("memoize: the name \"" + name_ +
                       "\" has a blank, a control character or '@'; give another");
    }
  }

  template <class F>
  void require(const F& function) const {
    if (!is_null(function)) return;
    throw ValueError("memoize: the function \"" + name_ + "\" is null; give one that is not");
  }

  Cache& cache() const { return cache_.get(); }
  const LoadOptions& options() const noexcept { return options_; }

  template <class Ignored, class... Ts>
  std::string key_for(const Ts&... arguments) const {
    std::string key = head_;
    const auto add = [&]<std::size_t i, class T>(std::integral_constant<std::size_t, i>,
                                                 const T& argument) {
      if constexpr (!Ignored::has(i)) {
        if (memo_.typed) {
          key += ':';
          keys::append_kind<T>(key);
        }
        keys::append_part(key, argument);
      }
    };
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (add(std::integral_constant<std::size_t, i>(), arguments), ...);
    }
    (std::index_sequence_for<Ts...>());
    if (key.size() > longest_key) {
      // A '%' of an argument is followed by two digits, never by '#'.
      const std::string hash = digest(std::string_view(key).substr(head_.size()));
      key.resize(head_.size());
      key.append(":%#").append(hash);
    }
    return key;
  }

  // Before a value is computed anew: no caller may take the older one for the new one. A
  // computation of the key that runs already is not stored. With stale_if_error the older value
  // stays for when the computation fails.
  void retire(const std::string& key) const {
    const KeyOptions version{.version = options_.version};
    if (options_.stale_if_error.is_given()) {
      cache().expire(key, version);
    } else {
      cache().erase(key, version);
    }
  }

 private:
  std::string name_;
  std::string head_;  // "name@1"
  LoadOptions options_;
  MemoizeOptions memo_;
  CacheHandle cache_;
};

// For one type of function and the types of one call's arguments.
template <class F, class Ignored, bool in_background>
class Calls : public Base {
 protected:
  Calls(Cache* cache, KeyView name, F function, LoadOptions options, MemoizeOptions memo)
      : Base(cache, name, std::move(options), std::move(memo)),
        function_(std::make_shared<const F>(std::move(function))) {
    this->require(*function_);
  }

  template <class... Ts>
  using Result = std::remove_cvref_t<std::invoke_result_t<const F&, const Ts&...>>;
  template <class... Ts>
  using Value = typename LoadResult<Result<Ts...>>::Value;

  template <class... Ts>
  auto load(const Ts&... arguments) const {
    return load_key(key_for<Ignored>(arguments...), arguments...);
  }
  template <class... Ts>
  auto reload(const Ts&... arguments) const {
    const std::string key = key_for<Ignored>(arguments...);
    retire(key);
    return load_key(key, arguments...);
  }
  template <class... Ts>
  auto find(const Ts&... arguments) const {
    return cache().template get<Value<Ts...>>(key_for<Ignored>(arguments...),
                                              {.version = options().version});
  }
  template <class V, class... Ts>
  bool store(const V& value, const Ts&... arguments) const {
    return cache().set(
        key_for<Ignored>(arguments...), value,
        {.timeout = options().timeout, .version = options().version, .tags = options().tags});
  }
  template <class... Ts>
  bool forget(const Ts&... arguments) const {
    return cache().erase(key_for<Ignored>(arguments...), {.version = options().version});
  }
  template <class... Ts>
  decltype(auto) call(const Ts&... arguments) const {
    return std::invoke(*function_, arguments...);
  }

 private:
  template <class... Ts>
  auto load_key(const std::string& key, const Ts&... arguments) const {
    if constexpr (in_background) {
      Background<Call<F, Ts...>> call{Call<F, Ts...>(function_, arguments...)};
      return cache().get_or_set(key, call, options());
    } else {
      return cache().get_or_set(
          key, [&]() -> decltype(auto) { return std::invoke(*function_, arguments...); },
          options());
    }
  }

  std::shared_ptr<const F> function_;
};

}  // namespace polycache::detail::memo
