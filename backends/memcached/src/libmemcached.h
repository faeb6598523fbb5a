// The use of libmemcached: the key distribution, and the binary protocol with SASL. The only part
// of this library that includes it.
//
// Precautions against libmemcached 1.1.4: each server has its own client, so that a failure
// belongs to that server and closes that connection only; after any failure in the middle of a
// reply the client is discarded; replies are bounded; and return codes known to be wrong are
// corrected (each place says so). Its timeouts apply to each wait: a reply that arrives byte by
// byte is not cut off.

#pragma once

#include <libmemcached/memcached.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "connection.h"

namespace polycache::memcached {

// Maps keys to servers: ketama, with weights. Thread-safe; does not connect.
class Ring {
 public:
  explicit Ring(const std::vector<Endpoint>& servers);
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  std::size_t server_of(std::string_view key) const noexcept {
    return servers_ == 1 ? 0 : memcached_generate_hash(&client_, key.data(), key.size());
  }

 private:
  std::size_t servers_;
  memcached_st client_;
};

class BinaryConnection final : public Connection {
 public:
  using Connection::Connection;

  bool is_open() const noexcept override { return client_ != nullptr; }
  void close() noexcept override { client_.reset(); }
  // Does nothing: the library would send a quit command on the parent's connection, and does not
  // expose the descriptor. The descriptor is closed when the process ends or executes another
  // program.
  void abandon() noexcept override {}

 private:
  struct Client;
  struct Drop {
    void operator()(Client* client) const noexcept;
  };

  void connect() override;
  void prove_alive() override;
  std::optional<Found> find(std::string_view key, Want want) override;
  void send_question(std::span<const std::string_view> keys, Want want) override;
  void read_answers(std::span<const std::string_view> keys, Want want,
                    FunctionRef<void(std::size_t, const Found&)> sink) override;
  Outcome store(How how, const NewItem& item, std::uint64_t version) override;
  void set_all(std::span<const NewItem> items,
               FunctionRef<void(std::size_t, Outcome)> sink) override;
  void remove_all(std::span<const std::string_view> keys, Look look,
                  FunctionRef<void(std::size_t, Removed)> sink) override;
  void flush() override;

  std::unique_ptr<Client, Drop> make_client() const;
  void keep_time();
  void greet();
  void want(Want want);
  std::optional<Found> next(memcached_return_t& result);

  memcached_return_t reason(memcached_return_t result) const noexcept;
  bool is_name_unknown(memcached_return_t result) const noexcept;
  Outcome remove(std::string_view key);
  Outcome outcome(memcached_return_t result);
  [[noreturn]] void fail(memcached_return_t result);
  using Connection::fail;

  std::unique_ptr<Client, Drop> client_;
  std::vector<const char*> key_begins_;  // of a request; kept for their memory
  std::vector<std::size_t> key_sizes_;
  net::Deadline last_used_{};
};

}  // namespace polycache::memcached
