// What redis and memcached have in common as stores behind a socket: connecting, descriptors,
// and replies that were not asked for.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "names.h"
#include "polycache/author/descriptor.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/registry.h"
#include "polycache/testing/test_context.h"
#include "support/peer.h"
#include "support/server.h"

using namespace std::chrono_literals;
using ::testing::HasSubstr;

namespace polycache {
namespace {

using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::Server;
using testing::TemporaryFolder;
using Kind = BackendError::Kind;

class Store {
 public:
  Store(const PluginDescriptor& plugin, std::string location, OptionMap options = {})
      : factory_(context_.make(plugin, {{std::move(location)}, std::move(options)})),
        session_(factory_->connect()) {}

  Backend& session() noexcept { return *session_; }

 private:
  testing::TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

std::optional<std::string> get(Store& store, std::string_view key) {
  std::optional<std::string> value;
  const bool hit = store.session().get(key, [&](std::string_view bytes) { value = bytes; });
  return hit ? value : std::nullopt;
}

// After a failure of a connection that is new there is a pause.
std::optional<std::string> get_after_pauses(Store& store, std::string_view key) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  for (;;) {
    try {
      return get(store, key);
    } catch (const BackendError& error) {
      const bool waits =
          std::string_view(error.what()).find("next attempt in") != std::string_view::npos;
      if (!waits || std::chrono::steady_clock::now() > end) throw;
    }
    std::this_thread::sleep_for(5ms);
  }
}

bool set(Store& store, std::string_view key, std::string_view value) {
  return store.session().put(key, value, Ttl::forever(), PutMode::always);
}

std::optional<Kind> kind_of_error(const std::function<void()>& operation) {
  try {
    operation();
  } catch (const BackendError& error) {
    return error.kind();
  }
  return std::nullopt;
}

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const noexcept { return number_; }

 private:
  int number_;
};

// Listens, and its queue of connections is full.
class FullQueue {
 public:
  FullQueue(const sockaddr* address, socklen_t size)
      : listener_(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (::bind(listener_.get(), address, size) != 0 || ::listen(listener_.get(), 0) != 0) {
      throw std::runtime_error("cannot listen");
    }
    for (int i = 0; i < 64; ++i) {
      Descriptor filler(
          ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      const bool is_full = ::connect(filler.get(), address, size) != 0 && errno == EAGAIN;
      pollfd wait{filler.get(), POLLOUT, 0};
      if (is_full || ::poll(&wait, 1, 50) == 0) return;
      fillers_.push_back(std::move(filler));
    }
    throw std::runtime_error("this system accepts connections that are not waited for");
  }

  // Accepts what fills the queue, and then one more, which is returned.
  Descriptor accept_behind_fillers() const {
    for (std::size_t i = 0; i < fillers_.size(); ++i) {
      const Descriptor filler(::accept(listener_.get(), nullptr, nullptr));
    }
    return Descriptor(::accept(listener_.get(), nullptr, nullptr));
  }

 private:
  Descriptor listener_;
  std::vector<Descriptor> fillers_;
};

// --- The queue of a unix socket ---

// Answers requests by a miss of that store.
void answer_misses(const PluginDescriptor& plugin, int connection) {
  const bool is_redis = plugin.name == std::string_view("redis");
  for (;;) {
    const std::string request = peer_hears(connection);
    if (request.empty()) return;
    const bool greets = request.starts_with("version");
    peer_says(connection, is_redis ? "$-1\r\n" : greets ? "VERSION 1.6.18\r\n" : "END\r\n");
  }
}

class NetworkStore : public ::testing::TestWithParam<const PluginDescriptor*> {
 protected:
  const PluginDescriptor& plugin() const { return *GetParam(); }
  bool is_redis() const { return plugin().name == std::string_view("redis"); }
  std::unique_ptr<Server> start() const {
    return is_redis() ? Server::redis() : Server::memcached();
  }
};

TEST_P(NetworkStore, AUnixSocketWhoseBacklogIsFullForAMomentIsWaitedFor) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "socket").string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const FullQueue queue(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  std::optional<Store> store;
  store.emplace(plugin(), path, OptionMap{{"timeout", "60s"}, {"connect_timeout", "60s"}});
  std::thread server([&] {
    std::this_thread::sleep_for(200ms);  // that the store has tried by then is likely
    const Descriptor connection = queue.accept_behind_fillers();
    answer_misses(plugin(), connection.get());
  });
  EXPECT_EQ(kind_of_error([&] { EXPECT_EQ(get(*store, "k"), std::nullopt); }), std::nullopt);
  store.reset();
  server.join();
}

TEST_P(NetworkStore, AUnixSocketWhoseBacklogStaysFullIsUnreachableAfterItsTime) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "socket").string();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  const FullQueue queue(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  Store store(plugin(), path, {{"timeout", "60s"}, {"connect_timeout", "150ms"}});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(kind_of_error([&] { get(store, "k"); }), Kind::unreachable);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 100ms) << "it is waited for";
}

