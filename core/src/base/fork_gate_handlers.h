// What fork() does to the gate of polycache/author/fork_gate.h. Called by the handlers of fork.cpp,
// which close the gate before they take the cold mutex: a thread that is inside may need it.

#pragma once

namespace polycache {

void close_fork_gate() noexcept;
void open_fork_gate_in_parent() noexcept;
void open_fork_gate_in_child() noexcept;

}  // namespace polycache
