// Listing and erasing by pattern in locmem: shard by shard, each entry once, whatever the table
// does meanwhile.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/locmem.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using testing::TestContext;

using Counts = std::map<std::string, int>;

class LocmemScan : public ::testing::Test {
 protected:
  void open(OptionMap options = {}) {
    factory_ = make_factory(locmem::plugin, context_, {.options = std::move(options)});
    session_ = factory_->connect();
  }
  void put(const std::string& key, Ttl ttl = Ttl::forever(), std::string_view value = "v") {
    session_->put(key, value, ttl, PutMode::always);
  }
  ScanExtension& scan() { return of<ScanExtension>(); }
  template <class Extension>
  Extension& of() {
    return *static_cast<Extension*>(session_->extension(Extension::id));
  }
  // How often each key is listed.
  Counts listed(std::string_view pattern, std::size_t at_most = 100) {
    Counts counts;
    std::string cursor;
    do {
      cursor = scan().scan(pattern, cursor, at_most, [&](const ScanExtension::Listed& entry) {
        ++counts[std::string(entry.key)];
      });
    } while (!cursor.empty());
    return counts;
  }

  testing::ManualClock clock_;
  TestContext context_{clock_};
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

TEST_F(LocmemScan, ListsEachEntryOnceInStoresOfAnyNumberOfShards) {
  for (const char* const bytes : {"1MiB", "16MiB", "256MiB"}) {
    open({{"max_bytes", std::string(bytes)}});
    for (int i = 0; i < 2000; ++i) put("k" + std::to_string(i));
    const Counts counts = listed("k*");
    EXPECT_EQ(counts.size(), 2000U) << bytes;
    for (const auto& [key, count] : counts) EXPECT_EQ(count, 1) << key;
    session_->clear();
    EXPECT_TRUE(listed("*").empty());
    factory_.reset();
  }
}

TEST_F(LocmemScan, ListsEachEntryOnceWhileTheTableGrowsAndShrinks) {
  open({{"max_bytes", std::string("64MiB")}});
  for (int i = 0; i < 3000; ++i) put("old" + std::to_string(i));
  Counts counts;
  std::string cursor;
  int page = 0;
  int added = 0;
  do {
    cursor = scan().scan("old*", cursor, 50, [&](const ScanExtension::Listed& entry) {
      ++counts[std::string(entry.key)];
    });
    // Tables of all shards are rebuilt several times.
    for (int i = 0; i < 1000 && added < 50'000; ++i) put("new" + std::to_string(added++));
    if (++page == 20) of<ErasePatternExtension>().erase_pattern("new*");
  } while (!cursor.empty());
  EXPECT_EQ(counts.size(), 3000U);
  for (const auto& [key, count] : counts) EXPECT_EQ(count, 1) << key;
}

// A page that asks for few entries must not walk through the store.
TEST_F(LocmemScan, APageExaminesAboutAsManyEntriesAsItIsAskedFor) {
  open({{"policy", std::string("django")}, {"max_entries", std::int64_t{100'000}}});
  for (int i = 0; i < 20'000; ++i) put("k" + std::to_string(i));
  std::string cursor;
  int pages = 0;
  do {
    std::size_t found = 0;
    cursor = scan().scan("k*", cursor, 100, [&](const ScanExtension::Listed&) { ++found; });
    EXPECT_LE(found, 300U);
    ++pages;
  } while (!cursor.empty());
  EXPECT_GT(pages, 60);
  EXPECT_LT(pages, 1000);
}

TEST_F(LocmemScan, APatternThatMatchesNothingIsPagedLikeAnyOther) {
  open({{"policy", std::string("django")}, {"max_entries", std::int64_t{100'000}}});
  for (int i = 0; i < 20'000; ++i) put("k" + std::to_string(i));
  EXPECT_NE(scan().scan("other*", "", 100, [](const ScanExtension::Listed&) {}), "");
  EXPECT_TRUE(listed("other*").empty());
}

TEST_F(LocmemScan, ReportsSizesAndLifetimesOfSmallAndLargeValues) {
  open();
  put("small", Ttl(5s), "12345");
  put("large", Ttl::forever(), std::string(100'000, 'x'));
  put("gone", Ttl(1s));
  clock_.advance(2s);
  std::map<std::string, std::uint64_t> sizes;
  scan().scan("*", "", 1000, [&](const ScanExtension::Listed& entry) {
    sizes[std::string(entry.key)] = entry.size;
    ASSERT_TRUE(entry.left);
    EXPECT_EQ(entry.left->is_forever(), entry.key == "large");
    if (entry.key == "small") {
      EXPECT_EQ(entry.left->value(), 3s);
    }
  });
  EXPECT_EQ(sizes, (std::map<std::string, std::uint64_t>{{"small", 5}, {"large", 100'000}}));
}

TEST_F(LocmemScan, DoesNotCountAsAUse) {
  open({{"policy", std::string("lru")}, {"max_entries", std::int64_t{3}}});
  for (const char* const key : {"a", "b", "c"}) put(key);
  EXPECT_EQ(listed("a").size(), 1U);
  put("d");
  EXPECT_EQ(listed("a").size(), 0U) << "the oldest was evicted, although it was listed";
}

TEST_F(LocmemScan, ErasePatternTellsTheListenerOfRemovals) {
  open();
  auto& factory = dynamic_cast<locmem::Factory&>(*factory_);
  std::vector<std::string> removed;
  factory.on_removal([&](locmem::Removal cause, std::string_view key, std::string_view) {
    if (cause == locmem::Removal::erased) removed.emplace_back(key);
  });
  put("user:1:cart");
  put("user:1:name");
  EXPECT_EQ(of<ErasePatternExtension>().erase_pattern("user:*:cart"), 1U);
  EXPECT_THAT(removed, ElementsAre("user:1:cart"));
}

TEST_F(LocmemScan, RefusesACursorOfAnotherStore) {
  open();
  const auto ignore = [](const ScanExtension::Listed&) {};
  for (const char* const cursor :
       {"x", "0", "0.", ".0", "0.4294967296", "100000.0", "0.1x", "-1.0"}) {
    EXPECT_THROW(scan().scan("*", cursor, 10, ignore), ValueError) << cursor;
  }
}

TEST_F(LocmemScan, ThreadsMayScanWhileOthersWriteAndErase) {
  open({{"max_bytes", std::string("64MiB")}});
  for (int i = 0; i < 2000; ++i) put("stays" + std::to_string(i));
  std::atomic<bool> ending{false};
  std::vector<std::thread> writers;
  for (int thread = 0; thread < 3; ++thread) {
    writers.emplace_back([&, thread] {
      const auto session = factory_->connect();
      auto& erase =
          *static_cast<ErasePatternExtension*>(session->extension(ErasePatternExtension::id));
      const std::string head = "comes" + std::to_string(thread) + ":";
      for (int i = 0; !ending; ++i) {
        session->put(head + std::to_string(i % 5000), "v", Ttl(1h), PutMode::always);
        if (i % 3000 == 0) erase.erase_pattern(head + "*");
      }
    });
  }
  for (int round = 0; round < 5; ++round) {
    const Counts counts = listed("stays*", 200);
    EXPECT_EQ(counts.size(), 2000U);
    for (const auto& [key, count] : counts) EXPECT_EQ(count, 1) << key;
  }
  ending = true;
  for (std::thread& writer : writers) writer.join();
}

}  // namespace
}  // namespace polycache
