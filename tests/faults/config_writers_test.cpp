// Configuration files, and the secrets that they name, where others could write to them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/write_access.h"
#include "polycache/backends/locmem.h"
#include "polycache/config.h"
#include "polycache/error.h"
#include "polycache/registry.h"
#include "support/server.h"

namespace polycache {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view good_config = R"({"caches": {"default": {"backend": "locmem"}}})";
constexpr uid_t other_user = 54321;  // a user and a group that this machine does not know

class WritableFiles : public ::testing::Test {
 protected:
  WritableFiles() { ::unsetenv("POLYCACHE_ALLOW_WRITABLE_FILES"); }

  fs::path write(const std::string& name, std::string_view text, unsigned mode = 0644) const {
    const fs::path file = folder_.path() / name;
    std::ofstream(file, std::ios::binary) << text;
    set_mode(file, mode);
    return file;
  }

  static void set_mode(const fs::path& path, unsigned mode) {
    fs::permissions(path, static_cast<fs::perms>(mode));
  }

  // What the ConfigError says; empty if it could be read.
  static std::string problem(const fs::path& file) {
    try {
      static_cast<void>(Config::from_file(file));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  const testing::TemporaryFolder folder_;
};

TEST_F(WritableFiles, AWorldWritableConfigurationIsRefused) {
  const fs::path file = write("shop.json", good_config, 0646);
  EXPECT_EQ(problem(file), file.string() + ": is writable by all users; run: chmod o-w \"" +
                               file.string() +
                               "\" (to read it anyway, set POLYCACHE_ALLOW_WRITABLE_FILES=1 in the "
                               "environment)");
  set_mode(file, 0644);
  EXPECT_EQ(problem(file), "");
}

TEST_F(WritableFiles, OtherProblemsAreReportedToo) {
  const fs::path file = write("shop.json", R"({"caches": {"a": {"backend": "x",
    "timeout": -5}}})",
                              0666);
  EXPECT_THAT(problem(file),
              AllOf(StartsWith("2 problems"), HasSubstr("chmod "),
                    HasSubstr("shop.json:2: caches.a.timeout: must not be negative")));
}

TEST_F(WritableFiles, AConfigurationInAWorldWritableFolderIsRefused) {
  fs::create_directory(folder_.path() / "open");
  const fs::path file = write("open/shop.json", good_config);
  set_mode(file.parent_path(), 0777);
  EXPECT_THAT(problem(file), HasSubstr("lies in the folder \"" + file.parent_path().string() +
                                       "\", which is writable by all users; run: chmod o-w \"" +
                                       file.parent_path().string() + "\""));
  // A link to it from a safe place makes it no safer.
  fs::create_symlink(file, folder_.path() / "link.json");
  EXPECT_THAT(problem(folder_.path() / "link.json"), HasSubstr("lies in the folder"));
  set_mode(file.parent_path(), 0755);
  EXPECT_EQ(problem(file), "");
  EXPECT_EQ(problem(folder_.path() / "link.json"), "");
}

TEST_F(WritableFiles, ALinkInAWorldWritableFolderIsRefused) {
  fs::create_directory(folder_.path() / "open");
  const fs::path file = write("shop.json", good_config);
  fs::create_symlink("../shop.json", folder_.path() / "open/second.json");
  fs::create_symlink("open/second.json", folder_.path() / "first.json");
  set_mode(folder_.path() / "open", 0777);
  EXPECT_THAT(problem(folder_.path() / "first.json"), HasSubstr("lies in the folder"));
  EXPECT_EQ(problem(file), "");
  set_mode(folder_.path() / "open", 0755);
  EXPECT_EQ(problem(folder_.path() / "first.json"), "");
}

