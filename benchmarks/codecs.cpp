// What a codec costs: a struct of six fields to bytes and back, by codec_binary.h and by
// nlohmann/json.
//
//   codecs [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Goal S1: codec_binary.h at least 10 times as fast both ways.

#include <polycache/codec_binary.h>
#include <polycache/codec_json.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "duel.h"

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

template <class Codec>
class Contender {
 public:
  explicit Contender(std::vector<Profile> profiles) : profiles_(std::move(profiles)) {
    for (const Profile& profile : profiles_) {
      stored_.emplace_back(Codec::encode(profile, scratch_));
      duel::expect(Codec::decode(stored_.back()) == profile);
    }
  }
  duel::Contender encoding() {
    return duel::each([this](std::size_t i) {
      duel::keep(Codec::encode(profiles_[i % profiles_.size()], scratch_).data());
    });
  }
  duel::Contender decoding() {
    return duel::each(
        [this](std::size_t i) { duel::keep(Codec::decode(stored_[i % stored_.size()])); });
  }
  double bytes() const { return static_cast<double>(stored_[1].size()); }

 private:
  std::vector<Profile> profiles_;
  std::vector<std::string> stored_;
  std::string scratch_;
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

bool run_all(const duel::Options& options) {
  Contender<Binary> binary(make_profiles());
  Contender<Json> json(make_profiles());
  duel::Table table(options, {.title = "codecs, a struct of six fields: binary against JSON",
                              .theirs = "json",
                              .unit = duel::Unit::nanoseconds});
  const auto contest = [](const char* name, duel::Contender ours, duel::Contender theirs) {
    return duel::Contest{.name = name,
                         .operations = 2000,
                         .slices = 200,
                         .goal = duel::at_least("S1", 10),
                         .ours = std::move(ours),
                         .theirs = std::move(theirs)};
  };
  table.add(contest("encode", binary.encoding(), json.encoding()));
  table.add(contest("decode", binary.decoding(), json.decoding()));
  table.add_figure("encoded size", "B", binary.bytes(), json.bytes());
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("codecs", argc, argv, run_all); }
