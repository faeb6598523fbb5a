// TLS, as redis and memcached speak it: who is believed, what goes wrong and how it ends.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "fork_while_connecting.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"
#include "support/certificates.h"
#include "support/gate.h"
#include "support/peer.h"
#include "support/server.h"
#include "two_policies.h"

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

namespace polycache {
namespace {

using testing::Certificates;
using testing::failure_of;
using testing::Gate;
using testing::kind_of_failure;
using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::TlsServer;
using Kind = BackendError::Kind;
using Clients = TlsServer::Clients;

// A factory, its first session, and what it reported.
class Store {
 public:
  Store(const PluginDescriptor& plugin, std::vector<std::string> location, OptionMap options)
      : factory_(context_.make(plugin, {std::move(location), std::move(options)})),
        session_(factory_->connect()) {}

  Backend& session() noexcept { return *session_; }
  std::unique_ptr<Backend> connect() { return factory_->connect(); }
  std::vector<std::string> warnings() const { return context_.warnings(); }

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

bool set(Store& store, std::string_view key, std::string_view value) {
  return store.session().put(key, value, Ttl::forever(), PutMode::always);
}

// After a failure to connect there is a pause.
std::optional<BackendError> failure_after_pauses(const std::function<void()>& operation) {
  const auto end = std::chrono::steady_clock::now() + testing::healed_within;
  for (;;) {
    auto failure = failure_of(operation);
    const bool waits = failure && std::string_view(failure->what()).find("next attempt in") !=
                                      std::string_view::npos;
    if (!waits || std::chrono::steady_clock::now() > end) return failure;
    std::this_thread::sleep_for(5ms);
  }
}

void copy_over(const std::string& from, const std::string& to) {
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

std::string content_of(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// Reads a message of TLS from its front. A message that ends too early is an exception.
class MessageReader {
 public:
  explicit MessageReader(std::string_view bytes) : left_(bytes) {}

  bool is_empty() const noexcept { return left_.empty(); }
  std::string_view take(std::size_t size) {
    if (size > left_.size()) throw std::runtime_error("the message ends too early");
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }
  std::size_t number(std::size_t bytes) {
    std::size_t number = 0;
    for (const char byte : take(bytes)) number = number << 8U | static_cast<unsigned char>(byte);
    return number;
  }
  // What follows its own length, which is a number of `bytes` bytes.
  MessageReader sized(std::size_t bytes) { return MessageReader(take(number(bytes))); }

 private:
  std::string_view left_;
};

// The name that a client's first message asks for (SNI, RFC 6066), if it asks for one.
std::optional<std::string> server_name_in(std::string_view hello) {
  MessageReader record(hello);
  record.take(3);  // type and version
  MessageReader handshake = record.sized(2);
  if (handshake.number(1) != 1) throw std::runtime_error("this is no ClientHello");
  MessageReader message = handshake.sized(3);
  message.take(2 + 32);  // version, random bytes
  message.sized(1);      // session
  message.sized(2);      // cipher suites
  message.sized(1);      // compression
  MessageReader extensions = message.sized(2);
  while (!extensions.is_empty()) {
    const std::size_t type = extensions.number(2);
    MessageReader extension = extensions.sized(2);
    if (type != 0) continue;
    MessageReader names = extension.sized(2);
    names.take(1);  // the type of name
    return std::string(names.take(names.number(2)));
  }
  return std::nullopt;
}

// The first record that a client sends; less if it ends early.
std::string hear_record(int connection) {
  std::string record;
  const auto size = [&]() -> std::size_t {
    return 5U + (static_cast<unsigned char>(record[3]) * 256U) +
           static_cast<unsigned char>(record[4]);
  };
  while (record.size() < 5 || record.size() < size()) {
    const std::string more = peer_hears(connection);
    if (more.empty()) break;
    record += more;
  }
  return record;
}

// Keys are slow to make: one set for all tests.
const Certificates& certificates() {
  static const Certificates made;
  return made;
}

class Tls : public ::testing::TestWithParam<const PluginDescriptor*> {
 protected:
  const PluginDescriptor& plugin() const { return *GetParam(); }
  bool is_redis() const { return plugin().name == std::string_view("redis"); }

  TlsServer start(const std::string& certificate = "", Clients clients = Clients::any) const {
    return is_redis() ? TlsServer::redis(certificates(), certificate, clients)
                      : TlsServer::memcached(certificates(), certificate, clients);
  }
  std::string by_tls(const std::string& address) const {
    return (is_redis() ? "rediss://" : "tls://") + address;
  }
  // As if there were no limits, which machines that are busy miss.
  static OptionMap trusting(const std::string& ca, OptionMap more = {}) {
    more["tls_ca_file"] = ca;
    more.try_emplace("timeout", "60s");
    more.try_emplace("connect_timeout", "60s");
    return more;
  }
  std::unique_ptr<Store> store_of(const std::string& address, OptionMap more = {}) const {
    return std::make_unique<Store>(plugin(), std::vector{by_tls(address)},
                                   trusting(certificates().ca(), std::move(more)));
  }
  // What is wrong with a configuration.
  std::string problem_of(const std::string& location, OptionMap options) const {
    try {
      const Store store(plugin(), {location}, std::move(options));
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no problem";
  }
};

TEST_P(Tls, ServesLikeAPlainConnection) {
  const TlsServer server = start();
  const auto store = store_of(server.address());
  EXPECT_TRUE(set(*store, "k", "v"));
  EXPECT_EQ(get(*store, "k"), "v");
  EXPECT_EQ(get(*store, "absent"), std::nullopt);
  const std::string large(900'000, 'x');
  EXPECT_TRUE(set(*store, "large", large));
  EXPECT_EQ(get(*store, "large"), large);
  EXPECT_TRUE(set(*store, "n", "1"));
  for (int i = 2; i < 10; ++i) EXPECT_EQ(store->session().incr("n", 1), i);
  std::vector<std::string> names;
  for (int i = 0; i < 500; ++i) names.push_back("many:" + std::to_string(i));
  std::vector<Item> items;
  for (const std::string& name : names) items.push_back({name, name, Ttl::forever()});
  store->session().put_many(items, PutMode::always, [](std::size_t) { ADD_FAILURE(); });
  std::size_t found = 0;
  const std::vector<std::string_view> keys(names.begin(), names.end());
  store->session().get_many(
      keys, [&](std::size_t i, std::string_view value) { found += value == names[i] ? 1U : 0U; });
  EXPECT_EQ(found, names.size());
}

// Several records of requests, which a server may read by halves.
TEST_P(Tls, BulkOperationsOfManyKeysGetTheirReplies) {
  const TlsServer server = start();
  const auto store = store_of(server.address());
  std::vector<std::string> names;
  for (int i = 0; i < 3000; ++i) names.push_back(std::string(40, 'k') + std::to_string(i));
  const std::string value(300, 'v');
  std::vector<Item> items;
  for (const std::string& name : names) items.push_back({name, value, Ttl::forever()});
  items[7].value = items[1000].value = std::string_view();
  const std::string large(200'000, 'x');
  items[8].value = items[9].value = items[2000].value = large;
  store->session().put_many(items, PutMode::always, [](std::size_t) { ADD_FAILURE(); });
  const std::vector<std::string_view> keys(names.begin(), names.end());
  std::size_t found = 0;
  store->session().get_many(keys, [&](std::size_t i, std::string_view bytes) {
    found += bytes == items[i].value ? 1U : 0U;
  });
  EXPECT_EQ(found, names.size());
  EXPECT_EQ(store->session().erase_many(keys), names.size());
}

TEST_P(Tls, AServerThatIsStartedAgainIsUsedAgain) {
  const TlsServer server = start();
  const auto store = store_of(server.address());
  EXPECT_TRUE(set(*store, "k", "v"));
  server.server().kill9();  // and no SIGPIPE
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::unreachable);
  server.server().start();
  EXPECT_FALSE(failure_after_pauses([&] { EXPECT_EQ(get(*store, "k"), std::nullopt); }));
}

// --- 15: certificates ---

TEST_P(Tls, AnExpiredCertificateOfTheServerIsDeniedWithTheReason) {
  const TlsServer server = start(certificates().expired());
  const auto store = store_of(server.address());
  const auto error = failure_of([&] { get(*store, "k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::denied);
  EXPECT_EQ(error->server(), server.address());
  EXPECT_THAT(error->what(), AllOf(HasSubstr("expired"), HasSubstr("renew")));
}

TEST_P(Tls, ACertificateOfAnotherHostIsDeniedUnlessNamesAreNotVerified) {
  const TlsServer server = start(certificates().other_host());
  const std::string port = std::to_string(server.port());
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    const auto store = store_of(host + ":" + port);
    const auto error = failure_of([&] { get(*store, "k"); });
    ASSERT_TRUE(error) << host;
    EXPECT_EQ(error->kind(), Kind::denied);
    EXPECT_THAT(error->what(),
                AllOf(HasSubstr("not for \"" + host + '"'), HasSubstr("tls_verify_name")));
    const auto lenient = store_of(host + ":" + port, {{"tls_verify_name", false}});
    EXPECT_TRUE(set(*lenient, "k", "v")) << host;
  }
}

TEST_P(Tls, ANameAndAnAddressOfTheCertificateAreAccepted) {
  const TlsServer server = start();
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    const auto store = store_of(host + ":" + std::to_string(server.port()));
    EXPECT_TRUE(set(*store, "k", "v")) << host;
  }
}

TEST_P(Tls, ANameOfTheServerIsSentAndAnAddressIsNot) {
  for (const std::string host : {"127.0.0.1", "localhost"}) {
    std::string hello;
    {
      const Peer peer([&](int connection) {
        if (hello.empty()) hello = hear_record(connection);
      });
      const auto store = store_of(host + ":" + std::to_string(peer.port()));
      EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::unreachable);
    }
    const auto expected = host == "localhost" ? std::optional(host) : std::nullopt;
    EXPECT_EQ(server_name_in(hello), expected);
  }
}

TEST_P(Tls, AnUnknownAuthorityIsDeniedAlsoWithoutVerifyingNames) {
  const TlsServer server = start();
  Store store(plugin(), {by_tls(server.address())},
              trusting(certificates().other_ca(), {{"tls_verify_name", false}}));
  const auto error = failure_of([&] { get(store, "k"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), Kind::denied);
  EXPECT_THAT(error->what(), HasSubstr("tls_ca_file"));
}

TEST_P(Tls, FilesThatHaveChangedAreReadByTheNextConnection) {
  const testing::TemporaryFolder folder;
  const std::string ca = (folder.path() / "ca.pem").string();
  copy_over(certificates().other_ca(), ca);
  const TlsServer server = start();
  Store store(plugin(), {by_tls(server.address())}, trusting(ca));
  EXPECT_EQ(kind_of_failure([&] { get(store, "k"); }), Kind::denied);
  copy_over(certificates().ca(), ca);
  EXPECT_FALSE(failure_after_pauses([&] { EXPECT_TRUE(set(store, "k", "v")); }));
  EXPECT_THAT(store.warnings(), Not(Contains(HasSubstr("stay in use"))));
}

TEST_P(Tls, FilesThatBecomeWrongCostAWarningAndTheOldOnesStayInUse) {
  const testing::TemporaryFolder folder;
  const std::string ca = (folder.path() / "ca.pem").string();
  copy_over(certificates().ca(), ca);
  const TlsServer server = start();
  Store store(plugin(), {by_tls(server.address())}, trusting(ca));
  EXPECT_TRUE(set(store, "k", "v"));
  for (const bool is_removed : {false, true}) {
    if (is_removed) {
      std::filesystem::remove(ca);
    } else {
      std::ofstream(ca) << "no certificate\n";
    }
    server.server().kill9();
    server.server().start();
    EXPECT_FALSE(failure_after_pauses([&] { EXPECT_TRUE(set(store, "k", "v")); }));
    EXPECT_THAT(store.warnings(),
                Contains(AllOf(HasSubstr("tls_ca_file"), HasSubstr(ca), HasSubstr("stay in use"),
                               HasSubstr(is_removed ? "No such file" : "no certificate"))));
  }
}

TEST_P(Tls, WrongFilesAreRefusedAtTheStartByOptionAndFile) {
  const Certificates& made = certificates();
  const testing::TemporaryFolder folder;
  const std::string none = (folder.path() / "none.pem").string();
  const std::string text = (folder.path() / "text.pem").string();
  std::ofstream(text) << "no PEM\n";
  struct Case {
    OptionMap options;
    std::string option;
    std::string file;
    std::string what;
  };
  const auto client = [&](const std::string& certificate, const std::string& key) {
    return trusting(made.ca(), {{"tls_cert_file", certificate}, {"tls_key_file", key}});
  };
  const std::string key = made.client_key();
  const std::vector<Case> cases{
      {trusting(none), "tls_ca_file", none, "No such file"},
      {trusting(folder.path().string()), "tls_ca_file", folder.path().string(), "cannot be read"},
      {trusting(text), "tls_ca_file", text, "no certificate in PEM form"},
      {trusting(key), "tls_ca_file", key, "no certificate in PEM form"},
      {trusting(made.expired_ca()), "tls_ca_file", made.expired_ca(), "expired"},
      {client(text, key), "tls_cert_file", text, "no certificate in PEM form"},
      {client(made.expired_client(), key), "tls_cert_file", made.expired_client(), "expired"},
      {client(made.client(), none), "tls_key_file", none, "No such file"},
      {client(made.client(), made.client()), "tls_key_file", made.client(), "no private key"},
      {client(made.client(), made.server_key()), "tls_key_file", made.server_key(),
       "does not belong to the certificate"},
      {client(made.client(), made.encrypted_key()), "tls_key_file", made.encrypted_key(),
       "passphrase"},
  };
  for (const Case& wrong : cases) {
    const std::string problem = problem_of(by_tls("127.0.0.1"), wrong.options);
    EXPECT_THAT(problem, AllOf(HasSubstr("caches.test.options." + wrong.option),
                               HasSubstr('"' + wrong.file + '"'), HasSubstr(wrong.what)));
  }
}

TEST_P(Tls, AKeyInPlaceOfItsFilesNameIsNotShown) {
  const Certificates& made = certificates();
  const std::string key = content_of(made.client_key());
  std::string one_line = key;
  std::erase(one_line, '\n');
  const std::string secret = key.substr(key.find('\n') + 1, 16);
  ASSERT_EQ(secret.find('\n'), std::string::npos);
  for (const char* const option : {"tls_ca_file", "tls_cert_file", "tls_key_file"}) {
    for (const std::string& text : {key, one_line}) {
      OptionMap options = trusting(
          made.ca(), {{"tls_cert_file", made.client()}, {"tls_key_file", made.client_key()}});
      options[option] = text;
      EXPECT_THAT(problem_of(by_tls("127.0.0.1"), options),
                  AllOf(HasSubstr(std::string("caches.test.options.") + option + ": "),
                        HasSubstr("not shown"), Not(HasSubstr(secret))));
      EXPECT_THAT(problem_of("127.0.0.1", options),
                  AllOf(HasSubstr("in the clear"), Not(HasSubstr(secret))));
    }
  }
}

TEST_P(Tls, OptionsThatCannotWorkAreRefused) {
  const std::string ca = certificates().ca();
  const std::string plain = "127.0.0.1";
  EXPECT_THAT(problem_of(by_tls(plain), {}), HasSubstr("options.tls_ca_file"));
  EXPECT_THAT(problem_of(plain, trusting(ca)),
              AllOf(HasSubstr("options.tls_ca_file"), HasSubstr("in the clear")));
  EXPECT_THAT(problem_of(plain, {{"tls_verify_name", true}}), HasSubstr("in the clear"));
  EXPECT_THAT(problem_of(by_tls(plain), trusting(ca, {{"tls_cert_file", ca}})),
              HasSubstr("given together"));
  EXPECT_EQ(problem_of(plain, {{"tls_ca_file", ""}}), "no problem") << "as good as not said";
  if (is_redis()) return;
  EXPECT_THAT(problem_of(by_tls(plain), trusting(ca, {{"protocol", "binary"}})),
              AllOf(HasSubstr("options.protocol"), HasSubstr("text protocol")));
  EXPECT_THAT(problem_of("tls:///run/memcached.sock", trusting(ca)), HasSubstr("tls://host:port"));
}

// --- Certificates of clients ---

TEST_P(Tls, AClientWithoutTheRightCertificateIsDenied) {
  const TlsServer server = start("", Clients::with_certificate);
  const auto with = [&](const std::string& certificate) {
    return store_of(server.address(), {{"tls_cert_file", certificate},
                                       {"tls_key_file", certificates().client_key()}});
  };
  const auto known = with(certificates().client());
  EXPECT_TRUE(set(*known, "k", "v"));
  for (int i = 0; i < 5; ++i) {  // what the server says may arrive, or be lost
    const auto none = store_of(server.address());
    const auto error = failure_of([&] { get(*none, "k"); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), Kind::denied) << error->what();
    EXPECT_THAT(error->what(), HasSubstr("tls_cert_file"));
    const auto stranger = with(certificates().stranger());
    EXPECT_EQ(kind_of_failure([&] { get(*stranger, "k"); }), Kind::denied);
  }
  EXPECT_EQ(get(*known, "k"), "v");
}

// --- 94: what goes wrong on the way ---

TEST_P(Tls, AStaleErrorInOpenSslsQueueHarmsNoConnection) {
  const TlsServer server = start();
  const auto store = store_of(server.address());
  for (int i = 0; i < 5; ++i) {
    ERR_raise(ERR_LIB_USER, 42);
    EXPECT_TRUE(set(*store, "n", "1"));
    ERR_raise(ERR_LIB_USER, 42);
    EXPECT_EQ(store->session().incr("n", 1), 2);
    const auto other = store_of(server.address());
    ERR_raise(ERR_LIB_USER, 42);
    EXPECT_EQ(get(*other, "n"), "2");
  }
  const auto stranger = std::make_unique<Store>(plugin(), std::vector{by_tls(server.address())},
                                                trusting(certificates().other_ca()));
  EXPECT_EQ(kind_of_failure([&] { get(*stranger, "k"); }), Kind::denied);
  EXPECT_EQ(ERR_peek_error(), 0U) << "none is left behind";
  EXPECT_EQ(store->session().incr("n", 1), 3);
}

TEST_P(Tls, AServerThatClosesTheConnectionInTheHandshakeIsUnreachable) {
  const Peer peer([](int connection) { peer_hears(connection); });
  const auto store = store_of(peer.address());
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::unreachable);
}

TEST_P(Tls, AServerThatSpeaksSomethingElseIsAProtocolError) {
  const Peer peer([](int connection) {
    peer_hears(connection);
    peer_says(connection, "HTTP/1.1 400 Bad Request\r\n\r\n");
    peer_hears(connection);
  });
  const auto store = store_of(peer.address());
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::protocol);
}

TEST_P(Tls, ADribbledHandshakeEndsWithTheLimit) {
  std::atomic<int> dribbled{0};
  const Peer peer([&](int connection) {
    bool listens = peer_says(connection, std::string("\x16\x03\x03\x3f\x00", 5));
    for (int i = 0; listens && i < 2000; ++i, ++dribbled) {
      std::this_thread::sleep_for(20ms);
      listens = peer_says(connection, "\x02");
    }
  });
  const auto store = store_of(peer.address(), {{"timeout", "300ms"}, {"connect_timeout", "300ms"}});
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::timeout);
  EXPECT_LT(dribbled, 2000) << "40 s of bytes were not waited for";
}

TEST_P(Tls, AServerThatHangsEndsWithTheLimit) {
  const TlsServer server = start();
  const auto store = store_of(server.address(), {{"timeout", "2s"}, {"connect_timeout", "2s"}});
  EXPECT_TRUE(set(*store, "k", "v"));
  server.server().suspend();
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::timeout);
  server.server().resume();
  EXPECT_FALSE(failure_after_pauses([&] { EXPECT_EQ(get(*store, "k"), "v"); }));
}

TEST_P(Tls, SignalsDisturbNoHandshake) {
  const TlsServer server = start();
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, &before);  // without SA_RESTART
  const itimerval often{{0, 500}, {0, 500}};
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  int failures = 0;
  for (int i = 0; i < 20; ++i) {
    const auto store = store_of(server.address());
    failures += failure_of([&] { set(*store, "k", "v"); }) ? 1 : 0;
  }
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  EXPECT_EQ(failures, 0);
}

TEST_P(Tls, DamagedBytesAreAProtocolErrorAndNeverAValue) {
  const TlsServer server = start();
  Gate gate(server.port());
  const auto store = store_of(gate.address());
  EXPECT_TRUE(set(*store, "k", "v"));
  gate.set({.rewrite = testing::flip_bytes(5)}, Gate::Reach::existing);
  EXPECT_EQ(kind_of_failure([&] { get(*store, "k"); }), Kind::protocol);
  gate.pass();
  EXPECT_FALSE(failure_after_pauses([&] { EXPECT_EQ(get(*store, "k"), "v"); }));
}

TEST_P(Tls, RepliesInSlicesAreTheSameReplies) {
  const TlsServer server = start();
  Gate gate(server.port());
  gate.set({.slice = std::chrono::microseconds(0)});
  const auto store = store_of(gate.address());
  const std::string value(5000, 'v');
  EXPECT_TRUE(set(*store, "k", value));
  EXPECT_EQ(get(*store, "k"), value);
}

// --- Sessions, forks, descriptors ---

// A whole handshake brings the server's certificate.
TEST_P(Tls, SessionsAreResumedByTheNextConnection) {
  const TlsServer server = start();
  Gate gate(server.port());
  const auto store = store_of(gate.address());
  const auto bytes_of_one = [&] {
    gate.close_connections();
    const std::size_t before = gate.bytes_to_client();
    const auto failure = failure_after_pauses([&] { get(*store, "absent"); });
    EXPECT_FALSE(failure) << failure->what();
    return gate.bytes_to_client() - before;
  };
  const std::size_t whole = bytes_of_one();
  const std::size_t resumed = bytes_of_one();
  EXPECT_LT(resumed + 300, whole) << "the certificate has about 500 bytes";
}

TEST_P(Tls, AForksChildHarmsNoConnectionOfItsParent) {
  const TlsServer server = start();
  const auto store = store_of(server.address());
  EXPECT_TRUE(set(*store, "k", "v"));
  for (int i = 0; i < 5; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::alarm(200);
      const bool works = get(*store, "k") == "v" && set(*store, "child", "1");
      ::_exit(works ? 0 : 1);
    }
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT_EQ(get(*store, "k"), "v");
  }
}

TEST_P(Tls, AForkWhileThreadsShakeHandsHangsNoChild) {
  const TlsServer server = start();
  OptionMap options = trusting(certificates().ca());
  options["idle_timeout"] = "1ms";
  testing::TwoPolicies store(plugin(), {by_tls(server.address())}, options, "60s", Clock::real());
  EXPECT_EQ(testing::children_that_hang(store, 20), 0);
}

TEST_P(Tls, NoDescriptorTakesTheNumberOfAClosedStandardStream) {
  const TlsServer server = start();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(200);
    for (int number = 0; number <= STDERR_FILENO; ++number) ::close(number);
    const auto store = store_of(server.address());
    bool is_good = set(*store, "k", "v") && get(*store, "k") == "v";
    for (int number = 0; number <= STDERR_FILENO; ++number) {
      is_good = is_good && ::fcntl(number, F_GETFD) < 0;
    }
    ::_exit(is_good ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

INSTANTIATE_TEST_SUITE_P(Stores, Tls, ::testing::Values(&redis::plugin, &memcached::plugin),
                         [](const auto& test) { return std::string(test.param->name); });

// What a server of TLS 1.2 says comes before the handshake is done.
TEST(RedisTls, AClientWithoutACertificateIsDeniedByTls12Too) {
  const std::string port = std::to_string(testing::free_port());
  const Certificates& made = certificates();
  const auto server = testing::Server::redis(
      {"--tls-port", port, "--tls-cert-file", made.server(), "--tls-key-file", made.server_key(),
       "--tls-ca-cert-file", made.ca(), "--tls-protocols", "TLSv1.2"});
  const OptionMap options{{"tls_ca_file", made.ca()}, {"timeout", "60s"}};
  OptionMap known = options;
  known["tls_cert_file"] = made.client();
  known["tls_key_file"] = made.client_key();
  const std::vector location{"rediss://127.0.0.1:" + port};
  Store store(redis::plugin, location, known);
  EXPECT_TRUE(set(store, "k", "v"));
  Store none(redis::plugin, location, options);
  EXPECT_EQ(kind_of_failure([&] { get(none, "k"); }), Kind::denied);
}

}  // namespace
}  // namespace polycache
