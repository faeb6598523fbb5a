// Listing the keys of memcached by "lru_crawler metadump": the lines that the server sends, and
// real servers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "dump_reader.h"
#include "polycache/author/extension.h"
#include "polycache/backends/memcached.h"
#include "polycache/error.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/peer.h"
#include "support/server.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using memcached::DumpedItem;
using memcached::DumpReader;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ManualClock;
using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::Server;
using testing::TestContext;
using State = DumpReader::State;

using Keys = std::multiset<std::string>;

// --- The lines ---

// What the reader makes of bytes that arrive in pieces of this size.
std::vector<std::string> read_in_pieces(std::string_view bytes, std::size_t piece) {
  std::vector<std::string> lines;
  DumpReader reader;
  for (;;) {
    DumpedItem item;
    switch (reader.next(item)) {
      case State::item:
        lines.push_back(std::string(item.key) + " " + std::to_string(item.expiration) + " " +
                        std::to_string(item.size));
        break;
      case State::end:
        lines.emplace_back(reader.is_empty() ? "end" : "end, and more");
        return lines;
      case State::sentence:
        lines.push_back("says " + std::string(reader.sentence()));
        return lines;
      case State::incomplete: {
        const std::size_t size = std::min({piece, bytes.size(), reader.room().size()});
        if (size == 0) {
          lines.emplace_back("incomplete");
          return lines;
        }
        std::memcpy(reader.room().data(), bytes.data(), size);
        reader.arrived(size);
        bytes.remove_prefix(size);
        break;
      }
      default:
        lines.emplace_back("nonsense");
        return lines;
    }
  }
}

TEST(MemcachedDump, LinesAreReadHoweverTheyAreSplit) {
  const std::string_view dump =
      "key=a%25b%C3%a4c exp=1795940931 la=1795940831 cas=1 fetch=no cls=1 size=72\n"
      "key=foo exp=-1 la=1795940831 cas=2 fetch=yes cls=1 size=69 flags=7\n"
      "key=bare\n"
      "END\r\n";
  for (const std::size_t piece : {1U, 2U, 7U, 64U, 4096U}) {
    EXPECT_THAT(read_in_pieces(dump, piece), ElementsAre("a%b\xC3\xA4"
                                                         "c 1795940931 72",
                                                         "foo 0 69", "bare 0 0", "end"))
        << piece;
  }
}

TEST(MemcachedDump, SentencesOfTheServerAreToldFromItems) {
  for (const std::string sentence :
       {"BUSY currently processing crawler request", "CLIENT_ERROR lru crawler disabled", "ERROR",
        "BADCLASS invalid class id", "OK"}) {
    EXPECT_THAT(read_in_pieces(sentence + "\r\n", 5), ElementsAre("says " + sentence));
  }
  EXPECT_THAT(read_in_pieces("END\r\nEND\r\n", 100), ElementsAre("end, and more"));
}

TEST(MemcachedDump, NothingElseIsBelieved) {
  const std::string long_key(251, 'k');
  for (const std::string& line :
       {std::string("key= exp=1\n"), std::string("key=%2 exp=1\n"), std::string("key=%zz exp=1\n"),
        std::string("key=a exp=x\n"), std::string("key=a exp=1 size=-1\n"),
        std::string("key=a exp=99999999999999999999\n"), "key=" + long_key + "\n",
        std::string("\n"), std::string("garbage\n"), std::string(3000, 'k'),
        "key=" + std::string(3000, 'k')}) {
    EXPECT_THAT(read_in_pieces(line, 64), ElementsAre("nonsense")) << line.substr(0, 40);
  }
}

