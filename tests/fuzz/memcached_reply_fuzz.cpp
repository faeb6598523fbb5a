// Replies of memcached's text protocol. The input's first byte says which values are asked for
// (none, plain, versioned), the second how the rest is sliced. Whatever arrives, the replies are
// those of the whole, no value is larger than allowed, no view leaves the bytes, and what was
// nonsense once stays nonsense.

#include "reply_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using polycache::memcached::Reply;
using polycache::memcached::ReplyReader;

constexpr std::size_t largest_value = 2000;
constexpr std::size_t buffer_bytes = 1024;  // so that it has to grow, too

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

struct Result {
  std::vector<std::string> replies;
  bool is_sound = true;
  bool operator==(const Result&) const = default;
};

std::string shown(const Reply& reply, ReplyReader::Values values) {
  if (reply.kind != Reply::Kind::value) {
    require(reply.line.find('\n') == std::string_view::npos, "a line is two");
    return std::string(reply.line);
  }
  const auto& item = reply.item;
  require(values != ReplyReader::Values::none, "a value without a request");
  require(values == ReplyReader::Values::versioned || item.version == 0, "a version");
  require(!item.key.empty() && item.key.size() <= polycache::memcached::max_key, "a key's size");
  require(item.value.size() <= largest_value, "a value is too large");
  std::string text(item.key);
  text += ' ';
  text += std::to_string(item.flags) + " " + std::to_string(item.version) + " ";
  return text.append(item.value);
}

// Takes out what has arrived.
void take_all(ReplyReader& reader, ReplyReader::Values values, Result& result) {
  Reply reply;
  ReplyReader::State state = ReplyReader::State::incomplete;
  while ((state = reader.next(reply, values)) == ReplyReader::State::reply) {
    result.replies.push_back(shown(reply, values));
  }
  result.is_sound = state == ReplyReader::State::incomplete;
  require(!result.is_sound || !reader.room().empty(), "there is no room for the rest");
}

Result read(std::string_view bytes, std::size_t slice, ReplyReader::Values values) {
  ReplyReader reader(largest_value, buffer_bytes);
  Result result;
  while (!bytes.empty() && result.is_sound) {
    const auto room = reader.room();
    const std::size_t size = std::min({slice, bytes.size(), room.size()});
    std::copy_n(bytes.begin(), size, room.begin());
    reader.arrived(size);
    bytes.remove_prefix(size);
    take_all(reader, values, result);
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto values = static_cast<ReplyReader::Values>(data[0] % 3);
  const std::size_t slice = data[1] == 0 ? 1 : data[1];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const Result whole = read(bytes, std::max<std::size_t>(bytes.size(), 1), values);
  const Result sliced = read(bytes, slice, values);
  // Nonsense is seen at once where all is there, and as soon as it is sure where it comes
  // in slices; what was good before it is the same.
  require(whole == sliced, "slices make another answer");
  return 0;
}
