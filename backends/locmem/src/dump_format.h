// The bytes of a dump: the entries of a store in a file (docs/adr/0044-dumps-of-locmem.md).
//
// All numbers are little endian. The file is a head, chunks, and a last chunk:
//
//   head    magic "\xC1" "pcdump\n" 8, version 4, 0 4, time of the dump 8 (milliseconds since
//   1970),
//           policy 16 (its name, filled with zeros), 0 20, CRC-32C 4 (of the 60 bytes before)
//   chunk   size of the records 8, section 4, entries 4, number of the chunk 8, 0 4,
//           CRC-32C 4 (of the 28 bytes before and of the records), records
//   record  size of the key 3, standing 1, size of the value 4, end of the lifetime 8 (milliseconds
//           since 1970; the greatest number: none), key, value
//   last    a chunk of the section 0xffffffff without entries, whose 8 bytes are the number of all
//           entries; the file ends with it
//
// A section is what one shard had. Within it, entries that would be evicted first come first. The
// standing is what the policy knows of an entry: meaningless to another policy.

#pragma once

#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/function_ref.h"

namespace polycache::locmem {

struct DumpRecord {
  static constexpr std::int64_t no_end = std::numeric_limits<std::int64_t>::max();

  std::string_view key;
  std::string_view value;
  std::int64_t end = no_end;  // milliseconds since 1970
  std::uint8_t standing = 0;
};

struct DumpHead {
  std::int64_t saved = 0;  // milliseconds since 1970
  std::string policy;      // at most 16 bytes
};

// Writes a dump to a descriptor. Every function throws BackendError if the system cannot write.
class DumpWriter {
 public:
  // `name` is for messages.
  DumpWriter(int descriptor, std::string name, const DumpHead& head);

  void add(std::uint32_t section, const DumpRecord& record);
  // Writes the last chunk. Returns the number of entries.
  std::uint64_t finish();

 private:
  void begin_chunk();
  void end_chunk();
  void flush();

  const int descriptor_;
  const std::string name_;
  std::string buffer_;     // what was not written yet; ends with the chunk under way, if any
  std::size_t chunk_ = 0;  // its position there
  std::uint32_t section_ = 0;
  std::uint32_t entries_ = 0;  // in the chunk
  std::int64_t written_ = 0;   // bytes
  std::uint64_t chunks_ = 0;
  std::uint64_t total_ = 0;
};

// Why a file cannot be loaded: "it is cut off". A sentence without a subject and an end.
class UnusableDump : public std::exception {
 public:
  explicit UnusableDump(std::string reason) : reason_(std::move(reason)) {}
  const char* what() const noexcept override { return reason_.c_str(); }

 private:
  std::string reason_;
};

// Whether a file that begins with these bytes is a dump, whatever its version. Needs 8 of them.
bool is_dump(std::string_view beginning) noexcept;

// Reads a dump from a descriptor whose file does not change meanwhile.
class DumpReader {
 public:
  struct Chunk {
    std::uint64_t at;  // of its head
    std::uint64_t size;
    std::uint32_t section;
    std::uint64_t number;
  };

  // Reads all of the file and compares its checksums. Throws UnusableDump if a byte of it is not as
  // it was written.
  explicit DumpReader(int descriptor);

  const DumpHead& head() const noexcept { return head_; }
  std::uint64_t entries() const noexcept { return entries_; }
  const std::vector<Chunk>& chunks() const noexcept { return chunks_; }
  // Throws UnusableDump.
  void read(const Chunk& chunk, FunctionRef<void(const DumpRecord&)> sink);

 private:
  void read_at(std::uint64_t at, std::size_t size, std::string& bytes) const;
  void read_head();
  bool read_chunk(std::uint64_t at);
  void check_records(std::uint32_t entries) const;

  const int descriptor_;
  std::uint64_t file_size_ = 0;
  DumpHead head_;
  std::uint64_t entries_ = 0;
  std::vector<Chunk> chunks_;
  std::string buffer_;
};

}  // namespace polycache::locmem
