#include "base/write_access.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "polycache/author/text.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;

struct Group {
  std::string name;
  std::vector<std::string> members;  // without users that have it as primary group
};

// Buffer size for entries of the user database. A group with thousands of members does not fit and
// is treated as unknown.
constexpr std::size_t database_buffer = std::size_t{64} << 10U;

std::optional<Group> find_group(gid_t id) {
  std::vector<char> buffer(database_buffer);
  group entry{};
  group* found = nullptr;
  if (::getgrgid_r(id, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return std::nullopt;
  }
  Group result{.name = entry.gr_name, .members = {}};
  for (char** member = entry.gr_mem; *member != nullptr; ++member) {
    result.members.emplace_back(*member);
  }
  return result;
}

constexpr int most_links = 40;  // in a path to a file, as in the kernel

std::string user_name(uid_t id) {
  std::vector<char> buffer(database_buffer);
  passwd entry{};
  passwd* found = nullptr;
  const int error = ::getpwuid_r(id, &entry, buffer.data(), buffer.size(), &found);
  return error == 0 && found != nullptr ? entry.pw_name : std::string();
}

// Whether the group contains only its owner: it has the owner's name or number, as user-private
// groups do, and no other member was added.
bool is_owners_own(gid_t group_id, uid_t owner) {
  const std::optional<Group> found = find_group(group_id);
  if (!found) return group_id == owner;  // for example in a container, where neither has a name
  const std::string name = user_name(owner);
  for (const std::string& member : found->members) {
    if (member != name) return false;
  }
  return found->name == name || group_id == owner;
}

// Whether there is an access control list: the group bits then cover every user and group it names.
bool has_access_list(const fs::path& path) {
  return ::getxattr(path.c_str(), "system.posix_acl_access", nullptr, 0) > 0;
}

bool is_read_only(const fs::path& path) {
  struct statvfs status {};
  return ::statvfs(path.c_str(), &status) == 0 && (status.f_flag & ST_RDONLY) != 0;
}

// Which classes of other users the mode allows to write.
struct Others {
  bool group = false;
  bool all_users = false;

  bool any() const noexcept { return group || all_users; }
};

Others others_of(const fs::path& path, const struct stat& status) {
  Others others;
  others.all_users = (status.st_mode & S_IWOTH) != 0;
  if ((status.st_mode & S_IWGRP) != 0) {
    const bool only_owner = status.st_gid == 0 || is_owners_own(status.st_gid, status.st_uid);
    others.group = !only_owner || has_access_list(path);
  }
  if (others.any() && is_read_only(path)) return {};
  return others;
}

// "is writable by the group \"staff\" and by all users; run: chmod go-w \"/x\"".
std::string sentence(const Others& others, const struct stat& status, const fs::path& path) {
  std::string text = "is writable by ";
  if (others.group) {
    const std::optional<Group> group = find_group(status.st_gid);
    text +=
        group ? "the group \"" + group->name + '"' : "the group " + std::to_string(status.st_gid);
    if (others.all_users) text += " and by ";
  }
  if (others.all_users) text += "all users";
  text += "; run: chmod ";
  if (others.group) text += 'g';
  if (others.all_users) text += 'o';
  return text + "-w " + quote_path(path.native());
}

std::string check_folder(const fs::path& folder) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return {};
  const bool sticky = (status.st_mode & S_ISVTX) != 0;
  if (sticky) return {};  // others may add, not replace: check_entry()
  const Others others = others_of(folder, status);
  if (!others.any()) return {};
  return sentence(others, status, folder);
}

// An entry of a folder in which all users may create files must be ours. `entry` is the file or a
// link to it.
std::string check_entry(const fs::path& folder, const struct stat& entry) {
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0 || (status.st_mode & S_ISVTX) == 0) return {};
  const bool trusted =
      entry.st_uid == 0 || entry.st_uid == ::geteuid() || entry.st_uid == status.st_uid;
  if (trusted || !others_of(folder, status).any()) return {};
  const std::string name = user_name(entry.st_uid);
  return "belongs to another user, " +
         (name.empty() ? "number " + std::to_string(entry.st_uid) : '"' + name + '"') +
         ", and lies in " + quote_path(folder.native()) +
         ", where all users can create files; move it to a folder of your own";
}

std::string check_holder(const fs::path& file, const struct stat& entry) {
  const fs::path folder = file.parent_path();
  if (const std::string problem = check_folder(folder); !problem.empty()) {
    return "lies in the folder " + quote_path(folder.native()) + ", which " + problem;
  }
  return check_entry(folder, entry);
}

// Whether other users can replace one of the links on the path to a file.
std::string check_links(fs::path path) {
  std::error_code error;
  struct stat entry {};
  for (int links = 0; links < most_links; ++links) {
    if (::lstat(path.c_str(), &entry) != 0 || !S_ISLNK(entry.st_mode)) return {};
    if (std::string problem = check_holder(path, entry); !problem.empty()) return problem;
    path = path.parent_path() / fs::read_symlink(path, error);
  }
  return {};
}

}  // namespace

std::string writable_by_others(const fs::path& file) {
  std::error_code error;
  const fs::path named = fs::absolute(file, error);
  const fs::path real = error ? fs::path() : fs::canonical(named, error);
  struct stat status {};
  if (error || ::stat(real.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  const Others others = others_of(real, status);
  if (others.any()) return sentence(others, status, real);
  std::string problem = check_holder(real, status);
  return problem.empty() ? check_links(named) : problem;
}

std::string folder_writable_by_others(const fs::path& folder) { return check_folder(folder); }

bool writable_files_allowed() noexcept {
  const char* const value = ::secure_getenv("POLYCACHE_ALLOW_WRITABLE_FILES");
  return value != nullptr && std::string_view(value) == "1";
}

}  // namespace polycache
