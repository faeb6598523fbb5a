// What an exception says, for tests of messages.

#pragma once

#include <string>
#include <utility>

namespace polycache::testing {

// The message of the Error that f() throws. Exceptions of other types are passed on.
template <class Error, class F>
std::string message_of(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace polycache::testing
