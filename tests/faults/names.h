// Names that mean what a test says. Stores ask getaddrinfo(), and find the one of names.cpp in
// place of the system's, which is asked for every name that does not end in ".invalid".
// Thread-safe.

#pragma once

#include <string>
#include <vector>

namespace polycache::testing {

// From now on `name` has these addresses, in this order; without any it is unknown, as it is at
// first. REQUIRES: it ends in ".invalid".
void let_name_mean(const std::string& name, std::vector<std::string> addresses);

// How often names that end in ".invalid" were asked for.
int lookups() noexcept;

}  // namespace polycache::testing
