// Composes commands in redis's protocol: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". A session reuses one
// buffer for all operations.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace polycache::redis {

class CommandBuffer {
 public:
  // Removes all commands and, if the buffer is large, releases its memory.
  [[gnu::hot]] void clear();

  // Begins a command of this many words, including its name.
  [[gnu::hot]] void begin(std::size_t words);
  // Begins a command with its constant part, encoded in advance: "*2\r\n$3\r\nGET\r\n".
  [[gnu::hot]] void begin(std::string_view ready_made);
  [[gnu::hot]] void word(std::string_view bytes);
  [[gnu::hot]] void number(std::int64_t value);

  // The number of commands, and their bytes.
  std::size_t count() const noexcept { return count_; }
  std::string_view bytes() const noexcept { return {buffer_.data(), size_}; }

 private:
  [[gnu::hot]] char* room_for(std::size_t more);

  std::string buffer_;  // its size is the capacity; only the first size_ bytes are valid
  std::size_t size_ = 0;
  std::size_t count_ = 0;
};

}  // namespace polycache::redis
