// Renews the leases of what this process holds, and says in time which are lost.
//
// Two threads for the process, made with the first hold: one watches the clock and fires stop
// tokens, and never calls a store; the other one renews, and may wait for a store that hangs. They
// sleep while nothing is held. A child of fork() begins without them. A handler of atexit() ends
// them: it waits for at most 1 s for one that is inside a store.

#pragma once

#include <memory>

#include "hold.h"

namespace polycache::detail {

// Thread-safe. Keeps the hold until its end or its loss. Throws std::system_error if the system
// gives no thread. Does nothing once the process ends.
void keep_alive(const std::shared_ptr<Hold>& hold);
// From now on, no renewal of it begins. REQUIRES: the hold has ended, or was lost
void forget(const Hold& hold) noexcept;
// Waits for at most 10 s until the threads use nothing of the hold's registry any more, unless
// other holds need it: the program may then end the registry, its clock and what its handlers refer
// to. Does not wait on these threads themselves. REQUIRES: the hold was forgotten
void settle(const Hold& hold) noexcept;

}  // namespace polycache::detail
