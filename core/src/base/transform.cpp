#include "polycache/author/transform.h"

namespace polycache {

Transform::~Transform() = default;

}  // namespace polycache
