// "persist": what a restart keeps of locmem, and what it does about files that it must not believe.

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "persist_fixture.h"
#include "polycache/author/crc32c.h"
#include "polycache/author/deque_extension.h"
#include "polycache/error.h"
#include "support/message_of.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::message_of;
using testing::PersistProcess;

using LocmemPersist = testing::PersistTest;

TEST_F(LocmemPersist, AStoreIsLoadedWhenItStartsAgain) {
  const std::string binary("k\0\xff", 3);
  const std::string large(100'000, 'L');
  {
    const auto first = start();
    first->put("a", "1");
    first->put("", "no key");
    first->put("empty", "");
    first->put(binary, std::string("v\0", 2));
    first->put("large", large);
    for (int i = 0; i < 5000; ++i) first->put("k" + std::to_string(i), std::to_string(i));
    EXPECT_THAT(first->warnings(), IsEmpty());
  }
  const auto second = start();
  EXPECT_THAT(second->warnings(), IsEmpty());
  EXPECT_EQ(second->entries(), 5005U);
  EXPECT_EQ(second->get("a"), "1");
  EXPECT_EQ(second->get(""), "no key");
  EXPECT_EQ(second->get("empty"), "");
  EXPECT_EQ(second->get(binary), std::string("v\0", 2));
  EXPECT_EQ(second->get("large"), large);
  for (int i = 0; i < 5000; ++i) {
    ASSERT_EQ(second->get("k" + std::to_string(i)), std::to_string(i));
  }
}

TEST_F(LocmemPersist, LifetimesGoOnByTheWallClock) {
  {
    const auto first = start();
    first->put("short", "v", Ttl(10s));
    first->put("long", "v", Ttl(60s));
    first->put("forever", "v");
    clock_.advance(4s);
  }
  clock_.advance(3s);  // no process has it
  {
    const auto second = start();
    EXPECT_TRUE(second->left("forever").is_forever());
    EXPECT_EQ(second->left("long").value(), 53s);
    EXPECT_EQ(second->left("short").value(), 3s);
    clock_.advance(3s);
    EXPECT_FALSE(second->get("short"));
  }
  clock_.advance(50s);
  const auto third = start();
  EXPECT_EQ(third->entries(), 1U) << "what has expired is not loaded";
  EXPECT_TRUE(third->get("forever"));
}

TEST_F(LocmemPersist, AWallClockThatIsSetBackLetsNoEntryLiveLonger) {
  start()->put("k", "v", Ttl(60s));
  clock_.set_wall_clock(clock_.system_now() - std::chrono::hours(24));
  EXPECT_EQ(start()->left("k").value(), 60s);
  clock_.set_wall_clock(clock_.system_now() + std::chrono::hours(48));
  EXPECT_FALSE(start()->get("k"));
}

TEST_F(LocmemPersist, SavesOnRequest) {
  const auto first = start();
  first->put("a", "1");
  first->put("b", "2");
  first->put("over", "3", Ttl(1s));
  clock_.advance(1s);
  EXPECT_EQ(first->save(), 2U);
  std::filesystem::copy_file(path(), path("copy"));
  const auto second = start({{"persist", path("copy")}});
  EXPECT_THAT(second->warnings(), IsEmpty());
  EXPECT_EQ(second->get("b"), "2");
}

TEST_F(LocmemPersist, SavesAtIntervals) {
  const auto first = start({{"persist_interval", std::string("5ms")}});
  first->put("k", "v");
  const auto saved = [&] {
    if (!std::filesystem::exists(path())) return false;
    write(path("copy"), read(path()));
    return start({{"persist", path("copy")}})->get("k") == "v";
  };
  while (!saved()) std::this_thread::sleep_for(5ms);  // else the test's time runs out
}

TEST_F(LocmemPersist, AFailureAtIntervalsIsReportedOnce) {
  std::filesystem::create_directory(path());
  const auto first = start({{"persist_interval", std::string("1ms")}});
  while (first->warnings().size() < 2) std::this_thread::sleep_for(5ms);
  std::this_thread::sleep_for(50ms);
  EXPECT_THAT(first->warnings(), ElementsAre(HasSubstr("was ignored: is no regular file"),
                                             HasSubstr("was not saved: the dump")));
}

TEST_F(LocmemPersist, AStoreThatWasNotUsedSavesNothing) {
  {
    testing::TestContext context(clock_);
    make_factory(locmem::plugin, context, {.options = options()});
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(LocmemPersist, OnlyTheOwnerCanReadTheFile) {
  const mode_t before = ::umask(0);
  start()->put("k", "v");
  ::umask(before);
  for (const std::string& name : {path(), path("dump.lock")}) {
    struct stat status {};
    ASSERT_EQ(::stat(name.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600U) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(path("dump.new")));
}

// --- files that are not believed ---

class LocmemPersistIgnores : public LocmemPersist {
 protected:
  void SetUp() override {
    const auto first = start();
    for (int i = 0; i < 300; ++i) first->put("key" + std::to_string(i), std::string(50, 'v'));
  }
  // The warnings of a process that starts with the file, and has nothing of it.
  std::vector<std::string> ignored(bool saves = false) {
    testing::TestContext context(clock_);
    const auto factory = make_factory(
        locmem::plugin, context, {.options = options({{"max_bytes", std::int64_t{1} << 20U}})});
    auto& store = *static_cast<MaintenanceExtension*>(factory->extension(MaintenanceExtension::id));
    EXPECT_EQ(store.counts().total, 0U);
    if (saves) static_cast<DumpExtension*>(factory->extension(DumpExtension::id))->save();
    return context.warnings();
  }
  // The file with a correct checksum of its head.
  void rewrite_head(std::string bytes) {
    const std::uint32_t crc = crc32c(std::string_view(bytes).substr(0, 60));
    for (std::size_t i = 0; i < 4; ++i) bytes[60 + i] = static_cast<char>(crc >> (8 * i) & 0xff);
    write(path(), bytes);
  }
};

TEST_F(LocmemPersistIgnores, AFileThatWasChangedAnywhere) {
  const std::string whole = read(path());
  ASSERT_GT(whole.size(), 20'000U);
  for (std::size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 97) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    write(path(), bytes);
    ASSERT_THAT(ignored(), ElementsAre(HasSubstr(path() + "\" was ignored: "))) << at;
  }
}

TEST_F(LocmemPersistIgnores, AFileThatWasCutAnywhere) {
  const std::string whole = read(path());
  for (std::size_t size = 0; size < whole.size(); size += size < 200 ? 1 : 97) {
    write(path(), whole.substr(0, size));
    ASSERT_THAT(ignored(), ElementsAre(HasSubstr("\" was ignored: "))) << size;
  }
  write(path(), whole.substr(0, whole.size() - 1));
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("it is cut off")));
  write(path(), whole + "x");
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("it is damaged near its byte")));
}

