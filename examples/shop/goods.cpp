#include "goods.h"

#include <stdexcept>

#include "password.h"

namespace {

void check(sqlite3* database, int result) {
  if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE) return;
  throw std::runtime_error(std::string("the database: ") + sqlite3_errmsg(database));
}

void execute(sqlite3* database, const char* sql) {
  check(database, sqlite3_exec(database, sql, nullptr, nullptr, nullptr));
}

// Values reach SQL as parameters only, so no text of a visitor is ever part of a statement.
class Statement {
 public:
  template <class... Values>
  Statement(sqlite3* database, const char* sql, const Values&... values) : database_(database) {
    sqlite3_stmt* made = nullptr;
    check(database_, sqlite3_prepare_v2(database_, sql, -1, &made, nullptr));
    statement_.reset(made);
    int index = 0;
    (bind(++index, values), ...);
  }

  // Returns whether there is another row.
  bool step() {
    const int result = sqlite3_step(statement_.get());
    check(database_, result);
    return result == SQLITE_ROW;
  }
  std::int64_t number(int column) { return sqlite3_column_int64(statement_.get(), column); }
  std::string text(int column) {
    const void* bytes = sqlite3_column_blob(statement_.get(), column);
    const int size = sqlite3_column_bytes(statement_.get(), column);
    return bytes == nullptr
               ? std::string()
               : std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };

  void bind(int index, std::int64_t value) {
    check(database_, sqlite3_bind_int64(statement_.get(), index, value));
  }
  void bind(int index, const std::string& value) {
    check(database_, sqlite3_bind_text64(statement_.get(), index, value.data(), value.size(),
                                         SQLITE_TRANSIENT, SQLITE_UTF8));
  }

  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Undone at its end, unless it is committed.
class Transaction {
 public:
  // "IMMEDIATE": a transaction that reads first and then writes fails if another process writes in
  // between; this one waits at its beginning.
  explicit Transaction(sqlite3* database) : database_(database) {
    execute(database_, "BEGIN IMMEDIATE");
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() {
    if (is_open_) sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  void commit() {
    execute(database_, "COMMIT");
    is_open_ = false;
  }

 private:
  sqlite3* database_;
  bool is_open_ = true;
};

void fill(sqlite3* database) {
  execute(database, R"sql(
    CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
                           price INTEGER NOT NULL CHECK (price >= 0),
                           stock INTEGER NOT NULL CHECK (stock >= 0));
    CREATE TABLE accounts (name TEXT PRIMARY KEY, password TEXT NOT NULL,
                           is_staff INTEGER NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL REFERENCES accounts,
                         at INTEGER NOT NULL DEFAULT (strftime('%s', 'now')));
    CREATE TABLE order_lines (order_id INTEGER NOT NULL REFERENCES orders,
                              product INTEGER NOT NULL REFERENCES products,
                              count INTEGER NOT NULL, price INTEGER NOT NULL,
                              PRIMARY KEY (order_id, product)) WITHOUT ROWID;
    CREATE INDEX order_lines_by_product ON order_lines (product);
    INSERT INTO products VALUES (1, 'Teapot', 2450, 12), (2, 'Mug', 850, 40),
                                (3, 'Tea & <herbs>', 620, 30), (4, 'The last kettle', 3990, 1);
  )sql");
  const std::string account = "INSERT INTO accounts VALUES (?1, ?2, ?3)";
  Statement(database, account.c_str(), std::string("ada"), hash_of("lovelace-1815"),
            std::int64_t{0})
      .step();
  Statement(database, account.c_str(), std::string("grace"), hash_of("hopper-1906"),
            std::int64_t{1})
      .step();
  execute(database, R"sql(
    INSERT INTO orders (id, customer) VALUES (1, 'ada'), (2, 'ada');
    INSERT INTO order_lines VALUES (1, 1, 1, 2450), (1, 3, 2, 620), (2, 1, 1, 2450), (2, 2, 4, 850);
    PRAGMA user_version = 1;
  )sql");
}

}  // namespace

Goods::Goods(const std::string& file) {
  sqlite3* opened = nullptr;
  const int result = sqlite3_open(file.c_str(), &opened);
  database_.reset(opened);
  try {
    check(opened, result);
    sqlite3_busy_timeout(opened, 5'000);  // ms, for other processes with the same file
    execute(opened, "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON");
    Transaction filling(opened);  // two processes may start at once
    Statement version(opened, "PRAGMA user_version");
    if (version.step() && version.number(0) == 0) fill(opened);
    filling.commit();
  } catch (const std::runtime_error& error) {
    throw std::runtime_error("cannot open \"" + file + "\": " + error.what());
  }
}

std::vector<Product> Goods::all() {
  const std::lock_guard lock(mutex_);
  std::vector<Product> products;
  Statement rows(database_.get(), "SELECT id, name, price, stock FROM products ORDER BY id");
  while (rows.step()) {
    products.push_back({rows.number(0), rows.text(1), rows.number(2), rows.number(3)});
  }
  return products;
}

std::optional<Product> Goods::find(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  Statement row(database_.get(), "SELECT id, name, price, stock FROM products WHERE id = ?1", id);
  if (!row.step()) return std::nullopt;
  return Product{row.number(0), row.text(1), row.number(2), row.number(3)};
}

Suggestions Goods::also_bought(std::int64_t id) {
  const std::lock_guard lock(mutex_);
  Suggestions suggestions;
  Statement rows(database_.get(), R"sql(
    SELECT other.id, other.name, other.price
      FROM order_lines AS this
      JOIN order_lines AS line ON line.order_id = this.order_id AND line.product <> this.product
      JOIN products AS other ON other.id = line.product
     WHERE this.product = ?1
     GROUP BY other.id ORDER BY count(*) DESC, other.id LIMIT 3)sql",
                 id);
  while (rows.step()) {
    suggestions.list.push_back({rows.number(0), rows.text(1), rows.number(2)});
  }
  return suggestions;
}

std::optional<Account> Goods::account(const std::string& name) {
  const std::lock_guard lock(mutex_);
  Statement row(database_.get(), "SELECT password, is_staff FROM accounts WHERE name = ?1", name);
  if (!row.step()) return std::nullopt;
  return Account{row.text(0), row.number(1) != 0};
}

bool Goods::change_price(std::int64_t id, std::int64_t price) {
  const std::lock_guard lock(mutex_);
  Statement(database_.get(), "UPDATE products SET price = ?2 WHERE id = ?1", id, price).step();
  return sqlite3_changes(database_.get()) > 0;
}

std::optional<std::int64_t> Goods::order(const std::string& customer, const Cart& cart) {
  const std::lock_guard lock(mutex_);
  sqlite3* const database = database_.get();
  Transaction transaction(database);
  Statement(database, "INSERT INTO orders (customer) VALUES (?1)", customer).step();
  const std::int64_t order = sqlite3_last_insert_rowid(database);
  for (const auto& [product, count] : cart) {
    Statement(database, "UPDATE products SET stock = stock - ?2 WHERE id = ?1 AND stock >= ?2",
              product, count)
        .step();
    if (sqlite3_changes(database) == 0) return product;
    // The price of the database, not that of a page.
    Statement(database,
              "INSERT INTO order_lines SELECT ?1, id, ?3, price FROM products WHERE id = ?2", order,
              product, count)
        .step();
  }
  transaction.commit();
  return std::nullopt;
}
