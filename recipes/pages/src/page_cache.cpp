#include "polycache/page_cache.h"

#include <cxxabi.h>

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "page_rules.h"
#include "polycache/author/clock.h"
#include "polycache/entry.h"
#include "polycache/error.h"
#include "stored_page.h"

namespace polycache {

using detail::pages::Life;
using detail::pages::Moment;
using detail::pages::StoredPage;

// The handler of one request, which is called once however many pages are looked for.
class PageCache::Call {
 public:
  explicit Call(FunctionRef<PageAnswer(PageTags&)> handler) noexcept : handler_(handler) {}

  bool has_run() const noexcept { return answer_ || error_; }
  bool has_answer() const noexcept { return answer_.has_value(); }

  // `load`: what stores the answer; null if it is not stored.
  const PageAnswer& run(Load* load) {
    if (error_) std::rethrow_exception(error_);
    if (!answer_) {
      try {
        PageTags tags(load);
        answer_ = handler_(tags);
      } catch (const abi::__forced_unwind&) {  // pthread_cancel: not ours to stop
        throw;
      } catch (...) {
        error_ = std::current_exception();
        throw;
      }
    }
    return *answer_;
  }
  void add_etag() { detail::pages::add_etag(*answer_); }
  PageAnswer take() {
    run(nullptr);
    return std::move(*answer_);
  }

 private:
  FunctionRef<PageAnswer(PageTags&)> handler_;
  std::optional<PageAnswer> answer_;
  std::exception_ptr error_;
};

// One GET.
class PageCache::Answering {
 public:
  Answering(const PageCache& pages, const PageRequest& request, Call& call)
      : pages_(pages),
        request_(request),
        call_(call),
        cache_(pages.cache()),
        options_(pages.load_options()),
        url_key_(detail::pages::url_key(pages.page_head(), request)) {}

  PageAnswer run() {
    std::optional<StoredPage> page = load(url_key_, nullptr);
    if (!page) return uncached(url_key_);
    if (!is_usable(*page)) {
      const std::string key = detail::pages::variant_key(pages_.page_head(), request_, *page);
      const StoredPage first = std::move(*page);
      page = load(key, &first);
      if (!page) return uncached(key);
    }
    const bool is_ours = call_.has_answer() && !is_given_up_;
    if (is_ours || !is_usable(*page)) return finished(call_.take());
    return finished(detail::pages::answer_of(request_, std::move(*page), now()));
  }

 private:
  Moment now() const {
    return std::chrono::floor<std::chrono::milliseconds>(cache_.clock().system_now());
  }
  PageAnswer finished(PageAnswer answer) const {
    return detail::pages::finished(request_, std::move(answer));
  }
  bool is_usable(const StoredPage& page) const {
    return page.matches(request_) && (!page.stale_from || now() < *page.stale_from);
  }

  // Empty if there is no page that could be shared: the answer is that of this request's handler.
  // `first`: the entry of the URL, if the key is that of another page.
  std::optional<StoredPage> load(const std::string& key, const StoredPage* first) {
    try {
      return cache_.get_or_set<StoredPage>(
          key, [&](Load& load) { return compute(load, first); }, options_);
    } catch (const LoadFailed&) {  // an error of the server's, and no stale page is accepted
      if (!call_.has_answer()) throw;
      is_given_up_ = false;
      return std::nullopt;
    }
  }

  // Returns nothing for an answer that may not be stored. It stays in this request's call; what
  // this returns is all that other requests can get.
  Loaded<StoredPage> compute(Load& load, const StoredPage* first) {
    const bool is_first_run = !call_.has_run();
    try {
      call_.run(&load);
    } catch (const abi::__forced_unwind&) {
      throw;
    } catch (...) {
      if (load.has_stale()) throw;  // the stale page may serve
      return unknown(load);         // uncached() throws it
    }
    call_.add_etag();
    const PageAnswer& answer = call_.run(&load);
    if (detail::pages::is_server_error(answer.status) && load.has_stale()) {
      is_given_up_ = true;
      return load.fail("the handler answered " + std::to_string(answer.status));
    }
    const auto life = detail::pages::life_of(answer, pages_.options_.timeout, now());
    if (!life) {
      constexpr int not_modified = 304;  // says nothing about the page
      return answer.status == not_modified ? unknown(load) : Loaded<StoredPage>(std::nullopt);
    }
    // The tags of an earlier run have been read for another entry.
    if (!is_first_run) load.do_not_store();
    return place(load, detail::pages::make_page(request_, answer, *life, now()), *life, first);
  }

  // Without a mark that requests need not wait.
  static Loaded<StoredPage> unknown(Load& load) {
    load.timeout(std::chrono::milliseconds(0));
    return std::nullopt;
  }

