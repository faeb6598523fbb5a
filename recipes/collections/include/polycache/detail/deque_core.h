// What a Deque does, whatever the type of its values: with the bytes that its codec makes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/deque_extension.h"
#include "polycache/detail/collection.h"

namespace polycache::detail {

class DequeCore {
 public:
  using End = DequeExtension::End;

  DequeCore(Cache* cache, KeyView name, std::string mark, std::optional<std::uint64_t> maxlen,
            std::size_t page, CollectionOptions options);

  const std::string& name() const noexcept { return collection_.name(); }
  std::optional<std::uint64_t> maxlen() const noexcept { return maxlen_; }
  [[noreturn]] void throw_undecodable() const { collection_.throw_undecodable(); }

  // Values that are to be added in one step, while they are few enough.
  class Batch {
   public:
    Batch(const DequeCore& deque, End end) noexcept : deque_(deque), end_(end) {}
    // Adds what it has if that is enough for one step.
    void add(std::string_view bytes);
    void finish();

   private:
    const DequeCore& deque_;
    const End end_;
    std::vector<std::string> packed_;
    std::size_t bytes_ = 0;
  };

  void push(End end, std::string_view bytes) const;
  // Passes the codec's bytes of the value to `use`, which may throw: if the value is of another
  // type, or if `use` throws, it is put back at that end. Returns whether there was one.
  bool pop(End end, const std::function<void(std::string_view)>& use) const;
  std::optional<std::string> at(std::int64_t place) const;
  std::vector<std::string> list(std::uint64_t from, std::size_t at_most) const;
  std::uint64_t size() const;
  void rotate(std::int64_t steps) const;
  bool clear() const;

 private:
  void push_packed(End end, const std::vector<std::string>& packed) const;

  const Collection collection_;
  const std::optional<std::uint64_t> maxlen_;
};

}  // namespace polycache::detail
