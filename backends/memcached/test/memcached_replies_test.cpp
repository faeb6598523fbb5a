// What servers of the text protocol may say, and what harm that does: none. First the parser
// alone, then the store against a server that lies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/memcached.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "reply_reader.h"
#include "support/peer.h"
#include "support/server.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;
using memcached::Reply;
using memcached::ReplyReader;
using ::testing::ElementsAre;
using ::testing::Pair;
using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::TestContext;
using testing::TestOptions;
using Kind = BackendError::Kind;
using State = ReplyReader::State;
using Values = ReplyReader::Values;

// --- The parser ---

constexpr std::size_t largest_value = 1000;
constexpr std::size_t buffer_bytes = std::size_t{64} << 10U;

void put(ReplyReader& reader, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto room = reader.room();
    ASSERT_FALSE(room.empty());
    const std::size_t count = std::min(room.size(), bytes.size());
    bytes.copy(room.data(), count);
    reader.arrived(count);
    bytes.remove_prefix(count);
  }
}

State state_of(std::string_view bytes, Values values = Values::plain) {
  ReplyReader reader(largest_value, buffer_bytes);
  put(reader, bytes);
  Reply reply;
  return reader.next(reply, values);
}

// What a reply is, in one line.
std::string shown(const Reply& reply) {
  std::string text = std::to_string(static_cast<int>(reply.kind)) + " " + std::string(reply.line);
  if (reply.kind != Reply::Kind::value) return text;
  return text + std::string(reply.item.key) + "=" + std::string(reply.item.value) + " " +
         std::to_string(reply.item.flags) + " " + std::to_string(reply.item.version);
}

// All replies, the bytes coming in slices of that size.
std::vector<std::string> replies(std::string_view bytes, std::size_t slice, Values values) {
  ReplyReader reader(largest_value, buffer_bytes);
  std::vector<std::string> all;
  for (std::size_t at = 0; at < bytes.size(); at += slice) {
    put(reader, bytes.substr(at, slice));
    Reply reply;
    State state = State::incomplete;
    while ((state = reader.next(reply, values)) == State::reply) all.push_back(shown(reply));
    if (state != State::incomplete) all.emplace_back("nonsense");
  }
  if (!reader.is_empty()) all.emplace_back("something is left");
  return all;
}

TEST(MemcachedReplies, AreTheSameHoweverTheyAreSliced) {
  const std::string text =
      "VALUE key 4294967295 3\r\na\r\n\r\nVALUE k 0 "
      "0\r\n\r\nEND\r\nSTORED\r\nNOT_STORED\r\nEXISTS\r\n"
      "NOT_FOUND\r\nDELETED\r\nOK\r\nVERSION 1.6.18\r\nERROR\r\nERROR Too many open connections\r\n"
      "CLIENT_ERROR bad data chunk\r\nSERVER_ERROR out of memory storing object\r\n";
  const auto whole = replies(text, text.size(), Values::plain);
  EXPECT_THAT(whole, ElementsAre("0 key=a\r\n 4294967295 0", "0 k= 0 0", "1 END", "2 STORED",
                                 "3 NOT_STORED", "4 EXISTS", "5 NOT_FOUND", "6 DELETED", "7 OK",
                                 "8 VERSION 1.6.18", "9 ERROR", "9 ERROR Too many open connections",
                                 "10 CLIENT_ERROR bad data chunk",
                                 "11 SERVER_ERROR out of memory storing object"));
  for (std::size_t slice = 1; slice < text.size(); ++slice) {
    EXPECT_EQ(replies(text, slice, Values::plain), whole) << slice;
  }
  const std::string versioned = "VALUE k 7 1 18446744073709551615\r\nv\r\nEND\r\n";
  for (std::size_t slice = 1; slice < versioned.size(); ++slice) {
    EXPECT_THAT(replies(versioned, slice, Values::versioned),
                ElementsAre("0 k=v 7 18446744073709551615", "1 END"));
  }
}

