// Requests for one page at the same time, handlers that fail, and stores that fail or are slow.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <functional>
#include <latch>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/backends/dummy.h"
#include "polycache/page_cache.h"
#include "polycache/polycache.h"
#include "polycache/testing/chaos_layer.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"
#include "polycache/testing/watchdog.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

constexpr int threads = 32;

// Runs f(i) on so many threads, which begin together.
void at_once(int count, const std::function<void(int)>& f) {
  std::barrier begin(count);
  std::vector<std::jthread> running;
  for (int i = 0; i < count; ++i) {
    running.emplace_back([&, i] {
      begin.arrive_and_wait();
      f(i);
    });
  }
}

class PagesTogether : public ::testing::Test {
 protected:
  PageCache pages(PageCacheOptions options = {}) {
    options.registry = &registry_;
    return PageCache(options);
  }
  static PageRequest get(const std::string& path, PageHeaders headers = {}) {
    return {.host = "example.org", .path = path, .headers = std::move(headers)};
  }
  PageAnswer next() { return {.body = "body " + std::to_string(++calls_)}; }

  testing::Watchdog watchdog_{300s, "a test of pages"};
  testing::ManualClock clock_;
  std::shared_ptr<testing::Chaos> chaos_ = testing::Chaos::named("default", clock_);
  CacheRegistry registry_{
      {.caches = {{"default", {.backend = "memory", .layers = {{.name = "chaos"}}}},
                  {"nothing", {.backend = "dummy"}},
                  {"throwing",
                   {.backend = "memory",
                    .on_error = {.read = ErrorPolicy::throw_error,
                                 .write = ErrorPolicy::throw_error},
                    .layers = {{.name = "chaos", .options = {{"control", "default"}}}}}}}},
      {.clock = &clock_,
       .on_warning = [](const Warning&) {},
       .linked_plugins = {&testing::memory_store, &testing::chaos_layer, &dummy::plugin}}};
  std::atomic<int> calls_{0};
};

TEST_F(PagesTogether, ManyRequestsForOneAbsentPageRunTheHandlerOnce) {
  const PageCache all = pages();
  for (const std::string vary : {"", "Accept"}) {
    calls_ = 0;
    at_once(threads, [&](int) {
      const PageAnswer answer = all.answer(get("/" + vary, {{"Accept", "x"}}), [&] {
        std::this_thread::sleep_for(100ms);
        PageAnswer made = next();
        made.headers.add("Vary", vary);
        return made;
      });
      EXPECT_EQ(answer.body, "body 1");
    });
    EXPECT_EQ(calls_, 1) << vary;
  }
}

TEST_F(PagesTogether, EachOfManyLanguagesIsComputedOnce) {
  const PageCache all = pages();
  std::array<std::atomic<int>, 4> calls{};
  at_once(threads, [&](int i) {
    const std::size_t language = static_cast<std::size_t>(i) % calls.size();
    const std::string name = std::to_string(language);
    const PageAnswer answer = all.answer(get("/", {{"Accept-Language", name}}), [&] {
      ++calls[language];
      std::this_thread::sleep_for(50ms);
      return PageAnswer{.headers = {{"Vary", "Accept-Language"}}, .body = name};
    });
    EXPECT_EQ(answer.body, name);
  });
  for (const auto& count : calls) EXPECT_EQ(count, 1);
}

// --- The dangerous one: what belongs to one user. ---

TEST_F(PagesTogether, WaitingRequestsNeverGetAPrivateAnswerAndRunAtOnce) {
  const PageCache all = pages();
  const std::vector<PageHeaders> all_private{{{"Cache-Control", "private"}},
                                             {{"Cache-Control", "no-store"}},
                                             {{"Set-Cookie", "id=1"}},
                                             {{"Vary", "*"}}};
  for (std::size_t n = 0; n < all_private.size(); ++n) {
    // Ends when all but the first are in their handlers together: none waits for another.
    std::latch others(threads - 1);
    std::atomic<int> entered{0};
    at_once(threads, [&](int i) {
      const std::string mine = "for user " + std::to_string(i);
      const PageAnswer answer = all.answer(get("/" + std::to_string(n)), [&] {
        if (entered++ == 0) {
          std::this_thread::sleep_for(100ms);
        } else {
          others.arrive_and_wait();
        }
        return PageAnswer{.headers = all_private[n], .body = mine};
      });
      EXPECT_EQ(answer.body, mine);
    });
    EXPECT_EQ(entered, threads);
  }
}

