// Whether users other than the owner and root can modify a file that this program trusts: its
// configuration, and the code that it loads. The content of such a file determines what this
// program does.
//
// Decided by the modes of the file and of its folder (folders above are not checked), because write
// access to the folder allows replacing the file. A group counts as other users unless it is
// root's, or the owner's own group without other members, which systems with a default umask of 002
// rely on. In a folder where users cannot replace each other's files (sticky bit, as in /tmp), a
// file must belong to this program's user, to root, or to the folder's owner. No user can modify
// files on a file system that is mounted read-only.

#pragma once

#include <filesystem>
#include <string>

namespace polycache {

// Returns "is writable by all users; run: chmod o-w \"/etc/shop.json\"" and the like. Empty
// if no other user can modify the file, or if it is not a regular file (such as a pipe). Symbolic
// links are followed, and the folder of each link is checked like that of the file.
std::string writable_by_others(const std::filesystem::path& file);

// The same for a folder in which any file may appear. Empty if it does not exist.
std::string folder_writable_by_others(const std::filesystem::path& folder);

// Whether POLYCACHE_ALLOW_WRITABLE_FILES=1 disables these checks. Ignored in a program with more
// privileges than its user.
bool writable_files_allowed() noexcept;

}  // namespace polycache