TEST(MemcachedReplies, ForgedNumbersAreNonsense) {
  for (const char* const numbers : {"",
                                    "0",
                                    "0 ",
                                    " 0 1",
                                    "0  1",
                                    "0 1 ",
                                    "00 1",
                                    "0 01",
                                    "-0 1",
                                    "0 -1",
                                    "+0 1",
                                    "0 +1",
                                    "x 1",
                                    "0 x",
                                    "0x0 1",
                                    "0 1x",
                                    "0 1 2 3",
                                    "4294967296 1",
                                    "0 18446744073709551616",
                                    "0 99999999999999999999999999",
                                    "0 1\t",
                                    "0\t1",
                                    "0 1 7"}) {
    EXPECT_EQ(state_of("VALUE k " + std::string(numbers) + "\r\nv\r\n"), State::nonsense)
        << numbers;
  }
  for (const char* const numbers : {"0 1", "0 1 ", "0 1 x", "0 1 -1", "0 1 +7", "0 1 07",
                                    "0 1 18446744073709551616", "0 1 7 8", "0 1  7"}) {
    EXPECT_EQ(state_of("VALUE k " + std::string(numbers) + "\r\nv\r\n", Values::versioned),
              State::nonsense)
        << numbers;
  }
  EXPECT_EQ(state_of("VALUE k 0 1 0\r\nv\r\n", Values::versioned), State::reply);
  EXPECT_EQ(state_of("VALUE k 0 1\r\nv\r\n", Values::none), State::nonsense) << "without a request";
}

TEST(MemcachedReplies, KeysAreBounded) {
  const std::string longest(250, 'k');
  EXPECT_EQ(state_of("VALUE " + longest + " 4294967295 1\r\nv\r\n"), State::reply);
  EXPECT_EQ(state_of("VALUE " + longest + "k 0 1\r\nv\r\n"), State::nonsense);
  EXPECT_EQ(state_of("VALUE  0 1\r\nv\r\n"), State::nonsense);
}

TEST(MemcachedReplies, LargeValuesTakeNoMemory) {
  for (const char* const size : {"1001", "4294967296", "9223372036854775807",
                                 "18446744073709551614", "18446744073709551615"}) {
    ReplyReader reader(largest_value, buffer_bytes);
    put(reader, "VALUE k 0 " + std::string(size) + "\r\n");
    const std::size_t room = reader.room().size();
    Reply reply;
    EXPECT_EQ(reader.next(reply, Values::plain), State::too_large) << size;
    EXPECT_EQ(reader.room().size(), room);
  }
  EXPECT_EQ(state_of("VALUE k 0 1000\r\n"), State::incomplete);
}

TEST(MemcachedReplies, NonsenseIsSeenBeforeItsLineEnds) {
  for (const std::string& text :
       {std::string("x"), std::string("STORES"), std::string("STORED "), std::string("STORED\rx"),
        std::string("ENDx"), std::string("END\n"), std::string("\n"), std::string("\r\n"),
        std::string("\0", 1), std::string("end\r\n"), std::string("17\r\n"),
        std::string("STAT pid 1\r\n"), std::string("VALUES"), "VALUE " + std::string(400, 'k'),
        "SERVER_ERROR " + std::string(2000, 'x'), std::string("VERSION\r\n"),
        std::string("VALUE k 0 1\r\nvv\r\n"), std::string("VALUE k 0 1\r\nv\n\r")}) {
    EXPECT_EQ(state_of(text), State::nonsense) << text.substr(0, 30);
  }
  for (const char* const text : {"", "S", "STORED", "STORED\r", "E", "EN", "ERROR", "V", "VALUE k",
                                 "SERVER_ERROR something went", "VALUE k 0 1\r\nv\r"}) {
    EXPECT_EQ(state_of(text), State::incomplete) << text;
  }
}

// The end of an answer does not move the value before it, wherever that lies.
TEST(MemcachedReplies, AValueStaysWhereItIsUntilTheAnswerHasEnded) {
  constexpr std::size_t large = 300'000;
  ReplyReader reader(large, buffer_bytes);
  for (std::size_t size = 65'480; size < 65'540; ++size) {
    reader.clear();
    const std::string value(size, 'v');
    put(reader, "VALUE k 0 " + std::to_string(size) + "\r\n");
    Reply reply;
    ASSERT_EQ(reader.next(reply, Values::plain), State::incomplete);
    put(reader, value + "\r\n");
    ASSERT_EQ(reader.next(reply, Values::plain), State::reply);
    for (const char c : std::string_view("END\r\n")) put(reader, {&c, 1});
    Reply end;
    ASSERT_EQ(reader.next(end, Values::none), State::reply);
    EXPECT_EQ(end.kind, Reply::Kind::end);
    EXPECT_EQ(reply.item.value, value);
  }
}

