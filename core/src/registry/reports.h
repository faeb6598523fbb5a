// Warnings where there is no operation whose caller could receive what a handler throws.

#pragma once

#include "front/backend_call.h"
#include "polycache/warning.h"

namespace polycache {

// Swallows what the handler throws. REQUIRES: no lock is held, since the handler may use any cache
void call_handler(const WarningHandler& handler, const Warning& warning);

// The same for what stores reported while they were built, and empties it.
void deliver(BackendCall& reports, const WarningHandler& handler);

}  // namespace polycache
