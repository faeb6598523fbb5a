// Files that were cut short or changed: each is refused, or loads as what it was. None ends
// the process, which is why the changed ones are tried in children.

#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <set>

#include "polycache/testing/test_context.h"
#include "specimens.h"

namespace polycache {
namespace {

using ::testing::HasSubstr;
using testing::load_file;
using testing::read_file;
using testing::refusal_of;
using testing::TempFolder;
using testing::TestContext;

const std::filesystem::path thrower =
    std::filesystem::path(SPECIMEN_DIR) / "create_throws_stripped.so";
const std::filesystem::path stripped = std::filesystem::path(SPECIMEN_DIR) / "good_stripped.so";

TEST(PluginDamage, AFileThatWasCutShortAnywhereIsRefused) {
  const TempFolder folder;
  for (const auto& whole : {read_file(stripped), read_file(testing::specimen("good"))}) {
    std::set<std::size_t> cuts;
    for (std::size_t at = 0; at < 80; ++at) cuts.insert(at);
    for (std::size_t i = 0; i < 200; ++i) cuts.insert(whole.size() * i / 200);
    for (std::size_t i = 1; i < 80; ++i) cuts.insert(whole.size() - i);
    for (const std::size_t cut : cuts) {
      const auto file = folder.write("polycache_cut.so", whole.substr(0, cut));
      EXPECT_THROW(load_file(file), PluginError) << "cut at " << cut << " of " << whole.size();
    }
  }
}

TEST(PluginDamage, ACutFileIsReportedAsTruncated) {
  const TempFolder folder;
  const std::string whole = read_file(stripped);
  const auto file = folder.write("polycache_cut.so", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(refusal_of(file), HasSubstr("is truncated or damaged"));
  EXPECT_THAT(refusal_of(file), HasSubstr(std::to_string(whole.size() / 2) + " bytes"));
}

// Where the headers of a file lie: what the check reads, and what the loader relies on.
std::vector<std::size_t> header_bytes(const std::string& file) {
  ElfW(Ehdr) header{};
  std::memcpy(&header, file.data(), sizeof(header));
  std::vector<std::size_t> places;
  const auto add = [&](std::size_t begin, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) places.push_back(begin + i);
  };
  add(0, sizeof(header));
  add(header.e_phoff, std::size_t{header.e_phnum} * sizeof(ElfW(Phdr)));
  add(header.e_shoff, std::size_t{header.e_shnum} * sizeof(ElfW(Shdr)));
  ElfW(Shdr) names{};
  std::memcpy(&names, file.data() + header.e_shoff + header.e_shstrndx * sizeof(names),
              sizeof(names));
  add(names.sh_offset, names.sh_size);
  return places;
}

struct Change {
  std::size_t number;
  std::size_t at;
  unsigned char by;  // exclusive or
};

// Tries to load each changed copy; says how many were refused through `refused`, and where
// it is through `at`, which the parent sees even if this process dies.
void try_changes(const TempFolder& folder, const std::string& whole,
                 std::span<const Change> changes, volatile std::size_t* at,
                 volatile std::size_t* refused) {
  for (const Change& change : changes) {
    *at = change.at;
    std::string damaged = whole;
    damaged[change.at] =
        static_cast<char>(static_cast<unsigned char>(damaged[change.at]) ^ change.by);
    // A new file each time: a loaded file must not be written to.
    const auto file = folder.write("polycache_" + std::to_string(change.number) + ".so", damaged);
    try {
      const LoadedPlugin plugin = load_file(file);
      if (std::string_view(plugin.descriptor->name) != "create_throws") ::_exit(3);
      TestContext context;
      context.make(*plugin.descriptor, {});  // unwinding reads headers, too
      ::_exit(4);
    } catch (const std::runtime_error& error) {
      if (std::string_view(error.what()) == "the specimen is unwell") continue;
      if (dynamic_cast<const PluginError*>(&error) == nullptr) ::_exit(5);
      *refused = *refused + 1;
    }
  }
}

TEST(PluginDamage, AChangedByteInTheHeadersCrashesNothing) {
  const TempFolder folder;
  const std::string whole = read_file(thrower);
  std::mt19937 random(20260101);
  std::vector<Change> changes;
  for (const std::size_t at : header_bytes(whole)) {
    changes.push_back({changes.size(), at, static_cast<unsigned char>(1 + random() % 255)});
    changes.push_back({changes.size(), at, static_cast<unsigned char>(1U << (random() % 8))});
  }
  constexpr std::size_t shared_size = 4096;
  void* const shared =
      ::mmap(nullptr, shared_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* const at = static_cast<volatile std::size_t*>(shared);
  auto* const refused = at + 1;

  constexpr std::size_t batch = 250;
  for (std::size_t begin = 0; begin < changes.size(); begin += batch) {
    const auto part = std::span(changes).subspan(begin, std::min(batch, changes.size() - begin));
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      try_changes(folder, whole, part, at, refused);
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "status " << status << " after the change of byte " << *at;
  }
  // Many bytes have no meaning (addresses of sections that are not loaded, padding);
  // but if hardly anything were refused, this test would test nothing.
  EXPECT_GT(*refused, changes.size() / 4);
  RecordProperty("changes", static_cast<int>(changes.size()));
  RecordProperty("refused", static_cast<int>(*refused));
  std::printf("%zu changed files, %zu refused\n", changes.size(),
              static_cast<std::size_t>(*refused));
  ::munmap(shared, shared_size);
}

}  // namespace
}  // namespace polycache