TEST_F(PagesTogether, APrivateAnswerIsSeenByNoOtherRequestWhateverComesTogether) {
  chaos_->set({.slow = 0.3, .delay = 1ms});
  const PageCache all = pages({.no_wait = 2ms});
  const PageCache waiting = pages({.no_wait = 0ms});
  std::atomic<int> serial{0};
  std::atomic<int> shared{0};
  at_once(16, [&](int i) {
    for (int n = 0; n < 150; ++n) {
      const std::string mine = std::to_string(++serial);
      // What the answer is, its request decides; "open" ones may be shared with "open" ones.
      const int kind = (i + n) % 4;
      const std::string user = kind == 0 ? "open" : "user " + mine;
      const PageHeaders headers = kind == 1   ? PageHeaders{{"Cookie", user}}
                                  : kind == 2 ? PageHeaders{{"Authorization", user}}
                                              : PageHeaders{};
      const PageAnswer answer =
          (i % 2 == 0 ? all : waiting).answer(get("/" + std::to_string(n / 50), headers), [&] {
            PageAnswer made{.body = user};
            made.headers.add("Vary", "Cookie");
            if (kind == 3) made.headers.add("Set-Cookie", user);
            if (kind == 2) made.headers.add("Cache-Control", "public");
            return made;
          });
      const bool is_open_for_me = answer.body == "open" && (kind == 0 || kind == 3);
      EXPECT_TRUE(answer.body == user || is_open_for_me) << answer.body << " for " << user;
      if (answer.headers.contains("Age")) ++shared;
      if (n % 20 == 0) clock_.advance(61s);
      if (n % 31 == 0) all.erase(get("/" + std::to_string(n / 50)));
    }
  });
  EXPECT_GT(shared, 0);
}

TEST_F(PagesTogether, AfterAPrivateAnswerRequestsDoNotWaitUntilOneMayBeStored) {
  const PageCache all = pages({.timeout = 1h, .no_wait = 10s});
  const auto ask = [&](const char* control) {
    return all.answer(get("/"), [&] {
      PageAnswer answer = next();
      answer.headers.add("Cache-Control", control);
      return answer;
    });
  };
  ask("private");
  // Within 10 s, a request is in its handler while another one is.
  all.answer(get("/"), [&]() -> PageAnswer {
    std::jthread([&] { ask("private"); });
    return {.headers = {{"Cache-Control", "private"}}};
  });
  EXPECT_EQ(ask("public").body, "body 3");
  EXPECT_EQ(ask("public").body, "body 4") << "the mark was removed, and now it is stored";
  EXPECT_EQ(ask("public").body, "body 4");
  all.erase(get("/"));
  ask("private");
  clock_.advance(10s);
  EXPECT_EQ(ask("public").body, "body 6");
  EXPECT_EQ(ask("public").body, "body 6");
}

TEST_F(PagesTogether, AHandlersOwn304SaysNothingAboutThePage) {
  const PageCache all = pages();
  EXPECT_EQ(all.answer(get("/"), [] { return PageAnswer{.status = 304}; }).status, 304);
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
}

// --- Handlers that fail ---

