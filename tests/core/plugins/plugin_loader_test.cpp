// Finding and loading plugins, and what is said about those that do not fit. One source,
// specimen.cpp, gives all the wrong ones.

#include "plugins/loader.h"

#include <dlfcn.h>
#include <elf.h>

#include <array>
#include <cstdlib>
#include <string>
#include <thread>

#include "polycache/testing/test_context.h"
#include "specimens.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::load_file;
using ::testing::Not;
using testing::read_file;
using testing::refusal;
using testing::refusal_of;
using testing::specimen;
using ::testing::StartsWith;
using testing::TempFolder;
using testing::TestContext;

// The sanitizer that this program was built with, as messages call it.
constexpr std::string_view own_sanitizer =
    std::string_view(POLYCACHE_ABI_SANITIZER) == "_asan"   ? "AddressSanitizer"
    : std::string_view(POLYCACHE_ABI_SANITIZER) == "_tsan" ? "ThreadSanitizer"
                                                           : "no sanitizer";
constexpr std::string_view foreign_sanitizer =
    own_sanitizer == "AddressSanitizer" ? "ThreadSanitizer" : "AddressSanitizer";

std::string in_quotes(const fs::path& file) { return '"' + file.string() + '"'; }

// --- Files that load ---

TEST(PluginLoader, LoadsAPluginByItsPath) {
  const LoadedPlugin plugin = load_file(specimen("good"));
  EXPECT_STREQ(plugin.descriptor->name, "good");
  EXPECT_STREQ(plugin.descriptor->plugin_version, "1.0");
  EXPECT_EQ(plugin.file, specimen("good").string());
  TestContext context;
  EXPECT_FALSE(context.make(*plugin.descriptor, {})->connect()->get("k", [](std::string_view) {}));
}

TEST(PluginLoader, AStrippedPluginLoads) {
  EXPECT_STREQ(load_file(fs::path(SPECIMEN_DIR) / "good_stripped.so").descriptor->name, "good");
}

// mold's read-only-after-relocation range begins before its segment where there are only
// thread-local zeroes.
TEST(PluginLoader, AFileOfEachLinkerIsLoaded) {
  for (const std::string& name : std::vector<std::string>{SPECIMEN_LINKERS}) {
    EXPECT_EQ(load_file(specimen(name)).descriptor->name, name);
  }
}

TEST(PluginLoader, APluginWithoutASanitizerLoadsInAnyProgram) {
  EXPECT_STREQ(load_file(specimen("no_sanitizer")).descriptor->name, "no_sanitizer");
}

TEST(PluginLoader, OneFileIsLoadedOnceUnderAllItsNames) {
  const TempFolder folder;
  const auto file = folder.copy(specimen("good"), "polycache_good.so");
  fs::create_symlink(file, folder.path() / "other.so");
  const auto* first = load_file(file).descriptor;
  EXPECT_EQ(load_file(folder.path() / "other.so").descriptor, first);
  EXPECT_EQ(load_file(folder.path() / "." / "polycache_good.so").descriptor, first);
}

TEST(PluginLoader, ALoadedPluginStaysWhateverHappensToItsFile) {
  const TempFolder folder;
  const auto file = folder.copy(specimen("good"), "polycache_good.so");
  const PluginDescriptor* descriptor = nullptr;
  std::thread([&] { descriptor = load_file(file).descriptor; }).join();
  void* const handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_NOLOAD);
  EXPECT_NE(handle, nullptr) << "it was unloaded";
  EXPECT_EQ(::dlclose(handle), 0);

  fs::remove(file);  // as an upgrade does it: another file under the old name
  folder.write("polycache_good.so", "no plugin any more");
  EXPECT_EQ(load_file(file).descriptor, descriptor);
  EXPECT_STREQ(descriptor->name, "good");
}

TEST(PluginLoader, ARefusedFileIsCheckedAgain) {
  const TempFolder folder;
  const auto file = folder.write("polycache_good.so", "half of it");
  EXPECT_THROW(load_file(file), PluginError);
  fs::remove(file);
  folder.copy(specimen("good"), "polycache_good.so");
  EXPECT_STREQ(load_file(file).descriptor->name, "good");
}

