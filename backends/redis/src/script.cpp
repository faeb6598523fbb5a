#include "script.h"

#include <bit>
#include <cstddef>

namespace polycache::redis {
namespace {

constexpr std::uint32_t byte_at(std::string_view text, std::size_t i) {
  return static_cast<unsigned char>(text[i]);
}

// One byte of the padded message.
constexpr std::uint32_t padded_byte(std::string_view text, std::size_t total, std::size_t i) {
  if (i < text.size()) return byte_at(text, i);
  if (i == text.size()) return 0x80;
  if (i + 8 < total) return 0;
  const std::uint64_t bits = std::uint64_t{text.size()} * 8;
  return static_cast<std::uint32_t>(bits >> (8 * (total - 1 - i))) & 0xff;
}

struct Sha1State {
  std::uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
};

constexpr void add_block(Sha1State& state, const std::array<std::uint32_t, 80>& w) {
  std::uint32_t a = state.h[0];
  std::uint32_t b = state.h[1];
  std::uint32_t c = state.h[2];
  std::uint32_t d = state.h[3];
  std::uint32_t e = state.h[4];
  for (std::size_t i = 0; i < 80; ++i) {
    std::uint32_t f = b ^ c ^ d;
    std::uint32_t k = 0xca62c1d6;
    if (i < 20) {
      f = (b & c) | (~b & d);
      k = 0x5a827999;
    } else if (i < 40) {
      k = 0x6ed9eba1;
    } else if (i < 60) {
      f = (b & c) | (b & d) | (c & d);
      k = 0x8f1bbcdc;
    }
    const std::uint32_t next = std::rotl(a, 5) + f + e + k + w[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  state.h[0] += a;
  state.h[1] += b;
  state.h[2] += c;
  state.h[3] += d;
  state.h[4] += e;
}

// At compile time, so that a script and its name cannot differ.
consteval std::array<char, 40> sha1_of(std::string_view text) {
  const std::size_t total = (text.size() + 9 + 63) / 64 * 64;
  Sha1State state;
  for (std::size_t block = 0; block < total; block += 64) {
    std::array<std::uint32_t, 80> w{};
    for (std::size_t i = 0; i < 64; ++i) {
      w[i / 4] = (w[i / 4] << 8) | padded_byte(text, total, block + i);
    }
    for (std::size_t i = 16; i < 80; ++i) {
      w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    add_block(state, w);
  }
  std::array<char, 40> hex{};
  for (std::size_t i = 0; i < 40; ++i) {
    hex[i] = "0123456789abcdef"[(state.h[i / 8] >> (28 - 4 * (i % 8))) & 0xf];
  }
  return hex;
}

consteval Script script(std::string_view text) { return {text, sha1_of(text)}; }

}  // namespace

// INCRBY alone would create an absent key. Lua's numbers are doubles, so the sum is returned as the
// stored digits.
constinit const Script incr_script = script(R"(
local value = redis.call('GET', KEYS[1])
if not value then return false end
if #value > 20 or not (value == '0' or string.match(value, '^%-?[1-9]%d*$')) then
  return redis.error_reply('NOCOUNTER')
end
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) ~= 'table' then return redis.call('GET', KEYS[1]) end
if string.find(sum.err, 'overflow', 1, true) then return redis.error_reply('OVERFLOW') end
if string.find(sum.err, 'not an integer', 1, true) then return redis.error_reply('NOCOUNTER') end
return sum
)");

// KEEPTTL exists since redis 6.0.
constinit const Script put_if_equal_script = script(R"(
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
elseif ARGV[3] ~= '-1' then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
else
  local left = redis.call('PTTL', KEYS[1])
  local done = redis.pcall('SET', KEYS[1], ARGV[2], 'KEEPTTL')
  if done.err and string.find(done.err, 'syntax', 1, true) then
    redis.call('SET', KEYS[1], ARGV[2])
    if left > 0 then redis.call('PEXPIRE', KEYS[1], left) end
  elseif done.err then
    return done
  end
end
return 1
)");

constinit const Script erase_if_equal_script = script(R"(
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
)");

// Before redis 5, a script that asks for the time may write only if its effects are replicated.
// Numbers are formatted, since Lua would write large ones with an exponent. A lease counts from the
// end of the current millisecond.
constinit const Script take_lock_script = script(R"(
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HGETALL', KEYS[1])
local own = 't:' .. ARGV[1]
local others, first, mine, fence = 0, nil, false, false
for i = 1, #held, 2 do
  local ends = tonumber(held[i + 1])
  if held[i] == 'fence' then
    fence = true
  elseif held[i] == own then
    mine = ends > now
  elseif ends <= now then
    redis.call('HDEL', KEYS[1], held[i])
  else
    others = others + 1
    if not first or ends < first then first = ends end
  end
end
if not mine and others >= tonumber(ARGV[2]) then return now - first end
redis.call('HSET', KEYS[1], own, string.format('%.0f', now + 1 + ARGV[3]))
if not fence then
  redis.call('HSET', KEYS[1], 'fence', string.format('%.0f', time[1] * 1000000 + time[2]))
end
return redis.call('HINCRBY', KEYS[1], 'fence', 1)
)");

constinit const Script renew_lock_script = script(R"(
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('HGET', KEYS[1], 't:' .. ARGV[1])
if not ends or tonumber(ends) <= now then return 0 end
redis.call('HSET', KEYS[1], 't:' .. ARGV[1], string.format('%.0f', now + 1 + ARGV[2]))
return 1
)");

// A message without a waiting session makes the next one that waits look once more than necessary.
constinit const Script release_lock_script = script(R"(
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('HGET', KEYS[1], 't:' .. ARGV[1])
if not ends then return 0 end
redis.call('HDEL', KEYS[1], 't:' .. ARGV[1])
if redis.call('LLEN', KEYS[2]) < tonumber(ARGV[2]) then redis.call('RPUSH', KEYS[2], '1') end
redis.call('PEXPIRE', KEYS[2], 10000)
if tonumber(ends) <= now then return 0 end
return 1
)");

// Lua's numbers are doubles, so all of them stay below 2^53: nothing is multiplied. The product of
// a count and a time is compared by its two fractions, of which each step compares the whole parts
// and goes on with the inverse of the rests.
constinit const Script use_limit_script = script(R"(
if redis.replicate_commands then redis.replicate_commands() end
local time = redis.pcall('TIME')
local now = time.err and tonumber(ARGV[8]) or time[1] * 1000000 + time[2]
local before = redis.call('GET', KEYS[1]) or ''
local limit, period, cost = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function numbers(pattern)
  local found = {string.match(before, pattern)}
  if not found[1] then return nil end
  for i = 1, #found do
    found[i] = tonumber(found[i])
    if found[i] >= 9007199254740992 then return nil end
  end
  return found
end
local function at_most(a, b, c, d)
  while true do
    if b == 0 or d == 0 then return d == 0 or a == 0 end
    local left, right = math.floor(a / b), math.floor(c / d)
    if left ~= right then return left < right end
    a, b, c, d = d, c - right * d, b, a - left * b
  end
end
local allowed, after
if ARGV[1] == 'b' then
  local used, rest = 0, 0
  local state = numbers('^b (%d+) (%d+)$')
  if state and state[1] >= now then
    used, rest = state[1] - now, math.min(state[2], limit - 1)
    if used >= period then used, rest = period, 0 end
  end
  used, rest = used + ARGV[6], rest + ARGV[7]
  if rest >= limit then used, rest = used + 1, rest - limit end
  allowed = used < period or (used == period and rest == 0)
  after = string.format('b %.0f %.0f', now + used, rest)
elseif ARGV[1] == 'f' then
  local begin, used = now, 0
  local state = numbers('^f (%d+) (%d+)$')
  if state and now < state[1] + period and state[1] < now + period then
    begin, used = state[1], math.min(state[2], limit)
  end
  allowed = used + cost <= limit
  after = string.format('f %.0f %.0f', begin, used + cost)
else
  local begin, past, used = now - now % period, 0, 0
  local state = numbers('^s (%d+) (%d+) (%d+)$')
  if state and state[1] >= begin and state[1] <= begin + period then
    past, used = math.min(state[2], limit), math.min(state[3], limit)
  elseif state and state[1] == begin - period then
    past = math.min(state[3], limit)
  end
  local room = limit - used - cost
  allowed = room >= 0 and at_most(past, room, period, period - (now - begin))
  after = string.format('s %.0f %.0f %.0f', begin, past, used + cost)
end
if allowed and cost > 0 then redis.call('SET', KEYS[1], after, 'PX', ARGV[5]) end
return (allowed and '1 ' or '0 ') .. string.format('%.0f ', now) .. before
)");

// The shorter way round. fmod is exact, while Lua's own operator rounds a quotient.
constinit const Script rotate_script = script(R"(
local count = redis.call('LLEN', KEYS[1])
if count < 2 then return 0 end
local steps = math.fmod(tonumber(ARGV[1]), count)
if steps < 0 then steps = steps + count end
if steps <= count / 2 then
  for i = 1, steps do redis.call('RPOPLPUSH', KEYS[1], KEYS[1]) end
else
  for i = 1, count - steps do redis.call('RPUSH', KEYS[1], redis.call('LPOP', KEYS[1])) end
end
return steps
)");

// Text that each script of an index begins with.
#define POLYCACHE_INDEX_SCRIPT(text)                     \
  "\nlocal held = redis.call('HGET', KEYS[1], 'type')\n" \
  "if held and held ~= ARGV[1] then return redis.error_reply('OTHERTYPE ' .. held) end" text

constinit const Script find_in_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
return redis.call('HGET', KEYS[3], ARGV[2])
)"));

constinit const Script put_in_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then
  if ARGV[4] == 'if_absent' then return redis.call('HGET', KEYS[3], ARGV[2]) end
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  return 2
end
if ARGV[4] == 'if_present' then return 0 end
if not held then redis.call('HSET', KEYS[1], 'type', ARGV[1]) end
local position = 0
if ARGV[5] == '1' then position = redis.call('HINCRBY', KEYS[1], 'last', 1) end
redis.call('ZADD', KEYS[2], position, ARGV[2])
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
return 1
)"));

constinit const Script erase_from_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
local value = redis.call('HGET', KEYS[3], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('ZREM', KEYS[2], ARGV[2])
return value
)"));

// A server that evicts may have removed the values alone: a key without a value is no item.
constinit const Script take_from_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
local command = 'ZRANGE'
if ARGV[2] == 'last' then command = 'ZREVRANGE' end
while true do
  local item = redis.call(command, KEYS[2], 0, 0, 'WITHSCORES')
  if not item[1] then return {} end
  local value = redis.call('HGET', KEYS[3], item[1])
  redis.call('ZREM', KEYS[2], item[1])
  redis.call('HDEL', KEYS[3], item[1])
  if value then return {item[1], value, item[2]} end
end
)"));

