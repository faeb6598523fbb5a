// What tells whether a file has changed since it was read: the header of the index of its
// write-ahead log, in memory that SQLite shares among all processes that have the file open.
// https://www.sqlite.org/walformat.html, "The WAL-Index Header".

#pragma once

#include <cstdint>

namespace polycache::sqlite {

// Two equal stamps are of one content of the file: a commit changes `frames`, and a log that begins
// again gets other salts. A file whose connections were all closed has an empty log, whatever was
// written meanwhile; so a stamp also has the number of the opening (ProcessShare::opening()).
struct LogStamp {
  std::uint64_t commits = 0;   // how many there were, and how many frames the log has
  std::uint64_t checksum = 0;  // of the frames
  std::uint64_t salts = 0;     // of the log
  std::uint64_t opening = 0;

  friend bool operator==(const LogStamp&, const LogStamp&) = default;
};

}  // namespace polycache::sqlite