// --- A name with two addresses ---

TEST_P(NetworkStore, ANameWhoseFirstAddressSwallowsConnectionsIsReachedByItsSecond) {
  const auto server = start();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);  // 127.0.0.2
  address.sin_port = htons(server->port());
  const FullQueue queue(reinterpret_cast<const sockaddr*>(&address), sizeof address);
  testing::let_name_mean("two.invalid", {"127.0.0.2", "127.0.0.1"});
  Store store(plugin(), "two.invalid:" + std::to_string(server->port()),
              {{"timeout", "60s"}, {"connect_timeout", "2s"}});
  EXPECT_EQ(kind_of_error([&] { EXPECT_TRUE(set(store, "k", "v")); }), std::nullopt);
  EXPECT_EQ(get(store, "k"), "v");
}

// --- Replies that were not asked for ---

// A server that answers the first request with `first`, and says `later` as soon as that was
// read; every later connection gets `healthy` for each request.
struct Script {
  std::string first;
  std::string later;
  std::string healthy;
};

class Unasked {
 public:
  explicit Unasked(Script script) : script_(std::move(script)) {}

  Peer& peer() noexcept { return peer_; }
  // Sends what comes later, and waits until it has been sent.
  void say_it_now() {
    may_say_ = true;
    while (!has_said_) std::this_thread::sleep_for(1ms);
    std::this_thread::sleep_for(20ms);  // it travels through the kernel only
  }

 private:
  void serve(int connection) {
    const bool is_first = connections_++ == 0;
    const int yes = 1;  // what comes later does not wait for anything
    ::setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    bool answered = false;
    for (;;) {
      const std::string request = peer_hears(connection);
      if (request.empty()) return;
      if (request.starts_with("version")) {
        peer_says(connection, "VERSION 1.6.18\r\n");
      } else if (request.starts_with("add")) {
        peer_says(connection, "STORED\r\n");
      } else if (!is_first || answered) {
        peer_says(connection, script_.healthy);
      } else {
        answered = true;
        peer_says(connection, script_.first);
        while (!may_say_ && !script_.later.empty()) std::this_thread::sleep_for(1ms);
        peer_says(connection, script_.later);
        has_said_ = true;
      }
    }
  }

  const Script script_;
  std::atomic<bool> may_say_{false};
  std::atomic<bool> has_said_{false};
  int connections_ = 0;
  Peer peer_{[this](int connection) { serve(connection); }};
};

std::string reply_of(bool is_redis, const std::string& value) {
  const std::string size = std::to_string(value.size());
  return is_redis ? "$" + size + "\r\n" + value + "\r\n"
                  : "VALUE k 0 " + size + "\r\n" + value + "\r\nEND\r\n";
}

TEST_P(NetworkStore, TwoRepliesToOneRequestAreAProtocolError) {
  const std::string twice = reply_of(is_redis(), "another's") + reply_of(is_redis(), "v");
  Unasked server({twice, "", reply_of(is_redis(), "v")});
  Store store(plugin(), server.peer().address(), {{"timeout", "60s"}});
  EXPECT_EQ(kind_of_error([&] { get(store, "k"); }), Kind::protocol);
  EXPECT_EQ(get_after_pauses(store, "k"), "v");
  EXPECT_EQ(server.peer().accepted(), 2) << "the connection is closed";
}

// Each of these looks into the socket first, since it matters or costs nothing that counts.
TEST_P(NetworkStore, ALateReplyIsNoticedBeforeWhatMustNotBeRepeated) {
  Unasked server({reply_of(is_redis(), "v"), is_redis() ? "$-1\r\n" : "NOT_STORED\r\n",
                  is_redis() ? "+OK\r\n" : "END\r\n"});
  Store store(plugin(), server.peer().address(), {{"timeout", "60s"}});
  EXPECT_EQ(get(store, "k"), "v");
  server.say_it_now();
  EXPECT_TRUE(store.session().put("k", "w", Ttl::forever(), PutMode::if_absent));
  EXPECT_EQ(server.peer().accepted(), 2);
}

TEST_P(NetworkStore, ALateReplyIsNoticedAfterAPause) {
  Unasked server(
      {reply_of(is_redis(), "v"), reply_of(is_redis(), "another's"), reply_of(is_redis(), "v")});
  Store store(plugin(), server.peer().address(), {{"timeout", "60s"}});
  EXPECT_EQ(get(store, "k"), "v");
  server.say_it_now();
  std::this_thread::sleep_for(1100ms);  // by the machine's clock, as a pause is
  EXPECT_EQ(get(store, "k"), "v");
  EXPECT_EQ(server.peer().accepted(), 2);
}

