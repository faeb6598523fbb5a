// The file of a store: whose it is, whether it is still the one that was opened, and how a
// damaged one is put aside. Nothing here changes a file that is not ours. All paths are those of
// files, over no symbolic link: SQLite keeps a log next to the file.

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <sys/types.h>

#include "patience.h"

namespace polycache::sqlite {

inline constexpr std::uint32_t kApplicationId = 0x706c7963;  // "plyc"
inline constexpr std::uint32_t kSchemaVersion = 1;

enum class FileState : unsigned char {
  absent,   // or empty: to be made
  ours,     //
  damaged,  // bears our application id, and is no database
  refused,  // everything else
};

struct FileVerdict {
  FileState state = FileState::absent;
  std::string problem = {};  // if refused: what it is instead, and the remedy
  bool has_write_ahead_log = false;
};

// `patience`: how long to wait for a process that is just making the file.
FileVerdict judge_file(const std::string& path, Patience& patience);

// Which file a path leads to.
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
};

// Empty if one of them is not there.
std::optional<OpenFiles> identify_open_files(const std::string& path) noexcept;

// An exclusive lock, among processes, for making the file of a path or renaming it. SQLite
// knows files, not paths: it cannot keep those apart who open, rename and make them. Not for
// threads of one process, which have their turn.
class PathLock {
 public:
  // Throws BackendError if the lock does not come.
  PathLock(const std::string& path, Patience& patience);
  PathLock(const PathLock&) = delete;
  PathLock& operator=(const PathLock&) = delete;
  ~PathLock();

 private:
  bool try_lock(const std::string& path);

  std::string name_;
  int file_ = -1;
};

// Removes the write-ahead log and the shared memory of a file that is gone: a new file would be
// read through them, and those who still have the old one open go on with what they have open.
// Throws BackendError. REQUIRES: the path is locked and leads to no file, to an empty one, or to
// another than the one whose log it is
void remove_orphaned_log(const std::string& path);

// Renames a damaged file of ours with its log, and returns the new name; or returns nothing
// if the path leads to another file by now, because another process did so first, or to one that
// is not ours. Throws
// BackendError if it cannot.
std::optional<std::string> move_aside(const std::string& path, const FileIdentity& damaged,
                                      Patience& patience);

}  // namespace polycache::sqlite
