// Plants user names, passwords, tokens and values wherever a program can put them, provokes what
// can go wrong, and looks for them in everything that comes out: exceptions, warnings,
// descriptions, what is printed. Also for the forms that URLs and protocols give them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/option_reader.h"
#include "polycache/author/text.h"
#include "polycache/backends/locmem.h"
#include "polycache/backends/memcached.h"
#include "polycache/backends/redis.h"
#include "polycache/backends/sqlite.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "support/peer.h"
#include "support/server.h"

namespace polycache {
namespace {

using testing::Peer;
using testing::peer_hears;
using testing::peer_says;
using testing::Server;

constexpr std::string_view planted_user = "pl4ntedUser";
constexpr std::string_view planted_password = "pl4ntedPass@w0rd/b3hind?it#all";
constexpr std::string_view planted_token = "pl4ntedToken";
constexpr std::string_view planted_value = "pl4ntedValue";

// No part of one may be seen.
constexpr std::string_view planted_parts[] = {"pl4nted", "w0rd", "b3hind", "it#all"};

std::string percent_encoded(std::string_view text) {
  constexpr char hex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte | 0x20U) >= 'a' && (byte | 0x20U) <= 'z') {
      encoded += c;
    } else {
      encoded.append({'%', hex[byte >> 4U], hex[byte & 15U]});
    }
  }
  return encoded;
}

std::string hexadecimal(std::string_view text) {
  constexpr char hex[] = "0123456789abcdef";
  std::string digits;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    digits.append({hex[byte >> 4U], hex[byte & 15U]});
  }
  return digits;
}

// Of text that stands `before` bytes behind the beginning of what was encoded: the characters
// that depend on it alone.
std::string base64(std::string_view text, std::size_t before) {
  constexpr char base64_digits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string padded = std::string(before, 'x') + std::string(text);
  std::string encoded;
  for (std::size_t i = 0; i + 3 <= padded.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = three << 8U | static_cast<unsigned char>(padded[i + k]);
    }
    for (const unsigned shift : {18U, 12U, 6U, 0U}) encoded += base64_digits[three >> shift & 63U];
  }
  return encoded.substr(before == 0 ? 0 : 4);
}

// Everything that came out, and the search through it.
class Secrets : public ::testing::Test {
 protected:
  Secrets() {
    ::testing::internal::CaptureStderr();
    ::testing::internal::CaptureStdout();
    ::setenv("PLANTED_PASSWORD", std::string(planted_password).c_str(), 1);
    ::setenv("PLANTED_URL",
             ("redis://" + std::string(planted_user) + ":" + percent_encoded(planted_password) +
              "@127.0.0.1:1")
                 .c_str(),
             1);
    ::setenv("PLANTED_TOKEN", std::string(planted_token).c_str(), 1);
    std::ofstream(folder_.path() / "secret.txt") << planted_password << '\n';
  }

  ~Secrets() override {
    output_ += ::testing::internal::GetCapturedStdout();
    output_ += ::testing::internal::GetCapturedStderr();
    for (const char* name : {"PLANTED_PASSWORD", "PLANTED_URL", "PLANTED_TOKEN"}) ::unsetenv(name);
    EXPECT_GE(heard_, least_heard_) << "nothing went wrong, so nothing was looked at:\n" << output_;
    for (const std::string_view part : planted_parts) {
      expect_absent(part, part);
      if (percent_encoded(part) != part) expect_absent(percent_encoded(part), part);
      expect_absent(hexadecimal(part), part);
      for (std::size_t before = 0; before < 3; ++before) {
        const std::string encoded = base64(part, before);
        if (encoded.size() >= 4) expect_absent(encoded, part);
      }
    }
  }

  void expect_absent(std::string_view form, std::string_view part) const {
    const std::size_t at = output_.find(form);
    EXPECT_EQ(at, std::string::npos)
        << "a part of a secret, " << part << ", came out as " << form << ":\n"
        << output_.substr(at < 300 ? 0 : at - 300, 600);
  }

