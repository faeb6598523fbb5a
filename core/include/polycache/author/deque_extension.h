// The extension of stores that keep deques.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"

namespace polycache {

// Deques for recipes: lists of values, each under a key, that are no entries. No limit of entries,
// no eviction and no lifetime removes them. The keys come from Cache::with_extension(), so no key
// of a user meets them. A deque without values does not exist. Each function takes effect in one
// step, and in one round trip if the store can. Sinks follow the rules of ValueSink. A function
// that throws may have taken effect: a pop() whose reply was lost has removed its value.
struct DequeExtension {
  static constexpr std::string_view id = "polycache.deque/1";
  enum class End : std::uint8_t { front, back };
  // Whether the store may remove a deque by itself.
  using Keeping = LockExtension::Keeping;

  // Adds the values one after the other at that end; then removes from the other end what exceeds
  // `most`, unless that is 0. REQUIRES: at least one value
  virtual void push(std::string_view key, End end, std::span<const std::string_view> values,
                    std::uint64_t most) = 0;
  // Removes the value at that end and calls `sink` with it; of several concurrent callers, one gets
  // it. Returns whether there was one.
  virtual bool pop(std::string_view key, End end, ValueSink sink) = 0;
  // Calls `sink` with the value at that place: 0 is the front, -1 the back. Returns whether there
  // is one.
  virtual bool at(std::string_view key, std::int64_t place, ValueSink sink) = 0;
  // Calls `sink` with the values from that place on, in order, all of one moment; at most so many.
  // Returns how many. REQUIRES: at_most > 0
  virtual std::size_t list(std::string_view key, std::uint64_t from, std::size_t at_most,
                           ValueSink sink) = 0;
  virtual std::uint64_t size(std::string_view key) = 0;
  // Moves so many values one after the other from the back to the front; if negative, from the
  // front to the back. REQUIRES: |steps| <= most_steps
  static constexpr std::int64_t most_steps = std::int64_t{1} << 53U;
  virtual void rotate(std::string_view key, std::int64_t steps) = 0;
  // Removes all values. Returns whether there were any.
  virtual bool erase_deque(std::string_view key) = 0;
  // Called rarely; may ask the server.
  virtual Keeping keeping() = 0;

 protected:
  ~DequeExtension() = default;
};

}  // namespace polycache
