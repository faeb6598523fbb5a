// Background work does not keep a program from exiting. Each test runs a program of its own
// (background_exit.cpp) with two jobs that sleep for an hour, and one that waits behind them.

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <string>
#include <string_view>
#include <tuple>

namespace polycache {
namespace {

using RegistryAndEnd = std::tuple<std::string, std::string>;

class BackgroundExit : public ::testing::TestWithParam<RegistryAndEnd> {};

TEST_P(BackgroundExit, DropsJobsThatWaitAndDoesNotWaitForLongForThoseThatRun) {
  const auto& [registry, end] = GetParam();
  std::string command = BACKGROUND_EXIT;
  command.append(" ").append(registry).append(" ").append(end);
  FILE* const output = popen(command.c_str(), "r");
  ASSERT_NE(output, nullptr);
  std::string text;
  std::array<char, 256> part{};
  while (fgets(part.data(), part.size(), output) != nullptr) text += part.data();
  const int status = pclose(output);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(text, "dropped\n");
}

INSTANTIATE_TEST_SUITE_P(
    Programs, BackgroundExit,
    ::testing::Values(RegistryAndEnd("global", "return"), RegistryAndEnd("global", "exit"),
                      RegistryAndEnd("global", "exit_in_a_job"),
                      RegistryAndEnd("global", "exit_in_a_job_of_a_shutdown"),
                      RegistryAndEnd("static", "return"), RegistryAndEnd("static", "exit"),
                      RegistryAndEnd("local", "return"), RegistryAndEnd("local", "exit")),
    [](const auto& test) {
      std::string name = std::get<0>(test.param);
      return name.append("_").append(std::get<1>(test.param));
    });

}  // namespace
}  // namespace polycache