TEST(PluginLoader, ManyThreadsLoadingOneFileGetOnePlugin) {
  const TempFolder folder;
  const auto file = folder.copy(specimen("good"), "polycache_good.so");
  std::array<const PluginDescriptor*, 8> seen{};
  std::vector<std::thread> threads;
  threads.reserve(seen.size());
  for (auto& slot : seen) {
    threads.emplace_back([&slot, &file] { slot = load_file(file).descriptor; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(seen, ::testing::Each(seen.front()));
}

// --- Files that are no shared library ---

TEST(PluginLoader, AMissingFileIsNamed) {
  EXPECT_EQ(refusal_of("/nowhere/polycache_x.so"),
            "\"/nowhere/polycache_x.so\" cannot be opened: No such file or directory");
}

TEST(PluginLoader, FilesOfOtherKindsAreRefused) {
  const TempFolder folder;
  EXPECT_EQ(refusal_of(folder.path()),
            in_quotes(folder.path()) + " is a folder, not a shared library");
  const auto empty = folder.write("empty.so", "");
  EXPECT_EQ(refusal_of(empty), in_quotes(empty) + " is an empty file, not a shared library");
  const auto text = folder.write("text.so", "INPUT(-lother)\n");
  EXPECT_EQ(refusal_of(text),
            in_quotes(text) + " is not a shared library: it does not begin like an ELF file");
  const auto pipe = folder.path() / "pipe.so";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(refusal_of(pipe), in_quotes(pipe) + " is not a regular file");
  EXPECT_EQ(refusal_of("/dev/null"), "\"/dev/null\" is not a regular file");
}

TEST(PluginLoader, ProgramsAndObjectFilesAreRefused) {
  EXPECT_THAT(refusal_of(SPECIMEN_PROGRAM), EndsWith(" is a program, not a shared library"));
  EXPECT_THAT(refusal_of(SPECIMEN_OBJECT),
              EndsWith(" is an object file, not a shared library: link it with -shared"));
  // This one is position-independent, as libraries are.
  EXPECT_THAT(refusal_of("/proc/self/exe"), EndsWith(" is a program, not a shared library"));
}

TEST(PluginLoader, AnotherMachinesLibraryIsRefusedNamingBoth) {
  const TempFolder folder;
  const std::string whole = read_file(specimen("good"));
  const auto changed = [&](std::size_t at, char to) {
    std::string copy = whole;
    copy[at] = to;
    return folder.write("changed.so", copy);
  };
  constexpr std::size_t machine = 18;  // e_machine
  EXPECT_THAT(
      refusal_of(changed(machine, EM_S390)),
      AllOf(HasSubstr("was built for another machine: it is for s390x, this program is for "),
            Not(HasSubstr("damaged"))));
  EXPECT_THAT(refusal_of(changed(EI_CLASS, ELFCLASS32)),
              HasSubstr("it is 32-bit, this program is 64-bit"));
  EXPECT_THAT(refusal_of(changed(EI_DATA, ELFDATA2MSB)),
              HasSubstr("it is big-endian, this program is little-endian"));
}

TEST(PluginLoader, AFileWithoutSectionTableIsRefused) {
  const TempFolder folder;
  std::string whole = read_file(specimen("good"));
  whole.replace(offsetof(Elf64_Ehdr, e_shoff), 8, 8, '\0');
  whole.replace(offsetof(Elf64_Ehdr, e_shnum), 2, 2, '\0');
  EXPECT_THAT(refusal_of(folder.write("bare.so", whole)),
              HasSubstr("has no section table, so its ABI mark cannot be read"));
}

// --- Libraries that do not fit ---

TEST(PluginLoader, ALibraryWithoutMarkIsNotAPlugin) {
  EXPECT_EQ(refusal_of(specimen("no_mark")),
            in_quotes(specimen("no_mark")) +
                " is not a polycache plugin: it has no section \".polycache_abi_" POLYCACHE_ABI
                "\", which POLYCACHE_PLUGIN or POLYCACHE_ABI_MARK adds");
}

TEST(PluginLoader, AnotherAbiNumberIsRefusedNamingBoth) {
  EXPECT_EQ(refusal_of(specimen("another_abi")),
            in_quotes(specimen("another_abi")) +
                " does not fit this program: it was built for plugin ABI 99, this program for " +
                std::to_string(POLYCACHE_ABI_VERSION) +
                "; build it with the flags of this program and the headers of "
                "polycache " POLYCACHE_VERSION);
}

TEST(PluginLoader, AMissingSanitizerIsAccepted) {
  EXPECT_THAT(refusal_of(specimen("another_abi_no_sanitizer")),
              AllOf(HasSubstr("plugin ABI 99"), Not(HasSubstr("anitizer,"))));
}

TEST(PluginLoader, TheDebugStandardLibraryIsRefusedNamingBoth) {
  EXPECT_THAT(
      refusal_of(specimen("debug_library")),
      HasSubstr(" does not fit this program: it was built with libstdc++ in debug mode "
                "(_GLIBCXX_DEBUG), string ABI 1, this program with libstdc++, string ABI 1;"));
}

TEST(PluginLoader, AnotherSanitizerIsRefusedNamingBoth) {
  EXPECT_THAT(
      refusal_of(specimen("foreign_sanitizer")),
      HasSubstr(" does not fit this program: it was built with " + std::string(foreign_sanitizer) +
                ", this program with " + std::string(own_sanitizer) + ";"));
}

TEST(PluginLoader, RefusedLibrariesWereNeverLoaded) {
  for (const auto* name : {"no_mark", "another_abi", "debug_library", "foreign_sanitizer"}) {
    EXPECT_THROW(load_file(specimen(name)), PluginError);
    EXPECT_EQ(::dlopen(specimen(name).c_str(), RTLD_NOW | RTLD_NOLOAD), nullptr) << name;
  }
}

TEST(PluginLoader, TwoMarksInOneFileAreRefused) {
  EXPECT_THAT(refusal_of(specimen("two_marks")),
              AllOf(HasSubstr(" has two ABI marks, "), HasSubstr("\"77_libstdcxx_1\""),
                    HasSubstr(POLYCACHE_ABI)));
}

TEST(PluginLoader, AMissingSymbolIsNamed) {
  const std::string message = refusal_of(specimen("unresolved"));
  EXPECT_THAT(message, StartsWith(in_quotes(specimen("unresolved")) + " cannot be loaded: "));
  EXPECT_THAT(message, HasSubstr("undefined symbol: polycache_specimen_without_definition"));
}

TEST(PluginLoader, ALibraryWithMarkAndWithoutDescriptorIsRefused) {
  for (const auto* name : {"no_descriptor", "function_instead"}) {
    EXPECT_EQ(refusal_of(specimen(name)),
              in_quotes(specimen(name)) +
                  " has polycache's ABI mark, but does not export \"polycache_plugin\"; write "
                  "POLYCACHE_PLUGIN(...) once, outside every namespace");
  }
}

TEST(PluginLoader, ADescriptorInPlaceOfItsAddressIsRefused) {
  EXPECT_THAT(
      refusal_of(specimen("struct_itself")),
      HasSubstr(" exports \"polycache_plugin\", but not as the address of a descriptor; write"));
}

TEST(PluginLoader, AnotherKindIsRefusedNamingBoth) {
  EXPECT_THAT(refusal_of(specimen("good"), PluginKind::layer),
              EndsWith(" is a backend (\"good\"), but a layer is expected here"));
  EXPECT_THAT(refusal_of(specimen("shout"), PluginKind::key_function),
              EndsWith(" is a layer (\"shout\"), but a key function is expected here"));
}

// --- Descriptors, as linked into a program; those of files are checked alike ---

std::unique_ptr<BackendFactory> create_nothing(const OptionReader& /*options*/,
                                               const BackendContext& /*context*/) {
  return nullptr;
}

constexpr PluginDescriptor linked_one = backend_plugin("one", "1.0", create_nothing);

std::string problem_of(const PluginDescriptor& descriptor) {
  return linked_plugin_problem(&descriptor);
}

TEST(PluginDescriptors, OneThatIsLinkedInIsFoundBeforeAnyFile) {
  const TempFolder folder;
  folder.copy(specimen("good"), "polycache_one.so");
  const LoadedPlugin plugin = find_plugin(PluginKind::backend, "one", std::array{&linked_one},
                                          std::array{folder.path()}, {});
  EXPECT_EQ(plugin.descriptor, &linked_one);
  EXPECT_EQ(plugin.file, "");
}

TEST(PluginDescriptors, OnlyThoseOfTheSameKindCount) {
  constexpr PluginDescriptor layer = layer_plugin("one", "1.0", create_nothing);
  const std::array both{&layer, &linked_one};
  EXPECT_EQ(find_plugin(PluginKind::backend, "one", both, {}, {}).descriptor, &linked_one);
  EXPECT_EQ(find_plugin(PluginKind::layer, "one", both, {}, {}).descriptor, &layer);
}

TEST(PluginDescriptors, TwoOfOneNameAreAnErrorTheSameTwiceIsNot) {
  constexpr PluginDescriptor another = backend_plugin("one", "2.0", create_nothing);
  EXPECT_EQ(refusal([&] {
              find_plugin(PluginKind::backend, "one", std::array{&linked_one, &another}, {}, {});
            }),
            "two different linked plugins are called \"one\"; give one of them another name");
  EXPECT_EQ(find_plugin(PluginKind::backend, "one", std::array{&linked_one, &linked_one}, {}, {})
                .descriptor,
            &linked_one);
}

TEST(PluginDescriptors, NullIsAnError) { EXPECT_EQ(linked_plugin_problem(nullptr), "is null"); }

TEST(PluginDescriptors, AValidOneIsFoundAmongInvalidOnes) {
  PluginDescriptor wrong = linked_one;
  wrong.size = 40;
  const std::array<const PluginDescriptor*, 3> all{nullptr, &wrong, &linked_one};
  EXPECT_EQ(find_plugin(PluginKind::backend, "one", all, {}, {}).descriptor, &linked_one);
  EXPECT_THAT(available_plugins(PluginKind::backend, all, {}), ElementsAre("one"));
}

// The descriptor of the first version of this ABI, frozen: plugins that have it stay plugins
// whatever is appended to PluginDescriptor.
struct FirstDescriptor {
  char magic[8];
  std::uint32_t size;
  std::uint32_t abi_version;
  std::uint32_t kind;
  std::uint32_t flags;
  const char* abi;
  const char* library_version;
  const char* compiler;
  const char* name;
  const char* plugin_version;
  CreateFactory create;
};

TEST(PluginDescriptors, TheFirstAndShortestIsAccepted) {
  const FirstDescriptor first{{'p', 'l', 'y', 'c', 'a', 'c', 'h', 'e'},
                              sizeof(FirstDescriptor),
                              POLYCACHE_ABI_VERSION,
                              1,
                              0,
                              POLYCACHE_ABI,
                              "0.1.0",
                              "a compiler",
                              "one",
                              "1.0",
                              create_nothing};
  // Nothing lies behind it that may be read.
  const auto* const seen = reinterpret_cast<const PluginDescriptor*>(&first);
  EXPECT_EQ(linked_plugin_problem(seen), "");
  const LoadedPlugin plugin = find_plugin(PluginKind::backend, "one", std::array{seen}, {}, {});
  EXPECT_EQ(plugin.descriptor->payload.create, &create_nothing);
}

TEST(PluginDescriptors, WrongFieldsAreRefused) {
  PluginDescriptor wrong = linked_one;
  wrong.magic[0] = 'P';
  EXPECT_THAT(problem_of(wrong), HasSubstr("no polycache descriptor"));

  wrong = linked_one;
  wrong.size = 40;
  wrong.name = nullptr;  // beyond its size: must not be looked at
  EXPECT_THAT(problem_of(wrong), HasSubstr("it has a descriptor of 40 bytes, this program needs " +
                                           std::to_string(sizeof(FirstDescriptor))));

  wrong = linked_one;
  wrong.abi_version = 99;
  wrong.abi = "99_libcxx_2";
  EXPECT_THAT(problem_of(wrong),
              HasSubstr("it was built for plugin ABI 99, this program for 3; also, it was built "
                        "with libc++, ABI 2, this program with libstdc++, string ABI 1"));

  wrong = linked_one;
  wrong.abi = nullptr;
  EXPECT_THAT(problem_of(wrong),
              HasSubstr("its ABI mark is \"\", this program's is \"" POLYCACHE_ABI "\""));

  wrong = linked_one;
  wrong.kind = static_cast<PluginKind>(9);
  wrong.payload.data = nullptr;
  EXPECT_THAT(problem_of(wrong), HasSubstr("\"one\" has a descriptor without its data"));

  wrong = linked_one;
  wrong.payload.create = nullptr;
  EXPECT_THAT(problem_of(wrong), HasSubstr("has a descriptor without its function"));

  for (const char* const name : {static_cast<const char*>(nullptr), "", "two words", "a/b"}) {
    wrong = linked_one;
    wrong.name = name;
    EXPECT_THAT(problem_of(wrong), HasSubstr("has an invalid name"));
  }
}

TEST(PluginDescriptors, ALongerOneIsAccepted) {
  PluginDescriptor longer = linked_one;
  longer.size += 16;
  EXPECT_EQ(find_plugin(PluginKind::backend, "one", std::array{&longer}, {}, {}).descriptor,
            &longer);
}

// --- Searching ---

class PluginSearch : public ::testing::Test {
 protected:
  PluginSearch() { ::unsetenv("POLYCACHE_ALLOW_WRITABLE_FILES"); }

  fs::path folder(std::string_view name) {
    fs::create_directory(temp_.path() / name);
    return temp_.path() / name;
  }
  static void put(const fs::path& from, const fs::path& to) { fs::copy_file(from, to); }
  static LoadedPlugin find(std::string_view name, const std::vector<fs::path>& path,
                           const fs::path& start = {}) {
    return find_plugin(PluginKind::backend, name, {}, path, start);
  }

  const TempFolder temp_;
};

TEST_F(PluginSearch, TheFirstFolderThatHasTheFileWins) {
  const auto a = folder("a");
  const auto b = folder("b");
  const auto c = folder("c");
  put(specimen("good"), b / "libpolycache_good.so");
  put(specimen("good"), c / "polycache_good.so");
  EXPECT_EQ(find("good", {a, b, c}).file, (b / "libpolycache_good.so").string());
  EXPECT_EQ(find("good", {a, c, b}).file, (c / "polycache_good.so").string());
}

TEST_F(PluginSearch, TwoFilesForOneNameInOneFolderAreAnError) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_good.so");
  put(specimen("good"), a / "libpolycache_good.so");
  EXPECT_EQ(refusal([&] { find("good", {a}); }),
            "there are two files for the plugin \"good\", " + in_quotes(a / "polycache_good.so") +
                " and " + in_quotes(a / "libpolycache_good.so") + "; remove one");
}

TEST_F(PluginSearch, AFileThatIsWrongEndsTheSearch) {
  const auto a = folder("a");
  const auto b = folder("b");
  put(specimen("another_abi"), a / "polycache_good.so");
  put(specimen("good"), b / "polycache_good.so");
  EXPECT_THAT(refusal([&] { find("good", {a, b}); }), HasSubstr("plugin ABI 99"));

  fs::remove(a / "polycache_good.so");
  fs::create_symlink("nothing_here", a / "polycache_good.so");
  EXPECT_EQ(refusal([&] {
              find("good", {a, b});
            }),
            in_quotes(a / "polycache_good.so") + " cannot be opened: No such file or directory");
}

TEST_F(PluginSearch, AFileThatSaysAnotherNameIsAnError) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_other.so");
  EXPECT_EQ(
      refusal([&] { find("other", {a}); }),
      in_quotes(a / "polycache_other.so") +
          " contains the plugin \"good\", not \"other\"; rename the file, or configure it by its "
          "path");
}

TEST_F(PluginSearch, APathStartsAtTheConfigurationsFolderAndMaySayAnyName) {
  const auto a = folder("a");
  put(specimen("good"), a / "anything.so");
  EXPECT_STREQ(find("./anything.so", {}, a).descriptor->name, "good");
  EXPECT_STREQ(find("a/anything.so", {}, temp_.path()).descriptor->name, "good");
  EXPECT_STREQ(find((a / "anything.so").string(), {}, "/elsewhere").descriptor->name, "good");
}

TEST_F(PluginSearch, InvalidNamesAreRefused) {
  for (const auto* name : {"", "anything.so", "a b", "..", "caf\xc3\xa9"}) {
    EXPECT_THAT(
        refusal([&] { find(name, {folder("a")}); }),
        AllOf(HasSubstr(" is not the name of a backend: "), HasSubstr("\"./polycache_mine.so\"")));
  }
}

TEST_F(PluginSearch, NothingFoundListsEveryFolderAndWhatThereIs) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_good.so");
  put(specimen("another_abi"), a / "polycache_another_abi.so");
  std::ofstream(temp_.path() / "file") << "no folder";
  EXPECT_EQ(refusal([&] {
              find("goood", {a, temp_.path() / "gone", temp_.path() / "file"});
            }),
            "there is no backend \"goood\": no polycache_goood.so in " + in_quotes(a) + ", " +
                in_quotes(temp_.path() / "gone") + " (no such folder), " +
                in_quotes(temp_.path() / "file") +
                " (not a folder); did you mean \"good\"? available: \"good\"");
}

