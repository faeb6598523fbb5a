// A lock that is held does not keep a program from ending, nor crash it. Each test runs a program
// of its own (lock_exit.cpp).

#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <array>
#include <chrono>
#include <string>
#include <tuple>

namespace polycache {
namespace {

using LockAndEnd = std::tuple<std::string, std::string>;

class LockExit : public ::testing::TestWithParam<LockAndEnd> {};

TEST_P(LockExit, EndsInOrderAndInTime) {
  const auto& [lock, end] = GetParam();
  const std::string command = std::string(LOCK_EXIT) + " " + lock + " " + end;
  const auto begin = std::chrono::steady_clock::now();
  FILE* const output = popen(command.c_str(), "r");
  ASSERT_NE(output, nullptr);
  std::string text;
  std::array<char, 256> part{};
  while (fgets(part.data(), part.size(), output) != nullptr) text += part.data();
  const int status = pclose(output);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_EQ(text, "held\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(1));
}

INSTANTIATE_TEST_SUITE_P(
    Programs, LockExit,
    ::testing::Combine(::testing::Values("local", "static", "leaked", "hanging"),
                       ::testing::Values("return", "exit", "exit_in_a_thread")),
    [](const auto& test) { return std::get<0>(test.param) + "_" + std::get<1>(test.param); });

}  // namespace
}  // namespace polycache
