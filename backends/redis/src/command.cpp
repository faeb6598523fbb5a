#include "command.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace polycache::redis {
namespace {

constexpr std::size_t kept_bytes = 1 << 20;  // clear() releases memory beyond this
constexpr std::size_t longest_number = 20;   // of 64 bits, including the sign

char* put_number(char* to, std::int64_t value) {
  return std::to_chars(to, to + longest_number, value).ptr;
}

char* put_size(char* to, std::size_t value) {
  return std::to_chars(to, to + longest_number, value).ptr;
}

char* put_bytes(char* to, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

char* put_line_end(char* to) {
  to[0] = '\r';
  to[1] = '\n';
  return to + 2;
}

}  // namespace

void CommandBuffer::clear() {
  size_ = 0;
  count_ = 0;
  if (buffer_.size() > kept_bytes) buffer_ = std::string();
}

char* CommandBuffer::room_for(std::size_t more) {
  const std::size_t need = size_ + more;
  if (need > buffer_.size()) buffer_.resize(std::max({need, buffer_.size() * 2, std::size_t{512}}));
  return buffer_.data() + size_;
}

void CommandBuffer::begin(std::size_t words) {
  char* const start = room_for(longest_number + 3);
  *start = '*';
  char* const end = put_line_end(put_size(start + 1, words));
  size_ += static_cast<std::size_t>(end - start);
  ++count_;
}

void CommandBuffer::begin(std::string_view ready_made) {
  put_bytes(room_for(ready_made.size()), ready_made);
  size_ += ready_made.size();
  ++count_;
}

void CommandBuffer::word(std::string_view bytes) {
  char* const start = room_for(bytes.size() + longest_number + 5);
  *start = '$';
  char* end = put_line_end(put_size(start + 1, bytes.size()));
  end = put_line_end(put_bytes(end, bytes));
  size_ += static_cast<std::size_t>(end - start);
}

void CommandBuffer::number(std::int64_t value) {
  char digits[longest_number];
  const char* const end = put_number(digits, value);
  word({digits, static_cast<std::size_t>(end - digits)});
}

}  // namespace polycache::redis
