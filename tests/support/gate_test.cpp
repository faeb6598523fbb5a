// The TCP gate of the tests: each fault as a client sees it. The test itself is the client and
// the server.

#include "support/gate.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "support/server.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto wait_limit = 10s;  // more than any machine needs
constexpr auto a_moment = 50ms;   // for what must not come: it would come at once

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

// One end of a connection.
class End {
 public:
  explicit End(int socket) : socket_(socket) {}
  End(End&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  ~End() { close(); }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }

  // Whether all of it could be handed to the system.
  bool say(std::string_view text) const {
    return ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }
  // The next bytes, at most `most`; "" if the other side has ended, "(reset)", or "(nothing)".
  std::string hear(std::chrono::milliseconds limit = wait_limit, std::size_t most = 65536) const {
    pollfd wait{socket_, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(limit.count())) != 1) return "(nothing)";
    std::string text(most, '\0');
    const ssize_t got = ::recv(socket_, text.data(), text.size(), 0);
    if (got < 0) return errno == ECONNRESET ? "(reset)" : std::strerror(errno);
    text.resize(static_cast<std::size_t>(got));
    return text;
  }
  // So many bytes, however many pieces they come in.
  std::string hear_bytes(std::size_t size) const {
    std::string text;
    while (text.size() < size) {
      const std::string piece = hear(wait_limit, size - text.size());
      if (piece.empty() || piece.front() == '(') return text + piece;
      text += piece;
    }
    return text;
  }
  bool connected() const { return socket_ >= 0; }

 private:
  int socket_;
};

End connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = loopback(port);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
    return End(socket);
  ::close(socket);
  return End(-1);
}

// A server whose connections the test speaks on.
class Upstream {
 public:
  Upstream() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket_, 64), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    port_ = ntohs(address.sin_port);
  }
  explicit Upstream(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    EXPECT_EQ(::bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(socket_, 64), 0);
  }
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;
  ~Upstream() { ::close(socket_); }

  std::uint16_t port() const { return port_; }
  End accept() const { return End(::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)); }

 private:
  int socket_;
  std::uint16_t port_ = 0;
};

// True as soon as it is, false after wait_limit.
template <typename Condition>
bool soon(const Condition& condition) {
  const auto deadline = Clock::now() + wait_limit;
  while (!condition()) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

struct GateTest : ::testing::Test {
  const Upstream upstream;
  Gate gate{upstream.port()};

  // The server's answer as the client hears it: its next piece.
  std::string answer(const End& client, const End& server, std::string_view text) const {
    EXPECT_TRUE(client.say("?"));
    EXPECT_EQ(server.hear(), "?");
    EXPECT_TRUE(server.say(text));
    return client.hear();
  }
  // That the gate passes connections on, as after pass().
  void expect_full_service() const {
    const End client = connect_to(gate.port());
    ASSERT_TRUE(client.connected());
    const End server = upstream.accept();
    EXPECT_EQ(answer(client, server, "yes"), "yes");
  }
};

TEST_F(GateTest, PassesAndCounts) {
  End client = connect_to(gate.port());
  End server = upstream.accept();
  EXPECT_EQ(answer(client, server, "hello"), "hello");
  End other = connect_to(gate.port());
  const End other_server = upstream.accept();
  EXPECT_EQ(answer(other, other_server, "you"), "you");
  EXPECT_TRUE(soon([&] { return gate.bytes_to_client() == 8 && gate.bytes_to_server() == 2; }));
  EXPECT_EQ(gate.connections(), 2u);

  client.close();
  EXPECT_EQ(server.hear(), "");
  EXPECT_TRUE(soon([&] { return gate.connections() == 1; }));
  other.close();
  EXPECT_EQ(other_server.hear(), "");
  EXPECT_TRUE(soon([&] { return gate.connections() == 0; }));
  EXPECT_EQ(gate.most_connections(), 2u);
  EXPECT_EQ(gate.connections_ever(), 2u);
}

TEST_F(GateTest, PassesMuchBothWays) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  std::string much(3'000'000, 'x');
  for (std::size_t i = 0; i < much.size(); ++i) much[i] = static_cast<char>(i * i >> 3);
  for (const auto& [from, to] : {std::pair(&client, &server), std::pair(&server, &client)}) {
    std::thread sender([&, end = from] { EXPECT_TRUE(end->say(much)); });
    EXPECT_TRUE(to->hear_bytes(much.size()) == much);
    sender.join();
  }
}

