// Which answers of handlers are kept, for whom, and for how long. On the simplest store, with a
// clock that the test moves.

#include "polycache/page_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/memory_store.h"

namespace polycache {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using namespace std::chrono_literals;

class Pages : public ::testing::Test {
 protected:
  Cache& cache() { return registry_["default"]; }
  PageCache pages(PageCacheOptions options = {}) {
    options.registry = &registry_;
    return PageCache(options);
  }
  // Its body is a number of its own.
  PageAnswer next(PageHeaders headers = {}) {
    return {.headers = std::move(headers), .body = "body " + std::to_string(++calls_)};
  }
  static PageRequest get(std::string path, PageHeaders headers = {}) {
    return {.host = "example.org", .path = std::move(path), .headers = std::move(headers)};
  }
  // Asks twice; whether the second was answered from the cache.
  bool is_stored(const PageRequest& request, const PageAnswer& answer) {
    const PageCache all = pages();
    int calls = 0;
    for (int i = 0; i < 2; ++i) {
      all.answer(request, [&] {
        ++calls;
        return answer;
      });
    }
    return calls == 1;
  }
  bool is_stored(PageHeaders headers, int status = 200) {
    const std::string path = "/" + std::to_string(++calls_);
    return is_stored(get(path), {.status = status, .headers = std::move(headers), .body = "x"});
  }