TEST_F(PluginSearch, AStockStoreThatTheBuildLacksIsExplained) {
  EXPECT_THAT(
      refusal([&] { find("redis", {folder("a")}); }),
      AllOf(HasSubstr("; polycache's own \"redis\" needs hiredis (Debian: libhiredis-dev) and "
                      "POLYCACHE_WITH_REDIS other than OFF"),
            HasSubstr("; none is available")));
  EXPECT_THAT(refusal([&] { find("sqlite", {}); }), HasSubstr("POLYCACHE_WITH_SQLITE"));
  EXPECT_THAT(refusal([&] { find("db", {}); }), HasSubstr("POLYCACHE_WITH_SQLITE"));
  EXPECT_THAT(refusal([&] { find("memcached", {}); }), HasSubstr("POLYCACHE_WITH_MEMCACHED"));
  EXPECT_THAT(refusal([&] { find_plugin(PluginKind::key_function, "hashed", {}, {}, {}); }),
              HasSubstr("needs OpenSSL"));
  EXPECT_THAT(refusal([&] { find_plugin(PluginKind::transform, "zstd", {}, {}, {}); }),
              HasSubstr("; polycache's own \"zstd\" needs Zstandard (Debian: libzstd-dev) and "
                        "POLYCACHE_WITH_ZSTD other than OFF"));
  EXPECT_THAT(refusal([&] { find_plugin(PluginKind::transform, "aead", {}, {}, {}); }),
              HasSubstr("libsodium-dev"));
  EXPECT_THAT(refusal([&] { find("mine", {}); }), Not(HasSubstr("polycache's own")));
}