TEST_F(PagesTogether, WhatAHandlerThrowsReachesItsOwnCaller) {
  const PageCache all = pages();
  std::latch others(threads - 1);
  std::atomic<int> entered{0};
  at_once(threads, [&](int i) {
    const std::string mine = "error " + std::to_string(i);
    try {
      all.answer(get("/"), [&]() -> PageAnswer {
        if (entered++ == 0) {
          std::this_thread::sleep_for(100ms);
        } else {
          others.arrive_and_wait();
        }
        throw std::runtime_error(mine);
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(error.what(), mine);
    }
  });
  EXPECT_THROW(all.answer(get("/"), []() -> PageAnswer { throw 42; }), int);
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
}

TEST_F(PagesTogether, AStalePageServesWhileTheHandlerFails) {
  const PageCache all = pages({.timeout = 10s, .stale_if_error = 1h, .throttle = 30s});
  const auto ask = [&](const std::string& language, PageAnswer answer) {
    answer.headers.add("Vary", "Accept-Language");
    return all.answer(get("/", {{"Accept-Language", language}}), [&] {
      ++calls_;
      if (answer.status == 0) throw std::runtime_error("down");
      return answer;
    });
  };
  ask("en", {.body = "english"});
  ask("fr", {.body = "french"});
  EXPECT_EQ(calls_, 2);
  clock_.advance(20s);
  EXPECT_EQ(ask("en", {.status = 503}).body, "english");
  EXPECT_EQ(*ask("en", {.status = 503}).headers.find("Age"), "20");
  EXPECT_EQ(calls_, 3);
  EXPECT_EQ(ask("fr", {.status = 0}).body, "french");
  EXPECT_EQ(calls_, 4) << "once a request";
  EXPECT_EQ(ask("de", {.status = 503}).status, 503) << "there is no stale page of that language";
  EXPECT_THROW(ask("es", {.status = 0}), std::runtime_error);
  clock_.advance(30s);
  EXPECT_EQ(ask("fr", {.body = "new"}).body, "new");
  EXPECT_EQ(ask("fr", {.body = "newer"}).body, "new");
  clock_.advance(2h);
  EXPECT_EQ(ask("en", {.status = 503}).status, 503);
}

TEST_F(PagesTogether, APageThatForbidsItIsNeverServedStale) {
  const PageCache all = pages({.stale_if_error = 1h, .throttle = 30s});
  for (const char* control :
       {"max-age=10, must-revalidate", "max-age=10, proxy-revalidate", "s-maxage=10"}) {
    const auto ask = [&](int status) {
      return all
          .answer(get(control),
                  [&]() -> PageAnswer {
                    ++calls_;
                    if (status == 0) throw std::runtime_error("down");
                    return {.status = status, .headers = {{"Cache-Control", control}}};
                  })
          .status;
    };
    EXPECT_EQ(ask(200), 200);
    EXPECT_EQ(ask(503), 200);
    clock_.advance(10s);
    EXPECT_EQ(ask(503), 503) << control;
    EXPECT_EQ(ask(502), 502) << "no other page within the throttle";
    EXPECT_THROW(ask(0), std::runtime_error);
    EXPECT_EQ(ask(200), 200);
  }
}

TEST_F(PagesTogether, APageThatForbidsItIsNotServedStaleAfterItsMoment) {
  const auto end = std::chrono::ceil<std::chrono::seconds>(clock_.system_now()) + 10s;
  const PageCache all = pages({.timeout = end, .stale_if_error = 1h});
  const auto ask = [&](int status) {
    return all
        .answer(get("/"),
                [&] {
                  return PageAnswer{.status = status,
                                    .headers = {{"Cache-Control", "must-revalidate"}}};
                })
        .status;
  };
  EXPECT_EQ(ask(200), 200);
  EXPECT_EQ(ask(503), 200);
  clock_.advance(11s);
  EXPECT_EQ(ask(503), 503);
}

TEST_F(PagesTogether, APageIsRefreshedBeforeItExpires) {
  const PageCache all = pages({.timeout = 100s, .refresh_after = 0.5});
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
  clock_.advance(60s);
  EXPECT_EQ(all.answer(get("/"), [] { return PageAnswer{.status = 500}; }).body, "body 1")
      << "the page is good for another 40 s";
  clock_.advance(30s);
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 2");
  clock_.advance(40s);
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 2");
}

TEST_F(PagesTogether, APageThatBecomesPrivateIsRemovedByItsRefresh) {
  const PageCache all = pages({.timeout = 100s, .refresh_after = 0.5});
  all.answer(get("/"), [&] { return next(); });
  clock_.advance(60s);
  const auto handler = [&] {
    PageAnswer answer = next();
    answer.headers.add("Cache-Control", "private");
    return answer;
  };
  EXPECT_EQ(all.answer(get("/"), handler).body, "body 2");
  EXPECT_EQ(all.answer(get("/"), handler).body, "body 3");
}

// --- Stores that fail ---

TEST_F(PagesTogether, AFailingStoreCostsNoAnswer) {
  chaos_->set({.fail = 1});
  const PageCache all = pages({.lease = 5s});
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 1");
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 2");
  PageRequest request = get("/");
  request.method = "HEAD";
  EXPECT_EQ(all.answer(request, [&] { return next(); }).status, 200);
  request.method = "POST";
  EXPECT_EQ(all.answer(request, [&] { return next(); }).body, "body 4");
  EXPECT_THROW(all.erase(request), BackendError);
  clock_.advance(1min);  // for the circuit breaker
  chaos_->set({.fail = 1, .only = testing::ChaosScope::writes});
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 5");
  chaos_->set({.refuse = 1});
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 6");
  chaos_->off();
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 7");
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).body, "body 7");
}

