// What people write in JSON that JSON does not have: comments of other languages, typographic
// quotes, special blanks, Python's words.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace polycache {

// What is wrong where the parser stopped, at the byte `at` of `text`, and what to write instead;
// empty if that is nothing of the kind. Shows single characters and words from a list of its own
// only, since there may be a password. REQUIRES: the text is UTF-8
std::string json_remedy(std::string_view text, std::size_t at);

}  // namespace polycache
