// A value together with its times: get<CachedEntity<T>>() of a loader (loaders.h).

#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "polycache/codec.h"
#include "polycache/detail/binary_io.h"

namespace polycache {

template <class T>
struct CachedEntity {
  using Moment = std::chrono::sys_time<std::chrono::milliseconds>;

  T value{};
  Moment created{};
  Moment expires{};  // the end of its freshness

  // Whether its time is over: a getter failed, or still runs.
  bool is_stale() const noexcept { return left() <= std::chrono::milliseconds::zero(); }
  // How long it is fresh, by this machine's clock; negative: since when it is not.
  std::chrono::milliseconds left() const noexcept {
    using std::chrono::milliseconds;
    // `expires` is what a store has returned: nanoseconds, and a difference, may not have room.
    const auto now = std::chrono::floor<milliseconds>(std::chrono::system_clock::now());
    const milliseconds::rep since_1970 = expires.time_since_epoch().count();
    const milliseconds::rep least = milliseconds::min().count() + now.time_since_epoch().count();
    return milliseconds(std::max(since_1970, least) - now.time_since_epoch().count());
  }
};

// Two moments of 8 bytes, in milliseconds since 1970, and the bytes of the value.
template <Cacheable T>
struct Codec<CachedEntity<T>> {
  static std::string_view encode(const CachedEntity<T>& entity, std::string& scratch) {
    std::string inner;
    const std::string_view value = Codec<T>::encode(entity.value, inner);
    detail::binary::Writer out(scratch);
    out.put(std::int64_t{entity.created.time_since_epoch().count()});
    out.put(std::int64_t{entity.expires.time_since_epoch().count()});
    out.put_bytes(value.data(), value.size());
    return out.finish();
  }
  static std::optional<CachedEntity<T>> decode(std::string_view bytes) {
    using Moment = typename CachedEntity<T>::Moment;
    detail::binary::Reader in(bytes);
    std::int64_t created = 0;
    std::int64_t expires = 0;
    if (!in.get(created) || !in.get(expires)) return std::nullopt;
    std::optional<T> value = Codec<T>::decode(in.view(in.left()));
    if (!value) return std::nullopt;
    return CachedEntity<T>{std::move(*value), Moment(std::chrono::milliseconds(created)),
                           Moment(std::chrono::milliseconds(expires))};
  }
};

namespace detail {

// What is asked for by get<R>(): a value, or an optional one; with its times, or without.
template <class R>
struct Wanted {
  using Made = R;  // what the getter returns
  using Entity = CachedEntity<R>;
  static constexpr bool is_entity = false;
};
template <class T>
struct Wanted<std::optional<T>> {
  using Made = std::optional<T>;
  using Entity = std::optional<CachedEntity<T>>;
  static constexpr bool is_entity = false;
};
template <class T>
struct Wanted<CachedEntity<T>> {
  using Made = T;
  using Entity = CachedEntity<T>;
  static constexpr bool is_entity = true;
};
template <class T>
struct Wanted<std::optional<CachedEntity<T>>> {
  using Made = std::optional<T>;
  using Entity = std::optional<CachedEntity<T>>;
  static constexpr bool is_entity = true;
};

}  // namespace detail
}  // namespace polycache
