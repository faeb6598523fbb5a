// How TCP finds out that the server of an idle connection has vanished: within a minute.

#pragma once

#include <chrono>

namespace polycache::net {

inline constexpr std::chrono::seconds kKeepaliveIdle(30);      // without traffic, then probes begin
inline constexpr std::chrono::seconds kKeepaliveInterval(10);  // between probes
inline constexpr int kKeepaliveProbes = 3;                     // without a reply end the connection

}  // namespace polycache::net
