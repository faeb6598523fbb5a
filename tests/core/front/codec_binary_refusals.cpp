// Types that BinaryCodec must refuse when compiling, with a sentence that says why. Each test
// compiles this file with another REFUSED type.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/codec_binary.h"

namespace {

struct Base {
  int a = 0;
};
struct Derived : Base {
  int b = 0;
};
struct Pointer {
  int* a = nullptr;
};
struct Owner {
  std::unique_ptr<int> a;
};
struct View {
  std::vector<std::string_view> a;
};
struct Uptime {
  std::chrono::steady_clock::time_point a;
};
class Private {
  int a = 0;
};
struct NoDefault {
  struct Member {
    explicit Member(int) {}
  };
  Member a;
};
struct Seventeen {
  int a[17], b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q;
};
struct Accepted {
  int a = 0;
};

[[maybe_unused]] bool try_it(const REFUSED& value) {
  std::string scratch;
  return polycache::BinaryCodec<REFUSED>::decode(
             polycache::BinaryCodec<REFUSED>::encode(value, scratch))
      .has_value();
}

}  // namespace
