#include "registry/reports.h"

#include <cxxabi.h>

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

}  // namespace polycache
