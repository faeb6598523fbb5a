#include "shared.h"

namespace polycache::redis {

Shared::Shared(const OptionReader& options, const BackendContext& context)
    : settings(options, context.report), clock(context.clock), report(context.report) {
  servers.reserve(settings.endpoints.size());
  for (const Endpoint& endpoint : settings.endpoints) {
    servers.push_back(std::make_unique<Server>(endpoint, settings, context.clock, report));
  }
}

}  // namespace polycache::redis
