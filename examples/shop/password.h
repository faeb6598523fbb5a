// Passwords as crypt(5) keeps them: yescrypt, with a salt each.

#pragma once

#include <string>

// Throws std::runtime_error if the system has no such hash.
std::string hash_of(const std::string& password);

// Takes some tens of milliseconds, whatever the answer is.
bool is_password(const std::string& password, const std::string& hash);
