// Checks whether a file is a complete shared library for this machine by reading it; no byte of it
// is mapped or run.
//
// The dynamic loader trusts a file's headers: mapping a truncated file ends in SIGBUS, a damaged
// one in worse. This checks what the loader relies on: every table and segment lies inside the
// file, and the two descriptions that an ELF file has of itself (segments, which the loader uses,
// and sections) agree. Damage inside code and data is not detected.

#pragma once

#include <filesystem>

namespace polycache {

// Throws PluginError, one sentence that names the file, if it is not one. Later changes of the file
// are not detected.
void check_elf(const std::filesystem::path& file);

}  // namespace polycache