  void hear(std::string_view text) {
    const std::lock_guard lock(mutex_);
    ++heard_;
    output_.append(text).append("\n");
  }

  // What it throws, if it does.
  template <class Action>
  void listen(Action action) {
    try {
      action();
    } catch (const BackendError& error) {
      hear(error.what());
      hear(error.server());
    } catch (const std::exception& error) {
      hear(error.what());
    }
  }

  Environment environment() {
    return {
        .on_warning =
            [this](const Warning& warning) {
              hear(warning.message);
              log_first_of_each_kind(warning);
            },
        .linked_plugins = {&locmem::plugin, &memcached::plugin, &redis::plugin, &sqlite::plugin},
        .defer_errors = true};
  }

  // Makes a registry and uses every alias of it, under both policies.
  void use(Config config) {
    for (const ErrorPolicy policy : {ErrorPolicy::throw_error, ErrorPolicy::miss}) {
      for (auto& [alias, cache] : config.caches) cache.on_error = {policy, policy};
      Environment strict = environment();
      strict.defer_errors = false;
      listen([&] { const CacheRegistry registry(config, strict); });
      CacheRegistry registry(config, environment());
      for (const std::string& alias : registry.aliases()) use(registry, alias);
      look_at(registry);
      listen([&] { registry["no such alias"].get("k"); });
    }
  }

  // Makes a registry and looks at what it says of itself.
  void describe(const Config& config) {
    Environment strict = environment();
    strict.defer_errors = false;
    listen([&] { const CacheRegistry registry(config, strict); });
    look_at(CacheRegistry(config, environment()));
  }

  void look_at(const CacheRegistry& registry) {
    for (const CacheInfo& info : registry.describe()) {
      output_ += info.alias + info.backend + info.plugin_file + info.key_prefix + info.error;
      for (const std::string& layer : info.layers) output_ += layer;
      output_ += info.key_function;
      for (const std::string& location : info.location) output_ += location;
      for (const auto& [name, value] : info.options) output_ += name + value;
    }
    for (const CacheHealth& health : registry.health()) {
      output_ += health.last_error;
      for (const CacheHealth::Server& server : health.servers)
        output_ += server.name + server.error;
    }
  }

  void use(CacheRegistry& registry, const std::string& alias) {
    const std::string value(planted_value);
    for (const auto& operation : std::vector<std::function<void(Cache&)>>{
             [&](Cache& cache) { cache.get<int>("k"); },
             [&](Cache& cache) { cache.set("k", value); },
             [&](Cache& cache) { cache.get<int>("k"); },
             [&](Cache& cache) { cache.incr("k"); },
             [&](Cache& cache) {
               cache.set_many({{"k", value}, {"l", value}});
             },
             [&](Cache& cache) {
               cache.get_many<int>({"k", "l"});
             },
             [&](Cache& cache) { cache.add("k", value); },
             [&](Cache& cache) { cache.get_or_set("k", [] { return 5; }); },
             [&](Cache& cache) { cache.touch("k"); },
             [&](Cache& cache) { cache.pop<int>("k"); },
             [&](Cache& cache) { cache.incr_version("l"); },
             [&](Cache& cache) { cache.erase("k"); },
             [&](Cache& cache) { cache.clear(); },
         }) {
      listen([&] { operation(registry[alias]); });
    }
  }

  void use_text(std::string_view json) {
    listen([&] { use(Config::from_json(json, "planted.json")); });
  }

  const testing::TemporaryFolder folder_;
  std::mutex mutex_;  // guards what follows
  std::string output_;
  int heard_ = 0;
  int least_heard_ = 1;
};

std::string cache_of(std::string_view members) {
  return R"({"caches": {"a": {)" + std::string(members) + "}}}";
}

// `text` as it stands in a JSON string.
std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

// --- Configurations ---

