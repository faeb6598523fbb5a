// What a codec costs: a struct of six fields to bytes and back, by codec_binary.h and by
// nlohmann/json, interleaved in one run so that a slow moment of the machine hits both.
//
//   codecs [slices]        a slice is 2000 operations of each contender; default 200
//
// Goal S1: codec_binary.h at least 10 times as fast both ways. The exit status is 1 below it.

#include <polycache/codec_binary.h>
#include <polycache/codec_json.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct Profile {
  std::int64_t id = 0;
  std::string name;
  std::string mail;
  double balance = 0;
  bool active = false;
  std::vector<std::int32_t> groups;

  bool operator==(const Profile&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Profile, id, name, mail, balance, active, groups)

using Binary = polycache::BinaryCodec<Profile>;
using Json = polycache::JsonCodec<Profile>;
using Clock = std::chrono::steady_clock;

constexpr int operations = 2000;
constexpr double goal = 10;

// Keeps the compiler from dropping a result.
template <class T>
void keep(const T& value) {
  asm volatile("" : : "g"(&value) : "memory");
}

template <class Operation>
double nanoseconds_each(Operation operation) {
  const auto start = Clock::now();
  for (int i = 0; i < operations; ++i) operation(i);
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / operations;
}

double median(std::vector<double> times) {
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

template <class Codec>
struct Contender {
  std::vector<Profile> profiles;
  std::vector<std::string> stored;
  std::string scratch;
  std::vector<double> encoding;
  std::vector<double> decoding;

  explicit Contender(const std::vector<Profile>& values) : profiles(values) {
    for (const Profile& profile : profiles) {
      stored.emplace_back(Codec::encode(profile, scratch));
      if (Codec::decode(stored.back()) != profile) {
        std::fputs("codecs: a value did not come back equal\n", stderr);
        std::exit(2);
      }
    }
  }
  void run_slice() {
    encoding.push_back(nanoseconds_each(
        [this](int i) { keep(Codec::encode(profiles[index(i)], scratch).data()); }));
    decoding.push_back(nanoseconds_each([this](int i) { keep(Codec::decode(stored[index(i)])); }));
  }
  std::size_t index(int i) const { return static_cast<std::size_t>(i) % profiles.size(); }
};

std::vector<Profile> make_profiles() {
  std::vector<Profile> profiles;
  for (int i = 0; i < 64; ++i) {
    const std::string number = std::to_string(i * 7919);
    profiles.push_back({.id = 1'000'000'007LL * i,
                        .name = "Ada Lovelace the " + number + "th",
                        .mail = "ada." + number + "@example.org",
                        .balance = 0.1 * i,
                        .active = i % 2 == 0,
                        .groups = {i, i + 1, 100 * i, -i}});
  }
  return profiles;
}

bool report(const char* what, const std::vector<double>& binary, const std::vector<double>& json) {
  const double ours = median(binary);
  const double theirs = median(json);
  const double ratio = theirs / ours;
  std::printf("%-8s %12.1f %12.1f %9.1fx   %s\n", what, ours, theirs, ratio,
              ratio >= goal ? "reached" : "MISSED");
  return ratio >= goal;
}

}  // namespace

int main(int argc, char** argv) {
  const int slices = argc > 1 ? std::max(1, std::atoi(argv[1])) : 200;
  const std::vector<Profile> profiles = make_profiles();
  Contender<Binary> binary(profiles);
  Contender<Json> json(profiles);
  for (int slice = 0; slice < slices; ++slice) {
    binary.run_slice();
    json.run_slice();
  }
  std::printf("a struct of six fields, ns each, median of %d interleaved slices\n", slices);
  std::printf("%-8s %12s %12s %10s   S1: >= %.0fx\n", "", "binary", "json", "ratio", goal);
  const bool fast_out = report("encode", binary.encoding, json.encoding);
  const bool fast_in = report("decode", binary.decoding, json.decoding);
  std::printf("%-8s %12zu %12zu\n", "bytes", binary.stored[1].size(), json.stored[1].size());
  return fast_out && fast_in ? 0 : 1;
}
