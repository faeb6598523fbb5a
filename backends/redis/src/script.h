// Operations that redis has no single command for, as atomic scripts.

#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace polycache::redis {

struct Script {
  std::string_view text;
  std::array<char, 40> name;  // SHA-1 of the text, by which the server identifies it

  std::string_view sha1() const noexcept { return {name.data(), name.size()}; }
};

// KEYS[1], ARGV[1]: the delta. Returns the new value in digits, or nothing if there is no entry; an
// error that begins with no_counter_mark or overflow_mark if nothing could be added.
extern const Script incr_script;
inline constexpr std::string_view no_counter_mark = "NOCOUNTER";
inline constexpr std::string_view overflow_mark = "OVERFLOW";

// KEYS[1], ARGV[1]: expected, ARGV[2]: the new value, ARGV[3]: lifetime in milliseconds, 0
// for none, -1 to keep what it has. Answers 1 if it was put.
extern const Script put_if_equal_script;

// KEYS[1], ARGV[1]: expected. Answers 1 if it was erased.
extern const Script erase_if_equal_script;

// Locks (LockExtension). KEYS[1] is a hash with the field "fence", the last one, and a field for
// each token, "t:" and the token, with the time at which its lease ends, in milliseconds by the
// server's clock. It has no lifetime, so that policies which evict keys with one keep it.
//
// ARGV[1]: the token, ARGV[2]: the permits, ARGV[3]: the lease in milliseconds. Answers the fence;
// or, below 0, how long the first of the leases lasts.
extern const Script take_lock_script;
// ARGV[1]: the token, ARGV[2]: the lease. Answers 1 if it was renewed.
extern const Script renew_lock_script;
// KEYS[2]: the list from which those who wait receive a message; ARGV[1]: the token, ARGV[2]: the
// permits. Answers 1 if it was released.
extern const Script release_lock_script;

// A rate limit (LimitExtension), as rates::use() has it (rate.h), by the server's clock. KEYS[1] is
// a string, the state. ARGV[1]: the letter of the algorithm, ARGV[2]: the limit, ARGV[3]: the
// period in microseconds, ARGV[4]: the cost, ARGV[5]: the life of a state in milliseconds; ARGV[6]
// and ARGV[7]: of a bucket, period * cost / limit in whole microseconds, and the rest; ARGV[8]: the
// time in microseconds that counts if the server denies its own.
//
// Answers "1 " if it was allowed, else "0 ", then the time in microseconds, a blank, and the state
// before.
extern const Script use_limit_script;

// KEYS[1]: a list, ARGV[1]: how many of its values to move from its end to its start; if negative,
// the other way.
extern const Script rotate_script;
// Indexes (IndexExtension). KEYS[1] is a hash with the field "type" and, by insertion, "last", the
// last position; KEYS[2] is a sorted set of the keys, by key all with the score 0, by insertion
// with their positions; KEYS[3] is a hash of the values. None has a lifetime. ARGV[1] is the type;
// if the index has another one, they answer an error that begins with other_type_mark and that
// type.
inline constexpr std::string_view other_type_mark = "OTHERTYPE ";
// ARGV[2]: the key. Answers the value, or nothing.
extern const Script find_in_index_script;
// ARGV[2]: the key, ARGV[3]: the value, ARGV[4]: "always", "if_absent", "if_present", ARGV[5]: 1 by
// insertion. Answers 1 if the key is new, 2 if it was there, 0 if it is absent and should not be;
// or the value that is there and was kept.
extern const Script put_in_index_script;
// ARGV[2]: the key. Answers the value that was removed, or nothing.
extern const Script erase_from_index_script;
// ARGV[2]: "first" or "last". Answers key, value and position, or an empty array.
extern const Script take_from_index_script;
// ARGV[2]: the command, ARGV[3] and ARGV[4]: its limits, ARGV[5]: how many at most. Answers whether
// there are more, and key, value and position of each.
extern const Script list_index_script;
// Answers how many.
extern const Script count_index_script;
// Has no ARGV[1]. The same, of those that it removed.
extern const Script clear_index_script;

// KEYS[1]. Erases what is no string. Answers 1 if it did.
extern const Script erase_other_type_script;

}  // namespace polycache::redis
