// How TCP finds out that the server of an idle connection has vanished: within a minute.

#pragma once

#include <chrono>

namespace polycache::net {

inline constexpr std::chrono::seconds keepalive_idle(30);      // without traffic, then probes begin
inline constexpr std::chrono::seconds keepalive_interval(10);  // between probes
inline constexpr int keepalive_probes = 3;                     // without a reply end the connection

}  // namespace polycache::net