TEST_F(PluginSearch, AnEmptySearchPathIsReported) {
  EXPECT_EQ(
      refusal([&] { find_plugin(PluginKind::backend, "oen", std::array{&linked_one}, {}, {}); }),
      "there is no backend \"oen\": it is not linked into this program, and there is no folder "
      "to search; did you mean \"one\"? available: \"one\"");
}

TEST_F(PluginSearch, AvailableAreThoseThatFit) {
  const auto a = folder("a");
  const auto b = folder("b");
  put(specimen("good"), a / "polycache_good.so");
  put(specimen("good"), b / "libpolycache_better.so");
  put(specimen("no_mark"), a / "polycache_no_mark.so");
  put(specimen("shout"), a / "polycache_shout.so");
  put(specimen("good"), a / "polycache_hashed.so");  // the name of our own key function
  put(specimen("good"), a / "unrelated.so");
  std::ofstream(a / "polycache_text.so") << "text";
  const std::vector<fs::path> path{a, b, temp_.path() / "gone"};
  // The kind of a file is known once it was loaded.
  EXPECT_NO_THROW(find_plugin(PluginKind::layer, "shout", {}, path, {}));
  EXPECT_THAT(available_plugins(PluginKind::backend, std::array{&linked_one}, path),
              ElementsAre("better", "good", "one"));
  EXPECT_THAT(available_plugins(PluginKind::key_function, std::array{&linked_one}, path),
              ElementsAre("better", "good", "hashed"));
}

