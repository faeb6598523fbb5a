// What the store has of a page, and the keys of pages.
//
// The entry under a URL's own key is the page of the request that came first. If it has a Vary, the
// entry also says under which names the pages of other requests are found: their keys are made of
// the URL, the entry's epoch, and what the request has in these fields. An epoch is a random
// number; a new entry has a new one, so that erasing the entry of the URL makes all its pages
// unreachable. Whatever key a page came from, matches() decides whether a request gets it.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "page_rules.h"
#include "polycache/codec_binary.h"
#include "polycache/page_cache.h"

namespace polycache::detail::pages {

struct StoredPage {
  bool is_page = false;            // else it has only names and epoch
  std::vector<std::string> vary;   // of this answer
  std::string values;              // a digest of what the request had in these fields
  std::vector<std::string> names;  // for the keys of other pages; contains `vary`
  std::uint64_t epoch = 0;
  Moment created;
  std::chrono::seconds age{0};  // that it had then
  // When it must not be served any more, even where stale pages are. Empty: it may.
  std::optional<Moment> stale_from;
  int status = 0;
  std::vector<PageHeaders::Field> headers;
  std::string body;

  // Whether a request may get this page, as far as its Vary says.
  bool matches(const PageRequest& request) const;
};

// REQUIRES: life_of(answer) is `life`
StoredPage make_page(const PageRequest& request, const PageAnswer& answer, const Life& life,
                     Moment now);
// With its age.
PageAnswer answer_of(const PageRequest& request, StoredPage page, Moment now);

std::uint64_t new_epoch();
// Both sorted, each once.
std::vector<std::string> union_of(const std::vector<std::string>& a,
                                  const std::vector<std::string>& b);
bool has_all(const std::vector<std::string>& names, const std::vector<std::string>& of);

// Beginning with `head`, then ':' and 64 digits.
std::string url_key(std::string_view head, const PageRequest& request);
std::string variant_key(std::string_view head, const PageRequest& request, const StoredPage& page);
std::string hashed_key(std::string_view head, std::string_view text);

}  // namespace polycache::detail::pages

template <>
struct polycache::Codec<polycache::detail::pages::StoredPage>
    : polycache::BinaryCodec<polycache::detail::pages::StoredPage> {};
