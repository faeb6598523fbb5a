#include "compose.h"

#include <algorithm>

namespace polycache::redis {
namespace {

constexpr std::string_view last_head_byte = "63";
// Beyond this redis computes times that overflow 64 bits. 31,000 years.
constexpr std::int64_t max_lifetime = 1'000'000'000'000'000;

}  // namespace

std::int64_t redis_lifetime(Ttl ttl) noexcept {
  return std::min(ttl.value().count(), max_lifetime);
}

void compose_put(CommandBuffer& commands, const Item& item, PutMode mode, bool by_psetex) {
  const bool forever = item.ttl.is_forever();
  if (by_psetex) {
    // SET with PX does the same, but takes the server a tenth longer to parse.
    commands.begin("*4\r\n$6\r\nPSETEX\r\n");
    commands.word(item.key);
    commands.number(redis_lifetime(item.ttl));
    commands.word(item.value);
    return;
  }
  if (mode == PutMode::always) {
    commands.begin(forever ? "*3\r\n$3\r\nSET\r\n" : "*5\r\n$3\r\nSET\r\n");
  } else {
    commands.begin(forever ? "*4\r\n$3\r\nSET\r\n" : "*6\r\n$3\r\nSET\r\n");
  }
  commands.word(item.key);
  commands.word(item.value);
  if (!forever) {
    commands.word("PX");
    commands.number(redis_lifetime(item.ttl));
  }
  if (mode != PutMode::always) commands.word(mode == PutMode::if_absent ? "NX" : "XX");
}

void compose_type_check(CommandBuffer& commands, std::string_view key) {
  commands.begin("*4\r\n$8\r\nGETRANGE\r\n");
  commands.word(key);
  commands.word("0");
  commands.word("0");
}

void compose_head(CommandBuffer& commands, std::string_view key) {
  commands.begin("*4\r\n$8\r\nGETRANGE\r\n");
  commands.word(key);
  commands.word("0");
  commands.word(last_head_byte);
}

}  // namespace polycache::redis