// Sets a variable for one test.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { ::unsetenv(name_); }

 private:
  const char* name_;
};

// --- What others can write to ---

void set_mode(const fs::path& path, unsigned mode) {
  fs::permissions(path, static_cast<fs::perms>(mode));
}

constexpr const char* remedy =
    " (to load it anyway, set \"allow_writable_plugins\": true in the configuration, or "
    "POLYCACHE_ALLOW_WRITABLE_FILES=1 in the environment)";

TEST_F(PluginSearch, AWorldWritableFileIsRefused) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_good.so");
  set_mode(a / "polycache_good.so", 0757);
  const std::string file = in_quotes(a / "polycache_good.so");
  const std::string expected = file + " is writable by all users; run: chmod o-w " + file + remedy;
  EXPECT_EQ(refusal([&] { find("good", {a}); }), expected);
  EXPECT_EQ(refusal_of(a / "polycache_good.so"), expected);
  EXPECT_THAT(refusal([&] { load_key_function(a / "polycache_good.so", "f"); }),
              HasSubstr("chmod o-w"));
  set_mode(a / "polycache_good.so", 0755);
  EXPECT_STREQ(find("good", {a}).descriptor->name, "good");
}

TEST_F(PluginSearch, AWorldWritableFolderIsRefusedBeforeItIsSearched) {
  const auto a = folder("a");
  const auto b = folder("b");
  put(specimen("good"), b / "polycache_good.so");
  set_mode(a, 0777);
  const std::string expected = "the plugin folder " + in_quotes(a) +
                               " is writable by all users; run: chmod o-w " + in_quotes(a) + remedy;
  EXPECT_EQ(refusal([&] { find("good", {a, b}); }), expected);
  EXPECT_STREQ(find("good", {b, a}).descriptor->name, "good");
  put(specimen("good"), a / "polycache_good.so");
  EXPECT_EQ(refusal([&] { find("good", {a}); }), expected);
  EXPECT_THAT(refusal_of(a / "polycache_good.so"),
              AllOf(HasSubstr("lies in the folder " + in_quotes(a)), HasSubstr("chmod o-w")));
  set_mode(a, 0755);
  EXPECT_STREQ(find("good", {a}).descriptor->name, "good");
}

