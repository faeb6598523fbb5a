#include "dump_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>

#include "dump_format.h"
#include "polycache/author/descriptor.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache::locmem {
namespace {

constexpr mode_t only_owner = 0600;

std::string because(int error) { return " (" + std::generic_category().message(error) + ")"; }

[[noreturn]] void failed(BackendError::Kind kind, const std::string& what) {
  throw BackendError(kind, "", what);
}

// Links are not followed: in a folder that others can write to, they may lead anywhere. Does not
// wait for the other end of a pipe.
Descriptor open_file(const std::string& path, int flags) {
  return Descriptor(off_standard_streams(
      ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, only_owner)));
}

// Why a file must be neither believed nor replaced: it is not one that this program has written.
std::optional<std::string> refusal(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return "cannot be examined" + because(errno);
  if (!S_ISREG(status.st_mode)) return "is no regular file; name another one";
  if (status.st_uid != ::geteuid()) {
    return "belongs to another user, number " + std::to_string(status.st_uid) +
           "; remove it, or name another one";
  }
  if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return "can be written by other users; run chmod 600 on it if its content is yours";
  }
  std::array<char, 8> beginning{};
  const ssize_t got = ::pread(descriptor, beginning.data(), beginning.size(), 0);
  if (got < 0) return "cannot be read" + because(errno);
  if (got > 0 && !is_dump({beginning.data(), static_cast<std::size_t>(got)})) {
    return "is no dump of polycache, so it is not replaced; remove it, or name another one";
  }
  return std::nullopt;
}

// Number of the process that wrote it into the lock file; 0: unknown.
std::string owner_of(int lock) {
  std::array<char, 24> text{};
  const ssize_t got = ::pread(lock, text.data(), text.size(), 0);
  const std::string_view number(text.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
  const bool is_number =
      !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
  return is_number ? "the process " + std::string(number) : "another process";
}

// A rename survives a crash of the machine once the folder is synchronised.
void sync_folder(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (opened && ::fsync(opened.number()) == 0) return;
  failed(BackendError::Kind::storage,
         "cannot synchronise the folder " + quote_path(folder) + because(errno));
}

}  // namespace

void Descriptor::close() noexcept {
  if (number_ >= 0) ::close(number_);
  number_ = -1;
}

std::string DumpFile::acquire() {
  if (is_acquired()) return {};
  const std::string name = path_ + ".lock";
  Descriptor lock = open_file(name, O_RDWR | O_CREAT);
  if (!lock) return "cannot be locked: " + quote_path(name) + because(errno);
  struct stat status {};
  if (::fstat(lock.number(), &status) != 0 || !S_ISREG(status.st_mode) ||
      status.st_uid != ::geteuid()) {
    return "cannot be locked: " + quote_path(name) + " belongs to another user; remove it";
  }
  if (::flock(lock.number(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return "cannot be locked: " + quote_path(name) + because(errno);
    return "belongs to " + owner_of(lock.number()) + "; give each process a file of its own";
  }
  const std::string number = std::to_string(::getpid());
  // Only for that message, so a full disk does not matter.
  if (::ftruncate(lock.number(), 0) == 0) {
    static_cast<void>(::pwrite(lock.number(), number.data(), number.size(), 0) < 0);
  }
  lock_ = std::move(lock);
  return {};
}

Descriptor DumpFile::open() const {
  Descriptor file = open_file(path_, O_RDONLY);
  if (!file) {
    if (errno == ENOENT) return file;
    throw UnusableDump(errno == ELOOP ? "is a symbolic link; name the file itself"
                                      : "cannot be opened" + because(errno));
  }
  if (const auto problem = refusal(file.number())) throw UnusableDump(*problem);
  return file;
}

void DumpFile::replace(FunctionRef<void(int descriptor)> write) const {
  try {
    static_cast<void>(open());
  } catch (const UnusableDump& problem) {
    failed(BackendError::Kind::denied, "the dump " + quote_path(path_) + ' ' + problem.what());
  }
  const std::string name = path_ + ".new";
  if (::unlink(name.c_str()) != 0 && errno != ENOENT) {  // of a process that was killed
    failed(BackendError::Kind::storage, "cannot remove " + quote_path(name) + because(errno));
  }
  Descriptor file = open_file(name, O_WRONLY | O_CREAT | O_EXCL);
  if (!file) {
    failed(BackendError::Kind::storage, "cannot create " + quote_path(name) + because(errno));
  }
  try {
    write(file.number());
    if (::fsync(file.number()) != 0) {
      failed(BackendError::Kind::storage,
             "cannot synchronise the dump " + quote_path(name) + because(errno));
    }
    file.close();
    if (::rename(name.c_str(), path_.c_str()) != 0) {
      failed(BackendError::Kind::storage,
             "cannot rename " + quote_path(name) + " to " + quote_path(path_) + because(errno));
    }
  } catch (...) {
    ::unlink(name.c_str());
    throw;
  }
  sync_folder(path_);
}

}  // namespace polycache::locmem
