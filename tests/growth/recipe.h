// A recipe with a section of its own: it warms an alias with pairs, again after each change.

#pragma once

#include <polycache/polycache.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace growth {

struct Warm {
  std::string alias;
  std::vector<std::pair<std::string, std::string>> pairs;
};

inline std::vector<Warm> read_warms(polycache::SectionReader& section) {
  std::vector<Warm> warms;
  for (const polycache::SectionReader& alias : section.objects()) {
    Warm warm{.alias = alias.name(), .pairs = {}};
    for (const polycache::SectionReader& pair : alias.objects("pairs")) {
      warm.pairs.emplace_back(pair.string("key", ""), pair.string("value", ""));
    }
    warms.push_back(std::move(warm));
  }
  return warms;
}

class Warmer {
 public:
  explicit Warmer(polycache::CacheRegistry& registry)
      : registry_(registry), listener_(registry.on_change([this] { warm(); })) {
    warm();
  }
  Warmer(const Warmer&) = delete;
  Warmer& operator=(const Warmer&) = delete;
  ~Warmer() = default;

 private:
  void warm() {
    polycache::SectionReader section = registry_.section("growth_warm");
    for (const Warm& warm : read_warms(section)) {
      for (const auto& [key, value] : warm.pairs) registry_[warm.alias].set(key, value);
    }
    section.finish();
  }

  polycache::CacheRegistry& registry_;
  std::shared_ptr<void> listener_;
};

}  // namespace growth