TEST_F(WritableFiles, OurOwnFileInAFolderLikeTmpIsRead) {
  fs::create_directory(folder_.path() / "tmp");
  const fs::path file = write("tmp/shop.json", good_config);
  set_mode(file.parent_path(), 01777);
  EXPECT_EQ(problem(file), "");
  if (::geteuid() != 0) return;  // only root can give a file away
  ASSERT_EQ(::chown(file.c_str(), other_user, other_user), 0);
  EXPECT_THAT(problem(file), AllOf(HasSubstr("belongs to another user, number 54321"),
                                   HasSubstr("move it to a folder of your own")));
}

TEST_F(WritableFiles, TheOwnersPrivateGroupMayWrite) {
  const fs::path file = write("shop.json", good_config, 0664);
  if (::geteuid() != 0) return;  // the group of this user is unknown
  EXPECT_EQ(problem(file), "");  // root's
  ASSERT_EQ(::chown(file.c_str(), other_user, other_user), 0);
  EXPECT_EQ(problem(file), "");
  ASSERT_EQ(::chown(file.c_str(), other_user, other_user + 1), 0);
  EXPECT_THAT(problem(file), HasSubstr("is writable by the group 54322; run: chmod g-w \""));
  set_mode(file, 0666);
  EXPECT_THAT(problem(file), HasSubstr("by the group 54322 and by all users; run: chmod go-w \""));
}

TEST_F(WritableFiles, AWorldWritableSecretFileIsRefused) {
  const fs::path secret = write("password", "hunter2", 0602);
  const fs::path file = write("shop.json", R"({"caches": {"a": {"backend": "redis",
    "options": {"password": "${file:password}"}}}})");
  EXPECT_THAT(problem(file),
              AllOf(HasSubstr("shop.json:2: caches.a.options.password: the file \"password\" of a "
                              "${file:...} is writable by all users; run: chmod o-w \"" +
                              secret.string() + "\""),
                    Not(HasSubstr("hunter2"))));
  set_mode(secret, 0644);  // readable by all users, as containers hand secrets out
  EXPECT_EQ(problem(file), "");
}

TEST_F(WritableFiles, AreReadIfTheEnvironmentSaysSo) {
  const fs::path file = write("shop.json", good_config, 0666);
  for (const char* value : {"", "0", "yes"}) {
    ::setenv("POLYCACHE_ALLOW_WRITABLE_FILES", value, 1);
    EXPECT_NE(problem(file), "") << value;
  }
  ::setenv("POLYCACHE_ALLOW_WRITABLE_FILES", "1", 1);
  EXPECT_EQ(problem(file), "");
  ::unsetenv("POLYCACHE_ALLOW_WRITABLE_FILES");
}

TEST_F(WritableFiles, AReloadOfOneChangesNothingWhateverTheHandlerDoes) {
  const fs::path file = write("shop.json", good_config);
  bool throwing = false;
  CacheRegistry registry(Config::from_file(file),
                         {.on_warning =
                              [&](const Warning& warning) {
                                if (throwing)
                                  throw std::runtime_error(std::string(warning.message));
                              },
                          .linked_plugins = {&locmem::plugin}});
  write("shop.json", R"({"caches": {"new": {"backend": "locmem"}}})", 0666);
  EXPECT_THROW(registry.reload(), ConfigError);
  throwing = true;
  EXPECT_THROW(registry.reload(), std::runtime_error);
  EXPECT_TRUE(registry["default"].set("k", "v"));
  EXPECT_FALSE(registry.contains("new"));
  set_mode(file, 0644);
  registry.reload();
  EXPECT_TRUE(registry["new"].set("k", "v"));
  EXPECT_THROW(registry["default"], ConfigError);
}

TEST_F(WritableFiles, FilesThatAreNotRegularAreNotChecked) {
  EXPECT_THAT(problem("/dev/null"), AllOf(HasSubstr("is empty"), Not(HasSubstr("written"))));
  EXPECT_EQ(writable_by_others("/dev/null"), "");
  EXPECT_EQ(writable_by_others(folder_.path() / "nothing"), "");
  EXPECT_EQ(folder_writable_by_others(folder_.path() / "nothing"), "");
}

}  // namespace
}  // namespace polycache