TEST_F(Secrets, AreNotInMessagesAboutTheText) {
  const std::string password = quoted(planted_password);
  const std::vector<std::string> members{
      R"("backend": "redis", "password": )" + password,
      R"("backend": "redis", "options": {"password": )" + password + R"(, "password": "x"})",
      R"("backend": "redis", "options": {"password": {"is": )" + password + "}}",
      R"("backend": "redis", "options": {"password": [)" + password + ", 5]}",
      R"("backend": "redis", "options": {"password": )" + password.substr(0, password.size() - 1),
      R"("backend": "redis", "options": {"password": )" + password + " nonsense}",
      R"("backend": "redis", "options": {"password": "${)" + std::string(planted_password) + "}\"}",
      R"("backend": "redis", "location": {"url": )" + password + "}",
      R"("backend": "redis", "location": [)" + password + ", null]",
      R"("backend": "redis", "timeout": "${PLANTED_TOKEN}")",
      R"("backend": "redis", "on_error": "${PLANTED_TOKEN}")",
      R"("backend": "redis", "on_error": {"read": "${PLANTED_TOKEN}"})",
      R"("backend": "redis", "clear": "${PLANTED_TOKEN}")",
      R"("backend": "redis", "version": "${PLANTED_TOKEN}")",
      R"("backend": "redis", "options": {"x": {"y": "${PLANTED_TOKEN}"}})",
  };
  for (const std::string& member : members) use_text(cache_of(member));
  least_heard_ = static_cast<int>(members.size());
}

TEST_F(Secrets, AreNotInMessagesAboutOptions) {
  const std::string password = quoted(planted_password);
  std::vector<std::string> members;
  for (const char* backend : {"redis", "memcached", "sqlite", "locmem", "no_such_plugin"}) {
    const std::string start = R"("backend": ")" + std::string(backend) + R"(", "options": {)";
    for (const std::string& options : std::vector<std::string>{
             R"("password": )" + password + R"(, "no_such_option": 1)",
             R"("passwort": )" + password,
             R"("user": )" + quoted(planted_user) + R"(, "password": 5)",
             R"("user": [)" + quoted(planted_user) + R"(], "token": )" + quoted(planted_token),
             R"("secret_key": )" + password + R"(, "api_token": )" + quoted(planted_token),
             R"("timeout": "${PLANTED_TOKEN}", "max_value_bytes": "${PLANTED_TOKEN}")",
             R"("max_bytes": "${PLANTED_PASSWORD}", "max_entries": "${PLANTED_PASSWORD}")",
             R"("busy_timeout": "${PLANTED_PASSWORD}", "table": "sqlite_${PLANTED_TOKEN}")",
             R"("policy": "${PLANTED_TOKEN}", "protocol": "${PLANTED_TOKEN}")",
             R"("database": "${PLANTED_TOKEN}", "connect_timeout": "${PLANTED_TOKEN}")",
         }) {
      members.push_back(start + options + "}");
    }
  }
  for (const std::string& member : members) use_text(cache_of(member));
  least_heard_ = static_cast<int>(members.size());
}

TEST_F(Secrets, OfAThirdPartysStoreAreNotInMessagesAboutItsOptions) {
  const std::vector<std::string> location;
  const std::vector<std::string> names{"password", "passphrase", "pwd",     "client_secret",
                                       "apiToken", "USER",       "my_auth", "credentials"};
  OptionMap options;
  for (const std::string& name : names) options[name] = std::string(planted_password);
  const OptionReader reader("caches.a", location, options,
                            [this](std::string_view, std::string_view problem) { hear(problem); });
  for (const std::string& name : names) {
    reader.integer(name, 1);
    reader.duration(name, std::chrono::milliseconds(1));
    reader.bytes(name, 1);
    reader.boolean(name, true);
    reader.choice(name, {"one", "another"}, "one");
  }
  reader.reject_unread();
  least_heard_ = static_cast<int>(names.size()) * 5;
}

