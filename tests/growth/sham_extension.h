// An ability that the core does not know: of a session, and of a factory.

#pragma once

#include <cstddef>
#include <string_view>

namespace growth {

// Which part of a store keeps a key.
struct PartsExtension {
  static constexpr std::string_view id = "growth.parts/1";
  virtual std::string_view part_of(std::string_view key) = 0;

 protected:
  ~PartsExtension() = default;
};

// How many sessions a factory has opened.
struct SessionCountExtension {
  static constexpr std::string_view id = "growth.session_count/1";
  virtual std::size_t sessions() = 0;

 protected:
  ~SessionCountExtension() = default;
};

}  // namespace growth
