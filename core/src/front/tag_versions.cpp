#include "front/tag_versions.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "polycache/author/extension.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache {
namespace {

constexpr std::size_t most_tags = 64;
constexpr std::size_t longest_tag = 1024;
constexpr std::size_t version_size = sizeof(std::uint64_t);

// An entry may be a little older than the store's clock says.
constexpr std::chrono::minutes spare{1};

using VersionSink = FunctionRef<void(std::size_t index, std::optional<std::uint64_t> version,
                                     std::optional<Ttl> left)>;

enum class Lifetime : unsigned char { needed, not_needed };

// Calls sink(i, version, left) for each tag that the store has; `left` is empty if it is not
// needed, or if the store cannot tell. Never reads from a replica, which could have a version that
// was erased.
void read_versions(Backend& session, const CacheState& state,
                   std::span<const std::string_view> keys, Lifetime lifetime, VersionSink sink) {
  auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id));
  const bool is_plain = lifetime == Lifetime::not_needed && state.reads_latest();
  if (ttl == nullptr || is_plain) {
    session.get_many(keys, [&](std::size_t i, std::string_view stored) {
      sink(i, parse_version(stored), std::nullopt);
    });
  } else if (keys.size() == 1) {
    ttl->get(keys.front(),
             [&](std::string_view stored, Ttl left) { sink(0, parse_version(stored), left); });
  } else {
    ttl->get_many(keys, [&](std::size_t i, std::string_view stored, Ttl left) {
      sink(i, parse_version(stored), left);
    });
  }
}

std::string version_bytes(std::uint64_t version) {
  std::string bytes;
  for (std::size_t i = 0; i < version_size; ++i, version >>= 8U) {
    bytes.push_back(static_cast<char>(version & 0xffU));
  }
  return bytes;
}

std::uint64_t random_version() {
  std::random_device random;
  return std::uint64_t{random()} << 32U | random();
}

// How long a version must live for an entry that lives for `ttl`.
bool is_long_enough(std::optional<Ttl> left, Ttl ttl) noexcept {
  if (!left || left->is_forever()) return true;
  return !ttl.is_forever() && left->value() - spare >= ttl.value();
}

// How long it gets to live: twice that, so that the next entries need not lengthen it.
Ttl generous(Ttl ttl) noexcept {
  constexpr std::chrono::milliseconds long_time = std::chrono::hours{24 * 365 * 1000};
  if (ttl.is_forever() || ttl.value() > long_time) return Ttl::forever();
  return Ttl(2 * (ttl.value() + spare));
}

}  // namespace

std::optional<std::uint64_t> parse_version(std::string_view stored) noexcept {
  if (stored.size() != version_size) return std::nullopt;
  std::uint64_t version = 0;
  for (std::size_t i = version_size; i-- > 0;) {
    version = version << 8U | static_cast<unsigned char>(stored[i]);
  }
  return version;
}

namespace {

// Whether a tag of an entry is known to have had its version a moment ago.
bool was_current(const CacheState& state, const EntryTag& tag) {
  TagVersionCache* const cache = state.shared().tag_versions();
  if (cache == nullptr) [[likely]]
    return false;
  FinalKey key;
  state.compose_tag_key(key, tag.name);
  return cache->is_known(key.view(), tag.version);
}

// Remembers versions that the store is about to give.
class Noting {
 public:
  Noting(const CacheState& state, std::span<const std::string_view> keys)
      : cache_(state.shared().tag_versions()), keys_(keys) {
    if (cache_ == nullptr) [[likely]]
      return;
    for (const std::string_view key : keys) asked_.push_back(cache_->moment(key));
  }
  void note(std::size_t i, std::optional<std::uint64_t> version) const noexcept {
    if (cache_ != nullptr && version) cache_->note(keys_[i], *version, asked_[i]);
  }

 private:
  TagVersionCache* const cache_;
  const std::span<const std::string_view> keys_;
  std::vector<TagVersionCache::Moment> asked_;
};

}  // namespace

void KnownVersions::read(Backend& session, std::span<const EntryTag> tags) {
  // If entries carry different versions of a tag, the store is asked which one is current.
  std::vector<std::string_view> names;
  for (const EntryTag& tag : tags) {
    const auto found = known_.find(tag.name);
    if (found == known_.end() && was_current(state_, tag)) {
      known_.emplace(tag.name, Known{tag.version, false});
    } else if (found == known_.end() ||
               (!found->second.is_read && found->second.version != tag.version)) {
      known_.insert_or_assign(std::string(tag.name), Known{std::nullopt, true});
      names.push_back(tag.name);
    }
  }
  if (names.empty()) return;
  TagKeys keys(state_, names);
  const Noting noting(state_, keys.views());
  read_versions(session, state_, keys.views(), Lifetime::not_needed,
                [&](std::size_t i, std::optional<std::uint64_t> version, std::optional<Ttl>) {
                  known_.insert_or_assign(std::string(names[i]), Known{version, true});
                  noting.note(i, version);
                });
}

