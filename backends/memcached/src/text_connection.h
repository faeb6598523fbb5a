// The text protocol over our own socket: sends, receives and waits. What it sends is composed by
// CommandBuffer; what it receives is parsed by ReplyReader and understood by answer.h.
//
// One deadline holds for a whole operation, even if bytes arrive one by one. No reply can do harm:
// one that is malformed or does not match the request closes the connection.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "answer.h"
#include "command.h"
#include "connection.h"
#include "polycache/net/socket.h"
#include "reply.h"
#include "reply_reader.h"

namespace polycache::memcached {

class TextConnection final : public Connection {
 public:
  TextConnection(const Endpoint& endpoint, const Settings& settings, net::ServerRecord& record);

  bool is_open() const noexcept override { return socket_.is_open(); }
  void close() noexcept override;
  // Closes only this process's copy of the descriptor.
  void abandon() noexcept override { socket_.abandon(); }

 private:
  void connect() override;
  void prove_alive() override;
  void look_after_rest() override { prove_alive(); }
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
  void dump_all(FunctionRef<void(const DumpedItem&)> sink) override;
  void ask_statistics(
      FunctionRef<void(std::string_view name, std::string_view value)> sink) override;

  void greet();
  void begin_request(ReplyReader& replies);
  void add_item(How how, const NewItem& item, std::uint64_t version,
                FunctionRef<void()> on_arrival);
  bool begins_new_piece(std::size_t value_bytes) const noexcept;
  void send_request(bool more, FunctionRef<void()> on_arrival);
  void send(std::string_view bytes, bool more, FunctionRef<void()> on_arrival);
  void wait_to_send(FunctionRef<void()> on_arrival);

  bool take(Reply& reply, ReplyReader::Values values);
  Reply read(ReplyReader::Values values);
  void fill();
  void end_of_answer();
  Outcome outcome(const Reply& reply, How how);

  // How a dump ended that the server did not refuse for good.
  enum class Dumped : std::uint8_t { whole, busy, unknown_way };
  Dumped dump_once(bool by_hash, FunctionRef<void(const DumpedItem&)> sink);
  Dumped result_of_dump(std::string_view sentence);
  [[noreturn]] void refuse_dump(std::string_view sentence);
  std::size_t receive(std::span<char> room);

  [[noreturn]] void refuse_to_connect(const net::Failure& failure);
  [[noreturn]] void lost(const std::string& why);
  [[noreturn]] void refuse(const Reply& reply);

  net::Socket socket_;
  // Found items stay in place while they are being processed: the server's replies to that are read
  // into the other buffer.
  ReplyReader answers_;             // for requested items
  ReplyReader lines_;               // for everything else
  ReplyReader* replies_ = &lines_;  // of the current request
  CommandBuffer commands_;          // not sent yet
  GetAnswer answer_;                // to the current request
  std::uint32_t forks_ = 0;         // fork_count() when it was connected
  bool has_meta_ = false;           // the server supports the command mg
};

}  // namespace polycache::memcached
