// The in-process caches that locmem is compared with, behind one interface.

#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace peers {

// Thread-safe.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual std::optional<std::string> get(std::string_view key) = 0;
  virtual void set(std::string_view key, std::string_view value) = 0;
};

// Makes a cache of so many bytes, an entry charged with the size of its value and 50 more.
using Maker = std::function<std::unique_ptr<Peer>(std::size_t capacity)>;

// "RocksDB LRU", "HyperClock", "LevelDB LRU"; empty if it was not there when this was built.
Maker maker(std::string_view name);

struct Nanoseconds {
  double get;
  double set;
};

// What an operation of Django's locmem takes, or empty if Python or Django is not there.
std::optional<Nanoseconds> django_nanoseconds(std::size_t operations);

}  // namespace peers
