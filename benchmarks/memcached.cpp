// The memcached store through caches["alias"] against bare libmemcached, on a server of its
// own.
//
//   memcached [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Both contenders and the server are pinned to one CPU. Ours builds the key from prefix and
// version, keeps the deadline and looks at it, and returns an owned std::string; bare
// libmemcached is given the final key, reads the same entries, and copies the value into a
// std::string.
//
// Goals: M1, get at least 0.98 times as fast as memcached_get; M2, get_many at least 1.2 times
// as fast as memcached_mget; M3, set_many at least 4 times as fast as a loop of memcached_set.

#include <libmemcached/memcached.h>
#include <polycache/backends/memcached.h>
#include <polycache/polycache.h>

#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients.h"
#include "duel.h"
#include "support/server.h"

namespace {

using duel::expect;

constexpr time_t lifetime_seconds = 300;

// --- Bare libmemcached, as an experienced user of it would write a cache ---

class Bare {
 public:
  explicit Bare(const std::function<memcached_return_t(memcached_st*)>& add_server)
      : client_(memcached_create(nullptr)) {
    memcached_behavior_set(client_, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
    if (add_server(client_) != MEMCACHED_SUCCESS) duel::give_up("libmemcached takes no server");
    memcached_result_create(client_, &result_);
  }
  Bare(const Bare&) = delete;
  Bare& operator=(const Bare&) = delete;
  ~Bare() {
    memcached_result_free(&result_);
    memcached_free(client_);
  }

  std::optional<std::string> get(const std::string& key) {
    std::size_t size = 0;
    std::uint32_t flags = 0;
    memcached_return_t error = MEMCACHED_SUCCESS;
    char* const bytes = memcached_get(client_, key.data(), key.size(), &size, &flags, &error);
    if (bytes == nullptr) return std::nullopt;
    std::optional<std::string> value(std::in_place, bytes, size);
    std::free(bytes);
    return value;
  }

  bool set(const std::string& key, std::string_view value) {
    return memcached_set(client_, key.data(), key.size(), value.data(), value.size(),
                         lifetime_seconds, 0) == MEMCACHED_SUCCESS;
  }

  // In the order in which they come, which is that of the keys; none is absent here.
  std::vector<std::optional<std::string>> get_many(const duel::Keys& keys) {
    std::vector<const char*> begins;
    std::vector<std::size_t> sizes;
    for (const std::string& key : keys) {
      begins.push_back(key.data());
      sizes.push_back(key.size());
    }
    std::vector<std::optional<std::string>> values;
    values.reserve(keys.size());
    expect(memcached_mget(client_, begins.data(), sizes.data(), keys.size()) == MEMCACHED_SUCCESS);
    memcached_return_t error = MEMCACHED_SUCCESS;
    while (memcached_fetch_result(client_, &result_, &error) != nullptr) {
      values.emplace_back(std::in_place, memcached_result_value(&result_),
                          memcached_result_length(&result_));
    }
    return values;
  }

  bool set_many(const duel::Items& items) {
    bool good = true;
    for (const auto& [key, value] : items) good = set(key, value) && good;
    return good;
  }

 private:
  memcached_st* const client_;
  memcached_result_st result_;
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "memcached";
  config.location = {location};
  config.key_prefix = "bench";
  return config;
}

bool run_all(const duel::Options& options) {
  using polycache::testing::Server;
  duel::pin_to_one_cpu();
  // One worker thread: more would only take turns on the one CPU.
  const auto on_socket = Server::memcached_on_socket({"-t", "1", "-m", "256"});
  const auto on_port = Server::memcached({"-t", "1", "-m", "256"});
  polycache::Config config;
  config.caches = {{"unix", alias_at("unix:" + on_socket->unix_socket())},
                   {"tcp", alias_at(on_port->address())}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::memcached::plugin}});
  Bare by_socket([&](memcached_st* client) {
    return memcached_server_add_unix_socket(client, on_socket->unix_socket().c_str());
  });
  Bare by_port([&](memcached_st* client) {
    return memcached_server_add(client, "127.0.0.1", on_port->port());
  });

  duel::Table table(options, {.title = "memcached, against libmemcached " +
                                       std::string(memcached_lib_version()) + ", on one CPU",
                              .theirs = "libmemcached"});
  const duel::Stopwatch socket_watch(options, {duel::cpu_clock(on_socket->pid())});
  const duel::Stopwatch port_watch(options, {duel::cpu_clock(on_port->pid())});
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{1024}}) {
    const auto run = [&](const std::string& alias, Bare& bare, const duel::Stopwatch& stopwatch) {
      duel::Clients<Bare>({.alias = alias,
                           .name = alias + (bytes == 100 ? " 100 B" : " 1 KiB"),
                           .value_bytes = bytes,
                           .get = duel::at_least("M1", 0.98),
                           .get_many = duel::at_least("M2", 1.2),
                           .set_many = duel::at_least("M3", 4.0)},
                          bare)
          .run(table, stopwatch);
    };
    run("unix", by_socket, socket_watch);
    run("tcp", by_port, port_watch);
  }
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("memcached", argc, argv, run_all); }
