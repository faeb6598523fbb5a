#include "shop.h"

#include <polycache/memoize.h>

#include <chrono>
#include <exception>
#include <iostream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "pages.h"
#include "password.h"

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

// Also how long a page can show older data, if the store of the cache fails when they change.
constexpr auto page_lifetime = 1min;

// A request that is not accepted: the status and the sentence of the answer.
class Refusal : public std::runtime_error {
 public:
  Refusal(int status, const std::string& sentence)
      : std::runtime_error(sentence), status_(status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};

void send(int status, const json& body, httplib::Response& to) {
  to.status = status;
  to.set_header("Cache-Control", "no-store");
  to.set_content(body.dump() + '\n', "application/json");
}

void send(polycache::PageAnswer page, httplib::Response& to) {
  to.status = page.status;
  for (const auto& [name, value] : page.headers) to.headers.emplace(name, value);
  // Browsers ask each time, and get a 304 by the ETag, so that they show a new price at once. Added
  // here, since the page cache does not store a page that has this field itself.
  if (!to.has_header("Cache-Control")) to.set_header("Cache-Control", "no-cache");
  to.body = std::move(page.body);
}

// Without host and query, on which no page depends: with them, a client could fill the cache with
// copies of one page.
polycache::PageRequest page_request(const httplib::Request& from) {
  polycache::PageRequest request{.method = from.method, .path = from.path};
  for (const auto& [name, value] : from.headers) request.headers.add(name, value);
  return request;
}

// The body of a request that changes something. A page of another site can send a form with the
// visitor's cookie, but not JSON: the browser first asks this server, which does not allow it. This
// and SameSite keep other sites from acting for a visitor. Pages that all visitors share cannot
// contain a visitor's token.
json body_of(const httplib::Request& from) {
  if (from.get_header_value("Content-Type") != "application/json") {
    throw Refusal(415, "send JSON, as application/json");
  }
  json body = json::parse(from.body, nullptr, false);
  if (!body.is_object()) throw Refusal(400, "the body is no JSON object");
  return body;
}

std::int64_t number_in(const json& body, const char* name, std::int64_t min, std::int64_t max) {
  const auto member = body.find(name);
  if (member == body.end() || !member->is_number_integer() || *member < min || *member > max) {
    throw Refusal(400, '"' + std::string(name) + "\" is to be a whole number from " +
                           std::to_string(min) + " to " + std::to_string(max));
  }
  return member->get<std::int64_t>();
}

std::string text_in(const json& body, const char* name) {
  const auto member = body.find(name);
  if (member == body.end() || !member->is_string() ||
      member->get_ref<const std::string&>().size() > 200) {
    throw Refusal(400, '"' + std::string(name) + "\" is to be a text of at most 200 bytes");
  }
  return member->get<std::string>();
}

std::string cookie_of(const httplib::Request& from) {
  constexpr std::string_view name = "shop=";
  const std::string header = "; " + from.get_header_value("Cookie");
  const std::size_t found = header.find("; " + std::string(name));
  if (found == std::string::npos) return {};
  const std::size_t begin = found + 2 + name.size();
  return header.substr(begin, header.find(';', begin) - begin);
}

// The path of its route has at most nine digits.
std::int64_t product_in(const httplib::Request& from) { return std::stoll(from.matches[1].str()); }

// Of everything that shows this product alone; "products" is the tag of what shows several.
std::string tag_of(std::int64_t product) { return polycache::key("product", product); }

Cart cart_of(const polycache::Session& session) {
  return session.get<Cart>("cart").value_or(Cart());
}

// Makes the pages and values with these tags absent, in all processes. Call it after the change is
// in the database: a page that is being made from the older data is then absent, too. If the store
// fails, the change stays, and pages may show the older data for page_lifetime. An order takes its
// prices from the database in any case.
void forget(const polycache::Tags& tags) {
  try {
    polycache::cache().erase_tags(tags);
  } catch (const polycache::BackendError& error) {
    std::clog << "pages may be out of date for a minute: " << error.what() << std::endl;
  }
}

void answer_exception(const httplib::Request&, httplib::Response& to, std::exception_ptr thrown) {
  try {
    std::rethrow_exception(std::move(thrown));
  } catch (const Refusal& refusal) {
    send(refusal.status(), {{"error", refusal.what()}}, to);
  } catch (const polycache::BackendError& error) {  // of "state"; "default" has on_error "miss"
    std::clog << error.what() << std::endl;
    to.set_header("Retry-After", "2");
    send(503, {{"error", "not possible at the moment"}}, to);
  } catch (const std::exception& error) {
    std::clog << error.what() << std::endl;  // for the log only: it may name files and tables
    send(500, {{"error", "the shop has a problem"}}, to);
  }
}

json statistics() {
  json all = json::object();
  for (const auto& [alias, counts] : polycache::global_registry().statistics()) {
    all[alias] = {{"hits", counts.hits},     {"misses", counts.misses},
                  {"writes", counts.writes}, {"loads", counts.loads},
                  {"errors", counts.errors}, {"hit_ratio", counts.hit_ratio()}};
  }
  return all;
}

}  // namespace

