// Bytes from anywhere, read as an entry: by the functions of frames, and by every operation of
// a cache whose store holds them. A frame that is readable has a payload and says so in its
// head; what is wrapped comes out again; no operation throws what its reader did not ask for.

#include "front/entry.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/author/plugin.h"
#include "polycache/codec_json.h"
#include "polycache/polycache.h"

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

std::string stored;  // what the store holds, under every key

class OneEntry final : public polycache::Backend {
 public:
  bool get(std::string_view, polycache::ValueSink sink) override {
    sink(stored);
    return true;
  }
  bool put(std::string_view, std::string_view value, polycache::Ttl, polycache::PutMode) override {
    written = value;
    return true;
  }
  bool touch(std::string_view, polycache::Ttl, polycache::ValueSink head) override {
    head(stored);
    return true;
  }
  bool erase(std::string_view) override { return true; }
  void clear() override {}
  std::optional<std::int64_t> incr(std::string_view, std::int64_t) override {
    throw polycache::ValueError("no number");
  }

  static inline std::string written;
};

class OneEntryFactory final : public polycache::BackendFactory {
 public:
  std::unique_ptr<polycache::Backend> connect() override { return std::make_unique<OneEntry>(); }
};

constexpr polycache::PluginDescriptor one_entry = polycache::backend_plugin(
    "one_entry", "1",
    [](const polycache::OptionReader&,
       const polycache::BackendContext&) -> std::unique_ptr<polycache::BackendFactory> {
      return std::make_unique<OneEntryFactory>();
    });

polycache::Cache& cache() {
  static polycache::CacheRegistry registry({.caches = {{"default", {.backend = "one_entry"}}}},
                                           {.on_warning = {}, .linked_plugins = {&one_entry}});
  return registry["default"];
}

void check_functions(std::string_view bytes) {
  using polycache::EntryState;
  const auto& clock = polycache::Clock::real();
  const auto wrapped = polycache::make_frame({}, {}, bytes);
  require(polycache::judge_entry(wrapped, clock).payload == bytes,
          "what was wrapped did not come out");
  const polycache::JudgedEntry judged = polycache::judge_entry(bytes, clock);
  require(judged.payload.size() <= bytes.size(), "a payload beyond its frame");
  const std::string_view tags = polycache::tags_of_simple_frame(bytes);
  require(tags.empty() || (!polycache::are_tags(tags) && judged.state == EntryState::unreadable) ||
              (judged.state != EntryState::unreadable && judged.tags == tags &&
               judged.transforms.empty() && judged.payload.data() == tags.data() + tags.size()),
          "the tags of a simple frame are not those of the frame");
  for (const std::size_t shown : {std::size_t{64}, bytes.size()}) {
    const auto by_head = polycache::judge_head(bytes.substr(0, shown), clock);
    require(!by_head || *by_head == judged.state, "the head says something else than the entry");
  }
}

void check_cache() {
  using polycache::EntryState;
  const polycache::JudgedEntry judged = polycache::judge_entry(stored, polycache::Clock::real());
  // No tag has its version, since the store has the same bytes under the version's key.
  const bool live = judged.state == EntryState::live && judged.tags.empty();
  // The alias has no transform, so it cannot read what one has changed.
  const bool readable = live && judged.transforms.empty();
  const auto text = cache().get<std::string>("k");
  require(text.has_value() == readable && (!text || *text == judged.payload),
          "a cache reads something else than the entry's payload");
  require(cache().contains("k") == live, "contains and get disagree");
  require(cache().touch("k") == live, "touch and get disagree");
  static_cast<void>(cache().get<std::int64_t>("k"));
  static_cast<void>(cache().get<nlohmann::json>("k"));
  for (const auto& value : cache().get_many<std::string>({"a", "b"})) {
    require(value == text, "get_many reads something else");
  }
  require(cache().get_or_set("k", [] { return std::string("made"); }) ==
              (readable ? std::string(judged.payload) : "made"),
          "get_or_set");
  try {
    cache().incr("k");
  } catch (const polycache::ValueError&) {
  }
  if (!readable) return;
  cache().set("k", judged.payload);
  const polycache::JudgedEntry written =
      polycache::judge_entry(OneEntry::written, polycache::Clock::real());
  require(written.state == EntryState::live && written.payload == judged.payload,
          "a value that was read did not survive being written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  stored.assign(reinterpret_cast<const char*>(data), size);
  check_functions(stored);
  check_cache();
  // The same behind a magic, which chance seldom finds.
  stored.insert(0, polycache::entry_magic);
  check_functions(stored);
  check_cache();
  return 0;
}
