// A transform changes the bytes of values on their way to the store and back: it compresses or
// encrypts them. It belongs to the front of an alias, not to its store, so the metadata of an entry
// stays readable: contains, touch, lifetimes and tags work as without it, on every store.
//
//   "caches": {"default": {"backend": "redis", "transform": ["zstd", {"name": "aead", ...}]}}
//
// A write applies the transforms in this order; a read reverts those that the entry names. Decimal
// integers are stored as they are, since counters must remain countable.
//
//   std::unique_ptr<polycache::Transform> create(const polycache::OptionReader& options,
//                                                const polycache::BackendContext&) {
//     return std::make_unique<Shrink>(options.integer("level", 3, 1, 19));
//   }
//   const polycache::PluginDescriptor shrink::plugin =
//       polycache::transform_plugin("shrink", "1.0", create);
//
// A transform that compresses derives from Compressor (author/compressor.h) instead.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "polycache/detail/export.h"

namespace polycache {

// Whose value it is. An encryption that authenticates its data includes both, so that a value
// cannot be moved to another key or get other times.
struct TransformContext {
  std::string_view final_key;
  // The entry's metadata, and the names of the transforms that were applied before this one. The
  // same bytes at apply() and revert().
  std::string_view head;
};

// What a transform does to the bytes. Encrypted bytes cannot be compressed, so a registry rejects
// an alias in which a transform that compresses follows one that encrypts.
enum class TransformEffect : std::uint8_t { other, compresses, encrypts };

// Made once for each alias. Thread-safe.
//
// Every transform has the option "write", which the core reads: with false, apply() is not called,
// so that values are stored without the transform, and revert() still reads older entries.
class POLYCACHE_API Transform {
 public:
  Transform() = default;
  Transform(const Transform&) = delete;
  Transform& operator=(const Transform&) = delete;
  virtual ~Transform();

  // Writes the transformed value to `out`, which is empty. Returns false if the value is better
  // stored as it is, e.g. one that does not shrink. What it throws reaches the caller of the write,
  // as a codec's exception does.
  virtual bool apply(std::string_view value, const TransformContext& context, std::string& out) = 0;

  // Writes what apply() was given to `out`, which is empty. Returns false, or throws, if `stored`
  // was not made by apply() for that key: the entry is then unreadable, a miss with a warning that
  // contains the exception's text. Must bound what damaged data can make it allocate.
  virtual bool revert(std::string_view stored, const TransformContext& context,
                      std::string& out) = 0;

  // Whether values that were stored without this transform are returned. False for encryption that
  // must not accept what others wrote in plain text; decimal integers are accepted nevertheless.
  virtual bool reads_plain() const noexcept { return true; }

  virtual TransformEffect effect() const noexcept { return TransformEffect::other; }
};

}  // namespace polycache
