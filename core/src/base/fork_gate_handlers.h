// What fork() does to the gate of polycache/author/fork_gate.h. The handlers in fork.cpp close the
// gate before they lock the cold mutex, because a thread inside may need that mutex.

#pragma once

namespace polycache {

void close_fork_gate() noexcept;
void open_fork_gate_in_parent() noexcept;
void open_fork_gate_in_child() noexcept;

}  // namespace polycache