Settings read_settings(polycache::SectionReader& section) {
  const Settings defaults;
  return {.login_attempts = section.integer("login_attempts", defaults.login_attempts, 1, 1000),
          .secure_cookies = section.boolean("secure_cookies", defaults.secure_cookies)};
}

Shop::Shop(Goods& goods, const Settings& settings)
    : goods_(goods),
      settings_(settings),
      // record_tags: a product's page gets the tags of the suggestions that it shows.
      pages_({.timeout = page_lifetime, .record_tags = true}),
      sessions_({.cache = "state", .lifetime = 30min, .longest_lifetime = 24h}),
      logins_("logins", {.limit = settings.login_attempts, .period = 1min, .cache = "state"}),
      checkout_("checkout", {.cache = "state"}),
      also_bought_(polycache::memoize(
          "also_bought", [&goods](std::int64_t product) { return goods.also_bought(product); },
          {.timeout = page_lifetime, .tags = {"products"}})) {}

void Shop::add_routes(httplib::Server& server) {
  using Handler = void (Shop::*)(const Request&, Response&);
  const auto call = [this](Handler handler) {
    return [this, handler](const Request& from, Response& to) { (this->*handler)(from, to); };
  };
  server.Get("/", call(&Shop::show_list));
  server.Get(R"(/products/(\d{1,9}))", call(&Shop::show_product));
  server.Post(R"(/products/(\d{1,9}))", call(&Shop::change_price));
  server.Post("/login", call(&Shop::log_in));
  server.Post("/logout", call(&Shop::log_out));
  server.Get("/cart", call(&Shop::show_cart));
  server.Post("/cart", call(&Shop::add_to_cart));
  server.Post("/checkout", call(&Shop::check_out));
  server.Get("/ready", [this](const Request&, Response& to) { show_readiness(to); });
  server.Get("/statistics", [](const Request&, Response& to) { send(200, statistics(), to); });
  server.set_exception_handler(answer_exception);
  server.set_payload_max_length(64 * 1024);
}

void Shop::show_list(const Request& from, Response& to) {
  const auto page = [&](polycache::PageTags& tags) {
    tags.add("products");  // before they are read
    return polycache::PageAnswer{.headers = {{"Content-Type", "text/html; charset=utf-8"}},
                                 .body = list_page(goods_.all())};
  };
  send(pages_.answer(page_request(from), page), to);
}

void Shop::show_product(const Request& from, Response& to) {
  const std::int64_t id = product_in(from);
  const auto page = [&](polycache::PageTags& tags) {
    tags.add(tag_of(id));
    const std::optional<Product> product = goods_.find(id);
    if (!product) {
      // Not kept: there are too many products that do not exist.
      return polycache::PageAnswer{
          .status = 404, .headers = {{"Cache-Control", "no-store"}}, .body = "no such product\n"};
    }
    return polycache::PageAnswer{.headers = {{"Content-Type", "text/html; charset=utf-8"}},
                                 .body = product_page(*product, also_bought_(id))};
  };
  send(pages_.answer(page_request(from), page), to);
}

void Shop::change_price(const Request& from, Response& to) {
  const json body = body_of(from);
  // The rights are those of the database now, not those at the time of the login.
  const std::optional<Account> account = goods_.account(customer_of(from));
  if (!account || !account->is_staff) throw Refusal(403, "only the staff changes prices");
  const std::int64_t id = product_in(from);
  const std::int64_t price = number_in(body, "price", 0, 100'000'000);
  if (!goods_.change_price(id, price)) throw Refusal(404, "no such product");
  forget({tag_of(id), "products"});
  send(200, {{"product", id}, {"price", price}}, to);
}

void Shop::log_in(const Request& from, Response& to) {
  const polycache::RateVerdict verdict = logins_.allow(from.remote_addr);
  if (!verdict.allowed) {
    const auto wait = std::chrono::ceil<std::chrono::seconds>(verdict.retry_after);
    to.set_header("Retry-After", std::to_string(wait.count()));
    throw Refusal(429, "too many attempts");
  }
  const json body = body_of(from);
  const std::string name = text_in(body, "name");
  const std::string password = text_in(body, "password");
  // The same work whether there is such an account or not, so that the time does not tell.
  const std::optional<Account> account = goods_.account(name);
  if (!is_password(password, account ? account->password_hash : no_account_) || !account) {
    throw Refusal(401, "no such account, or not its password");
  }
  polycache::Session session = sessions_.load_or_create(cookie_of(from));
  session.data()["user"] = name;
  // A new id, so that an id from before the login, which another person may know, gives no access.
  if (sessions_.rotate(session) != polycache::SaveResult::saved) {
    throw Refusal(409, "another request of this visitor was faster; try again");
  }
  set_cookie(session, to);
  send(200, {{"user", name}}, to);
}