TEST_P(NetworkStore, AReplyBehindAnErrorIsNotTakenForTheNext) {
  const std::string error = is_redis() ? "-ERR of another question\r\n" : "SERVER_ERROR x\r\n";
  Unasked server({error, reply_of(is_redis(), "another's"), reply_of(is_redis(), "v")});
  Store store(plugin(), server.peer().address(), {{"timeout", "60s"}});
  EXPECT_NE(kind_of_error([&] { get(store, "k"); }), std::nullopt);
  server.say_it_now();
  EXPECT_EQ(get(store, "k"), "v");
  EXPECT_EQ(server.peer().accepted(), 2);
}

INSTANTIATE_TEST_SUITE_P(Stores, NetworkStore,
                         ::testing::Values(&redis::plugin, &memcached::plugin),
                         [](const auto& test) { return std::string(test.param->name); });

// --- Descriptors 0 to 2 ---

bool is_closed(int number) { return ::fcntl(number, F_GETFD) < 0 && errno == EBADF; }

bool is_dev_null(int number) {
  struct stat it {};
  struct stat null {};
  return ::fstat(number, &it) == 0 && ::stat("/dev/null", &null) == 0 &&
         it.st_rdev == null.st_rdev && S_ISCHR(it.st_mode);
}

// Runs `work` in a child without standard input, output and error; what became of their numbers.
std::string numbers_after(const std::function<void()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(200);
    for (int number = 0; number <= STDERR_FILENO; ++number) ::close(number);
    int code = 0;
    try {
      work();
    } catch (const std::exception&) {
      ::_exit(100);
    }
    for (int number = 0; number <= STDERR_FILENO; ++number) {
      if (!is_closed(number)) code |= is_dev_null(number) ? 1 : 2;
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) == 100) return "the work failed";
  return WEXITSTATUS(status) == 0 ? "closed" : WEXITSTATUS(status) == 1 ? "/dev/null" : "taken";
}

void use(const PluginDescriptor& plugin, const std::string& location, OptionMap options = {}) {
  Store store(plugin, location, std::move(options));
  if (!set(store, "k", "v") || get(store, "k") != "v") throw std::runtime_error("no service");
  for (int number = 0; number <= STDERR_FILENO; ++number) {  // while it is connected, too
    if (!is_closed(number) && !is_dev_null(number)) throw std::runtime_error("taken");
  }
}

TEST(StandardStreams, ARedisSocketTakesNoNumberOfAClosedOne) {
  const auto server = Server::redis();
  EXPECT_EQ(numbers_after([&] { use(redis::plugin, server->address()); }), "closed");
  EXPECT_EQ(numbers_after([&] { use(redis::plugin, server->unix_socket()); }), "closed");
}

TEST(StandardStreams, AMemcachedSocketTakesNoNumberOfAClosedOne) {
  const auto server = Server::memcached();
  const auto on_socket = Server::memcached_on_socket();
  for (const std::string protocol : {"ascii", "binary"}) {
    const OptionMap options{{"protocol", protocol}};
    EXPECT_EQ(numbers_after([&] { use(memcached::plugin, server->address(), options); }), "closed")
        << protocol;
    EXPECT_EQ(numbers_after([&] { use(memcached::plugin, on_socket->unix_socket(), options); }),
              "closed")
        << protocol;
  }
}

// SQLite itself opens /dev/null there before it opens a file.
TEST(StandardStreams, AnSqliteFileTakesNoNumberOfAClosedOne) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "cache.db").string();
  EXPECT_THAT(numbers_after([&] { use(sqlite::plugin, file); }),
              ::testing::AnyOf("closed", "/dev/null"));
}

TEST(StandardStreams, AConfigurationAndItsPluginsTakeNoNumberOfAClosedOne) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "caches.json").string();
  std::ofstream(file) << R"({"plugin_path": [")" POLYCACHE_PLUGIN_FOLDER R"("],)"
                      << R"( "caches": {"default": {"backend": "locmem"}}})";
  EXPECT_EQ(numbers_after([&] {
              CacheRegistry registry(Config::from_file(file));
              if (!registry["default"].set("k", "v")) throw std::runtime_error("no service");
            }),
            "closed");
}

// What a library opens by itself in between gets a higher number.
TEST(StandardStreams, AreHeldWhileALibraryOpensDescriptors) {
  EXPECT_EQ(numbers_after([] {
              int descriptor = -1;
              {
                const HeldStandardStreams held;
                descriptor = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
              }
              if (descriptor <= STDERR_FILENO) throw std::runtime_error("too low");
              const int moved = off_standard_streams(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
              if (moved <= STDERR_FILENO) throw std::runtime_error("too low");
            }),
            "closed");
}

}  // namespace
}  // namespace polycache