TEST_F(GateTest, PassesToAUnixSocket) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "socket").string();
  const Upstream local(path);
  const Gate local_gate{std::filesystem::path(path)};
  const End client = connect_to(local_gate.port());
  const End server = local.accept();
  EXPECT_EQ(answer(client, server, "hello"), "hello");
}

TEST_F(GateTest, TheEndOfTheServerReachesTheClient) {
  const End client = connect_to(gate.port());
  End server = upstream.accept();
  EXPECT_TRUE(server.say("bye"));
  server.close();
  EXPECT_EQ(client.hear(), "bye");
  EXPECT_EQ(client.hear(), "");
}

TEST_F(GateTest, AServerThatIsDownLooksLikeAReset) {
  const Gate lost(free_port());
  const End client = connect_to(lost.port());
  ASSERT_TRUE(client.connected());
  EXPECT_EQ(client.hear(), "(reset)");
}

TEST_F(GateTest, RefusesNewConnectionsOnThePortItKeeps) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  const std::uint16_t port = gate.port();
  gate.refuse();
  EXPECT_FALSE(connect_to(port).connected());
  EXPECT_EQ(answer(client, server, "still here"), "still here");
  gate.pass();
  EXPECT_EQ(gate.port(), port);
  expect_full_service();
}

TEST_F(GateTest, DownEndsEverything) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.down();
  EXPECT_EQ(client.hear(), "(reset)");
  EXPECT_FALSE(connect_to(gate.port()).connected());
  EXPECT_EQ(gate.connections(), 0u);
  gate.pass();
  expect_full_service();
}

TEST_F(GateTest, IgnoresConnects) {
  gate.ignore_connects();
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_in address = loopback(gate.port());
  EXPECT_NE(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(errno, EINPROGRESS);
  pollfd wait{socket, POLLOUT, 0};
  EXPECT_EQ(::poll(&wait, 1, static_cast<int>(a_moment.count())), 0);
  ::close(socket);
  EXPECT_EQ(gate.connections_ever(), 0u);
  gate.pass();
  expect_full_service();
}

TEST_F(GateTest, HangsAndGoesOnLate) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.hang = true});
  EXPECT_TRUE(client.say("?"));
  EXPECT_EQ(server.hear(a_moment), "(nothing)");
  End fresh = connect_to(gate.port());
  EXPECT_TRUE(fresh.connected());
  EXPECT_TRUE(soon([&] { return gate.connections() == 2; }));
  fresh.close();  // it has waited long enough
  EXPECT_TRUE(soon([&] { return gate.connections() == 1; }));
  gate.pass();
  EXPECT_EQ(server.hear(), "?");
  EXPECT_TRUE(server.say("late"));
  EXPECT_EQ(client.hear(), "late");
}

TEST_F(GateTest, DelaysRepliesUntilReleased) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.hold_replies = true});
  EXPECT_TRUE(client.say("?"));
  EXPECT_EQ(server.hear(), "?");
  EXPECT_TRUE(server.say("late"));
  EXPECT_EQ(client.hear(a_moment), "(nothing)");
  gate.pass();
  EXPECT_EQ(client.hear(), "late");
}

TEST_F(GateTest, WhatHasVanishedStaysSo) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.vanish = true}, Gate::Reach::existing);
  EXPECT_TRUE(client.say("?"));
  EXPECT_TRUE(server.say("!"));
  EXPECT_EQ(server.hear(a_moment), "(nothing)");
  EXPECT_EQ(client.hear(a_moment), "(nothing)");
  gate.pass();
  EXPECT_TRUE(client.say("?"));
  EXPECT_EQ(server.hear(a_moment), "(nothing)");
  expect_full_service();
}

TEST_F(GateTest, ResetsOnARequest) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.reset_on_request = true});
  EXPECT_EQ(client.hear(a_moment), "(nothing)");  // not before
  EXPECT_TRUE(client.say("?"));
  EXPECT_EQ(client.hear(), "(reset)");
  EXPECT_EQ(server.hear(), "");
  gate.pass();
  expect_full_service();
}

TEST_F(GateTest, DelaysRepliesByAtLeastThat) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.delay = 40ms});
  const auto begin = Clock::now();
  EXPECT_EQ(answer(client, server, "slow"), "slow");
  EXPECT_GE(Clock::now() - begin, 40ms);
}

