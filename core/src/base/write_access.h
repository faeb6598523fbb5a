// Who else can change a file that this program believes: its configuration, and the code that
// it loads. Others than the file's owner and root should not, since what stands in there
// becomes this program's deeds.
//
// Told by the mode of the file and of the folder that holds it (folders above are not looked
// at): whoever may write into the folder may put another file in its place. A group counts as
// others unless it is root's, or the owner's own, of which nobody else is a member: that is
// what a umask of 002 relies on, where it is the default. In a folder that keeps others from
// replacing what is not theirs (the sticky bit, as in /tmp), a file must belong to this
// program's user or to root. What lies on a file system that is mounted read-only nobody
// changes.

#pragma once

#include <filesystem>
#include <string>

namespace polycache {

// "can be written to by everybody; run: chmod o-w \"/etc/shop.json\"" and the like; empty if
// nobody else can change it, or if it is no regular file (then it is asked for as a pipe).
// Symbolic links are followed, and the folder of each link on the way counts as that of the file.
std::string writable_by_others(const std::filesystem::path& file);

// The same of a folder, where any file may appear. Empty for one that is not there.
std::string folder_writable_by_others(const std::filesystem::path& folder);

// Whether POLYCACHE_ALLOW_WRITABLE_FILES=1 says that all this is no matter. Ignored in a
// program with more rights than its user.
bool writable_files_allowed() noexcept;

}  // namespace polycache