// --- A server that lies ---

// Understands requests, and answers each but the greeting with what the script says: bytes,
// and whether to hang up then.
class Liar {
 public:
  struct Answer {
    std::string bytes;
    bool hangs_up = false;
  };
  using Script = std::function<Answer(const std::string& verb)>;

  explicit Liar(Script script, std::chrono::milliseconds pause = -1ms)
      : script_(std::move(script)),
        pause_(pause),
        peer_([this](int connection) { serve(connection); }) {}
  Liar(Script script, const std::string& path)
      : script_(std::move(script)),
        pause_(-1ms),
        peer_([this](int connection) { serve(connection); }, path) {}

  std::string address() const { return peer_.address(); }
  int connections() const { return peer_.accepted(); }

 private:
  // The next line, or an empty one at the end.
  static std::string line_of(int connection, std::string& heard) {
    while (heard.find("\r\n") == std::string::npos) {
      const std::string more = peer_hears(connection);
      if (more.empty()) return {};
      heard += more;
    }
    const std::size_t size = heard.find("\r\n");
    std::string line = heard.substr(0, size);
    heard.erase(0, size + 2);
    return line;
  }

  static bool skip_value(int connection, std::string& heard, const std::string& line) {
    std::size_t at = 0;
    for (int blanks = 0; blanks < 4; ++blanks) at = line.find(' ', at) + 1;
    const std::size_t size = std::stoul(line.substr(at)) + 2;
    while (heard.size() < size) {
      const std::string more = peer_hears(connection);
      if (more.empty()) return false;
      heard += more;
    }
    heard.erase(0, size);
    return true;
  }

  bool say(int connection, const std::string& bytes) const {
    if (pause_ < 0ms) return peer_says(connection, bytes);
    for (const char c : bytes) {
      if (!peer_says(connection, {&c, 1})) return false;
      std::this_thread::sleep_for(pause_);
    }
    return true;
  }

  void serve(int connection) const {
    std::string heard;
    for (;;) {
      const std::string line = line_of(connection, heard);
      if (line.empty()) return;
      const std::string verb = line.substr(0, line.find(' '));
      if (verb == "version") {
        if (!peer_says(connection, "VERSION 1.6.18\r\n")) return;
        continue;
      }
      const bool has_value = verb == "set" || verb == "add" || verb == "cas";
      if (has_value && !skip_value(connection, heard, line)) return;
      const Answer answer = script_(verb);
      if (!say(connection, answer.bytes) || answer.hangs_up) return;
    }
  }

  const Script script_;
  const std::chrono::milliseconds pause_;
  Peer peer_;
};

class Store {
 public:
  explicit Store(const Liar& liar, std::string timeout = "10s")
      : factory_(make_factory(memcached::plugin, context_,
                              {.location = {liar.address()},
                               .options = {{"timeout", std::move(timeout)},
                                           {"max_value_bytes", std::string("1MiB")}}})),
        session_(factory_->connect()) {}
  Backend& operator*() const noexcept { return *session_; }

 private:
  TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

const Ttl long_ttl = Ttl(1h);

template <class Extension>
Extension& extension(Backend& session) {
  return *static_cast<Extension*>(session.extension(Extension::id));
}

std::optional<Kind> kind_of_failure(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const BackendError& error) {
    return error.kind();
  }
  return std::nullopt;
}

void ignore(std::string_view) {}

void get_two(Backend& session) {
  const std::string_view keys[] = {"k", "l"};
  session.get_many(keys, [](std::size_t, std::string_view) {});
}

void put_two(Backend& session) {
  const Item items[] = {{"k", "1", long_ttl}, {"l", "2", long_ttl}};
  session.put_many(items, PutMode::always, [](std::size_t) {});
}

// Every operation, by the command whose answer is a lie; where that is `cas`, `gets` is
// answered well.
struct Operation {
  const char* name;
  const char* verb;
  std::function<void(Backend&)> run;
};