TEST(MemcachedDump, ManyLinesNeedNoMoreMemoryThanOne) {
  std::string dump;
  for (int i = 0; i < 20'000; ++i) {
    dump += "key=k" + std::to_string(i) + " exp=-1 la=1 cas=1 fetch=no cls=1 size=69\n";
  }
  EXPECT_EQ(read_in_pieces(dump + "END\r\n", 10'000).size(), 20'001U);
}

// --- Servers ---

class Store {
 public:
  explicit Store(std::vector<std::string> location, OptionMap options = {},
                 const Clock& clock = Clock::real())
      : context_(clock),
        factory_(make_factory(memcached::plugin, context_,
                              {.location = std::move(location), .options = std::move(options)})),
        session_(factory_->connect()) {}

  Backend* operator->() const noexcept { return session_.get(); }
  ScanExtension* scan() {
    return static_cast<ScanExtension*>(session_->extension(ScanExtension::id));
  }
  void put(const std::string& key, std::string_view value = "v", Ttl ttl = Ttl(1h)) {
    ASSERT_TRUE(session_->put(key, value, ttl, PutMode::always));
  }
  void fill(int count, std::string_view head = "k") {
    std::vector<std::string> keys;
    for (int i = 0; i < count; ++i) keys.push_back(std::string(head) + std::to_string(i));
    std::vector<Item> items;
    for (const std::string& key : keys) items.push_back({key, "v", Ttl(1h)});
    constexpr std::size_t batch = 1000;  // each with a time limit of its own
    for (std::size_t first = 0; first < items.size(); first += batch) {
      const std::span<const Item> all = items;
      session_->put_many(all.subspan(first, std::min(batch, all.size() - first)), PutMode::always,
                         [](std::size_t) { FAIL(); });
    }
  }
  Keys keys(std::string_view pattern) {
    Keys keys;
    std::string cursor;
    do {
      cursor = scan()->scan(pattern, cursor, 100,
                            [&](const ScanExtension::Listed& entry) { keys.emplace(entry.key); });
      ++pages;
    } while (!cursor.empty());
    return keys;
  }
  std::string failure(std::string_view pattern = "*") {
    try {
      keys(pattern);
    } catch (const BackendError& error) {
      return std::string(to_string(error.kind())) + ": " + error.what();
    }
    return "no failure";
  }
  int pages = 0;

 private:
  TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

const OptionMap patient{{"timeout", std::string("30s")}};

TEST(MemcachedScan, ListsEachItemOfARingOfTwoServersOnce) {
  const auto first = Server::memcached();
  const auto second = Server::memcached_on_socket();
  Store store({first->address(), second->unix_socket()}, patient);
  store.fill(3000);
  store.put("other");
  const Keys keys = store.keys("k*");
  EXPECT_EQ(keys.size(), 3000U);
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), 3000U);
  EXPECT_EQ(store.pages, 2) << "one for each server";
  Store of_first({first->address()}, patient);
  Store of_second({second->unix_socket()}, patient);
  EXPECT_GT(of_first.keys("k*").size(), 0U);
  EXPECT_EQ(of_first.keys("k*").size() + of_second.keys("k*").size(), 3000U);
}

TEST(MemcachedScan, MoreItemsThanAPageHoldsTakeMorePagesAndAreListedOnce) {
  const auto server = Server::memcached({"-m", "256"});
  Store store({server->address()}, patient);
  constexpr int count = 70'000;
  store.fill(count);
  const Keys keys = store.keys("k*");
  EXPECT_EQ(keys.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), keys.size());
  EXPECT_EQ(store.pages, 2);
}

TEST(MemcachedScan, ReportsSizeAndLifetime) {
  const auto server = Server::memcached();
  Store store({server->address()}, patient);
  store.put("hour", "12345", Ttl(1h));
  store.put("never", std::string(1000, 'v'), Ttl::forever());
  std::map<std::string, ScanExtension::Listed> entries;
  store.scan()->scan(
      "*", "", 100, [&](const ScanExtension::Listed& entry) { entries.emplace(entry.key, entry); });
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_GT(entries["hour"].size, 5U);
  EXPECT_GT(entries["never"].size, 1000U);
  EXPECT_TRUE(entries["never"].left->is_forever());
  EXPECT_LE(entries["hour"].left->value(), 1h + 3s);
  EXPECT_GE(entries["hour"].left->value(), 59min);
}

// The server keeps an item for a moment after its deadline, and knows nothing of the alias's clock.
TEST(MemcachedScan, ListsNothingThatIsOverByTheClockOfTheAlias) {
  const auto server = Server::memcached();
  ManualClock clock;
  Store store({server->address()}, patient, clock);
  store.put("short", "v", Ttl(10s));
  store.put("long", "v", Ttl(1h));
  store.put("never", "v", Ttl::forever());
  EXPECT_EQ(store.keys("*"), (Keys{"short", "long", "never"}));
  clock.advance(5s);
  store.scan()->scan("short", "", 100, [](const ScanExtension::Listed& entry) {
    EXPECT_GT(entry.left->value(), 4s);
    EXPECT_LE(entry.left->value(), 6s) << "as its flags say, in whole seconds";
  });
  clock.advance(6s);
  EXPECT_EQ(store.keys("*"), (Keys{"long", "never"}));
}

