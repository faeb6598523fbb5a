// Locks and limits against what they cost without them: on redis against the same commands by bare
// hiredis, elsewhere against a set() and an erase() of ours.
//
//   locks [--quick] [--cpu] [--only TEXT] [--rows FILE]
//
// A lock is taken and released by one thread, and no other one wants it. Its owner has a lease of
// 30 s and would renew it. Bare hiredis does what the documentation of SET advises: SET with NX and
// PX and a random value, and a script that erases the key if it has that value. A use of a limit is
// a script in both cases; the bare one is a fixed window by INCR and PEXPIRE.

#include <polycache/backends/locmem.h>
#include <polycache/backends/redis.h>
#include <polycache/backends/sqlite.h>
#include <polycache/locks.h>
#include <polycache/polycache.h>
#include <polycache/rate_limiter.h>

#include <array>
#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "duel.h"
#include "hiredis.h"
#include "support/server.h"

namespace {

using namespace std::chrono_literals;

constexpr std::string_view token = "0123456789abcdef0123456789abcdef";

// On a server, by EVALSHA.
class Script {
 public:
  Script(duel::Hiredis& redis, std::string_view text) : redis_(redis) {
    const std::array<std::string_view, 3> words{"SCRIPT", "LOAD", text};
    const duel::Reply reply = redis.command(words);
    duel::expect(reply->type == REDIS_REPLY_STRING);
    sha1_.assign(reply->str, reply->len);
  }

  long long run(std::string_view key, std::string_view argument) {
    const std::array<std::string_view, 5> words{"EVALSHA", sha1_, "1", key, argument};
    const duel::Reply reply = redis_.command(words);
    duel::expect(reply->type == REDIS_REPLY_INTEGER);
    return reply->integer;
  }

 private:
  duel::Hiredis& redis_;
  std::string sha1_;
};

class BareLock {
 public:
  explicit BareLock(duel::Hiredis& redis)
      : redis_(redis),
        release_(redis,
                 "if redis.call('get', KEYS[1]) == ARGV[1] then "
                 "return redis.call('del', KEYS[1]) else return 0 end") {}

  void lock() {
    const std::array<std::string_view, 6> words{"SET", key, token, "NX", "PX", "30000"};
    duel::expect(redis_.command(words)->type == REDIS_REPLY_STATUS);
  }
  void unlock() { duel::expect(release_.run(key, token) == 1); }

 private:
  static constexpr std::string_view key = "bare:lock";

  duel::Hiredis& redis_;
  Script release_;
};

template <class Lock>
duel::Contender taking(Lock& lock) {
  return duel::each([&lock](std::size_t) {
    lock.lock();
    lock.unlock();
  });
}

duel::Contender setting(polycache::Cache& cache) {
  return duel::each([&cache](std::size_t) {
    duel::expect(cache.set("lock", token, {.timeout = 30s}));
    duel::expect(cache.erase("lock"));
  });
}

polycache::CacheConfig alias(const std::string& backend, std::vector<std::string> location) {
  return {.backend = backend, .location = std::move(location), .key_prefix = "bench"};
}

void run_on_redis(duel::Table& table, const duel::Stopwatch& stopwatch,
                  const polycache::testing::Server& server) {
  duel::Hiredis redis(redisConnectUnix(server.unix_socket().c_str()));
  BareLock bare(redis);
  polycache::Lock lock("report", {.cache = "redis"});
  table.add({.name = "redis, lock and unlock, bare: SET and EVALSHA",
             .operations = 25,
             .ours = taking(lock),
             .theirs = taking(bare)},
            stopwatch);
  // No use is refused.
  const polycache::RateLimiter limiter("api",
                                       {.limit = 1'000'000'000, .period = 1h, .cache = "redis"});
  Script count(redis,
               "local n = redis.call('incr', KEYS[1]) "
               "if n == 1 then redis.call('pexpire', KEYS[1], ARGV[1]) end return n");
  table.add({.name = "redis, a use of a limit, bare: EVALSHA",
             .operations = 50,
             .ours = duel::each([&](std::size_t) { duel::expect(limiter.allow("ip").allowed); }),
             .theirs = duel::each(
                 [&](std::size_t) { duel::expect(count.run("bare:ip", "3600000") > 0); })},
            stopwatch);
}

bool run_all(const duel::Options& options) {
  duel::pin_to_one_cpu();
  const polycache::testing::TemporaryFolder folder;
  const auto server = polycache::testing::Server::redis();
  polycache::Config config;
  config.caches = {{"locmem", alias("locmem", {})},
                   {"sqlite", alias("sqlite", {folder.path() / "cache.db"})},
                   {"redis", alias("redis", {"unix://" + server->unix_socket()})}};
  polycache::configure(std::move(config),
                       {.linked_plugins = {&polycache::locmem::plugin, &polycache::sqlite::plugin,
                                           &polycache::redis::plugin}});
  const duel::Stopwatch own(options);
  duel::Table table(options, {.title = "locks and limits, against set and erase, or hiredis " +
                                       duel::hiredis_version(),
                              .theirs = "without"});
  const auto add = [&](const std::string& store, std::size_t operations, std::size_t slices) {
    polycache::Lock lock("report", {.cache = store});
    table.add({.name = store + ", lock and unlock",
               .operations = operations,
               .slices = slices,
               .ours = taking(lock),
               .theirs = setting(polycache::caches[store])},
              own);
  };
  add("locmem", 1000, 300);
  add("sqlite", 50, 300);
  run_on_redis(table, duel::Stopwatch(options, {duel::cpu_clock(server->pid())}), *server);
  return table.met();
}

}  // namespace

int main(int argc, char** argv) { return duel::run("locks", argc, argv, run_all); }