TEST_F(GateTest, SlicesRepliesToSingleBytes) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.slice = 2ms});
  const auto begin = Clock::now();
  EXPECT_TRUE(client.say("?"));
  EXPECT_EQ(server.hear(), "?");
  EXPECT_TRUE(server.say("0123456789"));
  EXPECT_EQ(client.hear_bytes(10), "0123456789");  // in as many pieces as it is slow to read
  EXPECT_GE(Clock::now() - begin, 18ms);
  EXPECT_TRUE(client.say("whole"));
  EXPECT_EQ(server.hear(), "whole");
}

TEST_F(GateTest, ThrottlesBothDirections) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.bytes_per_second = 100'000});
  for (const auto& [from, to] : {std::pair(&client, &server), std::pair(&server, &client)}) {
    const auto begin = Clock::now();
    EXPECT_TRUE(from->say(std::string(10'000, 'x')));
    EXPECT_EQ(to->hear_bytes(10'000), std::string(10'000, 'x'));
    EXPECT_GE(Clock::now() - begin, 75ms);  // the first piece goes at once
  }
}

TEST_F(GateTest, TruncatesAReply) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.truncate_after = 3});
  EXPECT_EQ(answer(client, server, "ab"), "ab");  // a shorter one passes
  EXPECT_EQ(answer(client, server, "abcdef"), "abc");
  EXPECT_EQ(client.hear(), "");
  EXPECT_EQ(server.hear(), "");

  const End nothing = connect_to(gate.port());
  const End nothing_server = upstream.accept();
  gate.set({.truncate_after = 0});
  EXPECT_EQ(answer(nothing, nothing_server, "abcdef"), "");
}

TEST_F(GateTest, ResetsInTheMiddleOfAReply) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.reset_after = 3});
  std::string heard = answer(client, server, "abcdef");
  // The system may tell of the reset before it hands out what came earlier.
  if (heard != "(reset)") {
    EXPECT_EQ(heard, "abc");
    EXPECT_EQ(client.hear(), "(reset)");
  }
}

TEST_F(GateTest, ReplacesTheNextReplyOnly) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.replacement = "$99999999999\r\n"});
  EXPECT_EQ(answer(client, server, "right"), "$99999999999\r\n");
  EXPECT_TRUE(server.say("its end"));
  EXPECT_EQ(client.hear(a_moment), "(nothing)");
  EXPECT_EQ(answer(client, server, "right"), "right");
}

TEST_F(GateTest, FlipsBytes) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  gate.set({.rewrite = flip_bytes(1, 2)});
  const std::string expected = {'a', static_cast<char>(~'b'), 'c', static_cast<char>(~'d')};
  EXPECT_EQ(answer(client, server, "abcd"), expected);
  EXPECT_EQ(answer(client, server, "abcd"), expected);  // each reply
  gate.pass();
  EXPECT_EQ(answer(client, server, "abcd"), "abcd");
}

TEST_F(GateTest, ClosesWhatIsIdle) {
  const End client = connect_to(gate.port());
  const End server = upstream.accept();
  EXPECT_EQ(answer(client, server, "hello"), "hello");
  gate.close_connections();
  EXPECT_EQ(client.hear(), "");
  EXPECT_EQ(server.hear(), "");
  expect_full_service();
}

TEST_F(GateTest, FaultsApplyToTheChosenConnections) {
  const End old = connect_to(gate.port());
  const End old_server = upstream.accept();
  EXPECT_EQ(answer(old, old_server, "1"), "1");

  gate.set({.replacement = "x"}, Gate::Reach::fresh);
  const End fresh = connect_to(gate.port());
  const End fresh_server = upstream.accept();
  EXPECT_EQ(answer(old, old_server, "2"), "2");
  EXPECT_EQ(answer(fresh, fresh_server, "2"), "x");

  gate.pass();
  gate.set({.replacement = "y"}, Gate::Reach::existing);
  EXPECT_EQ(answer(old, old_server, "3"), "y");
  expect_full_service();
}

TEST_F(GateTest, IsThreadSafe) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 20; ++round) {
        const End client = connect_to(gate.port());
        client.say("?");
        if (i == 0) gate.set({.delay = 100us, .slice = 10us});
        if (i == 1) gate.reset_connections();
        if (i == 2) gate.refuse();
        gate.pass();
        EXPECT_LE(gate.connections(), gate.connections_ever());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(soon([&] { return gate.connections() == 0; }));
}

}  // namespace
}  // namespace polycache::testing