TEST_F(LocmemPersistIgnores, AFileOfAnotherVersionAndReplacesIt) {
  std::string bytes = read(path());
  bytes[8] = 0;
  rewrite_head(bytes);
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr(
                             "it has version 0 of the format, this library 1; the store begins "
                             "empty")));
  bytes[8] = 2;
  rewrite_head(bytes);
  EXPECT_THAT(ignored(true), ElementsAre(HasSubstr("it has version 2 of the format")));
  EXPECT_THAT(start()->warnings(), IsEmpty()) << "the save has replaced it";
}

TEST_F(LocmemPersistIgnores, AFileOfAnotherProgramAndNeverReplacesIt) {
  write(path(), "a letter to the editor");
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("is no dump of polycache, so it is not replaced")));
  EXPECT_THAT(message_of<BackendError>([&] { ignored(true); }),
              HasSubstr("is no dump of polycache, so it is not replaced; remove it"));
  start()->put("k", "v");
  EXPECT_EQ(read(path()), "a letter to the editor");
}

TEST_F(LocmemPersistIgnores, AFileThatOtherUsersCanWriteTo) {
  for (const mode_t mode : {mode_t{0620}, mode_t{0602}}) {
    ASSERT_EQ(::chmod(path().c_str(), mode), 0);
    EXPECT_THAT(ignored(), ElementsAre(HasSubstr("can be written by other users; run chmod 600")));
  }
  ASSERT_EQ(::chmod(path().c_str(), 0644), 0);
  EXPECT_EQ(start()->entries(), 300U) << "who can read it does no harm to this process";
}

