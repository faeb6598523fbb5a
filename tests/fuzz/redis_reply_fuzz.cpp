// Replies of redis that the store reads without hiredis: what it takes for one, hiredis reads
// to the same parts, and nothing is left over.

#include "reply.h"

#include <hiredis/hiredis.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace {

using polycache::redis::Element;
using polycache::redis::UsualReply;

constexpr std::size_t most_bytes = std::size_t{1} << 20U;  // bytes of a value

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

struct FreeReader {
  void operator()(redisReader* reader) const noexcept { redisReaderFree(reader); }
};
struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};

// Parts in a form that both can be written in.
void write_down(const redisReply& reply, std::vector<std::string>& parts) {
  switch (reply.type) {
    case REDIS_REPLY_STRING:
      parts.push_back("$" + std::string(reply.str, reply.len));
      break;
    case REDIS_REPLY_STATUS:
      parts.push_back("+" + std::string(reply.str, reply.len));
      break;
    case REDIS_REPLY_NIL:
      parts.emplace_back("-1");
      break;
    case REDIS_REPLY_ARRAY:
      parts.push_back("*" + std::to_string(reply.elements));
      for (std::size_t i = 0; i < reply.elements; ++i) write_down(*reply.element[i], parts);
      break;
    default:
      parts.emplace_back("?");
  }
}

std::string written(const Element& element) {
  switch (element.type) {
    case Element::Type::string:
      return "$" + std::string(element.text);
    case Element::Type::status:
      return "+" + std::string(element.text);
    case Element::Type::nil:
      return "-1";
    case Element::Type::array:
      return "*" + std::to_string(element.integer);
    default:
      return "!";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;  // there is always something when the store looks
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  UsualReply usual(bytes);
  if (!usual.is_whole(most_bytes)) return 0;
  std::vector<std::string> ours;
  std::size_t next = 0;
  const bool good = usual.read([&](const Element& element) {
    const bool is_in_array = element.depth == 1;
    require(element.index == (is_in_array ? next++ : 0), "an index");
    ours.push_back(written(element));
  });
  require(good, "it is whole, and cannot be read");

  const std::unique_ptr<redisReader, FreeReader> reader(redisReaderCreate());
  require(redisReaderFeed(reader.get(), bytes.data(), bytes.size()) == REDIS_OK, "hiredis is full");
  void* reply = nullptr;
  require(redisReaderGetReply(reader.get(), &reply) == REDIS_OK && reply != nullptr,
          "hiredis reads no reply");
  std::vector<std::string> theirs;
  write_down(*static_cast<redisReply*>(reply), theirs);
  const std::unique_ptr<redisReply, FreeReply> owner(static_cast<redisReply*>(reply));
  require(ours == theirs, "hiredis reads something else");
  void* another = nullptr;
  require(redisReaderGetReply(reader.get(), &another) == REDIS_OK && another == nullptr,
          "hiredis reads more");
  return 0;
}