constinit const Script list_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
local most = tonumber(ARGV[5])
local by_key = string.find(ARGV[2], 'BYLEX', 1, true)
local found
if by_key then
  found = redis.call(ARGV[2], KEYS[2], ARGV[3], ARGV[4], 'LIMIT', 0, most + 1)
else
  found = redis.call(ARGV[2], KEYS[2], ARGV[3], ARGV[4], 'WITHSCORES', 'LIMIT', 0, most + 1)
end
local step = by_key and 1 or 2
local answer = {#found > most * step and '1' or '0'}
for i = 1, math.min(#found, most * step), step do
  local value = redis.call('HGET', KEYS[3], found[i])
  if value then
    answer[#answer + 1] = found[i]
    answer[#answer + 1] = value
    answer[#answer + 1] = by_key and '0' or found[i + 1]
  end
end
return answer
)"));

constinit const Script count_index_script = script(POLYCACHE_INDEX_SCRIPT(R"(
return redis.call('HLEN', KEYS[3])
)"));

#undef POLYCACHE_INDEX_SCRIPT

constinit const Script clear_index_script = script(R"(
local count = redis.call('HLEN', KEYS[3])
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return count
)");

// GETRANGE of an absent key returns an empty string.
constinit const Script erase_other_type_script = script(R"(
local first = redis.pcall('GETRANGE', KEYS[1], 0, 0)
if type(first) ~= 'table' then return 0 end
if not string.find(first.err, 'WRONGTYPE', 1, true) then return first end
return redis.call('DEL', KEYS[1])
)");

}  // namespace polycache::redis