TEST_F(Secrets, AreNotInMessagesAboutTheLocation) {
  const std::string user(planted_user);
  const std::string raw(planted_password);
  const std::string encoded = percent_encoded(planted_password);
  const std::string token(planted_token);
  std::vector<std::string> locations;
  for (const std::string& password : {raw, encoded, token}) {
    for (const char* scheme : {"redis", "rediss", "unix", "memcached", "http"}) {
      const std::string start = std::string(scheme) + "://" + user + ":" + password;
      for (const char* rest : {"@127.0.0.1:1", "@", "", "@127.0.0.1:x", "@127.0.0.1:1/x", "@[::1",
                               "@/tmp/x?db=y", "@127.0.0.1:1/1?x=1", "@127.0.0.1:1@x", "%", "/1"}) {
        locations.push_back(start + rest);
      }
    }
    locations.push_back(user + ":" + password + "@127.0.0.1:1");
  }
  locations.push_back("redis://127.0.0.1:1/1?password=" + token);
  locations.push_back("redis://127.0.0.1:1/?db=1&token=" + token);
  locations.push_back("redis://:" + token);
  locations.push_back("redis://" + token + "@%");
  for (const std::string& location : locations) {
    Config config;
    for (const char* backend : {"redis", "memcached"}) {
      config.caches[backend] = {
          .backend = backend,
          .location = {location},
          .options = {{"connect_timeout", std::string("50ms")}, {"timeout", std::string("100ms")}}};
    }
    use(config);
  }
  least_heard_ = static_cast<int>(locations.size());
}

// As cloud consoles, other clients and command lines write them, and what a paste makes of that.
// In each, U is a user and P a password.
constexpr std::string_view foreign_forms[] = {
    "127.0.0.1:1,password=P,ssl=True,abortConnect=False",
    "127.0.0.1:1,password=P,ssl=False,P=5",
    "127.0.0.1,port=1,password=P",
    "127.0.0.1:1,127.0.0.1:2,password=P",
    "127.0.0.1:1,P",
    "host=127.0.0.1 port=1 password=P",
    "host=127.0.0.1;port=1;password=P",
    "user=U password=P host=127.0.0.1",
    "server=127.0.0.1:1;user id=U;password=P;",
    "Server=tcp:127.0.0.1,1;Password=P",
    "Data Source=/tmp/x.db;Password=P",
    "redis:127.0.0.1:1&auth=P",
    "redis:P",
    "redis:P@127.0.0.1:1",
    "redis://127.0.0.1:1&auth=P",
    "redis://127.0.0.1:1/0?auth=P",
    "redis://127.0.0.1:1?db=0&password=P",
    "redis://127.0.0.1:1/P",
    "redis://127.0.0.1:P",
    "redis://127.0.0.1:1#P",
    "redis://127.0.0.1 P",
    "redis://U:P",
    "redis://U:P@",
    "redis://U:P@x@127.0.0.1:x",
    "redis://U:P@127.0.0.1:1,redis://U:P@127.0.0.1:2",
    "redis:/U:P@127.0.0.1:1",
    "redis:\\\\U:P@127.0.0.1:1",
    "rediss://:P@127.0.0.1:1?ssl_cert_reqs=none",
    "redis+sentinel://U:P@127.0.0.1:1/mymaster",
    "jdbc:redis://127.0.0.1:1/0?user=U&password=P",
    "memcached://U:P@127.0.0.1:1",
    "memcache:U:P@127.0.0.1:1",
    "U:P@127.0.0.1:1",
    "P@127.0.0.1:1",
    ":P@127.0.0.1:1",
    "//U:P@127.0.0.1:1/0",
    "127.0.0.1:P",
    "127.0.0.1:1/P",
    "127.0.0.1:1 P",
    "127.0.0.1:1;P",
    "127.0.0.1:1|P",
    "127.0.0.1:1?weight=P",
    "127.0.0.1:1\nauth P",
    "127.0.0.1:1\tP",
    "P 127.0.0.1:1",
    "redis-cli -u redis://U:P@127.0.0.1:1",
    "redis-cli -h 127.0.0.1 -p 1 -a P",
    "REDIS_URL=redis://U:P@127.0.0.1:1",
    "export REDIS_PASSWORD=P",
    "'redis://U:P@127.0.0.1:1'",
    "\"redis://U:P@127.0.0.1:1\"",
    "\xe2\x80\x9credis://U:P@127.0.0.1:1\xe2\x80\x9d",
    "<redis://U:P@127.0.0.1:1>",
    " redis://U:P@127.0.0.1:1",
    R"({"host": "127.0.0.1", "password": "P"})",
    R"(["redis://U:P@127.0.0.1:1"])",
    "sqlite:///tmp/x.db?password=P",
    "file:/tmp/x.db?key=P",
    "/tmp/x.db?key=P",
    "/tmp/x,password=P",
    "/tmp/x.sock;password=P",
    "/tmp/x password=P",
    "/U:P@127.0.0.1:1",
    "unix:/tmp/x.sock?password=P",
    "unix:///tmp/x.sock?db=1&password=P",
    "unix://U:P@/tmp/x sock",
    ":memory:?key=P",
    ":memory:;password=P",
};