TEST_F(PluginSearch, AFolderLikeTmpIsSearchedForFilesOfOurOwn) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_good.so");
  set_mode(a, 01777);
  EXPECT_STREQ(find("good", {a}).descriptor->name, "good");
}

TEST_F(PluginSearch, ALinkIntoAWorldWritableFolderIsRefused) {
  const auto a = folder("a");
  const auto b = folder("b");
  put(specimen("good"), b / "real.so");
  set_mode(b, 0777);
  fs::create_symlink(b / "real.so", a / "polycache_good.so");
  EXPECT_THAT(refusal([&] { find("good", {a}); }), HasSubstr("lies in the folder " + in_quotes(b)));
}

TEST_F(PluginSearch, WritableFilesAreLoadedIfAllowed) {
  const auto a = folder("a");
  put(specimen("good"), a / "polycache_good.so");
  put(specimen("shout"), a / "polycache_shout.so");
  for (const char* name : {"polycache_good.so", "polycache_shout.so"}) set_mode(a / name, 0777);
  set_mode(a, 0777);
  EXPECT_NO_THROW(find_plugin(PluginKind::backend, "good", {}, {{a}}, {}, WritableFiles::allowed));
  {
    const Variable no("POLYCACHE_ALLOW_WRITABLE_FILES", "0");
    EXPECT_THROW(find_plugin(PluginKind::layer, "shout", {}, {{a}}, {}), PluginError);
  }
  const Variable yes("POLYCACHE_ALLOW_WRITABLE_FILES", "1");
  EXPECT_NO_THROW(find_plugin(PluginKind::layer, "shout", {}, {{a}}, {}));
}