TEST(MemcachedScan, OtherClientsAndOtherScansMayWorkMeanwhile) {
  const auto server = Server::memcached();
  Store store({server->address()}, patient);
  store.fill(2000);
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      Store mine({server->address()}, patient);
      for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(mine.keys("k*").size(), 2000U);  // the server lists for one client at a time
        mine.put("other" + std::to_string(i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(MemcachedScan, TheConnectionIsUsedAgainAfterwards) {
  const auto server = Server::memcached();
  Store store({server->address()}, patient);
  EXPECT_EQ(store.keys("*"), Keys{}) << "an empty server";
  store.put("k");
  EXPECT_EQ(store.keys("*"), Keys{"k"});
  EXPECT_TRUE(store->contains("k", [](std::string_view) {}));
}

TEST(MemcachedScan, AServerThatDoesNotListItsItemsIsNamed) {
  const auto server = Server::memcached({"-o", "no_lru_crawler"});
  Store store({server->address()}, patient);
  EXPECT_THAT(store.failure(), HasSubstr("unsupported: "));
  EXPECT_THAT(store.failure(), HasSubstr("it does not list its items"));
  store.put("k");
  EXPECT_TRUE(store->contains("k", [](std::string_view) {}));
}

TEST(MemcachedScan, IsNotOfferedWithTheBinaryProtocol) {
  const auto server = Server::memcached();
  Store store({server->address()}, {{"protocol", std::string("binary")}});
  EXPECT_EQ(store.scan(), nullptr);
}

TEST(MemcachedScan, AnOlderServerIsAskedForItsListsInstead) {
  std::string heard;
  const Peer peer([&](int connection) {
    for (;;) {
      const std::string request = peer_hears(connection);
      if (request.empty()) return;
      heard += request;
      if (request.starts_with("version")) {
        peer_says(connection, "VERSION 1.4.31\r\n");
      } else if (request.find(" hash") != std::string::npos) {
        peer_says(connection, "BADCLASS invalid class id\r\n");
      } else {
        peer_says(connection, "key=old exp=-1 la=1 cas=1 fetch=no cls=1\nEND\r\n");
      }
    }
  });
  Store store({peer.address()}, patient);
  EXPECT_EQ(store.keys("*"), Keys{"old"});
  EXPECT_THAT(heard, HasSubstr("lru_crawler metadump all\r\n"));
}

TEST(MemcachedScan, ABusyServerIsAskedAgainUntilTheTimeIsOver) {
  std::atomic<int> asked{0};
  const Peer peer([&](int connection) {
    for (;;) {
      const std::string request = peer_hears(connection);
      if (request.empty()) return;
      if (request.starts_with("version")) {
        peer_says(connection, "VERSION 1.6.18\r\n");
      } else {
        ++asked;
        peer_says(connection, "BUSY currently processing crawler request\r\n");
      }
    }
  });
  Store store({peer.address()}, {{"timeout", std::string("200ms")}});
  EXPECT_THAT(store.failure(), HasSubstr("overloaded: "));
  EXPECT_GT(asked, 2);
}

TEST(MemcachedScan, AListThatBreaksOrIsNoneIsAnError) {
  for (const std::string answer :
       {"key=a exp=-1 size=1\n", "key=a exp=-1 size=1\nnonsense\n", "END\r\nEND\r\n",
        "VALUE a 0 1\r\nx\r\nEND\r\n", "ERROR\r\n", "SERVER_ERROR out of memory\r\n"}) {
    const Peer peer([&](int connection) {
      if (!peer_hears(connection).starts_with("version")) return;
      peer_says(connection, "VERSION 1.6.18\r\n");
      peer_hears(connection);
      peer_says(connection, answer);
    });
    Store store({peer.address()}, {{"timeout", std::string("2s")}});
    EXPECT_NE(store.failure(), "no failure") << answer;
  }
}

TEST(MemcachedScan, RefusesACursorOfAnotherStore) {
  const auto server = Server::memcached();
  Store store({server->address()}, patient);
  const auto ignore = [](const ScanExtension::Listed&) {};
  for (const char* const cursor : {"x", "0", "0.", "0.x", "1.0", "0.1 ", "-1.0"}) {
    EXPECT_THROW(store.scan()->scan("*", cursor, 10, ignore), ValueError) << cursor;
  }
}

}  // namespace
}  // namespace polycache
