// Parses the replies of a redis server from the bytes that arrive, one reply after the other,
// however they are split. No I/O. The only place that uses hiredis.
//
//   reader.expect(1);  // a command was sent
//   while (reader.read(piece, sink) == ReplyReader::State::incomplete) piece = receive();
//
// Nothing is trusted: no more memory is used than a value may have, nesting and lines are bounded,
// and a reply without a request is an error. After any state but `reply` and `incomplete` the
// reader, and the connection, must not be used any more.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "reply.h"

namespace polycache::redis {

class ReplyReader {
 public:
  enum class State : std::uint8_t {
    reply,       // a whole one was read
    incomplete,  // more bytes are needed
    too_large,   // a value beyond the limit is announced
    damaged,     // not a reply of redis, or one too many
  };

  explicit ReplyReader(std::size_t max_value_bytes);
  ReplyReader(const ReplyReader&) = delete;
  ReplyReader& operator=(const ReplyReader&) = delete;
  ~ReplyReader();

  // Announces the replies to this many commands.
  void expect(std::size_t replies) noexcept { outstanding_ += replies; }
  // How many of them have not been read.
  std::size_t outstanding() const noexcept { return outstanding_; }
  // Whether nothing has arrived that has not been read.
  bool is_idle() const noexcept { return idle_; }

  // Adds `piece`, which may be empty unless is_idle(), and passes the parts of the next reply to
  // the sink as far as they have arrived. Reads at most one reply; what follows it is kept. An
  // exception from the sink is rethrown once the reply has been read.
  [[gnu::hot]] State read(std::string_view piece, ElementSink sink);

  // Whether any reply read since the last call of forget_error() was, or held, an error.
  bool met_error() const noexcept { return met_error_; }
  void forget_error() noexcept { met_error_ = false; }

  // After too_large or damaged: what is wrong, to continue "the server: ".
  const std::string& problem() const noexcept { return problem_; }

 private:
  struct Parser;

  State read_by_parser(std::string_view piece, ElementSink& sink);
  State check_announcement();
  State refuse_surplus();
  State refuse_value(std::size_t size);
  State fail(State state, std::string problem);

  const std::size_t max_value_bytes_;
  std::size_t outstanding_ = 0;
  bool idle_ = true;
  bool met_error_ = false;
  std::string problem_;
  const std::unique_ptr<Parser> parser_;
};

}  // namespace polycache::redis
