// The file of a dump, and the lock that makes one process its owner.
//
// A dump is written to PATH.new, synchronised, and renamed, so that PATH is always whole. The lock
// is one on PATH.lock, which stays; the system releases it when the process ends, however it ends.

#pragma once

#include <string>
#include <utility>

#include "polycache/author/function_ref.h"

namespace polycache::locmem {

// A descriptor that closes itself.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { close(); }

  explicit operator bool() const noexcept { return number_ >= 0; }
  int number() const noexcept { return number_; }
  void close() noexcept;

 private:
  int number_ = -1;
};

// Not thread-safe.
class DumpFile {
 public:
  // `path` is absolute.
  explicit DumpFile(std::string path) : path_(std::move(path)) {}

  const std::string& path() const noexcept { return path_; }

  // Tries to become the owner, which stays so until release(). Returns why it cannot, as a sentence
  // without a subject; empty if this is the owner.
  std::string acquire();
  bool is_acquired() const noexcept { return static_cast<bool>(lock_); }
  // Also closes the descriptor that a child of fork() inherited, which would keep the lock.
  void release() noexcept { lock_.close(); }

  // Opens the dump for reading. None: there is no file. Throws UnusableDump if the file must not be
  // used.
  Descriptor open() const;

  // Calls write(descriptor) for a new file and puts that in the place of the old one. Throws
  // BackendError, and then the old one stays. REQUIRES: is_acquired()
  void replace(FunctionRef<void(int descriptor)> write) const;

 private:
  std::string path_;
  Descriptor lock_;
};

}  // namespace polycache::locmem