TEST_F(PagesTogether, AStoreThatKeepsNothingStillLetsWaitingRequestsShareAPage) {
  const PageCache all = pages({.cache = "nothing"});
  at_once(threads, [&](int i) {
    const std::string language = i % 2 == 0 ? "en" : "fr";
    const PageAnswer answer = all.answer(get("/", {{"Language", language}}), [&] {
      ++calls_;
      std::this_thread::sleep_for(100ms);
      return PageAnswer{.headers = {{"Vary", "Language"}}, .body = language};
    });
    EXPECT_EQ(answer.body, language);
  });
  EXPECT_LT(calls_, threads);
  EXPECT_EQ(all.answer(get("/"), [&] { return next(); }).headers.contains("Age"), false);
}

TEST_F(PagesTogether, AStoreThatFailsNowAndThenGivesNoWrongPage) {
  chaos_->set({.fail = 0.1, .fail_after = 0.1, .lose = 0.1, .refuse = 0.1});
  const PageCache all = pages({.stale_if_error = 1h});
  at_once(8, [&](int i) {
    for (int n = 0; n < 200; ++n) {
      const std::string user = std::to_string((i + n) % 3);
      const std::string vary = n % 7 == 0 ? "User, Other" : "User";
      const PageAnswer answer = all.answer(get("/", {{"User", user}}), [&] {
        return PageAnswer{.headers = {{"Vary", vary}}, .body = user};
      });
      EXPECT_EQ(answer.body, user);
      if (n % 10 == 0) clock_.advance(61s);
    }
  });
}

TEST_F(PagesTogether, APolicyThatThrowsReachesTheCallerButNotAfterAPost) {
  const PageCache all = pages({.cache = "throwing"});
  chaos_->set({.fail = 1});
  EXPECT_THROW(all.answer(get("/"), [&] { return next(); }), BackendError);
  EXPECT_EQ(calls_, 0);
  PageRequest request = get("/");
  request.method = "POST";
  EXPECT_EQ(all.answer(request, [&] { return next(); }).body, "body 1");
}

TEST_F(PagesTogether, AnAliasThatIsMissingIsReportedBeforeTheHandlerActs) {
  const PageCache all = pages({.cache = "missing"});
  for (const char* method : {"GET", "HEAD", "POST"}) {
    PageRequest request = get("/");
    request.method = method;
    EXPECT_THROW(all.answer(request, [&] { return next(); }), ConfigError);
  }
  EXPECT_EQ(calls_, 0);
}

TEST_F(PagesTogether, AHandlerThatAsksForItsOwnPageIsToldSo) {
  const PageCache all = pages();
  const auto inner = [&] { return next(); };
  EXPECT_THROW(all.answer(get("/"), [&] { return all.answer(get("/"), inner); }), CacheError);
  EXPECT_EQ(all.answer(get("/a"), [&] { return all.answer(get("/b"), inner); }).body, "body 1");
}

TEST_F(PagesTogether, AnAnswerIsNotStoredWithoutItsTagsIfAnotherProcessWasFaster) {
  CacheRegistry other({.caches = {{"default", {.backend = "memory"}}}},
                      {.clock = &clock_, .linked_plugins = {&testing::memory_store}});
  const PageCache theirs({.registry = &other});
  const PageCache ours = pages();
  const auto english = [&](const std::function<void()>& meanwhile) {
    return ours
        .answer(get("/", {{"Language", "en"}}),
                [&](PageTags& tags) {
                  tags.add("posts");
                  meanwhile();
                  PageAnswer answer = next();
                  answer.headers.add("Vary", "Language");
                  return answer;
                })
        .body;
  };
  const auto french = [] { return PageAnswer{.headers = {{"Vary", "Language"}}, .body = "fr"}; };
  const auto nothing = [] {};
  EXPECT_EQ(english([&] { theirs.answer(get("/", {{"Language", "fr"}}), french); }), "body 1");
  EXPECT_EQ(ours.answer(get("/", {{"Language", "fr"}}), french).headers.contains("Age"), true);
  const std::string before = english(nothing);
  EXPECT_EQ(english(nothing), before);
  registry_["default"].erase_tag("posts");
  EXPECT_NE(english(nothing), before);
}

TEST_F(PagesTogether, APageCacheOfOneThreadUsesItsCache) {
  const PageCache mine(registry_["default"]);
  EXPECT_EQ(mine.answer(get("/"), [&] { return next(); }).body, "body 1");
  EXPECT_EQ(pages().answer(get("/"), [&] { return next(); }).body, "body 1");
  EXPECT_EQ(pages({.version = 2}).answer(get("/"), [&] { return next(); }).body, "body 2");
}

}  // namespace
}  // namespace polycache
