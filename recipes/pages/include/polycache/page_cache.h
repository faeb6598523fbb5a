// Whole answers of HTTP handlers, kept in a cache. Knows no HTTP library.
//
//   const polycache::PageCache pages;
//   polycache::PageAnswer answer = pages.answer(
//       {.scheme = "https", .host = "example.org", .path = "/news", .headers = received},
//       [&] { return news(database); });  // a PageAnswer; called if there is no page
//
// A page is found by scheme, host, path, query, and what the request has in the fields that the
// page's Vary names. Nothing else of a request belongs to it: a handler whose answer depends on a
// cookie says "Vary: Cookie", or "Cache-Control: private". Case matters in path and query, and so
// does the order within the query. Section numbers are those of RFC 9111 unless RFC 9110 is named.
//
//   requests   GET and HEAD. One with Authorization (3.5), Range (3.3), or Cache-Control: no-store
//              (5.2.1.5), or with a body, which is no part of a page's key, goes to the handler: no
//              page is read or stored for it. Other directives of a request are ignored, as a cache
//              in front of its own origin may, so that clients cannot make it compute. HEAD is
//              answered from GET's page, without the body (RFC 9110, 9.3.2); if there is none, the
//              handler is called and nothing is stored.
//   methods    All others call the handler. If the method is not safe (RFC 9110, 9.2.1) and the
//              status is 2xx or 3xx, all pages of the URL are erased afterwards (4.4). Pages of
//              other URLs stay, also those of Location: use tags for these.
//   answers    Stored with status 200, 203, 301, 404, 410, unless there is a Set-Cookie, a Vary: *
//              (4.1) or of what is no name, or Cache-Control: no-store, private, no-cache (5.2.2;
//              also those that name fields), or a max-age that is no number.
//   lifetime   s-maxage, else max-age, else Expires (4.2.1), else PageCacheOptions::timeout; less
//              the answer's age by its Age or Date (4.2.3), unless the timeout is a moment. Zero or
//              less: not stored. Pages from the cache have an Age (5.1). Fields of the connection,
//              and those that it names, are not stored (3.1).
//   Vary       4.1: a page is given to a request only if all fields that the page names are the
//              same as in the request that made it, byte by byte, absent ones included. Answers of
//              one URL may name different fields.
//   ETag       The handler's, else a strong one from the SHA-256 of the body (RFC 9110, 8.8.3), for
//              200 and 203. If-None-Match is compared weakly (13.1.2) and gives a 304 with the
//              fields of RFC 9110, 15.4.5, and Set-Cookie: from the cache and from the handler.
//              Handlers leave conditions to the cache: their own 304 is passed on, not stored.
//
// One computation: of the requests of this process for one absent page, one calls its handler, the
// others wait for the page, at most 30 s; PageCacheOptions::lease extends this to all processes.
// While no page of the URL is known, requests wait for the first answer whatever their fields
// are. An answer that may not be stored is never given to another request, and neither is an
// exception: the waiting requests then call their own handlers at once, at the same time. After
// such an answer, requests of this URL do not wait for each other for PageCacheOptions::no_wait, or
// until one of them has an answer that may be stored; the request after that computes the page.
//
// A failing store: what "on_error" of the alias says. With "miss", the handler is called, and its
// answer is returned. With "throw", BackendError reaches the caller, but never after a method that
// is not safe: pages then stay until their time is over. What a handler throws reaches its own
// caller, unless a stale page may be served (stale_if_error).
//
// Thread-safe, if it is made with an alias; one that is made with a Cache belongs to that cache's
// thread. Must not be used after its registry has ended.

#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "polycache/author/function_ref.h"
#include "polycache/cache.h"
#include "polycache/cache_handle.h"
#include "polycache/key.h"
#include "polycache/load.h"
#include "polycache/load_options.h"
#include "polycache/options.h"
#include "polycache/page_headers.h"

namespace polycache {

struct PageRequest {
  std::string method = "GET";   // as received: methods have case
  std::string scheme = "http";  // case does not matter
  std::string host = {};        // as received; case, and the scheme's own port, do not matter
  std::string path = "/";       // an empty one is "/"
  std::string query = {};       // without '?'
  PageHeaders headers = {};
};

struct PageAnswer {
  int status = 200;
  PageHeaders headers = {};
  std::string body = {};
  // Cache::erase_tag() of one of them removes the page (tags.h). They are read after the handler
  // has returned: a handler that reads data which may change meanwhile uses PageTags. Answers from
  // the cache have none.
  std::vector<std::string> tags = {};
};

// For handlers that take one: pages.answer(request, [&](PageTags& tags) { ... }).
class PageTags {
 public:
  PageTags(const PageTags&) = delete;
  PageTags& operator=(const PageTags&) = delete;

  // Adds a tag to the page, if there will be one. Call it before you read what the tag stands for:
  // if the tag is erased from then on, the page counts as absent. Throws as Load::tag().
  void add(KeyView tag) {
    if (load_ != nullptr) load_->tag(tag);
  }

 private:
  friend class PageCache;
  explicit PageTags(Load* load) noexcept : load_(load) {}

