// The file of a store: whether it is ours, whether it is still the opened one, and how a damaged
// one is moved aside. Nothing here changes a file that is not ours. All paths lead to files without
// symbolic links: SQLite keeps a log next to the file.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "patience.h"

namespace polycache::sqlite {

inline constexpr std::uint32_t own_application_id = 0x706c7963;  // "plyc"
// Of a new file. A table with limits counts its entries (table_limits.cpp), which older versions of
// this library would make wrong.
inline constexpr std::uint32_t first_schema_version = 1;
inline constexpr std::uint32_t counting_schema_version = 2;
inline constexpr std::uint32_t own_schema_version = counting_schema_version;

enum class FileState : unsigned char {
  absent,   // or empty: to be created
  ours,     //
  damaged,  // has our application id, but is not a valid database
  refused,  // everything else
};

struct FileCheck {
  FileState state = FileState::absent;
  std::string problem = {};  // if refused: what it is instead, and the remedy
  bool has_write_ahead_log = false;
};

// `patience`: how long to wait for a process that is just creating the file.
FileCheck check_file(const std::string& path, Patience& patience);

// Identifies the file that a path leads to.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const FileIdentity&, const FileIdentity&) = default;
};

// Empty if there is none.
std::optional<FileIdentity> identify_file(const std::string& path) noexcept;

// The file and the shared memory of its write-ahead log.
struct OpenFiles {
  FileIdentity file;
  FileIdentity shared_memory;
  friend bool operator==(const OpenFiles&, const OpenFiles&) = default;
};

// Empty if one of them is missing.
std::optional<OpenFiles> identify_open_files(const std::string& path) noexcept;

// An exclusive lock among processes for creating or renaming the file of a path. SQLite locks
// files, not paths, so it cannot serialise processes that open, rename and create them. Does not
// exclude threads of one process; they take turns (store_share.h).
class PathLock {
 public:
  // Throws BackendError if the lock is not acquired.
  PathLock(const std::string& path, Patience& patience);
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;
  ~PathLock();

 private:
  bool try_lock(const std::string& path);

  std::string name_;
  int file_ = -1;
};

// Removes the write-ahead log and the shared memory of a file that no longer exists: a new file
// would be read through them, while those who have the old one open keep their descriptors. Throws
// BackendError. REQUIRES: the path is locked and leads to no file, to an empty one, or to one that
// the log does not belong to
void remove_orphaned_log(const std::string& path);

// Renames a damaged file of ours together with its log, and returns the new name. Returns nothing
// if the path meanwhile leads to another file, because another process was faster, or to one that
// is not ours. Throws BackendError on failure.
std::optional<std::string> move_aside(const std::string& path, const FileIdentity& damaged,
                                      Patience& patience);

}  // namespace polycache::sqlite
