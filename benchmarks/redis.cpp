// The redis store through caches["alias"] against bare hiredis, on a server of its own.
//
//   redis [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// Both contenders and the server are pinned to one CPU. With --cpu the time is what this
// process and the server spent on it: for a machine that is busy with other things. Ours
// builds the key from prefix and version, keeps a lifetime, and returns an owned std::string;
// bare hiredis is given the final key and copies the reply into a std::string.
//
// Goals: R1, get at least 1.00 times as fast as redisCommandArgv; R2, get_many 1.10 times as
// fast as a bare MGET and set_many 1.15 times as fast as a bare pipeline.

#include <polycache/backends/redis.h>
#include <polycache/polycache.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients.h"
#include "duel.h"
#include "hiredis.h"
#include "support/server.h"

namespace {

constexpr std::string_view lifetime_ms = "300000";

// --- Bare hiredis, as an experienced user of hiredis would write a cache ---

class Bare {
 public:
  explicit Bare(redisContext* context) : redis_(context) {}

  std::optional<std::string> get(const std::string& key) {
    const std::array<std::string_view, 2> words{"GET", key};
    const duel::Reply reply = redis_.command(words);
    if (reply->type != REDIS_REPLY_STRING) return std::nullopt;
    return std::string(reply->str, reply->len);
  }

  bool set(const std::string& key, std::string_view value) {
    const std::array<std::string_view, 5> words{"SET", key, value, "PX", lifetime_ms};
    return redis_.command(words)->type == REDIS_REPLY_STATUS;
  }

  std::vector<std::optional<std::string>> get_many(const duel::Keys& keys) {
    std::vector<std::string_view> words{"MGET"};
    words.insert(words.end(), keys.begin(), keys.end());
    const duel::Reply reply = redis_.command(words);
    std::vector<std::optional<std::string>> values(reply->elements);
    for (std::size_t i = 0; i < reply->elements; ++i) {
      const redisReply& element = *reply->element[i];
      if (element.type == REDIS_REPLY_STRING) values[i].emplace(element.str, element.len);
    }
    return values;
  }

  bool set_many(const duel::Items& items) {
    for (const auto& [key, value] : items) {
      const std::array<std::string_view, 5> words{"SET", key, value, "PX", lifetime_ms};
      redis_.append(words);
    }
    bool good = true;
    for (std::size_t i = 0; i < items.size(); ++i) {
      good = redis_.next_reply()->type == REDIS_REPLY_STATUS && good;
    }
    return good;
  }

 private:
  duel::Hiredis redis_;
};

polycache::CacheConfig alias_at(const std::string& location) {
  polycache::CacheConfig config;
  config.backend = "redis";
  config.location = {location};
  config.key_prefix = "bench";
  // On a crowded machine a server may not get its turn for a second.
  config.options = {{"timeout", std::string("20s")}};
  return config;
}

bool run_all(const duel::Options& options) {
  duel::pin_to_one_cpu();
  const auto server = polycache::testing::Server::redis();
  polycache::Config config;
  config.caches = {{"unix", alias_at("unix://" + server->unix_socket())},
                   {"tcp", alias_at("redis://" + server->address())}};
  polycache::configure(std::move(config), {.linked_plugins = {&polycache::redis::plugin}});
  Bare by_socket(redisConnectUnix(server->unix_socket().c_str()));
  Bare by_tcp(redisConnect("127.0.0.1", server->port()));

  const duel::Stopwatch stopwatch(options, {duel::cpu_clock(server->pid())});
  duel::Table table(options,
                    {.title = "redis, against hiredis " + duel::hiredis_version() + ", on one CPU",
                     .theirs = "hiredis"});
  for (const std::size_t bytes : {std::size_t{100}, std::size_t{1024}}) {
    const auto run = [&](const std::string& alias, Bare& bare) {
      duel::Clients<Bare>({.alias = alias,
                           .name = alias + (bytes == 100 ? " 100 B" : " 1 KiB"),
                           .value_bytes = bytes,
                           .get = duel::at_least("R1", 1.0),
                           .get_many = duel::at_least("R2", 1.1),
                           .set_many = duel::at_least("R2", 1.15)},
                          bare)
          .run(table, stopwatch);
    };
    run("unix", by_socket);
    run("tcp", by_tcp);
  }
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("redis", argc, argv, run_all); }
