// How warnings reach the handler: those of stores, and those where there is no operation whose
// caller could receive what the handler throws.

#pragma once

#include <functional>
#include <string>

#include "front/backend_call.h"
#include "polycache/warning.h"

namespace polycache {

// Swallows what the handler throws. REQUIRES: no lock is held, since the handler may use any cache
void call_handler(const WarningHandler& handler, const Warning& warning);

// The same for what stores reported while they were built, and empties it.
void deliver(BackendCall& reports, const WarningHandler& handler);

// Receives the reports of the stores of an alias. During an operation, or while a configuration is
// built, they are kept (BackendCall); else they are passed to the handler.
std::function<void(const Warning&)> make_reporter(std::string alias, WarningHandler handler);

}  // namespace polycache
