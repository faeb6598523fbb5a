// A package database in Debian's format (/var/lib/dpkg/status): which packages are
// installed, what each asks for, and who can answer.
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

// One name that a package asks for or offers: "libc6 (>= 2.36)", "perl:any".
struct Relation {
  std::string name = {};
  std::string architecture = {};  // empty: as the asker's
  std::string comparison = {};    // "<<", "<=", "=", ">=", ">>", or empty: any version
  std::string version = {};
};

// "a | b": any of these will do; the first one that is there is taken.
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
  // Throws std::runtime_error, naming the place, if this is no such database or nothing is
  // installed in it.
  static PackageDatabase from_file(const std::filesystem::path& file);
  static PackageDatabase from_stream(std::istream& in, const std::string& source_name);

  // The installed ones, as they stand in the file.
  const std::vector<Package>& packages() const noexcept { return packages_; }

  // The installed package that answers what `asker` asks for, or null: alternatives in
  // their order, for each one a package of that name before one that provides it.
  const Package* find(const Package& asker, const Alternatives& wanted) const;

  // "bash", or "libc6:i386" if several architectures of it are installed.
  std::string id(const Package& package) const;

  // Null if no installed package has that id.
  const Package* find_by_id(std::string_view id) const;

 private:
  void add(Package package);

  std::vector<Package> packages_;
  // Indices into packages_: by its name, and by the names it provides.
  std::map<std::string, std::vector<std::size_t>, std::less<>> named_;
  std::map<std::string, std::vector<std::size_t>, std::less<>> providing_;
};

// Less than, equal to or greater than zero, as Debian compares versions: "1.0~rc1" before
// "1.0", "1.9" before "1.10", "1:0" after "2".
int compare_versions(std::string_view a, std::string_view b);

}  // namespace package_facts
