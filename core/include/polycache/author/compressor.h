// The base of transforms that compress. It has what all of them need: which values are worth it,
// how much memory a stored value may claim, and a checksum. A derived class adds the algorithm:
//
//   class Shrink final : public Compressor {
//    public:
//     explicit Shrink(const OptionReader& options)
//         : Compressor(options, 255), level_(options.integer("level", 3, 1, 19)) {}
//
//    private:
//     std::size_t compress(std::string_view value, std::span<char> out) override;
//     bool decompress(std::string_view compressed, std::span<char> out) override;
//   };
//
// Options of every compressor:
//
//   min_bytes  smaller values are stored as they are; 1KiB
//   max_bytes  larger values are stored as they are, and stored values that claim to be larger are
//   a
//              miss, before memory is taken; 64MiB, at most 1GiB
//
// A compressed value is stored if its entry is at least a tenth smaller. Its bytes, little endian:
//
//   0  u32  size of the value
//   4  u32  CRC-32C of the size and of what follows the CRC
//   8       what compress() wrote

#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "polycache/author/option_reader.h"
#include "polycache/author/transform.h"
#include "polycache/detail/export.h"

namespace polycache {

// Thread-safe, if the functions of the derived class are.
class POLYCACHE_API Compressor : public Transform {
 public:
  ~Compressor() override;

  bool apply(std::string_view value, const TransformContext& context, std::string& out) final;

  // Throws std::length_error if the value would be larger than max_bytes.
  bool revert(std::string_view stored, const TransformContext& context, std::string& out) final;

  TransformEffect effect() const noexcept final { return TransformEffect::compresses; }

 protected:
  // Reads the options above. `largest_ratio`: how many bytes one compressed byte can stand for at
  // most; a stored value that claims more is refused before memory is taken.
  Compressor(const OptionReader& options, std::size_t largest_ratio);

 private:
  // Writes the compressed value to the beginning of `out`. Returns its size, or 0 if it does not
  // fit. `value` has from min_bytes to max_bytes bytes, and at least one.
  virtual std::size_t compress(std::string_view value, std::span<char> out) = 0;

  // Writes the value, which has out.size() bytes. Returns false, or throws, if `compressed` is not
  // a value of that size. `out` has at most max_bytes bytes and is larger than `compressed`. The
  // checksum was right, so wrong bytes are an attempt to harm the reader.
  virtual bool decompress(std::string_view compressed, std::span<char> out) = 0;

  std::size_t min_bytes_;
  std::size_t max_bytes_;
  std::size_t largest_ratio_;
};

}  // namespace polycache
