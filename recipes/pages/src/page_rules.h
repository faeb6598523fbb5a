// What RFC 9110 and RFC 9111 say about one request and one answer. No cache, no store.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/options.h"
#include "polycache/page_cache.h"

namespace polycache::detail::pages {

using Moment = std::chrono::sys_time<std::chrono::milliseconds>;

// ASCII only, whatever the locale is.
std::string lower(std::string_view text);
bool equal_names(std::string_view a, std::string_view b) noexcept;

// Of a Cache-Control (RFC 9111, 5.2). Of a directive that occurs twice, the first counts.
struct Directives {
  bool no_store = false;
  bool no_cache = false;  // also one that names fields
  bool is_private = false;
  bool no_stale = false;  // must-revalidate, proxy-revalidate, s-maxage
  bool is_wrong = false;  // a number that is none
  std::optional<std::chrono::seconds> max_age;
  std::optional<std::chrono::seconds> s_maxage;
};
Directives directives_of(const PageHeaders& headers);

// Whether no page is read or stored for such a request.
bool bypasses(const PageRequest& request);
// RFC 9110, 9.2.1: a method that is not known is not safe.
bool is_safe(std::string_view method) noexcept;

// The names that a field such as Vary lists: lower case, sorted, each once. "*" is one of them.
std::vector<std::string> names_in(const PageHeaders& headers, std::string_view field);

// How long an answer may be served.
struct Life {
  Timeout timeout;
  std::chrono::seconds age{0};  // that it had when it came
  bool no_stale = false;
};
// Empty if it must not be stored. `timeout`: of an answer that says nothing about it.
std::optional<Life> life_of(const PageAnswer& answer, const Timeout& timeout, Moment now);

// RFC 5861, 4.
bool is_server_error(int status) noexcept;

// Adds an ETag if there is none and the answer has one status that validators are for.
void add_etag(PageAnswer& answer);

// What the client gets for a GET or HEAD: the answer, its head, or a 304 without body.
PageAnswer finished(const PageRequest& request, PageAnswer answer);

}  // namespace polycache::detail::pages
