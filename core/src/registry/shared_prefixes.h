// Warns of aliases that clear each other's entries.

#pragma once

#include "polycache/config.h"
#include "polycache/warning.h"
#include "registry/builder.h"

namespace polycache {

// Passes a warning for each alias whose clear() removes entries of other aliases too, as its prefix
// begins theirs. To be called while a configuration is built: the handler then runs when no lock is
// held.
void warn_of_shared_prefixes(const Config& config, const BuiltAliases& built,
                             const WarningHandler& handler);

}  // namespace polycache