TEST(PluginSearchPath, IsTheConfigurationThenTheEnvironmentThenTheLibrarysFolder) {
  // This test has the loader in itself, so "next to the library" is next to the program.
  const fs::path own = fs::canonical("/proc/self/exe").parent_path() / "polycache";
  const std::array configured{fs::path("/first"), fs::path("/second")};
  EXPECT_THAT(plugin_search_path(configured), ElementsAre("/first", "/second", own));
  const Variable variable("POLYCACHE_PLUGIN_PATH", ":/third::/first:/fourth:");
  EXPECT_THAT(plugin_search_path(configured),
              ElementsAre("/first", "/second", "/third", "/fourth", own));
  EXPECT_THAT(plugin_search_path({}), ElementsAre("/third", "/first", "/fourth", own));
}

// --- Key functions in a library ---

const fs::path keys = fs::path(SPECIMEN_DIR) / "libspecimen_keys.so";

TEST(KeyFunctions, AFunctionOfAMarkedLibraryIsFound) {
  std::string out = "before:";
  load_key_function(keys, "backwards_key")(out, "abc", "shop", 2);
  EXPECT_EQ(out, "before:cba/shop/2");
}

TEST(KeyFunctions, AMissingFunctionIsNamed) {
  EXPECT_EQ(refusal([] { load_key_function(keys, "forwards_key"); }),
            in_quotes(keys) +
                " has no function \"forwards_key\"; declare it extern \"C\" and visible: void "
                "forwards_key(std::string& out, std::string_view key, std::string_view prefix, int "
                "version)");
}