void Shop::log_out(const Request& from, Response& to) {
  body_of(from);
  sessions_.erase(cookie_of(from));
  to.set_header("Set-Cookie", "shop=; Path=/; Max-Age=0");
  send(200, json::object(), to);
}

void Shop::show_cart(const Request& from, Response& to) {
  const auto session = sessions_.load(cookie_of(from));
  json lines = json::array();
  for (const auto& [product, count] : session ? cart_of(*session) : Cart()) {
    lines.push_back({{"product", product}, {"count", count}});
  }
  const auto user = session ? session->get<std::string>("user") : std::nullopt;
  send(200, {{"user", user ? json(*user) : json()}, {"cart", lines}}, to);
}

void Shop::add_to_cart(const Request& from, Response& to) {
  const json body = body_of(from);
  const std::int64_t product = number_in(body, "product", 1, 999'999'999);
  const std::int64_t count = number_in(body, "count", 1, 100);
  if (!goods_.find(product)) throw Refusal(404, "no such product");
  change_session(from, to, [&](polycache::Session& session) {
    Cart cart = cart_of(session);
    cart[product] = count;
    session.data()["cart"] = cart;
  });
  send(200, {{"product", product}, {"count", count}}, to);
}

void Shop::check_out(const Request& from, Response& to) {
  body_of(from);
  const std::string customer = customer_of(from);
  // One buyer at a time, in all processes: a real shop asks a bank before it writes the order, and
  // two buyers must not pay for the last kettle. A lock can be lost, so the stock does not depend
  // on it: the database refuses to sell what is not there (Goods::order).
  const std::unique_lock one_at_a_time(checkout_, 10s);
  if (!one_at_a_time.owns_lock()) {
    to.set_header("Retry-After", "1");
    throw Refusal(503, "too many buyers; try again");
  }
  // Out of the session first, so that two requests of one visitor cannot order the same cart.
  Cart cart;
  change_session(from, to, [&](polycache::Session& session) {
    cart = cart_of(session);
    session.data().erase("cart");
  });
  if (cart.empty()) throw Refusal(409, "the cart is empty");
  if (const std::optional<std::int64_t> lacking = goods_.order(customer, cart)) {
    change_session(from, to, [&](polycache::Session& session) { session.data()["cart"] = cart; });
    throw Refusal(409, "not enough left of product " + std::to_string(*lacking));
  }
  std::vector<std::string> pages;  // that show the stock
  for (const auto& [product, count] : cart) pages.push_back(tag_of(product));
  forget(pages);
  send(200, {{"ordered", cart.size()}}, to);
}

// For a load balancer, which sends requests to processes that answer 200. A store that fails is no
// 503: pages still work without it, and all processes share it, so the load balancer would remove
// all of them at once. Without the database no page works.
void Shop::show_readiness(Response& to) {
  bool has_database = true;
  try {
    goods_.find(0);
  } catch (const std::runtime_error& error) {
    std::clog << error.what() << std::endl;
    has_database = false;
  }
  json stores = json::object();
  bool has_stores = true;
  for (const polycache::CacheHealth& store : polycache::global_registry().health()) {
    stores[store.alias] = store.reachable;
    has_stores = has_stores && store.reachable;
  }
  send(has_database ? 200 : 503,
       {{"status", !has_database ? "unready"
                   : has_stores  ? "ready"
                                 : "degraded"},
        {"database", has_database},
        {"stores", stores}},
       to);
}

std::string Shop::customer_of(const Request& from) const {
  const auto session = sessions_.load(cookie_of(from));
  const auto user = session ? session->get<std::string>("user") : std::nullopt;
  if (!user) throw Refusal(401, "log in first");
  return *user;
}

void Shop::change_session(const Request& from, Response& to,
                          const std::function<void(polycache::Session&)>& change) {
  for (;;) {
    polycache::Session session = sessions_.load_or_create(cookie_of(from));
    change(session);
    const polycache::SaveResult result = sessions_.save(session);
    if (result == polycache::SaveResult::refused) throw Refusal(413, "the cart is too large");
    // Another request of this visitor was faster: the change is made again, to what that one left.
    if (result == polycache::SaveResult::changed_elsewhere) continue;
    if (result == polycache::SaveResult::gone) continue;
    if (result == polycache::SaveResult::saved) set_cookie(session, to);
    return;
  }
}

void Shop::set_cookie(const polycache::Session& session, Response& to) const {
  to.headers.erase("Set-Cookie");  // one of an earlier change
  to.set_header("Set-Cookie", "shop=" + session.id() + "; Path=/; HttpOnly; SameSite=Lax" +
                                  (settings_.secure_cookies ? "; Secure" : ""));
}