TEST_F(LocmemPersistIgnores, AFileOfAnotherUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
  const std::string whole = read(path());
  ASSERT_EQ(::chown(path().c_str(), 4321, 4321), 0);
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("belongs to another user, number 4321; remove it")));
  EXPECT_THAT(message_of<BackendError>([&] { ignored(true); }), HasSubstr("number 4321"));
  start()->put("k", "v");
  EXPECT_EQ(read(path()), whole);
}

TEST_F(LocmemPersistIgnores, ALinkToAFile) {
  std::filesystem::rename(path(), path("elsewhere"));
  std::filesystem::create_symlink(path("elsewhere"), path());
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("is a symbolic link; name the file itself")));
}

TEST_F(LocmemPersistIgnores, APipeWithoutWaitingForItsOtherEnd) {
  std::filesystem::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_THAT(ignored(), ElementsAre(HasSubstr("is no regular file")));
}

TEST_F(LocmemPersistIgnores, WhatAKilledProcessHasLeftBehind) {
  write(path("dump.new"), "half");
  EXPECT_EQ(start()->entries(), 300U);
  EXPECT_FALSE(std::filesystem::exists(path("dump.new")));
}

// --- limits and policies ---

TEST_F(LocmemPersist, ADumpThatIsLargerThanTheStoreFillsIt) {
  {
    const auto first = start();
    for (int i = 0; i < 5000; ++i) first->put("k" + std::to_string(i), std::string(100, 'v'));
  }
  const auto second = start({{"max_entries", std::int64_t{100}}});
  EXPECT_THAT(second->warnings(), IsEmpty());
  EXPECT_LE(second->entries(), 100U);
  EXPECT_GT(second->entries(), 50U);
}

TEST_F(LocmemPersist, QueuesKeepTheirOrder) {
  for (const char* const policy : {"lru", "fifo"}) {
    std::filesystem::remove(path());
    const OptionMap small = {{"policy", std::string(policy)}, {"max_entries", std::int64_t{500}}};
    {
      const auto first = start(small);
      for (int i = 0; i < 500; ++i) first->put("k" + std::to_string(i), "v");
      for (int i = 0; i < 100; ++i) first->get("k" + std::to_string(i));
    }
    const auto second = start(small);
    for (int i = 0; i < 200; ++i) second->put("new" + std::to_string(i), "v");
    const int gone_from = std::string_view(policy) == "lru" ? 100 : 0;
    for (int i = 0; i < 500; ++i) {
      const bool is_gone = i >= gone_from && i < gone_from + 200;
      ASSERT_EQ(second->get("k" + std::to_string(i)).has_value(), !is_gone) << policy << ' ' << i;
    }
  }
}

TEST_F(LocmemPersist, LfuKeepsItsCounts) {
  const OptionMap small = {{"policy", std::string("lfu")}, {"max_entries", std::int64_t{500}}};
  {
    const auto first = start(small);
    for (int i = 0; i < 500; ++i) first->put("k" + std::to_string(i), "v");
    for (int n = 0; n < 3; ++n) {
      for (int i = 0; i < 100; ++i) first->get("k" + std::to_string(i));
    }
  }
  const auto second = start(small);
  for (int i = 0; i < 1000; ++i) second->put("new" + std::to_string(i), "v");
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(second->get("k" + std::to_string(i))) << i;
}

TEST_F(LocmemPersist, S3FifoKeepsWhatWasUsedThroughAScan) {
  const OptionMap small = {{"max_entries", std::int64_t{1000}}};
  {
    const auto first = start(small);
    for (int i = 0; i < 1000; ++i) first->put("k" + std::to_string(i), "v");
    for (int i = 0; i < 300; ++i) first->get("k" + std::to_string(i));
    for (int i = 0; i < 300; ++i) first->put("filler" + std::to_string(i), "v");
  }
  const auto second = start(small);
  for (int i = 0; i < 2000; ++i) second->put("scanned" + std::to_string(i), "v");
  int kept = 0;
  for (int i = 0; i < 300; ++i) kept += second->get("k" + std::to_string(i)) ? 1 : 0;
  EXPECT_GT(kept, 250);
}

