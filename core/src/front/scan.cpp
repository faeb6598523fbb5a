#include "polycache/scan.h"

#include <algorithm>
#include <cstddef>
#include <exception>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "front/entry.h"
#include "front/live_entry.h"
#include "front/operation.h"
#include "front/tag_versions.h"
#include "front/unsupported.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/author/text.h"
#include "polycache/cache.h"
#include "polycache/error.h"

namespace polycache {
namespace {

// How many entries a page examines: enough that a round trip costs little, few enough that no lock
// of a store is held for long.
constexpr std::size_t page_entries = 500;

// How many keys one bulk erasure of the store gets.
constexpr std::size_t erased_at_once = 1000;

// The pattern of final keys for a pattern of the user's keys. It begins with "prefix:version:", so
// it never matches what the library itself stores under "prefix:~".
std::string final_pattern(const CacheState& state, Op op, std::string_view pattern,
                          std::optional<int> version) {
  const std::string where = state.alias() + ": " + std::string(name_of(op)) + ": ";
  try {
    static_cast<void>(Glob(pattern));
  } catch (const ValueError& error) {
    throw ValueError(error.kind(), where + error.what());
  }
  const KeyPolicy& keys = state.keys();
  if (keys.head().empty()) {
    throw ConfigError(where + "the key function " + quote(state.shared().info().key_function) +
                      " does not begin its keys with prefix and version, so that no pattern "
                      "selects this alias's entries; use the key function \"default\" or "
                      "\"hashed\"");
  }
  return Glob::escape(keys.head_of(version.value_or(keys.version()))).append(pattern);
}

[[noreturn]] void throw_no_scan(const CacheState& state, Op op) {
  throw_unsupported(state.shared(), name_of(op), "cannot list its keys", ScanExtension::id);
}

// What a page has found, copied out of the store's sink.
struct Found {
  std::string final_key;
  std::uint64_t size;
  std::optional<std::chrono::milliseconds> left;
  std::vector<std::string> tags;
};

// Reads the entries: sets their tags, and removes those that count as absent.
void keep_live(Backend& session, const CacheState& state, std::vector<Found>& found) {
  std::vector<std::string_view> keys;
  keys.reserve(found.size());
  for (const Found& one : found) keys.push_back(one.final_key);
  // The content of their tags (entry.h), if they may be live.
  std::vector<std::optional<std::string>> live(found.size());
  std::exception_ptr thrown;  // must not propagate through the store's code
  session.get_many(keys, [&](std::size_t i, std::string_view stored) {
    const JudgedEntry entry = judge_entry(stored, state.clock());
    const bool is_read = is_framed(stored) || is_plain_accepted(stored, state);
    if (thrown || !is_read || entry.state != EntryState::live) return;
    try {
      live[i] = std::string(entry.tags);
    } catch (...) {
      thrown = std::current_exception();
    }
  });
  if (thrown) std::rethrow_exception(thrown);
  std::vector<EntryTag> all;
  for (const auto& content : live) {
    const auto tags = content ? read_tags(*content) : std::nullopt;  // views into it
    if (tags) all.insert(all.end(), tags->begin(), tags->end());
  }
  KnownVersions known(state);
  known.read(session, all);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (!live[i] || !known.has_current(*live[i])) continue;
    Found one = std::move(found[i]);
    for (const EntryTag& tag : read_tags(*live[i]).value_or(std::vector<EntryTag>())) {
      one.tags.emplace_back(tag.name);
    }
    std::sort(one.tags.begin(), one.tags.end());
    found[kept++] = std::move(one);
  }
  found.erase(found.begin() + static_cast<std::ptrdiff_t>(kept), found.end());
}

std::optional<std::chrono::milliseconds> lifetime(const std::optional<Ttl>& left) noexcept {
  if (!left || left->is_forever()) return std::nullopt;
  return left->value();
}

// Reads one page into `found`, which is emptied before. Returns where the next one begins.
template <class Keep>
std::string read_page(ScanExtension& scan, std::string_view pattern, std::string_view cursor,
                      Keep keep) {
  std::exception_ptr thrown;  // must not propagate through the store's code
  std::string next =
      scan.scan(pattern, cursor, page_entries, [&](const ScanExtension::Listed& entry) {
        if (thrown) return;
        try {
          keep(entry);
        } catch (...) {
          thrown = std::current_exception();
        }
      });
  if (thrown) std::rethrow_exception(thrown);
  return next;
}

// For a store that lists its keys, but has no faster way to erase them.
std::size_t erase_listed(Backend& session, ScanExtension& scan, std::string_view pattern) {
  std::size_t erased = 0;
  std::string cursor;
  do {
    std::vector<std::string> keys;
    cursor = read_page(scan, pattern, cursor,
                       [&](const ScanExtension::Listed& entry) { keys.emplace_back(entry.key); });
    const std::vector<std::string_view> views(keys.begin(), keys.end());
    for (std::size_t first = 0; first < views.size(); first += erased_at_once) {
      const std::size_t count = std::min(erased_at_once, views.size() - first);
      erased += session.erase_many(std::span(views).subspan(first, count));
    }
  } while (!cursor.empty());
  return erased;
}

}  // namespace

