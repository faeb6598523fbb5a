// Frequent mistakes in JSON: comments of other languages, typographic quotes, special blanks,
// Python's words.

#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace polycache {

// What is wrong at the byte `at` of `text`, where the parser stopped, and what to write instead;
// empty if it is none of these mistakes. Shows only single characters and words from its own list,
// since the text may contain a password. REQUIRES: the text is UTF-8
std::string json_remedy(std::string_view text, std::size_t at);

}  // namespace polycache
