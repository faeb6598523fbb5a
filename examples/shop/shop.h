// The service: which request does what, and what the caches do for it.
//
//   alias      what it has                   if its store fails
//   default    pages, memoized functions     they are made again for each request
//   state      sessions, limits, locks       login, cart and checkout answer 503; pages still work
//
// Two aliases, since the entries of the first may be evicted at any time, and those of the second
// must not be. Uses the global registry. Thread-safe.

#pragma once

#include <httplib.h>
#include <polycache/lock.h>
#include <polycache/page_cache.h>
#include <polycache/polycache.h>
#include <polycache/rate_limiter.h>
#include <polycache/sessions.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "goods.h"
#include "password.h"

// The section "shop" of the configuration.
struct Settings {
  std::int64_t login_attempts = 5;  // a minute, from one address
  bool secure_cookies = true;       // false only where there is no TLS, as on localhost
};
Settings read_settings(polycache::SectionReader& section);

class Shop {
 public:
  // Throws polycache::ConfigError if an alias is missing, or if the store of "state" may evict
  // locks.
  Shop(Goods& goods, const Settings& settings);

  void add_routes(httplib::Server& server);

 private:
  using Request = httplib::Request;
  using Response = httplib::Response;

  void show_list(const Request& from, Response& to);
  void show_product(const Request& from, Response& to);
  void change_price(const Request& from, Response& to);
  void log_in(const Request& from, Response& to);
  void log_out(const Request& from, Response& to);
  void show_cart(const Request& from, Response& to);
  void add_to_cart(const Request& from, Response& to);
  void check_out(const Request& from, Response& to);
  void show_readiness(Response& to);

  // The name of the account that is logged in. Throws a refusal if there is none.
  std::string customer_of(const Request& from) const;
  // Changes the visitor's session and stores it.
  void change_session(const Request& from, Response& to,
                      const std::function<void(polycache::Session&)>& change);
  void set_cookie(const polycache::Session& session, Response& to) const;

  Goods& goods_;
  Settings settings_;
  polycache::PageCache pages_;
  polycache::Sessions sessions_;
  polycache::RateLimiter logins_;
  polycache::Lock checkout_;
  std::function<Suggestions(std::int64_t)> also_bought_;  // memoized
  std::string no_account_ = hash_of("");
};
