#include "front/transforms.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

#include "polycache/author/text.h"

namespace polycache {

std::string Transforms::problem_of(const std::vector<Named>& all) {
  const Named* encrypts = nullptr;
  for (const Named& one : all) {
    if (!one.transform) continue;
    if (!one.writes && !one.transform->reads_plain()) {
      return quote(one.name) + " requires that every value is stored with it, so its option " +
             quote("write") + " must not be false";
    }
    if (!one.writes) continue;
    const TransformEffect effect = one.transform->effect();
    if (effect == TransformEffect::encrypts) encrypts = &one;
    if (effect != TransformEffect::compresses || encrypts == nullptr) continue;
    return quote(one.name) + " compresses and comes after " + quote(encrypts->name) +
           ", which encrypts, but encrypted bytes cannot be compressed; write " + quote(one.name) +
           " before " + quote(encrypts->name);
  }
  return {};
}

bool Transforms::reads_plain() const noexcept {
  return std::all_of(all_.begin(), all_.end(),
                     [](const Named& one) { return one.transform->reads_plain(); });
}

std::string Transforms::missing(std::string_view names) const {
  const auto enclosed = [](std::string_view text) {
    std::string list(1, ',');
    return list.append(text).append(1, ',');
  };
  const std::string all = enclosed(names);
  for (const Named& one : all_) {
    if (one.transform->reads_plain()) continue;
    if (all.find(enclosed(one.name)) != std::string::npos) continue;
    return "was stored without the transform " + quote(one.name) + ", which this alias requires";
  }
  return {};
}

std::string Transforms::apply(std::string_view value, const TransformContext& context,
                              std::string& out) const {
  std::string names;
  std::string next;
  for (const Named& one : all_) {
    if (!one.writes) continue;
    next.clear();
    const std::string head = std::string(context.head) + names;
    if (!one.transform->apply(value, {context.final_key, head}, next)) continue;
    out.swap(next);
    value = out;
    names.append(names.empty() ? "" : ",").append(one.name);
  }
  return names;
}

std::string Transforms::revert(std::string_view names, std::string_view payload,
                               const TransformContext& context, std::string& out) const {
  if (std::string problem = missing(names); !problem.empty()) return problem;
  std::string next;
  while (!names.empty()) {
    const std::size_t comma = names.rfind(',');
    const std::string_view name = comma == std::string_view::npos ? names : names.substr(comma + 1);
    names = comma == std::string_view::npos ? std::string_view() : names.substr(0, comma);
    const auto found =
        std::find_if(all_.begin(), all_.end(), [&](const Named& one) { return one.name == name; });
    if (found == all_.end()) {
      return "was stored with the transform " + quote(name) + ", which this alias does not have";
    }
    next.clear();
    const std::string head = std::string(context.head).append(names);
    try {
      if (!found->transform->revert(payload, {context.final_key, head}, next)) {
        return "was refused by the transform " + quote(name);
      }
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      return "was refused by the transform " + quote(name) + ": " + error.what();
    } catch (...) {  // an author's code may throw anything
      return "was refused by the transform " + quote(name);
    }
    out.swap(next);
    payload = out;
  }
  return {};
}

}  // namespace polycache