  Load* load_;
};

struct PageCacheOptions {
  std::string cache = "default";              // the alias
  CacheRegistry* registry = nullptr;          // [that of polycache::caches]
  Timeout timeout = std::chrono::minutes(1);  // of answers that say nothing about their lifetime
  int version = 1;           // of all pages and fragments; another one has other keys
  bool record_tags = false;  // pages get the tags of every entry that the handler reads (tags.h)
  // As in LoadOptions (load_options.h). Handlers run where answer() was called. A refresh is
  // computed by one request while the others read on.
  Age refresh_after = {};
  // A stale page is served if the handler throws or answers 500, 502, 503 or 504 (RFC 5861, 4),
  // unless the page has must-revalidate, proxy-revalidate or s-maxage (4.2.4).
  Span stale_if_error = {};
  Span throttle = {};
  Age jitter = {};
  Span lease = {};
  // How long requests do not wait for each other after an answer that may not be stored.
  std::chrono::milliseconds no_wait{10'000};
};

// Which fragment: a name, and what it depends on, as for polycache::key().
class FragmentKey {
 public:
  // pages.fragment({"sidebar", user.id, language}, ...). Throws InvalidKey for a null pointer.
  template <detail::KeyText Name, class... Parts>
  FragmentKey(const Name& name, const Parts&... parts)  // NOLINT: implicit by design
      : text_(polycache::key(KeyView(name), parts...)) {
    add_part(name);
    (add_part(parts), ...);
  }

  // For messages: "sidebar:42:en".
  const std::string& text() const noexcept { return text_; }

 private:
  friend class PageCache;
  // A name may have a colon: only the lengths tell where it ends.
  template <class Part>
  void add_part(const Part& part) {
    const std::size_t begin = parts_.size();
    detail::append_key_part_of(parts_, part);
    parts_.append(1, ' ').append(std::to_string(parts_.size() - begin)).append(1, '\n');
  }

  std::string text_;
  std::string parts_;
};

// Handlers: PageAnswer f() or PageAnswer f(PageTags&).
template <class F>
concept PageHandler =
    std::is_invocable_r_v<PageAnswer, F&> || std::is_invocable_r_v<PageAnswer, F&, PageTags&>;

class PageCache {
 public:
  // Does not look at the store, nor at the configuration.
  explicit PageCache(const PageCacheOptions& options = {});
  // `options.cache` and `options.registry` do not matter.
  explicit PageCache(Cache& cache, PageCacheOptions options = {});

  // Returns the page, or what the handler answers. The handler is called at most once, before this
  // returns. If it has no ETag, a computed one is added. Throws what the handler throws;
  // ConfigError if there is no such alias; ValueError for a tag that a write would refuse;
  // CacheError if the handler asks for its own page.
  template <PageHandler F>
  PageAnswer answer(const PageRequest& request, F&& handler) const {
    return answer_by(request, [&](PageTags& tags) -> PageAnswer {
      if constexpr (std::is_invocable_r_v<PageAnswer, F&, PageTags&>) {
        return std::invoke(handler, tags);
      } else {
        return std::invoke(handler);
      }
    });
  }

  // Removes all pages of a URL: pages.erase({.host = "example.org", .path = "/news"}). Only scheme,
  // host, path and query matter. Computations of this process that run now are not stored; those of
  // other processes may be, unless `lease` is given. Returns whether there was one. Throws
  // BackendError if the store fails, whatever "on_error" is.
  bool erase(const PageRequest& url) const;

  // A part of a page, as text, with a key of its own:
  //
  //   std::string html = pages.fragment({"sidebar", user.id}, [&] { return sidebar(user); },
  //                                     {.timeout = 5min, .tags = {"posts"}});
  //
  // `f` and `options` are those of Cache::get_or_set(), and so are the result (an optional, if f
  // says that there is no such thing) and what is thrown. A timeout that is not given is that of
  // PageCacheOptions. With record_tags, a page has the tags of its fragments.
  template <class F>
  auto fragment(const FragmentKey& fragment, F&& f, LoadOptions options = {}) const {
    if (options.timeout.is_default()) options.timeout = options_.timeout;
    return cache().get_or_set<std::string>(fragment_key(fragment), std::forward<F>(f), options);
  }

  // Removes a fragment. Returns whether there was one. Throws as erase().
  bool erase_fragment(const FragmentKey& fragment) const;

  // The key of a fragment in the cache.
  std::string fragment_key(const FragmentKey& fragment) const;
  // For messages and tests: under which key the page of a URL begins.
  std::string key(const PageRequest& url) const;

 private:
  class Call;
  class Answering;

  PageAnswer answer_by(const PageRequest& request,
                       FunctionRef<PageAnswer(PageTags&)> handler) const;
  PageAnswer head(const PageRequest& request, Call& call) const;
  // Throws ConfigError if there is no such alias.
  Cache& cache() const { return cache_.get(); }
  PageCache(CacheHandle cache, PageCacheOptions options);
  LoadOptions load_options() const;
  std::string page_head() const { return "page" + version_; }

  PageCacheOptions options_;
  CacheHandle cache_;
  std::string version_;  // "@1"
};

}  // namespace polycache