bool KnownVersions::are_current(std::span<const EntryTag> tags) const {
  return std::all_of(tags.begin(), tags.end(), [&](const EntryTag& tag) {
    const auto found = known_.find(tag.name);
    return found != known_.end() && found->second.version == tag.version;
  });
}

bool KnownVersions::has_current(std::string_view content) const {
  const auto tags = read_tags(content);
  return tags && are_current(*tags);
}

bool KnownVersions::are_current(std::string_view content) const {
  const auto tags = read_tags(content);
  if (!tags || !are_current(*tags)) return false;
  record_tags(state_, *tags);
  return true;
}

namespace {

// In a store of this process, which has no replica, and where a call for all tags saves nothing.
bool local_tags_are_current(Backend& session, const CacheState& state, std::string_view content) {
  for (std::string_view rest = content; !rest.empty();) {
    const auto tag = take_tag(rest);
    if (!tag) return false;
    FinalKey key;
    state.compose_tag_key(key, tag->name);
    bool current = false;
    session.get(key.view(),
                [&](std::string_view stored) { current = parse_version(stored) == tag->version; });
    if (!current) return false;
  }
  if (is_recording()) [[unlikely]]
    record_content(state, content);
  return true;
}

// One tag, without an allocation.
bool tag_is_current(Backend& session, TtlExtension& ttl, const CacheState& state,
                    const EntryTag& tag, std::optional<Ttl> lasting) {
  FinalKey key;
  state.compose_tag_key(key, tag.name);
  TagVersionCache* const cache = state.shared().tag_versions();
  if (cache != nullptr && !lasting && cache->is_known(key.view(), tag.version)) [[unlikely]] {
    record_tags(state, {&tag, 1});
    return true;
  }
  const auto asked = cache != nullptr ? cache->moment(key.view()) : 0;
  bool current = false;
  bool too_short = false;
  const auto compare = [&](std::string_view stored) {
    current = parse_version(stored) == tag.version;
  };
  if (!lasting && state.reads_latest()) {
    session.get(key.view(), compare);
  } else {
    ttl.get(key.view(), [&](std::string_view stored, Ttl left) {
      compare(stored);
      too_short = lasting && !is_long_enough(left, *lasting);
    });
  }
  if (!current) return false;
  if (cache != nullptr) [[unlikely]]
    cache->note(key.view(), tag.version, asked);
  if (too_short) session.touch(key.view(), generous(*lasting));
  record_tags(state, {&tag, 1});
  return true;
}

}  // namespace

bool tags_are_current(Backend& session, const CacheState& state, std::string_view content,
                      std::optional<Ttl> lasting) {
  if (!lasting && state.is_local()) return local_tags_are_current(session, state, content);
  std::string_view rest = content;
  const auto first = take_tag(rest);
  auto* const ttl = static_cast<TtlExtension*>(session.extension(TtlExtension::id));
  if (first && rest.empty() && ttl != nullptr) {
    return tag_is_current(session, *ttl, state, *first, lasting);
  }
  if (!first) return content.empty();  // it is damaged
  std::size_t count = 1;
  for (std::string_view others = rest; take_tag(others);) ++count;
  SmallArray<EntryTag, TagKeys::few> tags(count);
  rest = content;
  for (EntryTag& tag : tags.all()) tag = *take_tag(rest);
  if (!rest.empty()) return false;  // it is damaged
  if (!lasting && std::all_of(tags.begin(), tags.end(),
                              [&](const EntryTag& tag) { return was_current(state, tag); })) {
    record_tags(state, tags.all());
    return true;
  }
  TagKeys keys(state, tags.all());
  const Noting noting(state, keys.views());
  std::size_t current = 0;
  std::vector<std::size_t> too_short;
  read_versions(session, state, keys.views(), lasting ? Lifetime::needed : Lifetime::not_needed,
                [&](std::size_t i, std::optional<std::uint64_t> version, std::optional<Ttl> left) {
                  noting.note(i, version);
                  if (version == tags[i].version) ++current;
                  if (lasting && !is_long_enough(left, *lasting)) too_short.push_back(i);
                });
  if (current < tags.size()) return false;
  for (const std::size_t i : too_short) session.touch(keys[i], generous(*lasting));
  record_tags(state, tags.all());
  return true;
}

