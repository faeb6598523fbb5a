// ABI marks (abi.h) as text.

#pragma once

#include <string>
#include <string_view>

namespace polycache {

// The differences between a mark ("1_libstdcxx_1_asan") and ours, naming both sides.
std::string differences(std::string_view theirs, std::string_view ours);

}  // namespace polycache