  testing::ManualClock clock_;
  CacheRegistry registry_{
      {.caches = {{"default", {.backend = "memory", .timeout = 1000s}},
                  {"strict", {.backend = "memory", .options = {{"keys", "strict"}}}}}},
      {.clock = &clock_, .linked_plugins = {&testing::memory_store}}};
  int calls_ = 0;
};

TEST_F(Pages, AHandlerRunsOnceForItsPage) {
  const PageCache all = pages();
  const auto handler = [&] { return next({{"Content-Type", "text/plain"}}); };
  const PageAnswer first = all.answer(get("/"), handler);
  const PageAnswer second = all.answer(get("/"), handler);
  EXPECT_EQ(first.body, "body 1");
  EXPECT_EQ(second.body, "body 1");
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(*second.headers.find("content-type"), "text/plain");
  EXPECT_FALSE(first.headers.contains("Age"));
  EXPECT_EQ(*second.headers.find("Age"), "0");
  EXPECT_EQ(calls_, 1);
}

TEST_F(Pages, PagesOfOtherUrlsAreOthers) {
  const PageCache all = pages();
  const std::vector<PageRequest> urls{
      {.host = "a", .path = "/x"},
      {.host = "ax", .path = "/"},
      {.host = "a/x", .path = ""},
      {.scheme = "https", .host = "a", .path = "/x"},
      {.host = "a", .path = "/X"},
      {.host = "a", .path = "/x", .query = "y"},
      {.host = "a", .path = "/x?y"},
      {.host = "a", .path = "/x", .query = "y&z"},
      {.host = "a", .path = "/x", .query = "z&y"},
      {.host = "a", .path = "1:/1:x"},
      {.host = "a", .path = std::string("/x\0", 3)},
  };
  std::set<std::string> keys;
  std::set<std::string> bodies;
  for (const PageRequest& url : urls) {
    keys.insert(all.key(url));
    bodies.insert(all.answer(url, [&] { return next(); }).body);
  }
  EXPECT_THAT(keys, SizeIs(urls.size()));
  EXPECT_THAT(bodies, SizeIs(urls.size()));
  EXPECT_EQ(all.key({.scheme = "HTTP", .host = "A", .path = "/x"}), all.key(urls.front()));
}

TEST_F(Pages, TheSchemesOwnPortAndAnEmptyPathMakeNoOtherPage) {
  const PageCache all = pages();
  const auto key = [&](const std::string& scheme, const std::string& host,
                       const std::string& path = "/") {
    return all.key({.scheme = scheme, .host = host, .path = path});
  };
  EXPECT_EQ(key("HTTP", "a:80"), key("http", "a"));
  EXPECT_EQ(key("https", "A:443", ""), key("https", "a"));
  EXPECT_EQ(key("http", "a:"), key("http", "a"));
  EXPECT_EQ(key("http", "[::1]:80"), key("http", "[::1]"));
  EXPECT_NE(key("http", "a:443"), key("http", "a"));
  EXPECT_NE(key("https", "a:80"), key("https", "a"));
  EXPECT_NE(key("http", "[::80]"), key("http", "[::]"));
  EXPECT_NE(key("http", "::80"), key("http", ":"));
  EXPECT_NE(key("http", ":80"), key("http", "a"));
}

TEST_F(Pages, KeysFitIntoMemcachedWhateverTheUrlIs) {
  const PageCache strict = pages({.cache = "strict"});
  PageRequest request = get(std::string(100'000, '/') + " \n\x01", {{"A", std::string(9999, ' ')}});
  for (int i = 0; i < 2; ++i) {
    const auto answer = strict.answer(request, [&] { return next({{"Vary", "a, b"}}); });
    EXPECT_EQ(answer.body, "body 1");
    request.headers.add("C", "d");
  }
  EXPECT_LE(strict.key(request).size(), 100U);
}

TEST_F(Pages, OnlyTheNamedStatusesAreStored) {
  std::vector<int> stored;
  for (int status = 200; status < 600; ++status) {
    if (is_stored(PageHeaders(), status)) stored.push_back(status);
  }
  EXPECT_THAT(stored, ElementsAre(200, 203, 301, 404, 410));
}

TEST_F(Pages, AnswersThatForbidItAreNotStored) {
  EXPECT_TRUE(is_stored({{"Cache-Control", "public"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "no-store"}}));
  EXPECT_FALSE(is_stored({{"cache-control", "max-age=60, Private"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "max-age=60"}, {"Cache-Control", "no-cache"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "private=\"x, y\", max-age=60"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "no-cache=\"Set-Cookie\""}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "max-age=0"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "max-age=ten"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "max-age"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "s-maxage=0, max-age=60"}}));
  EXPECT_TRUE(is_stored({{"Cache-Control", "extension=\"a, no-store\""}}));
  EXPECT_TRUE(is_stored({{"Cache-Control", R"(extension="\", no-store")"}}));
  EXPECT_FALSE(is_stored({{"Cache-Control", "extension=\"a, no-store"}})) << "an open quote";
  EXPECT_FALSE(is_stored({{"Cache-Control", "extension=\"a\\"}, {"Cache-Control", "private"}}));
  EXPECT_FALSE(is_stored({{"Set-Cookie", "id=1"}}));
  EXPECT_FALSE(is_stored({{"Vary", "*"}}));
  EXPECT_FALSE(is_stored({{"Vary", "Accept"}, {"vary", "Accept-Language , *"}}));
  EXPECT_FALSE(is_stored({{"Expires", "0"}}));
}

TEST_F(Pages, RequestsThatForbidItReadAndStoreNothing) {
  const PageCache all = pages();
  for (const PageHeaders& headers :
       {PageHeaders{{"Authorization", "Basic x"}}, PageHeaders{{"Range", "bytes=0-1"}},
        PageHeaders{{"Cache-Control", "no-store"}}, PageHeaders{{"Content-Length", "3"}},
        PageHeaders{{"Transfer-Encoding", "chunked"}}}) {
    const std::string path = "/" + std::to_string(calls_);
    EXPECT_FALSE(is_stored(get(path, headers), {.body = "x"}));
    const PageAnswer open = all.answer(get(path), [&] { return next(); });
    EXPECT_NE(open.body, "x") << "stored for requests without " << headers.begin()->first;
    EXPECT_NE(all.answer(get(path, headers), [&] { return next(); }).body, open.body);
  }
}

TEST_F(Pages, ARequestThatSaysThatItHasNoBodyGetsThePage) {
  EXPECT_TRUE(is_stored(get("/", {{"Content-Length", "0"}}), {}));
}

TEST_F(Pages, AClientCannotMakeItComputeByNoCache) {
  EXPECT_TRUE(is_stored(get("/", {{"Cache-Control", "no-cache"}, {"Pragma", "no-cache"}}), {}));
}

TEST_F(Pages, APageLivesForSMaxageElseMaxAgeElseExpiresElseTheTimeout) {
  clock_.set_wall_clock(std::chrono::sys_seconds(784111777s));  // 06 Nov 1994 08:49:37
  const PageCache all = pages({.timeout = 10s});
  const std::vector<std::pair<PageHeaders, std::chrono::seconds>> lives{
      {{}, 10s},
      {{{"Cache-Control", "max-age=20"}}, 20s},
      {{{"Cache-Control", "max-age=20, s-maxage=\"30\""}}, 30s},
      {{{"Cache-Control", "s-maxage=30, max-age=0"}}, 30s},
      {{{"Cache-Control", "max-age=20, max-age=99"}}, 20s},
      {{{"Cache-Control", "max-age=50"}, {"Age", "10"}}, 40s},
      {{{"Cache-Control", "max-age=99999999999999999999"}}, 2147483648s},
      {{{"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}}, 60s},
      {{{"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}, {"Date", "Sun, 06 Nov 1994 08:50:07 GMT"}},
       30s},
      {{{"Expires", "Sun, 06 Nov 1994 08:50:37 GMT"}, {"Cache-Control", "max-age=5"}}, 5s}};
  for (std::size_t i = 0; i < lives.size(); ++i) {
    const auto& [headers, life] = lives[i];
    const PageRequest request = get("/" + std::to_string(i));
    const auto handler = [&, fields = headers] { return next(fields); };
    const std::string body = all.answer(request, handler).body;
    clock_.advance(life - 1ms);
    EXPECT_EQ(all.answer(request, handler).body, body) << "life " << i << " is too short";
    clock_.advance(1ms);
    EXPECT_NE(all.answer(request, handler).body, body) << "life " << i << " is too long";
    clock_.set_wall_clock(std::chrono::sys_seconds(784111777s));
  }
}

TEST_F(Pages, AgeIsThatOfThePageAndItsOrigin) {
  const PageCache all = pages();
  const auto handler = [&] { return next({{"Age", "7"}, {"Cache-Control", "max-age=60"}}); };
  EXPECT_EQ(*all.answer(get("/"), handler).headers.find("Age"), "7");
  clock_.advance(2500ms);
  EXPECT_THAT(all.answer(get("/"), handler).headers.all("Age"), ElementsAre("9"));
}

TEST_F(Pages, AnAnswerOfAnotherServerIsAsOldAsItsDateOrAgeSays) {
  clock_.set_wall_clock(std::chrono::sys_seconds(784111777s));  // 06 Nov 1994 08:49:37
  const PageCache all = pages({.timeout = 60s});
  const std::vector<PageHeaders> answers{
      {{"Cache-Control", "max-age=60"}, {"Date", "Sun, 06 Nov 1994 08:48:57 GMT"}},
      {{"Date", "Sun, 06 Nov 1994 08:48:57 GMT"}, {"Age", "7"}},
      {{"Date", "Sun, 06 Nov 1994 09:49:37 GMT"}, {"Age", "40"}}};
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto ask = [&] {
      return all.answer(get("/" + std::to_string(i)), [&] { return next(answers[i]); });
    };
    const std::string body = ask().body;
    clock_.advance(19s);
    EXPECT_EQ(ask().body, body) << i;
    EXPECT_THAT(ask().headers.all("Age"), ElementsAre("59")) << i;
    clock_.advance(1s);
    EXPECT_NE(ask().body, body) << i << " is served for longer than 60 s after it was made";
    clock_.set_wall_clock(std::chrono::sys_seconds(784111777s));
  }
  EXPECT_FALSE(is_stored({{"Cache-Control", "max-age=5"}, {"Age", "5"}}));
}

TEST_F(Pages, FieldsThatTheConnectionNamesAreNotStored) {
  const PageCache all = pages();
  const auto handler = [&] {
    return next({{"Connection", "X-Hop, x-other"}, {"x-hop", "y"}, {"X-Other", ""}, {"X", "y"}});
  };
  all.answer(get("/"), handler);
  const PageAnswer page = all.answer(get("/"), handler);
  EXPECT_FALSE(page.headers.contains("X-Hop"));
  EXPECT_FALSE(page.headers.contains("X-Other"));
  EXPECT_TRUE(page.headers.contains("X"));
}

TEST_F(Pages, FieldsOfTheConnectionAreNotStored) {
  const PageCache all = pages();
  const auto handler = [&] { return next({{"connection", "close"}, {"X", "y"}}); };
  all.answer(get("/"), handler);
  const PageAnswer page = all.answer(get("/"), handler);
  EXPECT_FALSE(page.headers.contains("Connection"));
  EXPECT_TRUE(page.headers.contains("x"));
}

// --- Vary ---

TEST(PageHeadersTest, ANullPointerAsANameIsAnInvalidKey) {
  const char* const null = nullptr;
  PageHeaders headers{{"Age", "1"}};
  EXPECT_THROW(headers.add(null, "1"), InvalidKey);
  EXPECT_THROW(headers.set(null, "1"), InvalidKey);
  EXPECT_THROW(headers.erase(null), InvalidKey);
  EXPECT_THROW(static_cast<void>(headers.contains(null)), InvalidKey);
  EXPECT_THROW(static_cast<void>(headers.find(null)), InvalidKey);
  EXPECT_THROW(headers.all(null), InvalidKey);
  EXPECT_EQ(headers.size(), 1U);
}

TEST(PageHeadersTest, AFieldIsReplacedUnderItsOwnName) {
  PageHeaders headers{{"Content-Disposition-Of-The-Page", "inline"}, {"Age", "1"}};
  headers.set(headers.fields()[0].first, "attachment");
  EXPECT_EQ(headers.fields(),
            (std::vector<PageHeaders::Field>{{"Age", "1"},
                                             {"Content-Disposition-Of-The-Page", "attachment"}}));
}

TEST_F(Pages, EachValueOfAFieldInVaryHasItsPage) {
  const PageCache all = pages();
  const auto ask = [&](PageHeaders headers) {
    return all
        .answer(get("/", std::move(headers)),
                [&] {
                  return next({{"Vary", "Accept-LANGUAGE"}});
                })
        .body;
  };
  EXPECT_EQ(ask({{"Accept-Language", "en"}}), "body 1");
  EXPECT_EQ(ask({{"Accept-Language", "fr"}}), "body 2");
  EXPECT_EQ(ask({}), "body 3");
  EXPECT_EQ(ask({{"Accept-Language", ""}}), "body 4");
  EXPECT_EQ(ask({{"Accept-Language", "en"}, {"Accept-Language", "fr"}}), "body 5");
  EXPECT_EQ(ask({{"Accept-Language", "EN"}}), "body 6");
  EXPECT_EQ(ask({{"accept-language", "en"}, {"Other", "x"}}), "body 1");
  EXPECT_EQ(ask({{"accept-language", "fr"}}), "body 2");
  EXPECT_EQ(ask({}), "body 3");
  EXPECT_EQ(ask({{"accept-language", ""}}), "body 4");
  EXPECT_EQ(ask({{"accept-language", "en"}, {"accept-language", "fr"}}), "body 5");
}

TEST_F(Pages, AnswersWhoseVaryDiffersAreServedToTheRightRequests) {
  const PageCache all = pages();
  // What is in the body depends on exactly what Vary names.
  const auto ask = [&](const std::string& user, const std::string& language) {
    const PageRequest request = get("/", {{"User", user}, {"Language", language}});
    const std::string expected = user == "anonymous" ? "for all, " + language : "for " + user;
    for (int i = 0; i < 3; ++i) {
      const PageAnswer answer = all.answer(request, [&]() -> PageAnswer {
        ++calls_;
        return {.headers = {{"Vary", user == "anonymous" ? "User, Language" : "User"}},
                .body = expected};
      });
      EXPECT_EQ(answer.body, expected);
    }
  };
  for (int round = 0; round < 3; ++round) {
    ask("ann", "en");
    ask("anonymous", "en");
    ask("anonymous", "fr");
    ask("bob", "fr");
    ask("ann", "fr");
  }
  // Of 45 requests; a page is computed anew when its URL gets another field.
  EXPECT_LE(calls_, 8);
  calls_ = 0;
  ask("ann", "en");
  ask("anonymous", "fr");
  EXPECT_EQ(calls_, 0);
}

TEST_F(Pages, QuotesInVaryMakeNoPageThatAllRequestsGet) {
  const PageCache all = pages();
  int path = 0;
  for (const char* vary : {"\"Cookie", "Accept, \"Cookie, User\"", "Cookie;q=1", "\"Cookie\""}) {
    const auto ask = [&](const char* user) {
      return all
          .answer(get("/" + std::to_string(path), {{"Cookie", user}}),
                  [&] {
                    return PageAnswer{.headers = {{"Vary", vary}}, .body = user};
                  })
          .body;
    };
    EXPECT_EQ(ask("ann"), "ann");
    EXPECT_EQ(ask("bob"), "bob") << vary;
    ++path;
  }
}

TEST_F(Pages, AValueCannotBeTakenForAnotherField) {
  const PageCache all = pages();
  const auto ask = [&](PageHeaders headers) {
    return all.answer(get("/", std::move(headers)), [&] { return next({{"Vary", "A, B"}}); }).body;
  };
  EXPECT_EQ(ask({{"A", "x"}, {"A", "b"}}), "body 1");
  EXPECT_EQ(ask({{"A", "x"}, {"B", "b"}}), "body 2");
  EXPECT_EQ(ask({{"A", "x1:b"}}), "body 3");
  EXPECT_EQ(ask({{"A", "x"}, {"A", "b"}, {"B", ""}}), "body 4");
}

TEST_F(Pages, OtherPagesOfAUrlStayWhenTheFirstIsRefreshed) {
  const PageCache all = pages({.timeout = 100s, .refresh_after = 0.5});
  const auto ask = [&](const std::string& user, const std::string& vary) {
    return all
        .answer(get("/", {{"User", user}, {"Language", "en"}}),
                [&] {
                  return next({{"Vary", vary}});
                })
        .body;
  };
  EXPECT_EQ(ask("ann", "User, Language"), "body 1");
  clock_.advance(40s);
  EXPECT_EQ(ask("bob", "User, Language"), "body 2");
  clock_.advance(20s);
  EXPECT_EQ(ask("ann", "User"), "body 3") << "is due";
  EXPECT_EQ(ask("bob", ""), "body 2");
}

// --- Validators ---

TEST_F(Pages, AnETagIsComputedWhereThereIsNone) {
  const PageCache all = pages();
  const auto tag = [&](PageAnswer answer) {
    const PageRequest request = get("/" + std::to_string(++calls_));
    const auto handler = [&] { return answer; };
    const PageAnswer first = all.answer(request, handler);
    const PageAnswer second = all.answer(request, handler);
    const std::string* const etag = first.headers.find("ETag");
    EXPECT_EQ(etag == nullptr, !second.headers.contains("ETag"));
    if (etag == nullptr) return std::string();
    EXPECT_EQ(*second.headers.find("ETag"), *etag);
    return *etag;
  };
  EXPECT_EQ(tag({.body = "abc"}), "\"ba7816bf8f01cfea414140de5dae2223\"");
  EXPECT_NE(tag({.body = "abd"}), tag({.body = "abc"}));
  EXPECT_EQ(tag({.headers = {{"etag", "W/\"mine\""}}, .body = "abc"}), "W/\"mine\"");
  EXPECT_EQ(tag({.status = 404, .body = "abc"}), "");
  EXPECT_NE(tag({.headers = {{"Cache-Control", "private"}}, .body = "abc"}), "");
}

TEST_F(Pages, AClientThatHasThePageGets304) {
  const PageCache all = pages();
  const PageHeaders headers{{"ETag", "\"v,1\""},       {"Cache-Control", "max-age=9"},
                            {"Content-Location", "/"}, {"Date", "today"},
                            {"Expires", "never"},      {"Vary", "Accept"},
                            {"Content-Type", "a/b"},   {"Last-Modified", "x"}};
  const auto ask = [&](const std::string& condition) {
    return all.answer(get("/", {{"If-None-Match", condition}}), [&] { return next(headers); });
  };
  for (const char* from : {"handler", "cache"}) {
    const PageAnswer answer = ask("\"other\", W/\"v,1\"");
    EXPECT_EQ(answer.status, 304) << from;
    EXPECT_EQ(answer.body, "");
    std::set<std::string> names;
    for (const auto& field : answer.headers) names.insert(field.first);
    names.erase("Age");
    EXPECT_THAT(
        names, ElementsAre("Cache-Control", "Content-Location", "Date", "ETag", "Expires", "Vary"));
  }
  EXPECT_EQ(ask("*").status, 304);
  EXPECT_EQ(ask("\"v\", \"1\"").status, 200);
  EXPECT_EQ(ask("v,1").status, 200);
  EXPECT_EQ(ask("").status, 200);
  EXPECT_EQ(calls_, 1);
}

TEST_F(Pages, A304KeepsTheCookieOfAnAnswerThatIsNotStored) {
  const PageAnswer answer = pages().answer(get("/", {{"If-None-Match", "\"v\""}}), [&] {
    return next({{"ETag", "\"v\""}, {"Set-Cookie", "id=1"}});
  });
  EXPECT_EQ(answer.status, 304);
  EXPECT_TRUE(answer.headers.contains("Set-Cookie"));
}

TEST_F(Pages, OnlySuccessIsSubjectToConditions) {
  const PageAnswer answer = pages().answer(get("/", {{"If-None-Match", "*"}}), [] {
    return PageAnswer{.status = 404, .headers = {{"ETag", "\"v\""}}, .body = "no"};
  });
  EXPECT_EQ(answer.status, 404);
}

// --- Methods ---

TEST_F(Pages, HeadIsAnsweredFromThePageOfGet) {
  const PageCache all = pages();
  const auto handler = [&] { return next({{"Vary", "Accept"}}); };
  PageRequest head = get("/");
  head.method = "HEAD";
  EXPECT_EQ(all.answer(head, handler).body, "");
  EXPECT_EQ(all.answer(head, handler).body, "");
  EXPECT_EQ(calls_, 2) << "a HEAD was stored";
  const PageAnswer page = all.answer(get("/"), handler);
  EXPECT_EQ(page.body, "body 3");
  all.answer(get("/", {{"Accept", "x"}}), handler);
  const PageAnswer answer = all.answer(head, handler);
  EXPECT_EQ(answer.body, "");
  EXPECT_EQ(*answer.headers.find("Content-Length"), "6");
  EXPECT_EQ(*answer.headers.find("ETag"), *page.headers.find("ETag"));
  head.headers.add("Accept", "x");
  EXPECT_EQ(all.answer(head, handler).status, 200);
  EXPECT_EQ(calls_, 4);
  head.headers.add("If-None-Match", "*");
  EXPECT_EQ(all.answer(head, handler).status, 304);
}

TEST_F(Pages, AHeadOfTheHandlerGetsNoETagOfAnEmptyBody) {
  PageRequest head = get("/");
  head.method = "HEAD";
  EXPECT_FALSE(pages().answer(head, [] { return PageAnswer(); }).headers.contains("ETag"));
}

TEST_F(Pages, OtherMethodsCallTheHandlerAndForgetThePageIfTheySucceed) {
  const PageCache all = pages();
  const auto is_kept_after = [&](const std::string& method, int status) {
    const auto handler = [&] { return next({{"Vary", "Accept"}}); };
    all.erase(get("/"));
    const std::string english = all.answer(get("/"), handler).body;
    const std::string french = all.answer(get("/", {{"Accept", "x"}}), handler).body;
    PageRequest request = get("/");
    request.method = method;
    EXPECT_EQ(all.answer(request, [&] { return PageAnswer{.status = status}; }).status, status);
    const bool kept = all.answer(get("/"), handler).body == english;
    EXPECT_EQ(all.answer(get("/", {{"Accept", "x"}}), handler).body == french, kept);
    return kept;
  };
  for (const char* method : {"POST", "PUT", "DELETE", "PATCH", "get", "BREW"}) {
    EXPECT_FALSE(is_kept_after(method, 204)) << method;
    EXPECT_FALSE(is_kept_after(method, 303)) << method;
    EXPECT_TRUE(is_kept_after(method, 400)) << method;
    EXPECT_TRUE(is_kept_after(method, 500)) << method;
  }
  EXPECT_TRUE(is_kept_after("OPTIONS", 200));
  EXPECT_TRUE(is_kept_after("TRACE", 200));
}

// --- Erasing ---

TEST_F(Pages, ErasingAUrlErasesAllItsPages) {
  const PageCache all = pages();
  const auto handler = [&] { return next({{"Vary", "Accept"}}); };
  all.answer(get("/"), handler);
  all.answer(get("/", {{"Accept", "x"}}), handler);
  EXPECT_TRUE(all.erase({.host = "example.org"}));
  EXPECT_FALSE(all.erase({.host = "example.org"}));
  EXPECT_EQ(all.answer(get("/", {{"Accept", "x"}}), handler).body, "body 3");
  EXPECT_EQ(all.answer(get("/"), handler).body, "body 4");
}

TEST_F(Pages, ATagErasesThePagesThatCarryIt) {
  const PageCache all = pages();
  const auto ask = [&](const PageRequest& request) {
    return all
        .answer(request,
                [&] {
                  PageAnswer answer = next({{"Vary", "Accept"}});
                  answer.tags = {"post:" + answer.body};
                  return answer;
                })
        .body;
  };
  EXPECT_EQ(ask(get("/")), "body 1");
  EXPECT_EQ(ask(get("/", {{"Accept", "x"}})), "body 2");
  EXPECT_EQ(ask(get("/other")), "body 3");
  cache().erase_tag("post:body 2");
  EXPECT_EQ(ask(get("/")), "body 1");
  EXPECT_EQ(ask(get("/", {{"Accept", "x"}})), "body 4");
  cache().erase_tag("post:body 1");
  EXPECT_EQ(ask(get("/")), "body 5");
  EXPECT_EQ(ask(get("/other")), "body 3");
}

TEST_F(Pages, ATagThatIsErasedWhileTheHandlerReadsWins) {
  const PageCache all = pages({.record_tags = true});
  cache().set("post", 1, {.tags = {"recorded"}});
  for (const std::string tag : {"said", "recorded"}) {
    for (const PageHeaders& headers : {PageHeaders{}, PageHeaders{{"Accept", "x"}}}) {
      const auto ask = [&](bool erases) {
        return all
            .answer(get("/" + tag, headers),
                    [&](PageTags& tags) {
                      tags.add("said");
                      cache().get<int>("post");
                      if (erases) cache().erase_tag(tag);
                      if (erases) cache().set("post", 1, {.tags = {"recorded"}});
                      return next({{"Vary", "Accept"}});
                    })
            .body;
      };
      const std::string outdated = ask(true);
      const std::string page = ask(false);
      EXPECT_NE(page, outdated) << tag;
      EXPECT_EQ(ask(false), page) << tag;
    }
  }
}

}  // namespace
}  // namespace polycache