std::vector<std::string> foreign_texts() {
  std::vector<std::string> texts;
  for (const std::string& password :
       {std::string(planted_password), std::string("pl4ntedKey+w0rd/b3hind="),
        std::string(planted_token)}) {
    for (const std::string_view form : foreign_forms) {
      std::string text;
      for (std::size_t i = 0; i < form.size(); ++i) {
        const bool alone = i + 1 == form.size() || std::isalnum(form[i + 1]) == 0;
        const bool begins = i == 0 || std::isalnum(form[i - 1]) == 0;
        const bool planted = alone && begins && (form[i] == 'P' || form[i] == 'U');
        text += !planted         ? std::string(1, form[i])
                : form[i] == 'P' ? password
                                 : std::string(planted_user);
      }
      texts.push_back(text);
    }
  }
  return texts;
}

TEST_F(Secrets, OfConnectionStringsAreNeitherShownNorTakenForAHost) {
  const std::vector<std::string> texts = foreign_texts();
  for (const std::string& text : texts) {
    SCOPED_TRACE(text);
    Config config;
    for (const char* backend : {"redis", "memcached", "sqlite", "no_such_plugin"}) {
      config.caches[backend] = {.backend = backend, .location = {text}};
      config.caches[backend + std::string(" of two")] = {.backend = backend,
                                                         .location = {"127.0.0.1:2", text}};
    }
    use(config);
    output_ += without_credentials(text) + '\n';
    const CacheRegistry registry(config, environment());
    for (const CacheInfo& info : registry.describe()) {
      // redis takes some of these forms; their passwords must not be taken for hosts.
      EXPECT_TRUE(info.backend == "redis" || !info.error.empty()) << info.alias;
    }
    for (const CacheHealth& health : registry.health()) {
      for (const CacheHealth::Server& server : health.servers) {
        EXPECT_TRUE(server.name.starts_with("127.0.0.1:") || server.name.starts_with("unix:/tmp/x"))
            << server.name;
      }
    }
  }
  least_heard_ = static_cast<int>(texts.size()) * 8;
}

