// "persist" and the ends of processes: exit, SIGKILL in the middle of a save, fork, a full disk.

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "persist_fixture.h"
#include "polycache/author/clock.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::PersistProcess;

// A child that hangs is ended by its alarm.
class LocmemPersistProcess : public testing::PersistTest {
 protected:
  static pid_t in_child(const std::function<int()>& run) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(200);
      ::_exit(run());
    }
    return child;
  }
  static int status_of(pid_t child) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }
  static bool ended_well(pid_t child) {
    const int status = status_of(child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
};

TEST_F(LocmemPersistProcess, ExitSavesAStoreThatIsInUse) {
  const pid_t child = in_child([&] {
    // Reachable until the end, like the global registry.
    static PersistProcess* process = nullptr;
    process = start().release();
    process->put("k", "v");
    std::exit(0);
    return 1;
  });
  EXPECT_TRUE(ended_well(child));
  const auto next = start();
  EXPECT_THAT(next->warnings(), IsEmpty());
  EXPECT_EQ(next->get("k"), "v");
}

TEST_F(LocmemPersistProcess, ExitWhileASaveAtIntervalsRuns) {
  const pid_t child = in_child([&] {
    static PersistProcess* process = nullptr;
    process = start({{"persist_interval", std::string("1ms")}}).release();
    for (int i = 0; i < 2000; ++i) process->put("k" + std::to_string(i), std::string(500, 'v'));
    std::exit(0);
    return 1;
  });
  EXPECT_TRUE(ended_well(child));
  EXPECT_EQ(start()->entries(), 2000U);
}

TEST_F(LocmemPersistProcess, AKilledOneLeavesItsLastSave) {
  const pid_t child = in_child([&] {
    const auto process = start();
    process->put("saved", "v");
    process->save();
    process->put("later", "v");
    ::raise(SIGKILL);
    return 1;
  });
  EXPECT_TRUE(WIFSIGNALED(status_of(child)));
  const auto next = start();
  EXPECT_THAT(next->warnings(), IsEmpty()) << "the system has released the lock";
  EXPECT_EQ(next->get("saved"), "v");
  EXPECT_EQ(next->entries(), 1U);
}

TEST_F(LocmemPersistProcess, KilledInTheMiddleOfASaveLeavesTheOlderOrTheNewerWhole) {
  const auto process = start();
  for (int i = 0; i < 3000; ++i) process->put("k" + std::to_string(i), std::string(300, 'v'));
  process->save();
  const std::string whole = read(path());
  for (int round = 0; round < 20; ++round) {
    const std::string file = path("dump" + std::to_string(round));
    write(file, whole);
    const pid_t child = in_child([&] {
      const auto mine = start({{"persist", file}});
      for (int i = 0;; ++i) {
        mine->put("k0", std::to_string(i));
        mine->save();
      }
      return 1;
    });
    // Anywhere: at the start, while it writes, or after some saves.
    std::this_thread::sleep_for(std::chrono::microseconds(2000 + 3700 * round));
    ::kill(child, SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(status_of(child)));
    const auto next = start({{"persist", file}});
    ASSERT_THAT(next->warnings(), IsEmpty());
    ASSERT_EQ(next->entries(), 3000U);
    for (int i = 1; i < 3000; ++i) ASSERT_TRUE(next->get("k" + std::to_string(i))) << i;
  }
}

TEST_F(LocmemPersistProcess, AChildOfForkNeverSaves) {
  const auto process = start();
  process->put("k", "parent");
  process->save();
  const std::string before = read(path());
  const pid_t child = in_child([&] {
    process->put("k", "child");
    try {
      process->save();
      return 2;
    } catch (const BackendError& error) {
      if (std::string_view(error.what()).find("belongs to the parent") == std::string_view::npos) {
        return 3;
      }
    }
    std::exit(process->get("k") == "child" ? 0 : 4);  // its handlers run, too
  });
  EXPECT_TRUE(ended_well(child));
  EXPECT_EQ(read(path()), before);
  EXPECT_EQ(process->save(), 1U) << "the parent goes on";
}

TEST_F(LocmemPersistProcess, TheEndOfARegistryInAChildOfForkSavesNothing) {
  auto process = start();
  process->put("k", "parent");
  process->save();
  const std::string before = read(path());
  const pid_t child = in_child([&] {
    process->put("k", "child");
    process.reset();
    return 0;
  });
  EXPECT_TRUE(ended_well(child));
  EXPECT_EQ(read(path()), before);
}

TEST_F(LocmemPersistProcess, AChildOfForkDoesNotKeepTheFileOfItsParent) {
  auto process = start();
  process->put("k", "v");
  int gate[2];
  ASSERT_EQ(::pipe(gate), 0);
  const pid_t child = in_child([&] {
    ::close(gate[1]);
    char byte = 0;
    return ::read(gate[0], &byte, 1) == 0 ? 0 : 1;  // until the parent closes its end
  });
  process.reset();
  const auto next = start();
  EXPECT_THAT(next->warnings(), IsEmpty());
  EXPECT_EQ(next->get("k"), "v");
  ::close(gate[0]);
  ::close(gate[1]);
  EXPECT_TRUE(ended_well(child));
}

TEST_F(LocmemPersistProcess, AnotherProcessHasTheFileUntilItEnds) {
  int gate[2];
  int ready[2];
  ASSERT_EQ(::pipe(gate), 0);
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = in_child([&] {
    ::close(gate[1]);
    const auto owner = start();
    owner->put("k", "child");
    char byte = 'r';
    if (::write(ready[1], &byte, 1) != 1) return 1;
    return ::read(gate[0], &byte, 1) == 0 ? 0 : 1;
  });
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const auto second = start();
  EXPECT_THAT(second->warnings(),
              ElementsAre(HasSubstr("belongs to the process " + std::to_string(child))));
  ::close(gate[1]);
  EXPECT_TRUE(ended_well(child));
  second->put("k", "second");
  EXPECT_EQ(second->save(), 1U);
  for (const int descriptor : {gate[0], ready[0], ready[1]}) ::close(descriptor);
}

TEST_F(LocmemPersistProcess, AFullDiskKeepsTheOlderFile) {
  const pid_t child = in_child([&] {
    const auto process = start();
    process->put("k", "small");
    process->save();
    // A file that may grow no more is like a full disk.
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{.rlim_cur = 10'000, .rlim_max = 10'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 1;
    process->put("k", std::string(100'000, 'v'));
    try {
      process->save();
      return 2;
    } catch (const BackendError& error) {
      return error.kind() == BackendError::Kind::storage ? 0 : 3;
    }
  });
  EXPECT_TRUE(ended_well(child));
  EXPECT_FALSE(std::filesystem::exists(path("dump.new")));
  const auto next = start();
  EXPECT_THAT(next->warnings(), IsEmpty());
  EXPECT_EQ(next->get("k"), "small");
}

}  // namespace
}  // namespace polycache