TEST_F(LocmemPersist, AnotherPolicyLoadsTheEntries) {
  start({{"policy", std::string("lfu")}})->put("k", "v");
  EXPECT_EQ(start({{"policy", std::string("s3-fifo")}})->get("k"), "v");
  EXPECT_EQ(start({{"policy", std::string("django")}})->get("k"), "v");
}

TEST_F(LocmemPersist, ReconfiguredLimitsKeepTheEntries) {
  const auto first = start();
  first->put("k", "v");
  const auto factory = make_factory(locmem::plugin, first->context(),
                                    {.options = options({{"max_bytes", std::int64_t{1} << 20U}})});
  EXPECT_TRUE(factory->connect()->contains("k", [](std::string_view) {}));
  EXPECT_THAT(first->warnings(), IsEmpty());
}

// --- one process at a time ---

TEST_F(LocmemPersist, ASecondOwnerGoesOnWithoutTheFileUntilItIsFree) {
  auto first = start();
  first->put("k", "first");
  const auto second = start();
  EXPECT_THAT(second->warnings(),
              ElementsAre(HasSubstr("\" belongs to the process " + std::to_string(::getpid()) +
                                    "; give each process a file of its own; the store begins "
                                    "empty, and is saved once the file is free")));
  EXPECT_EQ(second->get("k"), std::nullopt);
  second->put("k", "second");
  EXPECT_THAT(message_of<BackendError>([&] { second->save(); }),
              HasSubstr("belongs to the process"));
  first.reset();
  EXPECT_EQ(second->save(), 1U);
  EXPECT_THAT(read(path()), HasSubstr("second"));
}

TEST_F(LocmemPersist, LocksAndDequesAreNotSaved) {
  {
    const auto first = start();
    first->put("k", "v");
    EXPECT_TRUE(first->of<LockExtension>().take({.key = "lock", .token = "t"}, 1h).taken);
    const std::string_view value = "v";
    first->of<DequeExtension>().push("deque", DequeExtension::End::back, {&value, 1}, 10);
  }
  const auto second = start();
  EXPECT_EQ(second->entries(), 1U);
  EXPECT_TRUE(second->of<LockExtension>().take({.key = "lock", .token = "u"}, 1h).taken);
  EXPECT_EQ(second->of<DequeExtension>().size("deque"), 0U);
}

// Writers that go on during saves: what is loaded is one of the values that the key had.
TEST_F(LocmemPersist, SavesWholeEntriesWhileThreadsWriteEvictAndErase) {
  const OptionMap small = {{"max_bytes", std::int64_t{3} << 20U}, {"policy", std::string("lru")}};
  const auto value = [](const std::string& key, int n) {
    std::string text;
    for (int i = 0; i < 5 + n % 50; ++i) text += key + std::to_string(n) + ";";
    return text;
  };
  {
    const auto first = start(small);
    for (int i = 0; i < 200; ++i) first->put("still" + std::to_string(i), "v");
    std::atomic<bool> stop{false};
    std::vector<std::thread> writers;
    for (int thread = 0; thread < 3; ++thread) {
      writers.emplace_back([&, thread, session = first->factory().connect()] {
        for (int n = thread; !stop; n += 3) {
          const std::string key = "k" + std::to_string(n * 7919 % 4000);
          if (n % 5 == 0) {
            session->erase(key);
          } else {
            session->put(key, value(key, n), Ttl::forever(), PutMode::always);
          }
          session->get("still" + std::to_string(n % 200), [](std::string_view) {});
        }
      });
    }
    for (int n = 0; n < 10; ++n) first->save();
    stop = true;
    for (std::thread& writer : writers) writer.join();
  }
  const auto second = start(small);
  EXPECT_THAT(second->warnings(), IsEmpty());
  int found = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string key = "k" + std::to_string(i);
    const auto loaded = second->get(key);
    if (!loaded) continue;
    ++found;
    const int n = std::stoi(loaded->substr(key.size()));
    ASSERT_EQ(*loaded, value(key, n));
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace polycache
