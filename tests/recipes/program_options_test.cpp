#include "polycache/program_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/program_options/parsers.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "polycache/error.h"

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

namespace polycache {
namespace {

namespace po = boost::program_options;

class ProgramOptions : public testing::Test {
 protected:
  ProgramOptions() {
    ::unsetenv("POLYCACHE_CONFIG");
    std::string name = testing::TempDir() + "polycache-program-options-XXXXXX";
    folder = ::mkdtemp(name.data());
    file = (folder / "c.json").string();
    std::ofstream(file) << R"({"caches": {"default": {"backend": "sqlite", "timeout": "5m"}}})";
  }
  ~ProgramOptions() override { std::filesystem::remove_all(folder); }

  static Config parse(const std::vector<std::string>& arguments) {
    po::options_description description("Options");
    add_cache_options(description);
    po::variables_map variables;
    po::store(po::command_line_parser(arguments).options(description).run(), variables);
    po::notify(variables);
    return cache_config(variables);
  }

  static std::string problem(const std::vector<std::string>& arguments) {
    try {
      parse(arguments);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "";
  }

  std::filesystem::path folder;
  std::string file;
};

TEST_F(ProgramOptions, WithoutOptionsTheEnvironmentCounts) {
  EXPECT_EQ(parse({}).caches.at("default").backend, "locmem");
  ::setenv("POLYCACHE_CONFIG", file.c_str(), 1);
  EXPECT_EQ(parse({}).caches.at("default").backend, "sqlite");
  ::unsetenv("POLYCACHE_CONFIG");
}

TEST_F(ProgramOptions, AFileWinsOverTheEnvironment) {
  ::setenv("POLYCACHE_CONFIG", "/nowhere.json", 1);
  EXPECT_EQ(parse({"--cache-config", file}).caches.at("default").backend, "sqlite");
  ::unsetenv("POLYCACHE_CONFIG");
}

TEST_F(ProgramOptions, AssignmentsComeAfterTheFileAndInTheirOrder) {
  const Config config =
      parse({"--cache", "default.timeout=60s", "--cache-config", file, "--cache=default.version=2",
             "--cache", "default.version=3", "--cache", "other.backend=dummy"});
  EXPECT_EQ(config.caches.at("default").backend, "sqlite");
  EXPECT_EQ(config.caches.at("default").timeout, Timeout(60s));
  EXPECT_EQ(config.caches.at("default").version, 3);
  EXPECT_EQ(config.caches.at("other").backend, "dummy");
}

TEST_F(ProgramOptions, ProblemsSayWhereTheyWereWritten) {
  EXPECT_EQ(problem({"--cache", "default.verison=2"}),
            "--cache: caches.default.verison: unknown member; did you mean \"version\"?");
  EXPECT_EQ(problem({"--cache", "default.timeout hunter2"}),
            "--cache: expected ALIAS.MEMBER=VALUE, such as \"default.timeout=60s\"");
  EXPECT_EQ(problem({"--cache-config", "/nowhere.json"}),
            "/nowhere.json: cannot be read: No such file or directory");
}

TEST_F(ProgramOptions, AMissingValueIsBoostsError) { EXPECT_THROW(parse({"--cache"}), po::error); }

TEST_F(ProgramOptions, AreShownInTheHelp) {
  po::options_description description("Options");
  add_cache_options(description);
  std::ostringstream help;
  help << description;
  EXPECT_THAT(help.str(), HasSubstr("--cache-config FILE"));
  EXPECT_THAT(help.str(), HasSubstr("--cache ALIAS.MEMBER=VALUE"));
}

}  // namespace
}  // namespace polycache