void check_tags(Backend& session, const CacheState& state, CurrentTags& remembered,
                Reading& reading) {
  reading.check_tags([&] {
    const TagsNow now(session, state, remembered);
    if (now.are_current(reading.tags())) [[likely]]
      return true;
    if (!tags_are_current(session, state, reading.tags())) return false;
    now.remember(reading.tags());
    return true;
  });
}

void check_tags_of(Backend& session, const CacheState& state, CurrentTags& remembered,
                   TaggedReadings& entries) {
  const TagsNow now(session, state, remembered);
  std::vector<Reading*> unknown;
  std::vector<EntryTag> tags;
  for (auto& entry : entries) {
    Reading& reading = entry.second;
    if (now.are_current(reading.tags())) {
      reading.check_tags([] { return true; });
      continue;
    }
    unknown.push_back(&reading);
    const auto its = read_tags(reading.tags());
    if (its) tags.insert(tags.end(), its->begin(), its->end());
  }
  if (unknown.empty()) return;
  KnownVersions known(state);
  known.read(session, tags);
  for (Reading* const reading : unknown) {
    reading->check_tags([&] {
      if (!known.are_current(reading->tags())) return false;
      now.remember(reading->tags());
      return true;
    });
  }
}

std::vector<std::uint64_t> take_versions(Backend& session, const CacheState& state,
                                         std::span<const std::string> names, Ttl ttl) {
  TagKeys keys(state, names);
  std::vector<std::optional<std::uint64_t>> versions(names.size());
  std::vector<std::size_t> too_short;
  read_versions(session, state, keys.views(), Lifetime::needed,
                [&](std::size_t i, std::optional<std::uint64_t> version, std::optional<Ttl> left) {
                  versions[i] = version;
                  if (!is_long_enough(left, ttl)) too_short.push_back(i);
                });
  for (const std::size_t i : too_short) session.touch(keys[i], generous(ttl));
  // A store that cannot tell lifetimes keeps versions for ever, since none could be lengthened
  // without shortening another.
  const bool tells = session.extension(TtlExtension::id) != nullptr;
  const Ttl life = tells ? generous(ttl) : Ttl::forever();
  std::vector<std::uint64_t> taken;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    if (!versions[i]) {
      const std::uint64_t fresh = random_version();
      if (session.put(keys[i], version_bytes(fresh), life, PutMode::if_absent)) {
        versions[i] = fresh;
      } else {  // another writer was faster, or it was no version
        read_versions(session, state, keys.views().subspan(i, 1), Lifetime::not_needed,
                      [&](std::size_t, std::optional<std::uint64_t> version, std::optional<Ttl>) {
                        versions[i] = version;
                      });
        if (!versions[i] && session.put(keys[i], version_bytes(fresh), life, PutMode::always)) {
          versions[i] = fresh;
        }
      }
    }
    // A version that the store does not have: the entry counts as absent from the beginning.
    taken.push_back(versions[i] ? *versions[i] : random_version());
  }
  return taken;
}

void lengthen_versions(Backend& session, const CacheState& state, std::span<const EntryTag> tags,
                       Ttl ttl) {
  TagKeys keys(state, tags);
  std::vector<std::size_t> too_short;
  read_versions(session, state, keys.views(), Lifetime::needed,
                [&](std::size_t i, std::optional<std::uint64_t> version, std::optional<Ttl> left) {
                  if (version == tags[i].version && !is_long_enough(left, ttl)) {
                    too_short.push_back(i);
                  }
                });
  for (const std::size_t i : too_short) session.touch(keys[i], generous(ttl));
}

void check_tag_names(const CacheState& state, const detail::TagList& tags, std::string_view what) {
  const auto refuse = [&](const std::string& problem) {
    throw ValueError(state.alias() + ": " + std::string(what) + ": " + problem);
  };
  if (tags.versions.empty() && tags.names.size() > most_tags) {
    refuse(std::to_string(tags.names.size()) + " tags, more than " + std::to_string(most_tags) +
           "; give one tag to entries that are always erased together");
  }
  for (const std::string& name : tags.names) {
    if (name.empty()) refuse("a tag is empty; a tag is a text such as \"posts\"");
    if (name.size() > longest_tag) {
      refuse("the tag " + quote(name) + " is " + std::to_string(name.size()) +
             " bytes long, more than " + std::to_string(longest_tag) + "; shorten it");
    }
  }
  if (!tags.versions.empty() && tags.space != state.keys().reserved_head()) {
    refuse("its tags were read through a cache with another prefix; read them through this one");
  }
}

}  // namespace polycache
