// Whether a file is a whole shared library for this machine, found out by reading it; no
// byte of it is mapped or run.
//
// The dynamic loader believes what a file's headers say: mapping a truncated one ends in
// SIGBUS, a damaged one in worse. What is checked here is what it would rely on: that every
// table and segment lies inside the file, and that the two descriptions an ELF file has of
// itself (segments, which the loader uses, and sections) agree. Damage inside code and data
// is not seen.

#pragma once

#include <filesystem>

namespace polycache {

// Throws PluginError, one sentence that names the file, if it is anything else. A file that
// changes afterwards is not noticed.
void judge_elf(const std::filesystem::path& file);

}  // namespace polycache
