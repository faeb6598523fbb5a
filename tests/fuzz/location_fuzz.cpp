// Locations and options of the stores, from anywhere. The first byte of the input chooses the
// store; each line is a location, or with a '=' behind a name in small letters an option. A
// factory or a problem comes out, and no problem shows the user or the password that stand in
// a URL: a pair is planted into each, also without the '@' behind it. The same holds for a
// password behind a location, as connection strings of other programs have it.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/clock.h"
#include "polycache/author/option_reader.h"
#include "polycache/author/plugin.h"
#include "polycache/backends/locmem.h"
#include "polycache/error.h"
#ifdef WITH_MEMCACHED
#include "polycache/backends/memcached.h"
#endif
#ifdef WITH_REDIS
#include "polycache/backends/redis.h"
#endif
#ifdef WITH_SQLITE
#include "polycache/backends/sqlite.h"
#endif

namespace {

constexpr std::string_view planted_user = "plant3d-user";
constexpr std::string_view planted_password = "plant3d-password";

const polycache::PluginDescriptor* const stores[] = {
    &polycache::locmem::plugin,
#ifdef WITH_MEMCACHED
    &polycache::memcached::plugin,
#endif
#ifdef WITH_REDIS
    &polycache::redis::plugin,
#endif
#ifdef WITH_SQLITE
    &polycache::sqlite::plugin,
#endif
};

void require(bool holds, const char* what, std::string_view more = {}) {
  if (holds) return;
  std::fprintf(stderr, "%s %.*s\n", what, static_cast<int>(more.size()), more.data());
  std::abort();
}

void expect_no_secret(std::string_view message) {
  require(message.find("plant3d") == std::string_view::npos, "a secret is shown:", message);
}

// "true", "5", "text".
polycache::OptionValue value_of(std::string_view text) {
  if (text == "true" || text == "false") return text == "true";
  std::int64_t number = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end.ec == std::errc() && end.ptr == text.data() + text.size()) return number;
  return std::string(text);
}

struct Wish {
  std::vector<std::string> location;
  polycache::OptionMap options;

  Wish(const polycache::PluginDescriptor& store, std::string_view text) {
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      add(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    // One of the usual size takes long to make.
    if (&store == &polycache::locmem::plugin) {
      options.try_emplace("max_bytes", std::string("64kB"));
    }
  }

  void add(std::string_view line) {
    const std::size_t name =
        std::min(line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), line.size());
    if (name > 0 && name < line.size() && line[name] == '=') {
      options.insert_or_assign(std::string(line.substr(0, name)), value_of(line.substr(name + 1)));
    } else {
      location.emplace_back(line);
    }
  }

  // "redis://user:password@" in place of "redis://" or "redis://somebody@".
  // Whether there was one.
  bool plant(std::string_view behind) {
    bool planted = false;
    for (std::string& place : location) {
      const std::size_t scheme = place.find("://");
      if (scheme == std::string::npos ||
          place.find_first_not_of("abcdefghijklmnopqrstuvwxyz") != scheme) {
        continue;
      }
      const std::size_t begin = scheme + 3;
      const std::size_t at = place.find('@', begin);
      place.replace(begin, at == std::string::npos ? 0 : at + 1 - begin,
                    std::string(planted_user).append(":").append(planted_password).append(behind));
      planted = true;
    }
    return planted;
  }

  // "127.0.0.1:1,password=..." in place of "127.0.0.1:1".
  void append(std::string_view member) {
    for (std::string& place : location) place.append(member).append(planted_password);
  }
};

void make(const polycache::PluginDescriptor& store, const Wish& wish) {
  const polycache::OptionReader reader(
      "caches.fuzzed", wish.location, wish.options,
      [](std::string_view, std::string_view problem) { expect_no_secret(problem); });
  const auto no_sibling = [](std::string_view) -> std::shared_ptr<polycache::BackendFactory> {
    throw polycache::ConfigError("there is no other alias");
  };
  // Fresh ones each time, or memory would grow with every location.
  const auto process_wide = [](std::string_view,
                               polycache::FunctionRef<std::shared_ptr<void>()> make_object) {
    return make_object();
  };
  const polycache::BackendContext context{
      .alias = "fuzzed",
      .clock = polycache::Clock::real(),
      .key_head = ":1:",
      .inner = nullptr,
      .sibling = no_sibling,
      .report = [](const polycache::Warning& warning) { expect_no_secret(warning.message); },
      .process_wide = process_wide};
  try {
    const auto factory = store.payload.create(reader, context);
    reader.reject_unread();
  } catch (const polycache::CacheError& error) {
    expect_no_secret(error.what());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.find("plant3d") != std::string_view::npos) return 0;
  const polycache::PluginDescriptor& store =
      *stores[static_cast<unsigned char>(input.front()) % std::size(stores)];
  make(store, Wish(store, input.substr(1)));
  for (const std::string_view behind : {"@", ""}) {
    Wish wish(store, input.substr(1));
    if (wish.plant(behind)) make(store, wish);
  }
  for (const std::string_view member :
       {",password=", ", password=", " password=", ";password=", "?password=", "&auth="}) {
    Wish wish(store, input.substr(1));
    wish.append(member);
    make(store, wish);
  }
  return 0;
}
