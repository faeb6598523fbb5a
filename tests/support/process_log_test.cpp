#include "support/process_log.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <istream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/server.h"

namespace polycache::testing {
namespace {

struct Line {
  std::string word;
  int number = 0;
};

std::istream& operator>>(std::istream& in, Line& line) { return in >> line.word >> line.number; }

struct ProcessLogTest : ::testing::Test {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "log";
};

TEST_F(ProcessLogTest, GivesTheRecordsInTheirOrder) {
  const ProcessLog log(path);
  log.append("one 1");
  ProcessLog(path).append("two 2");
  const std::vector<Line> lines = read_process_log<Line>(path);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0].word, "one");
  EXPECT_EQ(lines[1].number, 2);
}

// With records that lie in two pages, one of eighty such logs had half a record.
TEST_F(ProcessLogTest, AKilledProcessLeavesNoHalfRecord) {
  for (int turn = 0; turn < 100; ++turn) {
    std::vector<pid_t> children(3);
    for (pid_t& child : children) {
      child = ::fork();
      if (child == 0) {
        const ProcessLog log(path);
        for (;;) log.append("word 7");
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    for (const Line& line : read_process_log<Line>(path)) ASSERT_EQ(line.number, 7);
    std::ofstream(path, std::ios::trunc);
  }
}

TEST_F(ProcessLogTest, ARecordThatIsNoneIsAnError) {
  EXPECT_THROW(read_process_log<Line>(path), std::runtime_error) << "no log";
  ProcessLog(path).append("one 1");
  ProcessLog(path).append("two");
  EXPECT_THROW(read_process_log<Line>(path), std::runtime_error) << "no number";
  std::ofstream(path, std::ios::trunc) << "one 1\n";
  EXPECT_THROW(read_process_log<Line>(path), std::runtime_error) << "too short";
}

}  // namespace
}  // namespace polycache::testing