std::vector<Operation> operations() {
  const auto swaps = [](Backend& s) {
    extension<CompareExtension>(s).put_if_equal("k", "v", "w", long_ttl);
  };
  const auto pops = [](Backend& s) { extension<PopExtension>(s).pop("k", ignore); };
  const auto erases = [](Backend& s) { extension<CompareExtension>(s).erase_if_equal("k", "v"); };
  return {
      {"get", "get", [](Backend& s) { s.get("k", ignore); }},
      {"contains", "get", [](Backend& s) { s.contains("k", ignore); }},
      {"get_many", "get", get_two},
      {"set", "set", [](Backend& s) { s.put("k", "v", long_ttl, PutMode::always); }},
      {"set of much", "set",
       [](Backend& s) { s.put("k", std::string(100'000, 'v'), long_ttl, PutMode::always); }},
      {"set_many", "set", put_two},
      {"add", "add", [](Backend& s) { s.put("k", "v", long_ttl, PutMode::if_absent); }},
      {"replace, gets", "gets", [](Backend& s) { s.put("k", "v", long_ttl, PutMode::if_present); }},
      {"replace, cas", "cas", [](Backend& s) { s.put("k", "v", long_ttl, PutMode::if_present); }},
      {"touch, gets", "gets", [](Backend& s) { s.touch("k", long_ttl); }},
      {"touch, cas", "cas", [](Backend& s) { s.touch("k", long_ttl); }},
      {"incr, gets", "gets", [](Backend& s) { s.incr("k", 1); }},
      {"compare, gets", "gets", swaps},
      {"compare, cas", "cas", swaps},
      {"pop, gets", "gets", pops},
      {"pop, cas", "cas", pops},
      {"erase_if_equal, cas", "cas", erases},
      {"erase, mg", "mg", [](Backend& s) { s.erase("k"); }},
      {"erase, delete", "delete", [](Backend& s) { s.erase("k"); }},
      {"clear", "flush_all", [](Backend& s) { s.clear(); }},
  };
}

// A reply, and to which commands, or operations, it is a good one.
struct Lie {
  std::string reply;
  std::vector<std::string> truth_to;
};

std::vector<Lie> lies() {
  std::vector<Lie> all = {
      {"STORED\r\n", {"set", "add", "cas"}},
      {"NOT_STORED\r\n", {"add"}},
      {"EXISTS\r\n", {"cas"}},
      {"NOT_FOUND\r\n", {"cas", "delete"}},
      {"DELETED\r\n", {"delete"}},
      {"OK\r\n", {"flush_all"}},
      {"END\r\n", {"get", "gets"}},
      {"VALUE k 0 1\r\nv\r\nEND\r\n", {"get"}},
      {"VALUE k 0 1 7\r\n1\r\nEND\r\n", {"gets"}},
  };
  for (const std::string_view twice :
       {"STORED\r\n", "END\r\n", "DELETED\r\n", "OK\r\n", "EXISTS\r\n"}) {
    all.push_back({std::string(twice) + std::string(twice), {}});
  }
  all[9].truth_to = {"set_many"};
  all.push_back({"HD f0\r\n", {"mg"}});
  all.push_back({"EN\r\n", {"mg"}});
  for (const std::string& reply :
       {std::string("STAT pid 1\r\nEND\r\n"),
        std::string("17\r\n"),
        std::string("-1\r\n"),
        std::string("VERSION 1.6.18\r\n"),
        std::string("220 mail.example.org ESMTP\r\n"),
        std::string("HTTP/1.1 400 Bad Request\r\n\r\n"),
        std::string("-ERR unknown command\r\n"),
        std::string("\r\n"),
        std::string("\n"),
        std::string("STORED\n"),
        std::string(" END\r\n"),
        std::string("HD\r\n"),
        std::string("HD f\r\n"),
        std::string("HD fx\r\n"),
        std::string("HD f01\r\n"),
        std::string("HD f4294967296\r\n"),
        std::string("HD f0x\r\n"),
        std::string("OK f\r\n"),
        std::string("EN f0\r\n"),
        std::string("VA 1\r\nv\r\n"),
        std::string("ERROR\r\n"),
        std::string("CLIENT_ERROR bad command line format\r\n"),
        std::string("\0\0\0\0\r\n", 6),
        std::string(100'000, 'z'),
        "VALUE " + std::string(400, 'k'),
        std::string("VALUE x 0 1\r\nv\r\nEND\r\n"),
        std::string("VALUE x 0 1 7\r\nv\r\nEND\r\n"),
        std::string("VALUE k 0 1\r\nvv\r\nEND\r\n"),
        std::string("VALUE k 0 1 x\r\nv\r\nEND\r\n"),
        std::string("VALUE k 0 01\r\nv\r\nEND\r\n"),
        std::string("VALUE k 0 -1\r\nv\r\nEND\r\n"),
        std::string("VALUE k 0 2000000\r\n"),
        std::string("VALUE k 0 99999999999 7\r\n"),
        std::string("VALUE k 0 18446744073709551615\r\nxxxx\r\nEND\r\n"),
        std::string("VALUE k 0 18446744073709551614 7\r\nxxxx\r\nEND\r\n"),
        std::string("VALUE k 0 1\r\nv\r\nSTORED\r\n"),
        std::string("VALUE k 0 1 7\r\nv\r\nVALUE k 0 1 7\r\nv\r\nEND\r\n"),
        std::string("VALUE k 0 1\r\nv\r\nEND\r\nEND\r\n")}) {
    all.push_back({reply, {}});
  }
  return all;
}

bool is_truth(const Lie& lie, const Operation& operation) {
  return std::any_of(lie.truth_to.begin(), lie.truth_to.end(), [&](const std::string& to) {
    return to == operation.verb || to == operation.name;
  });
}

TEST(MemcachedWrongReplies, EveryWrongReplyIsATypedErrorAndClosesTheConnection) {
  for (const Operation& operation : operations()) {
    for (const Lie& lie : lies()) {
      if (is_truth(lie, operation)) continue;
      std::atomic<bool> lying{true};
      const Liar liar([&](const std::string& verb) -> Liar::Answer {
        if (verb == operation.verb && lying.exchange(false)) return {lie.reply};
        if (verb == "mg") return {"HD f0\r\n"};
        if (verb == "gets") return {"VALUE k 0 1 7\r\nv\r\nEND\r\n"};
        return {"END\r\n"};
      });
      const Store store(liar);
      EXPECT_EQ(kind_of_failure([&] { operation.run(*store); }), Kind::protocol)
          << operation.name << ": " << lie.reply.substr(0, 60);
      EXPECT_FALSE((*store).get("k", ignore));
      EXPECT_EQ(liar.connections(), 2) << operation.name << ": " << lie.reply.substr(0, 60);
    }
  }
}

// As proxies may that ask several servers.
TEST(MemcachedWrongReplies, AnswersInAnyOrderBelongToTheirQuestions) {
  const Liar liar([](const std::string&) -> Liar::Answer {
    return {.bytes = "VALUE c 0 1\r\n3\r\nVALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n2\r\nEND\r\n"};
  });
  const Store store(liar);
  const std::string_view keys[] = {"a", "absent", "b", "c"};
  std::map<std::size_t, std::string> found;
  (*store).get_many(keys, [&](std::size_t i, std::string_view value) { found[i] = value; });
  EXPECT_THAT(found, ElementsAre(Pair(0U, "1"), Pair(2U, "2"), Pair(3U, "3")));
  EXPECT_EQ(liar.connections(), 1);
}

TEST(MemcachedWrongReplies, AnAnswerThatComesTwiceIsNone) {
  const Liar liar([](const std::string&) -> Liar::Answer {
    return {.bytes = "VALUE b 0 1\r\n2\r\nVALUE b 0 1\r\n2\r\nEND\r\n"};
  });
  const Store store(liar);
  const std::string_view keys[] = {"a", "b"};
  EXPECT_EQ(kind_of_failure([&] { (*store).get_many(keys, [](std::size_t, std::string_view) {}); }),
            Kind::protocol);
}

TEST(MemcachedWrongReplies, AServerErrorIsReportedAsOne) {
  for (const Operation& operation : operations()) {
    const Liar liar([&](const std::string& verb) -> Liar::Answer {
      if (verb == "gets" && verb != operation.verb) return {"VALUE k 0 1 7\r\nv\r\nEND\r\n"};
      return {"SERVER_ERROR the backend is down\r\n"};
    });
    const Store store(liar);
    EXPECT_EQ(kind_of_failure([&] { operation.run(*store); }), Kind::overloaded) << operation.name;
  }
}

TEST(MemcachedWrongReplies, AReplyThatIsCutAnywhereIsNone) {
  const std::vector<std::pair<std::string, std::string>> good{
      {"get", "VALUE k 4294967295 10\r\n0123456789\r\nEND\r\n"},
      {"gets", "VALUE k 4294967295 1 77\r\nv\r\nEND\r\n"},
      {"set", "STORED\r\n"},
      {"add", "NOT_STORED\r\n"},
      {"cas", "EXISTS\r\n"},
      {"mg", "HD f4294967295 W\r\n"},
      {"delete", "DELETED\r\n"},
      {"flush_all", "OK\r\n"}};
  for (const Operation& operation : operations()) {
    const auto reply = std::find_if(good.begin(), good.end(),
                                    [&](const auto& pair) { return pair.first == operation.verb; });
    for (std::size_t cut = 0; cut < reply->second.size(); ++cut) {
      const Liar liar([&](const std::string& verb) -> Liar::Answer {
        if (verb == operation.verb) return {reply->second.substr(0, cut), true};
        if (verb == "mg") return {"EN\r\n"};
        return {"VALUE k 0 1 7\r\nv\r\nEND\r\n"};
      });
      const Store store(liar);
      EXPECT_EQ(kind_of_failure([&] { operation.run(*store); }), Kind::unreachable)
          << operation.name << " " << cut;
    }
  }
}

// The reply is the right one, and would take a minute. The limit is 300 ms; how late the end of
// an operation is depends on the machine.
TEST(MemcachedWrongReplies, ADribbledReplyEndsAtTheLimit) {
  const std::string slow = "VALUE k 0 1000\r\n" + std::string(1000, 'v') + "\r\nEND\r\n";
  const Liar liar(
      [&](const std::string& verb) -> Liar::Answer {
        return {verb == "get" ? slow : "SERVER_ERROR out of memory " + std::string(990, 'x')};
      },
      60ms);
  for (const Operation& operation : operations()) {
    if (std::string_view(operation.verb) == "cas") continue;  // never comes so far
    const Store store(liar, "300ms");
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(kind_of_failure([&] { operation.run(*store); }), Kind::timeout) << operation.name;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s) << operation.name;
  }
}

// --- Much to send ---

// The replies do not fit into the system's buffers: who does not read them while it sends waits
// for ever.
TEST(MemcachedWrongReplies, ManyItemsToAServerThatWaitsForItsReaderEnd) {
  const std::string refusal = "SERVER_ERROR out of memory " + std::string(950, 'x') + "\r\n";
  std::atomic<int> sets{0};
  const testing::TemporaryFolder folder;
  const Liar liar(
      [&](const std::string& verb) -> Liar::Answer {
        if (verb != "set") return {"NOT_FOUND\r\n"};
        return {++sets % 10 == 0 ? "STORED\r\n" : refusal};
      },
      (folder.path() / "liar").string());
  const Store store(liar, "60s");
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (std::size_t i = 0; i < 1000; ++i) {
    keys.push_back("key" + std::to_string(i));
    values.emplace_back(i % 50 == 0 ? 400'000 : 12'000, 'v');
  }
  std::vector<Item> items;
  for (std::size_t i = 0; i < keys.size(); ++i) items.push_back({keys[i], values[i], long_ttl});
  std::vector<std::size_t> failed;
  (*store).put_many(items, PutMode::always, [&](std::size_t i) { failed.push_back(i); });
  EXPECT_EQ(failed.size(), 900U);
  EXPECT_EQ(std::count_if(failed.begin(), failed.end(), [](auto i) { return i % 10 == 9; }), 0);
  EXPECT_EQ(liar.connections(), 1);
}

// Says much, and reads nothing.
TEST(MemcachedWrongReplies, ItemsToAServerThatOnlyTalksEndAtTheLimit) {
  std::atomic<bool> ended{false};
  const Peer peer([&](int connection) {
    peer_hears(connection);
    peer_says(connection, "VERSION 1.6.18\r\n");
    peer_hears(connection);
    while (!ended && peer_says(connection, "STORED\r\nSTORED\r\nSTORED\r\nSTORED\r\n")) {
    }
  });
  TestContext context;
  const auto factory =
      make_factory(memcached::plugin, context,
                   {.location = {peer.address()}, .options = {{"timeout", std::string("500ms")}}});
  const auto session = factory->connect();
  const std::string value(30'000'000, 'v');
  const auto begin = std::chrono::steady_clock::now();
  const auto kind = kind_of_failure([&] { session->put("k", value, long_ttl, PutMode::always); });
  EXPECT_TRUE(kind == Kind::timeout || kind == Kind::protocol);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s) << "the server never stops";
  ended = true;
}

}  // namespace
}  // namespace polycache
