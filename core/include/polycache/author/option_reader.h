// How a plugin reads its part of the configuration.
//
//   explicit Options(const OptionReader& reader)
//       : limit(reader.integer("max_entries", 0, 0)),
//         wait(reader.duration("busy_timeout", 5s)) {}
//
// A problem does not stop the reading: it is recorded, the fallback is returned, and all problems
// of the configuration are thrown together at the end:
//
//   caches.json:12: caches.default.options.max_entries: expected an integer, got "lots"
//
// An option that is never read is unknown. After a plugin's create function the core calls
// reject_unread(), so that a typing error in the file is reported:
//
//   caches.json:12: caches.default.options.max_entires: unknown option; did you mean "max_entries"?

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "polycache/detail/export.h"

namespace polycache {

using OptionValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;
using OptionMap = std::map<std::string, OptionValue, std::less<>>;

// Not thread-safe; lives only during a create function.
class POLYCACHE_API OptionReader {
 public:
  // Receives each problem: the member's full name ("caches.default.options.max_entries") and a
  // description.
  using ProblemHandler = std::function<void(std::string_view member, std::string_view problem)>;

  // `path` ("caches.default") is for messages; an option's full name is path + infix + name.
  // `location` and `options` must outlive the reader. Without a handler, the first problem is
  // thrown as a ConfigError.
  OptionReader(std::string path, const std::vector<std::string>& location, const OptionMap& options,
               ProblemHandler on_problem = {}, std::string_view infix = ".options.");

  // Keeps the values of these options out of messages. Names that suggest a password, secret, token
  // or user are always kept out.
  void hide(std::set<std::string, std::less<>> names) { hidden_ = std::move(names); }
  bool is_hidden(std::string_view name) const;

  const std::vector<std::string>& location() const noexcept { return location_; }

  bool has(std::string_view name) const noexcept;

  // Each returns the option's value, or `fallback` if it is absent or wrong: of another type, or
  // outside [min, max]. Booleans and numbers may be in a string ("true", "300"), as ${...} and
  // command lines produce them.
  bool boolean(std::string_view name, bool fallback) const;
  std::int64_t integer(std::string_view name, std::int64_t fallback,
                       std::int64_t min = std::numeric_limits<std::int64_t>::min(),
                       std::int64_t max = std::numeric_limits<std::int64_t>::max()) const;
  double number(std::string_view name, double fallback) const;
  std::string string(std::string_view name, std::string_view fallback) const;
  std::vector<std::string> strings(std::string_view name) const;  // one string is a list of one

  // "250ms", "5s", "1h30m", or a number of seconds. Rounded up to milliseconds.
  std::chrono::milliseconds duration(
      std::string_view name, std::chrono::milliseconds fallback,
      std::chrono::milliseconds min = std::chrono::milliseconds(1)) const;

  // "64MiB", "10kB", or a number of bytes.
  std::int64_t bytes(std::string_view name, std::int64_t fallback, std::int64_t min = 0) const;

  // One of a few words.
  std::string choice(std::string_view name, std::initializer_list<std::string_view> words,
                     std::string_view fallback) const;

  // Records a problem that the plugin found, with an option of that name or with the location.
  void reject(std::string_view name, std::string_view problem) const;
  void reject_location(std::string_view problem) const;

  // For the core, after create().
  void reject_unread() const;

  // Full name of an option, for the plugin's own messages.
  std::string member(std::string_view name) const;

 private:
  const OptionValue* find(std::string_view name) const;  // marks it as read
  void expected(std::string_view name, std::string_view what, const OptionValue& got) const;
  void report(std::string_view member, std::string_view problem) const;

  std::string path_;
  std::string infix_;
  const std::vector<std::string>& location_;
  const OptionMap& options_;
  ProblemHandler on_problem_;
  std::set<std::string, std::less<>> hidden_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace polycache
