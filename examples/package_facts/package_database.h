// A package database in Debian's format (/var/lib/dpkg/status): the installed packages, their
// dependencies, and the packages that satisfy them.
//
// Immutable once read, so it may be shared by threads.

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace package_facts {

// One name that a package requires or provides: "libc6 (>= 2.36)", "perl:any".
struct Relation {
  std::string name = {};
  std::string architecture = {};  // empty: the same as the asker's
  std::string comparison = {};    // "<<", "<=", "=", ">=", ">>", or empty: any version
  std::string version = {};
};

// "a | b": any of these satisfies the dependency; the first one that is installed is used.
using Alternatives = std::vector<Relation>;

struct Package {
  std::string name = {};
  std::string architecture = {};
  std::string version = {};
  bool serves_all_architectures = false;  // Multi-Arch: foreign
  std::uint64_t kibibytes = 0;            // Installed-Size
  std::vector<Alternatives> needs = {};   // Pre-Depends and Depends
  std::vector<Relation> provides = {};
};

class PackageDatabase {
 public:
  // Throws std::runtime_error, naming the place, if this is no such database or if it has no
  // installed package.
  static PackageDatabase from_file(const std::filesystem::path& file);
  static PackageDatabase from_stream(std::istream& in, const std::string& source_name);

  // The installed packages, in the order of the file.
  const std::vector<Package>& packages() const noexcept { return packages_; }

  // The installed package that satisfies a dependency of `asker`, or null. Alternatives are tried
  // in their order; for each, a package of that name is preferred to one that provides it.
  const Package* find(const Package& asker, const Alternatives& wanted) const;

  // "bash", or "libc6:i386" if several architectures of it are installed.
  std::string id(const Package& package) const;

  // Null if no installed package has that id.
  const Package* find_by_id(std::string_view id) const;

 private:
  void add(Package package);

  std::vector<Package> packages_;
  // Indices into packages_: by a package's name, and by the names that it provides.
  std::map<std::string, std::vector<std::size_t>, std::less<>> named_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> providing_;
};

// Less than, equal to or greater than zero, as Debian compares versions: "1.0~rc1" before
// "1.0", "1.9" before "1.10", "1:0" after "2".
int compare_versions(std::string_view a, std::string_view b);

}  // namespace package_facts