TEST(KeyFunctions, AFunctionOfAnotherLibraryIsNotTaken) {
  // The library depends on the C library, where the name would be found.
  EXPECT_THAT(refusal([] { load_key_function(keys, "strlen"); }), HasSubstr("has no function"));
  EXPECT_THAT(refusal([] { load_key_function(keys, ""); }), HasSubstr("has no function \"\""));
}

TEST(KeyFunctions, ASymbolThatIsNotAFunctionIsRefused) {
  EXPECT_THAT(refusal([] { load_key_function(keys, "no_function"); }),
              EndsWith(" has \"no_function\", but it is not a function"));
}

TEST(KeyFunctions, ALibraryWithoutMarkIsRefused) {
  EXPECT_THAT(refusal([] { load_key_function(specimen("no_mark"), "polycache_plugin"); }),
              HasSubstr(" is not a polycache plugin"));
  EXPECT_THAT(refusal([] { load_key_function("/nowhere/keys.so", "f"); }),
              HasSubstr("cannot be opened"));
}

TEST(KeyFunctions, ALibraryOfKeyFunctionsIsNotAPlugin) {
  EXPECT_THAT(refusal_of(keys, PluginKind::key_function),
              HasSubstr("does not export \"polycache_plugin\""));
}

// --- Layers ---

class Recorder final : public Backend {
 public:
  explicit Recorder(std::vector<std::string>& values) : values_(values) {}
  bool get(std::string_view /*key*/, ValueSink /*sink*/) override { return false; }
  bool put(std::string_view /*key*/, std::string_view value, Ttl /*ttl*/,
           PutMode /*mode*/) override {
    values_.emplace_back(value);
    return true;
  }
  bool touch(std::string_view /*key*/, Ttl /*ttl*/, ValueSink /*head*/) override { return false; }
  bool erase(std::string_view /*key*/) override { return false; }
  void clear() override {}

 private:
  std::vector<std::string>& values_;
};

class RecorderFactory final : public BackendFactory {
 public:
  std::unique_ptr<Backend> connect() override { return std::make_unique<Recorder>(values); }
  std::vector<std::string> values = {};
};

TEST(LayerPlugin, WrapsTheFactoryThatItIsGiven) {
  const std::array path{fs::path(SPECIMEN_DIR)};
  const LoadedPlugin layer = find_plugin(PluginKind::layer, "shout", {}, path, {});
  TestContext context;
  const auto inner = std::make_shared<RecorderFactory>();
  const auto factory =
      context.make(*layer.descriptor, {.options = {{"mark", std::string("?")}}}, inner);
  const auto session = factory->connect();
  EXPECT_TRUE(session->put("k", "quiet", Ttl::forever(), PutMode::always));
  const std::array items{Item{"a", "one", Ttl::forever()}, Item{"b", "two", Ttl::forever()}};
  session->put_many(items, PutMode::always, [](std::size_t) { FAIL(); });
  EXPECT_THAT(inner->values, ElementsAre("QUIET?", "ONE?", "TWO?"));
}

// --- What create does wrong reaches the caller as it is; the registry words it ---

TEST(PluginCreate, ItsExceptionsCrossTheBoundary) {
  TestContext context;
  const auto create = [&](std::string_view name) {
    return context.make(*load_file(specimen(name)).descriptor, {});
  };
  EXPECT_THROW(create("create_throws"), std::runtime_error);
  EXPECT_THROW(create("create_throws_number"), int);
  EXPECT_EQ(create("creates_nothing"), nullptr);
}

}  // namespace
}  // namespace polycache
