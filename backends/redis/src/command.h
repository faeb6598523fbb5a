// Composes commands as redis reads them: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n". One buffer, used
// again for every operation of a session.

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace polycache::redis {

class CommandBuffer {
 public:
  // Forgets what was composed and, after something huge, its memory.
  [[gnu::hot]] void clear();

  // Begins a command of so many words, its name included.
  [[gnu::hot]] void begin(std::size_t words);
  // Begins a command with what is always the same, ready made: "*2\r\n$3\r\nGET\r\n".
  [[gnu::hot]] void begin(std::string_view ready_made);
  [[gnu::hot]] void word(std::string_view bytes);
  [[gnu::hot]] void number(std::int64_t value);

  // How many commands, and their bytes.
  std::size_t count() const noexcept { return count_; }
  std::string_view bytes() const noexcept { return {buffer_.data(), size_}; }

 private:
  [[gnu::hot]] char* room_for(std::size_t more);

  std::string buffer_;  // its size is what may be written; only size_ bytes mean anything
  std::size_t size_ = 0;
  std::size_t count_ = 0;
};

}  // namespace polycache::redis