  Loaded<StoredPage> place(Load& load, StoredPage page, const Life& life, const StoredPage* first) {
    if (first != nullptr) {
      if (!detail::pages::has_all(first->names, page.vary)) {
        load.do_not_store();  // its key lacks a field
        widen(page, life, *first);
      }
    } else if (const auto old = load.stale<StoredPage>()) {
      page.epoch = old->epoch;  // the pages of other requests stay
      page.names = detail::pages::union_of(page.names, old->names);
    } else {
      page.epoch = detail::pages::new_epoch();
    }
    load.timeout(life.timeout);
    for (const std::string& tag : call_.run(&load).tags) load.tag(tag);
    return page;
  }

  // From now on, keys have the fields of this page, too. Later requests compute their pages anew.
  void widen(const StoredPage& page, const Life& life, const StoredPage& first) {
    StoredPage wider;
    wider.names = detail::pages::union_of(page.vary, first.names);
    wider.epoch = detail::pages::new_epoch();
    cache_.set(url_key_, wider, {.timeout = life.timeout});
  }

  PageAnswer uncached(const std::string& key) {
    const bool has_waited = !call_.has_run();
    call_.run(nullptr);
    call_.add_etag();
    const auto life = detail::pages::life_of(call_.run(nullptr), pages_.options_.timeout, now());
    // Then the next request may compute it. Not this one, whose tags were not read in time.
    if (has_waited && life && cache_.get_entry<StoredPage>(key).status == EntryStatus::negative) {
      try {
        cache_.erase(key);
      } catch (const BackendError&) {  // the mark ends by itself
      }
    }
    return finished(call_.take());
  }

  const PageCache& pages_;
  const PageRequest& request_;
  Call& call_;
  Cache& cache_;
  const LoadOptions options_;
  const std::string url_key_;
  bool is_given_up_ = false;  // an error of the server's, in whose place a stale page is served
};

PageCache::PageCache(CacheHandle cache, PageCacheOptions options)
    : options_(std::move(options)),
      cache_(std::move(cache)),
      version_("@" + std::to_string(options_.version)) {}

PageCache::PageCache(const PageCacheOptions& options)
    : PageCache(CacheHandle(options.cache, options.registry), options) {}

PageCache::PageCache(Cache& cache, PageCacheOptions options)
    : PageCache(CacheHandle(cache), std::move(options)) {}

LoadOptions PageCache::load_options() const {
  return {.timeout = options_.timeout,
          .record_tags = options_.record_tags,
          .refresh_after = options_.refresh_after,
          .stale_if_error = options_.stale_if_error,
          .throttle = options_.throttle,
          .jitter = options_.jitter,
          .negative_timeout = options_.no_wait,
          .lease = options_.lease};
}

std::string PageCache::key(const PageRequest& url) const {
  return detail::pages::url_key(page_head(), url);
}

std::string PageCache::fragment_key(const FragmentKey& fragment) const {
  return detail::pages::hashed_key("fragment" + version_, fragment.parts_);
}

bool PageCache::erase_fragment(const FragmentKey& fragment) const {
  return cache().erase(fragment_key(fragment));
}

bool PageCache::erase(const PageRequest& url) const { return cache().erase(key(url)); }

// From GET's page, if there is a live one.
PageAnswer PageCache::head(const PageRequest& request, Call& call) const {
  Cache& cache = this->cache();
  std::optional<StoredPage> page = cache.get<StoredPage>(key(request));
  if (page && !page->matches(request)) {
    page = cache.get<StoredPage>(detail::pages::variant_key(page_head(), request, *page));
  }
  if (!page || !page->matches(request)) return detail::pages::finished(request, call.take());
  const Moment now = std::chrono::floor<std::chrono::milliseconds>(cache.clock().system_now());
  return detail::pages::finished(request, detail::pages::answer_of(request, std::move(*page), now));
}

PageAnswer PageCache::answer_by(const PageRequest& request,
                                FunctionRef<PageAnswer(PageTags&)> handler) const {
  Call call(handler);
  if (request.method != "GET" && request.method != "HEAD") {
    cache();  // an alias that is missing is reported before the handler acts
    PageAnswer answer = call.take();
    const bool is_error = answer.status < 200 || answer.status >= 400;
    if (!detail::pages::is_safe(request.method) && !is_error) {
      try {
        erase(request);
      } catch (const BackendError&) {  // what the handler did is done, and its answer must arrive
      }
    }
    return answer;
  }
  if (detail::pages::bypasses(request)) return detail::pages::finished(request, call.take());
  if (request.method == "GET") return Answering(*this, request, call).run();
  return head(request, call);
}

}  // namespace polycache