TEST_F(Secrets, OfConnectionStringsInOtherMembersAreNotShown) {
  const std::vector<std::string> texts = foreign_texts();
  for (const std::string& text : texts) {
    Config config;
    for (const char* backend : {"redis", "memcached", "sqlite", "locmem", "dummy"}) {
      CacheConfig& cache = config.caches[backend] = {.backend = backend};
      for (const char* option : {"servers", "sentinels", "timeout", "connect_timeout", "database",
                                 "max_bytes", "max_entries", "policy", "table", "synchronous",
                                 "protocol", "page_cache", "busy_timeout"}) {
        cache.options[option] = text;
      }
      cache.options["max_connections"] = std::vector<std::string>{text, text};
    }
    config.caches["backend"] = {.backend = text};
    config.caches["layer"] = {.backend = "locmem", .layers = {{.name = text}}};
    config.caches["keys"] = {.backend = "locmem", .key_function = text};
    describe(config);
    Config changed = Config::from_json(cache_of(R"("backend": "locmem")"));
    for (const char* start :
         {"", "a.", "a.timeout=", "a.options=", "a.version=", "a.on_error=", "a.layers=",
          "a.clear=", "a.key_warnings=", "--cache ", "a.location."}) {
      listen([&] { changed.apply(start + text, "--cache"); });
    }
  }
  least_heard_ = static_cast<int>(texts.size()) * 8;
}

TEST_F(Secrets, OfAThirdPartysLocationsAndOptionsAreNotShown) {
  const std::vector<std::string> texts = foreign_texts();
  for (const std::string& text : texts) {
    const std::vector<std::string> location{text};
    const OptionMap options{{"servers", text}, {"size", text}, {"mode", text}, {"on", text}};
    const OptionReader reader(
        "caches.a", location, options,
        [this](std::string_view, std::string_view problem) { hear(problem); });
    reader.reject_location("cannot use " + without_credentials(text));
    reader.integer("servers", 1);
    reader.bytes("size", 1);
    reader.duration("size", std::chrono::seconds(1));
    reader.choice("mode", {"one", "another"}, "one");
    reader.boolean("on", true);
    reader.number("on", 1);
  }
  least_heard_ = static_cast<int>(texts.size()) * 7;
}

TEST_F(Secrets, StayOutOfAssignments) {
  Config config = Config::from_json(cache_of(R"("backend": "locmem")"));
  const std::string password(planted_password);
  for (const std::string& assignment : std::vector<std::string>{
           password, "a." + password, "a.options.password", "a.password=" + password,
           "a.options.password={\"x\": \"" + password + "\"}", "a.timeout=${PLANTED_TOKEN}",
           "a.version=${PLANTED_TOKEN}", "a.options=" + password, "a.layers=" + password,
           "a.clear=${PLANTED_PASSWORD}", "a.location={\"" + password + "\": 1}",
           "a.options.password=${" + password + "}"}) {
    listen([&] { config.apply(assignment, "--cache"); });
  }
  least_heard_ = 10;
}

TEST_F(Secrets, OfFilesStayOutOfMessages) {
  const auto file = folder_.path() / "caches.json";
  for (
      const std::string& member : std::vector<std::string>{
          R"("backend": "redis", "timeout": "${file:secret.txt}")",
          R"("backend": "redis", "location": "127.0.0.1:1", "options": {"password": "${file:secret.txt}",
              "connect_timeout": "${file:secret.txt}"})",
          R"("backend": "redis", "location": "redis://u:${file:secret.txt}@127.0.0.1:1")",
          R"("backend": "redis", "location": "redis://u:${file:secret.txt}")",
          R"("backend": "redis", "location": "${PLANTED_URL}", "options": {"connect_timeout": "50ms"})",
          R"("backend": "memcached", "location": "${PLANTED_URL}")",
          R"("backend": "sqlite", "location": "${PLANTED_URL}")",
      }) {
    std::ofstream(file) << cache_of(member);
    listen([&] { use(Config::from_file(file)); });
  }
  least_heard_ = 7;
}

// --- Servers ---

class SecretsOfServers : public Secrets {
 protected:
  void use_server(const std::string& backend, const std::string& location, OptionMap options = {}) {
    options.try_emplace("timeout", std::string("500ms"));
    use({.caches = {
             {"a", {.backend = backend, .location = {location}, .options = std::move(options)}}}});
  }
  static OptionMap credentials() {
    return {{"user", std::string(planted_user)}, {"password", std::string(planted_password)}};
  }
};

