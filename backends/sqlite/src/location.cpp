#include "location.h"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connection.h"
#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache::sqlite {
namespace {

FileCheck refused(std::string problem) { return {FileState::refused, std::move(problem)}; }

// It may be our store with an overwritten first page: that cannot be determined.
FileCheck refused_as_no_database(const std::string& path) {
  return refused(
      quote_path(path) +
      " is not an SQLite file; it was not changed; name another one, or, if it was a store of "
      "polycache whose first page is damaged, remove it with its -wal and -shm");
}

BackendError::Kind kind_of(int error) noexcept {
  if (error == EROFS) return BackendError::Kind::read_only;
  if (error == EACCES || error == EPERM) return BackendError::Kind::denied;
  return error == ETIMEDOUT ? BackendError::Kind::overloaded : BackendError::Kind::storage;
}

[[noreturn]] void cannot_lock(const std::string& path, int error) {
  throw BackendError(kind_of(error), path,
                     "sqlite " + quote_path(path) + ": cannot lock " + quote_path(path + "-lock") +
                         " (" + std::strerror(error) +
                         "), which is needed to create the file or to move a damaged one; make its "
                         "folder writable");
}

[[noreturn]] void cannot_move(const std::string& path, int error) {
  throw BackendError(kind_of(error), path,
                     "sqlite " + quote_path(path) + ": the file is damaged and cannot be moved (" +
                         std::strerror(error) + "); move it away with its -wal and -shm files");
}

// "cache.db.damaged-20260102-030405-4711": a name not in use yet.
std::string name_aside(const std::string& path) {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char moment[32];
  std::strftime(moment, sizeof moment, "%Y%m%d-%H%M%S", &utc);
  const std::string stem = path + ".damaged-" + moment + "-" + std::to_string(::getpid());
  std::string name = stem;
  for (int i = 2; ::access(name.c_str(), F_OK) == 0; ++i) name = stem + "-" + std::to_string(i);
  return name;
}

void rename_if_there(const std::string& path, const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0 && errno != ENOENT) cannot_move(path, errno);
}

}  // namespace

FileCheck check_file(const std::string& path, Patience& patience) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return refused("cannot examine " + quote_path(path) + " (" + std::strerror(errno) + ")");
  }
  if (S_ISLNK(status.st_mode)) {
    return refused(quote_path(path) +
                   " became a symbolic link while it was in use; reload the configuration to "
                   "follow it");
  }
  if (S_ISDIR(status.st_mode)) {
    return refused(quote_path(path) + " is a folder; name a file in it");
  }
  if (!S_ISREG(status.st_mode))
    return refused(quote_path(path) + " is not a regular file; name another one");
  if (status.st_size == 0) return {};
  FileHeader header;
  switch (read_header(path, patience, header)) {
    case HeaderRead::unreadable:
      if (!identify_file(path)) return {};  // it existed a moment ago
      return refused("cannot read " + quote_path(path) + "; check its permissions");
    case HeaderRead::empty:
      if (status.st_size > 1) return {};  // it is a different file now
      [[fallthrough]];                    // SQLite treats a file of one byte as empty
    case HeaderRead::too_short:
      return refused_as_no_database(path);
    case HeaderRead::done:
      break;
  }
  if (header.application_id != own_application_id) {
    if (!header.is_database) return refused_as_no_database(path);
    return refused(
        quote_path(path) +
        " is an SQLite file, but not a polycache store; it was not changed; name another one");
  }
  if (!header.is_database) return {FileState::damaged, {}};
  if (header.user_version > own_schema_version) {
    return refused(quote_path(path) + " was written by a newer polycache (schema " +
                   std::to_string(header.user_version) + ", this one supports " +
                   std::to_string(own_schema_version) +
                   "); it was not changed; name another one, or use the newer library");
  }
  return {FileState::ours, {}, header.has_write_ahead_log};
}

std::optional<FileIdentity> identify_file(const std::string& path) noexcept {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileIdentity{status.st_dev, status.st_ino};
}

std::optional<OpenFiles> identify_open_files(const std::string& path) noexcept {
  const auto file = identify_file(path);
  const auto shared_memory = identify_file(path + "-shm");
  if (!file || !shared_memory) return std::nullopt;
  return OpenFiles{*file, *shared_memory};
}

PathLock::PathLock(const std::string& path, Patience& patience) : name_(path + "-lock") {
  while (!try_lock(path)) {
    if (!patience.pause(std::chrono::milliseconds(2))) cannot_lock(path, ETIMEDOUT);
  }
}

PathLock::~PathLock() {
  ::unlink(name_.c_str());
  ::close(file_);
}

bool PathLock::try_lock(const std::string& path) {
  file_ = off_standard_streams(::open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (file_ < 0) cannot_lock(path, errno);
  struct stat mine {};
  struct stat there {};
  // Its last owner may have removed the name between our open and our lock.
  if (::flock(file_, LOCK_EX | LOCK_NB) == 0 && ::fstat(file_, &mine) == 0 &&
      ::stat(name_.c_str(), &there) == 0 && mine.st_ino == there.st_ino) {
    return true;
  }
  ::close(file_);
  return false;
}

void remove_orphaned_log(const std::string& path) {
  for (const char* const tail : {"-wal", "-shm"}) {
    const std::string name = path + tail;
    if (::unlink(name.c_str()) == 0 || errno == ENOENT) continue;
    throw BackendError(kind_of(errno), path,
                       "sqlite " + quote_path(path) + ": cannot remove " + quote_path(name) +
                           ", which belongs to a deleted file (" + std::strerror(errno) +
                           "); remove it");
  }
}

std::optional<std::string> move_aside(const std::string& path, const FileIdentity& damaged,
                                      Patience& patience) {
  const PathLock lock(path, patience);
  if (identify_file(path) != damaged) return std::nullopt;
  const FileState state = check_file(path, patience).state;
  if (state != FileState::ours && state != FileState::damaged) return std::nullopt;
  const std::string aside = name_aside(path);
  // The file itself goes last: a process that creates a new one must not lose its log to us.
  rename_if_there(path, path + "-wal", aside + "-wal");
  rename_if_there(path, path + "-shm", aside + "-shm");
  rename_if_there(path, path, aside);
  return aside;
}

}  // namespace polycache::sqlite
