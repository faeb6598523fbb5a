#include "stored_page.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/detail/digest.h"

namespace polycache::detail::pages {

namespace {

// With its length in front, so that no bytes of one part can be taken for those of the next.
void add_part(std::string& text, std::string_view part) {
  text.append(std::to_string(part.size())).append(1, ':').append(part);
}

// RFC 9110, 4.2.3: in lower case, without the scheme's own port. What follows the last colon of an
// IPv6 address is no port.
std::string host_of(const std::string& scheme, const PageRequest& request) {
  std::string host = lower(request.host);
  const std::size_t colon = host.rfind(':');
  const bool has_port =
      colon != std::string::npos && (host.find(':') == colon || host[colon - 1] == ']');
  if (!has_port) return host;
  const std::string_view port = std::string_view(host).substr(colon + 1);
  const bool is_own = (scheme == "http" && port == "80") || (scheme == "https" && port == "443");
  if (is_own || port.empty()) host.resize(colon);
  return host;
}

void add_url(std::string& text, const PageRequest& request) {
  const std::string scheme = lower(request.scheme);
  add_part(text, scheme);
  add_part(text, host_of(scheme, request));
  add_part(text, request.path.empty() ? "/" : request.path);
  add_part(text, request.query);
}

// A field that is absent differs from one that is empty.
void add_values(std::string& text, const std::vector<std::string>& names,
                const PageRequest& request) {
  for (const std::string& name : names) {
    add_part(text, name);
    const auto values = request.headers.all(name);
    add_part(text, std::to_string(values.size()));
    for (const std::string_view value : values) add_part(text, value);
  }
}

// A digest, since such values may be secrets.
std::string values_of(const std::vector<std::string>& names, const PageRequest& request) {
  if (names.empty()) return {};
  std::string text;
  add_values(text, names, request);
  return sha256(text);
}

// RFC 9111, 3.1, and RFC 9110, 7.6.1.
void erase_fields_of_connection(PageHeaders& headers) {
  constexpr std::array<std::string_view, 9> fields{"Connection",
                                                   "Keep-Alive",
                                                   "Proxy-Connection",
                                                   "Proxy-Authenticate",
                                                   "TE",
                                                   "Transfer-Encoding",
                                                   "Proxy-Authentication-Info",
                                                   "Upgrade",
                                                   "Proxy-Authorization"};
  const std::vector<std::string> named = names_in(headers, "Connection");
  for (const std::string_view name : named) headers.erase(name);
  for (const std::string_view name : fields) headers.erase(name);
}

}  // namespace

bool StoredPage::matches(const PageRequest& request) const {
  return is_page && values == values_of(vary, request);
}

StoredPage make_page(const PageRequest& request, const PageAnswer& answer, const Life& life,
                     Moment now) {
  PageHeaders headers = answer.headers;
  headers.erase("Age");
  erase_fields_of_connection(headers);
  StoredPage page{.is_page = true,
                  .vary = names_in(answer.headers, "Vary"),
                  .values = {},
                  .names = {},
                  .epoch = 0,
                  .created = now,
                  .age = life.age,
                  .stale_from = {},
                  .status = answer.status,
                  .headers = headers.fields(),
                  .body = answer.body};
  page.values = values_of(page.vary, request);
  page.names = page.vary;
  const bool ends = !life.timeout.is_default() && !life.timeout.is_never();
  const Moment from = life.timeout.is_moment() ? Moment() : now;
  if (life.no_stale && ends) page.stale_from = from + life.timeout.value();
  return page;
}

PageAnswer answer_of(const PageRequest& request, StoredPage page, Moment now) {
  PageAnswer answer{.status = page.status,
                    .headers = PageHeaders(std::move(page.headers)),
                    .body = std::move(page.body),
                    .tags = {}};
  // The clocks of two machines may differ.
  const auto since = std::max(std::chrono::floor<std::chrono::seconds>(now - page.created),
                              std::chrono::seconds(0));
  answer.headers.set("Age", std::to_string((page.age + since).count()));
  if (request.method == "HEAD") {
    answer.headers.set("Content-Length", std::to_string(answer.body.size()));
  }
  return answer;
}

std::uint64_t new_epoch() {
  std::random_device random;  // no state that a forked child would share
  return std::uint64_t{random()} << 32U | random();
}

std::vector<std::string> union_of(const std::vector<std::string>& a,
                                  const std::vector<std::string>& b) {
  std::vector<std::string> all;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all));
  return all;
}

bool has_all(const std::vector<std::string>& names, const std::vector<std::string>& of) {
  return std::includes(names.begin(), names.end(), of.begin(), of.end());
}

std::string url_key(std::string_view head, const PageRequest& request) {
  std::string text = "url:";
  add_url(text, request);
  return hashed_key(head, text);
}

std::string variant_key(std::string_view head, const PageRequest& request, const StoredPage& page) {
  std::string text = "variant:";
  add_url(text, request);
  add_part(text, std::to_string(page.epoch));
  add_values(text, page.names, request);
  return hashed_key(head, text);
}

std::string hashed_key(std::string_view head, std::string_view text) {
  std::string key(head);
  key.append(1, ':').append(sha256(text));
  return key;
}

}  // namespace polycache::detail::pages
