// What the snippets of the documentation take for granted: the headers, and the names that
// their text speaks of. Each snippet is compiled behind it, its statements in a function with
// the parameters of SURROUNDINGS.

#ifndef POLYCACHE_TESTS_DOCS_PRELUDE_H  // it is the main file when it is precompiled
#define POLYCACHE_TESTS_DOCS_PRELUDE_H

#include <gtest/gtest.h>
#include <polycache/author/counter.h>
#include <polycache/author/extension.h>
#include <polycache/author/fork.h>
#include <polycache/author/layer.h>
#include <polycache/author/plugin.h>
#include <polycache/author/text.h>
#include <polycache/backends/dummy.h>
#include <polycache/backends/locmem.h>
#include <polycache/codec_binary.h>
#include <polycache/codec_json.h>
#include <polycache/polycache.h>
#include <polycache/testing/manual_clock.h>
#include <polycache/testing/manual_executor.h>
#include <polycache/testing/scoped_caches.h>
#include <polycache/testing/test_context.h>

#if __has_include(<polycache/function.h>)
#include <polycache/function.h>
#endif

#if __has_include(<polycache/loaders.h>)
#include <polycache/loaders.h>
#endif

#if __has_include(<polycache/memoize.h>)
#include <polycache/memoize.h>
#endif

#if __has_include(<polycache/page_cache.h>)
#include <polycache/page_cache.h>
#endif

#if __has_include(<boost/program_options.hpp>)
#include <polycache/program_options.h>

#include <boost/program_options.hpp>
namespace po = boost::program_options;
#endif

#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using polycache::Cache;
using polycache::CacheRegistry;
using polycache::caches;
using polycache::Config;
using polycache::never;
using polycache::testing::ManualClock;

struct User {
  std::int64_t id = 0;
  std::string name;
};
template <>
struct polycache::Codec<User> : polycache::BinaryCodec<User> {};

struct Color {
  std::string name() const;
  static std::optional<Color> by_name(std::string_view bytes);
};

User load_user(std::int64_t id);
std::string render(std::string_view path);
std::string fresh_folder();
void log_line(std::string_view text);
void count(std::string_view what);

#define SURROUNDINGS                                                                             \
  [[maybe_unused]] polycache::Cache &cache, [[maybe_unused]] polycache::CacheRegistry &registry, \
      [[maybe_unused]] polycache::Config config, [[maybe_unused]] std::int64_t id,               \
      [[maybe_unused]] int page, [[maybe_unused]] int argc, [[maybe_unused]] char **argv

#endif