// The state of a scan. Keeps its cache busy, so that the cursor stays one of the same store.
struct ScanRange::Pages {
  Pages(Cache& of, std::string final_key_pattern, int of_version, bool of_tags)
      : busy(of), pattern(std::move(final_key_pattern)), version(of_version), with_tags(of_tags) {}

  // The next entry, or null.
  const EntryInfo* next() {
    while (at == entries.size()) {
      if (!more) return nullptr;
      read();
    }
    return &entries[at++];
  }

  void read() {
    at = 0;
    entries.clear();
    found.clear();
    more = false;  // unless the page is read to its end
    const std::string_view final_keys = pattern;
    Cache::Operation operation(busy.cache(), Op::scan, {&final_keys, 1});
    bool can = true;
    cursor = operation.must_read([&](Backend& session) -> std::string {
      auto* const scan = Cache::Operation::extension<ScanExtension>(session);
      can = scan != nullptr;
      if (!can) return {};
      std::string next =
          read_page(*scan, final_keys, cursor, [&](const ScanExtension::Listed& entry) {
            found.push_back({std::string(entry.key), entry.size, lifetime(entry.left), {}});
          });
      if (with_tags && !found.empty()) keep_live(session, operation.state(), found);
      return next;
    });
    if (!can) throw_no_scan(operation.state(), Op::scan);
    for (Found& one : found) add(operation.state().keys(), std::move(one));
    operation.ends_many(entries.size());
    more = !cursor.empty();
  }

  // The user's key is what follows the head, unless the key function makes another final key of it.
  void add(const KeyPolicy& keys, Found one) {
    EntryInfo entry{.final_key = std::move(one.final_key),
                    .size = one.size,
                    .left = one.left,
                    .tags = std::move(one.tags)};
    const std::string_view final_key = entry.final_key;
    const std::string_view key = final_key.substr(std::min(head_size(keys), final_key.size()));
    if (keys.makes(final_key, key, version)) entry.key = key;
    entries.push_back(std::move(entry));
  }

  std::size_t head_size(const KeyPolicy& keys) {
    if (head == 0) head = keys.head_of(version).size();
    return head;
  }

  const Cache::Busy busy;
  const std::string pattern;
  const int version;
  const bool with_tags;
  std::size_t head = 0;  // the size of "prefix:version:", once it is known
  std::string cursor;
  bool more = true;
  std::vector<Found> found;
  std::vector<EntryInfo> entries;
  std::size_t at = 0;  // the next of these
};

ScanRange::ScanRange(std::unique_ptr<Pages> pages) : pages_(std::move(pages)) { advance(); }

ScanRange::ScanRange(ScanRange&& other) noexcept
    : pages_(std::move(other.pages_)), entry_(std::exchange(other.entry_, nullptr)) {}

ScanRange& ScanRange::operator=(ScanRange&& other) noexcept {
  pages_ = std::move(other.pages_);
  entry_ = std::exchange(other.entry_, nullptr);
  return *this;
}

ScanRange::~ScanRange() = default;

void ScanRange::advance() {
  entry_ = nullptr;  // if this throws
  entry_ = pages_->next();
}

ScanRange Cache::scan(KeyView pattern, ScanOptions options) {
  const Busy busy(*this);
  return ScanRange(std::make_unique<ScanRange::Pages>(
      *this, final_pattern(*state_, Op::scan, pattern.text(), options.version),
      options.version.value_or(version()), options.tags));
}

std::size_t Cache::erase_pattern(KeyView pattern, KeyOptions options) {
  const Busy busy(*this);
  const std::string whole =
      final_pattern(*state_, Op::erase_pattern, pattern.text(), options.version);
  const std::string_view final_keys = whole;
  Operation operation(*this, Op::erase_pattern, {&final_keys, 1});
  state_->flights().end_all();
  const std::optional<std::size_t> erased =
      operation.must([&](Backend& session) { return erase_final(session, final_keys); });
  if (!erased) throw_no_scan(*state_, Op::erase_pattern);
  operation.have_been_erased(*erased);
  return *erased;
}

// Empty if the store cannot list its keys.
std::optional<std::size_t> Cache::erase_final(Backend& session, std::string_view pattern) {
  if (auto* const erase = Operation::extension<ErasePatternExtension>(session)) {
    return erase->erase_pattern(pattern);
  }
  auto* const scan = Operation::extension<ScanExtension>(session);
  if (scan == nullptr) return std::nullopt;
  return erase_listed(session, *scan, pattern);
}

}  // namespace polycache