TEST_F(SecretsOfServers, RedisRefusesThem) {
  const auto server = Server::redis({"--requirepass", "another"});
  const std::string url =
      "redis://" + std::string(planted_user) + ":" + percent_encoded(planted_password) + "@";
  use_server("redis", url + server->address());
  use_server("redis",
             "redis://:" + percent_encoded(planted_password) + "@" + server->address() + "/3");
  use_server("redis", server->address(), credentials());
  use_server("redis", server->address());  // gives none
  server->stop();
  use_server("redis", url + server->address());
  least_heard_ = 50;
}

TEST_F(SecretsOfServers, RedisAllowsThemLittle) {
  const auto server =
      Server::redis({"--user", std::string(planted_user), "on", ">" + std::string(planted_password),
                     "~other:*", "+get", "+select"});
  use_server("redis", server->address(), credentials());
  least_heard_ = 10;
}

TEST_F(SecretsOfServers, RedisKnowsNoSuchCommand) {
  const auto server = Server::redis({"--rename-command", "AUTH", ""});
  use_server("redis", server->address(), credentials());
  least_heard_ = 10;
}

TEST_F(SecretsOfServers, RedisKnowsNoCommandThatWrites) {
  const auto server =
      Server::redis({"--rename-command", "PSETEX", "", "--rename-command", "SET", "",
                     "--rename-command", "EVALSHA", "", "--rename-command", "EVAL", "",
                     "--rename-command", "DEL", "", "--rename-command", "UNLINK", ""});
  use_server("redis", server->address());
  least_heard_ = 5;
}

TEST_F(SecretsOfServers, RedisRepeatsWhatItHears) {
  const Peer echo([](int connection) {
    for (std::string heard = peer_hears(connection); !heard.empty();
         heard = peer_hears(connection)) {
      for (char& c : heard) c = c == '\r' || c == '\n' ? ' ' : c;
      if (!peer_says(connection, "-ERR what does this mean: " + heard + "\r\n")) return;
    }
  });
  use_server("redis", echo.address(), credentials());
  least_heard_ = 10;
}

TEST_F(SecretsOfServers, SomethingElseRepeatsWhatItHears) {
  const Peer echo([](int connection) {
    for (std::string heard = peer_hears(connection); !heard.empty();
         heard = peer_hears(connection)) {
      if (!peer_says(connection, heard)) return;
    }
  });
  use_server("redis", echo.address(), credentials());
  OptionMap binary = credentials();
  binary["protocol"] = std::string("binary");
  use_server("memcached", echo.address(), binary);
  use_server("memcached", echo.address());
  least_heard_ = 20;
}

TEST_F(SecretsOfServers, MemcachedRefusesThem) {
  OptionMap binary = credentials();
  binary["protocol"] = std::string("binary");
  const auto server = Server::memcached();  // has no SASL
  use_server("memcached", server->address(), binary);
  server->stop();
  use_server("memcached", server->address(), binary);
  use_server("memcached", server->address(), credentials());  // needs the binary protocol
  binary.erase("password");
  use_server("memcached", server->address(), binary);
  least_heard_ = 20;
}

// Whether the search finds anything.
TEST(SecretsTest, ThePlantedFormsAreWhatProgramsMakeOfThem) {
  EXPECT_EQ(percent_encoded("a@/"), "a%40%2F");
  EXPECT_EQ(hexadecimal("az"), "617a");
  EXPECT_EQ(base64("pl4nted", 0), "cGw0bnRl");
  // "user:pl4nted" and "us:pl4nted".
  EXPECT_NE(std::string("dXNlcjpwbDRudGVk").find(base64("pl4nted", 5 % 3)), std::string::npos);
  EXPECT_NE(std::string("dXM6cGw0bnRlZA==").find(base64("pl4nted", 0)), std::string::npos);
}

}  // namespace
}  // namespace polycache
