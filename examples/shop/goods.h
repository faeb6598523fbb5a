// The goods, accounts and orders of the shop, in an SQLite database. This is the truth; what the
// caches have is made of it. Thread-safe; other processes may use the same file.

#pragma once

#include <polycache/codec_binary.h>
#include <sqlite3.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

struct Product {
  std::int64_t id = 0;
  std::string name;
  std::int64_t price = 0;  // in cents
  std::int64_t stock = 0;
};

// What a page says about a product on another product's page. Without the stock, so that a sale
// does not change it.
struct Suggestion {
  std::int64_t id = 0;
  std::string name;
  std::int64_t price = 0;
};
struct Suggestions {
  std::vector<Suggestion> list;
};
template <>
struct polycache::Codec<Suggestions> : polycache::BinaryCodec<Suggestions> {};

struct Account {
  std::string password_hash;  // as crypt(5) describes
  bool is_staff = false;
};

using Cart = std::map<std::int64_t, std::int64_t>;  // how many, by product

// Every function throws std::runtime_error if the database fails.
class Goods {
 public:
  // Opens the file. A new one gets some goods and two accounts.
  explicit Goods(const std::string& file);

  std::vector<Product> all();
  std::optional<Product> find(std::int64_t id);
  // The three products that were ordered most often together with this one.
  Suggestions also_bought(std::int64_t id);
  std::optional<Account> account(const std::string& name);

  // Returns whether there is such a product.
  bool change_price(std::int64_t id, std::int64_t price);
  // Takes everything out of stock and writes the order; or changes nothing, and returns the product
  // of which there is not enough.
  std::optional<std::int64_t> order(const std::string& customer, const Cart& cart);

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept { sqlite3_close(database); }
  };

  std::mutex mutex_;  // guards database_: the steps of a transaction must not mix
  std::unique_ptr<sqlite3, Close> database_;
};
