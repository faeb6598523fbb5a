#include "registry/reports.h"

#include <cxxabi.h>

#include <utility>

namespace polycache {

void call_handler(const WarningHandler& handler, const Warning& warning) {
  try {
    if (handler) handler(warning);
  } catch (const abi::__forced_unwind&) {  // pthread_cancel: must not be caught
    throw;
  } catch (...) {  // a user's handler may throw anything
  }
}

void deliver(BackendCall& reports, const WarningHandler& handler) {
  while (!reports.quiet()) {
    for (const BackendCall::Kept& kept : reports.take()) call_handler(handler, kept.warning());
  }
}

std::function<void(const Warning&)> make_reporter(std::string alias, WarningHandler handler) {
  return [alias = std::move(alias), handler = std::move(handler)](const Warning& warning) {
    if (BackendCall* const call = BackendCall::current()) {
      try {
        call->keep(warning, alias);
      } catch (...) {  // out of memory: the warning is lost, the operation is not
      }
      return;
    }
    if (!handler) return;
    Warning complete = warning;
    complete.alias = alias;
    try {
      handler(complete);
    } catch (...) {  // no operation exists whose caller could receive it
    }
  };
}

}  // namespace polycache
