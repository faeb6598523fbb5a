#include "polycache/tags.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "base/small_array.h"
#include "front/live_entry.h"
#include "front/operation.h"
#include "front/tag_versions.h"
#include "front/unsupported.h"
#include "polycache/author/extension.h"
#include "polycache/cache.h"

namespace polycache {
namespace {

constinit thread_local TagRecorder* innermost = nullptr;

// How long versions live that are read before it is known for how long an entry needs them.
constexpr Ttl unknown_life{std::chrono::hours{1}};

// Sorts them, and keeps each once.
template <class Names>
std::size_t sort_names(Names& names) {
  std::sort(names.begin(), names.end());
  return static_cast<std::size_t>(std::unique(names.begin(), names.end()) - names.begin());
}

std::vector<EntryTag> entry_tags(const detail::TagList& list,
                                 const std::vector<std::uint64_t>& versions) {
  std::vector<EntryTag> tags;
  for (std::size_t i = 0; i < list.names.size(); ++i) tags.push_back({list.names[i], versions[i]});
  return tags;
}

}  // namespace

namespace detail {

ShortNames::ShortNames(std::span<const std::string_view> names) noexcept {
  std::size_t size = names.size();
  for (const std::string_view name : names) size += name.size();
  if (size > bytes_.size()) return;
  size_ = static_cast<unsigned char>(size);
  bytes_.fill('\0');
  char* at = bytes_.data();
  for (const std::string_view name : names) {
    *at++ = static_cast<char>(name.size());
    at = std::copy(name.begin(), name.end(), at);
  }
}

std::vector<std::string> ShortNames::names() const {
  std::vector<std::string> names;
  for (std::string_view rest(bytes_.data(), size_); !rest.empty();) {
    const auto size = static_cast<unsigned char>(rest.front());
    names.emplace_back(rest.substr(1, size));
    rest.remove_prefix(1U + size);
  }
  return names;
}

}  // namespace detail

std::vector<std::string> TagSnapshot::names() const {
  return list_ ? list_->names : std::vector<std::string>();
}

std::vector<std::string> Tags::names() const { return list_ ? list_->names : few_.names(); }

Tags::Tags(std::initializer_list<KeyView> names) {
  SmallArray<std::string_view, TagKeys::few> texts(names.size());
  std::transform(names.begin(), names.end(), texts.begin(),
                 [](const KeyView& name) { return name.text(); });
  assign(texts.all());
}

Tags::Tags(const std::vector<std::string>& names) {
  SmallArray<std::string_view, TagKeys::few> texts(names.size());
  std::copy(names.begin(), names.end(), texts.begin());
  assign(texts.all());
}

void Tags::assign(std::span<std::string_view> names) {
  const auto unique = names.first(sort_names(names));
  if (unique.empty()) return;
  few_ = detail::ShortNames(unique);
  if (!few_.empty()) return;
  list_ = std::make_shared<const detail::TagList>(
      detail::TagList{std::vector<std::string>(unique.begin(), unique.end())});
}

std::shared_ptr<const detail::TagList> Tags::list() const {
  if (list_) return list_;
  return std::make_shared<const detail::TagList>(detail::TagList{few_.names()});
}

TagRecorder::TagRecorder() noexcept : outer_(std::exchange(innermost, this)) {}

TagRecorder::~TagRecorder() { innermost = outer_; }

std::vector<std::string> TagRecorder::names() const {
  std::vector<std::string> names;
  for (const Recorded& one : recorded_) names.push_back(one.name);
  names.resize(sort_names(names));
  return names;
}

// What the library may do with a recorder.
struct TagAccess {
  static void record(const std::string& space, std::span<const EntryTag> tags) {
    for (TagRecorder* recorder = innermost; recorder != nullptr; recorder = recorder->outer_) {
      for (const EntryTag& tag : tags) {
        auto& all = recorder->recorded_;
        // The first version counts: if the tag was erased since, what was read first is outdated.
        const bool known = std::any_of(all.begin(), all.end(), [&](const auto& one) {
          return one.name == tag.name && one.space == space;
        });
        if (!known) all.push_back({space, std::string(tag.name), tag.version});
      }
    }
  }
};

bool is_recording() noexcept { return innermost != nullptr; }

void record_tags(const CacheState& state, std::span<const EntryTag> tags) {
  if (innermost != nullptr) TagAccess::record(state.keys().reserved_head(), tags);
}

void record_content(const CacheState& state, std::string_view content) {
  if (const auto tags = read_tags(content)) record_tags(state, *tags);
}

std::optional<std::string> Cache::tags_for(Operation& operation, const Tags& tags, Ttl ttl) {
  if (tags.empty()) return std::string();
  const auto checked = tags.list();
  const detail::TagList& list = *checked;
  check_tag_names(*state_, list, operation.what());
  std::string content;
  const bool done = operation.write(false, [&](Backend& session) {
    if (list.versions.empty()) {
      content = tags_content(entry_tags(list, take_versions(session, *state_, list.names, ttl)));
      return true;
    }
    const std::vector<EntryTag> known = entry_tags(list, list.versions);
    lengthen_versions(session, *state_, known, ttl);
    content = tags_content(known);
    return true;
  });
  if (!done) return std::nullopt;
  return content;
}

std::string Cache::with_recorded(const std::string& content, const TagRecorder& recorder) const {
  const auto given = read_tags(content);
  std::map<std::string_view, std::uint64_t> all;
  for (const EntryTag& tag : given.value_or(std::vector<EntryTag>())) {
    all.emplace(tag.name, tag.version);
  }
  for (const TagRecorder::Recorded& one : recorder.recorded_) {
    if (one.space != state_->keys().reserved_head()) continue;
    // The older version counts: of the two, that of the tag before it was erased.
    all.insert_or_assign(one.name, one.version);
  }
  std::vector<EntryTag> tags;
  tags.reserve(all.size());
  for (const auto& [name, version] : all) tags.push_back({name, version});
  return tags_content(tags);
}

TagSnapshot Cache::tags(const Tags& names) {
  if (names.empty()) return {};
  std::string key = state_->keys().reserved_head();
  const std::string_view view = key;
  Operation operation(*this, Op::tags, {&view, 1});
  auto list = std::make_shared<detail::TagList>(*names.list());
  check_tag_names(*state_, *list, operation.what());
  const Ttl ttl = state_->resolve({}).value_or(unknown_life);
  const bool done = operation.write(false, [&](Backend& session) {
    list->versions = take_versions(session, *state_, list->names, ttl);
    return true;
  });
  if (!done) list->versions.assign(list->names.size(), 0);
  list->space = state_->keys().reserved_head();
  operation.ends(done);
  return TagSnapshot(std::move(list));
}

TagSnapshot Cache::tags(const TagRecorder& recorder) const {
  std::map<std::string, std::uint64_t> mine;
  for (const TagRecorder::Recorded& one : recorder.recorded_) {
    if (one.space == state_->keys().reserved_head()) mine.emplace(one.name, one.version);
  }
  if (mine.empty()) return {};
  auto list = std::make_shared<detail::TagList>();
  for (auto& [name, version] : mine) {
    list->names.push_back(name);
    list->versions.push_back(version);
  }
  list->space = state_->keys().reserved_head();
  return TagSnapshot(std::move(list));
}

namespace {

// Removes the versions of those tags from the store, and returns them. No other caller gets them,
// if the store removes and reads in one step.
std::vector<std::uint64_t> remove_versions(Backend& session, const CacheState& state,
                                           std::span<const std::string_view> keys) {
  std::vector<std::uint64_t> versions;
  const auto take = [&](std::string_view stored) {
    if (const auto version = parse_version(stored)) versions.push_back(*version);
  };
  versions.reserve(keys.size());  // a sink does not throw
  if (auto* const pop = static_cast<PopExtension*>(session.extension(PopExtension::id))) {
    for (const std::string_view key : keys) pop->pop(key, take);
  } else {
    for (const std::string_view key : keys) read_authoritative(session, key, state, take);
    session.erase_many(keys);
  }
  return versions;
}

}  // namespace

std::optional<std::size_t> Cache::erase_tags(const Tags& tags) {
  if (tags.empty()) return std::nullopt;
  const Busy busy(*this);
  std::vector<std::string> keys;
  const auto list = tags.list();
  check_tag_names(*state_, *list, name_of(Op::erase_tags));
  for (const std::string& name : list->names) keys.push_back(state_->tag_key(name));
  const std::vector<std::string_view> views(keys.begin(), keys.end());
  Operation operation(*this, Op::erase_tags, views);
  // Whatever the store says, the versions may be gone.
  struct Forgetting {
    TagVersionCache* cache;
    std::span<const std::string_view> keys;
    ~Forgetting() {
      if (cache == nullptr) return;
      for (const std::string_view key : keys) cache->forget(key);
    }
  };
  std::optional<std::size_t> removed;
  const Forgetting forgetting{state_->shared().tag_versions(), views};
  const std::size_t erased = operation.must([&](Backend& session) {
    auto* const index = Operation::extension<TagIndexExtension>(session);
    if (index == nullptr || !index->has_index()) return session.erase_many(views);
    // The versions go first: from then on every entry with these tags counts as absent.
    const std::vector<std::uint64_t> versions = remove_versions(session, *state_, views);
    removed = index->erase_tagged(versions);
    return versions.size();
  });
  operation.tally().erased.add(removed.value_or(0));
  operation.ends_many(erased);
  return removed;
}

bool Cache::create_tag_index() {
  return change_tag_index(Op::create_tag_index,
                          [](TagIndexExtension& index) { return index.create_index(); });
}

bool Cache::drop_tag_index() {
  return change_tag_index(Op::drop_tag_index,
                          [](TagIndexExtension& index) { return index.drop_index(); });
}

bool Cache::change_tag_index(Op op, FunctionRef<bool(TagIndexExtension&)> change) {
  Operation operation(*this, op, Operation::Keys());
  bool can = true;
  const bool changed = operation.must([&](Backend& session) {
    auto* const index = Operation::extension<TagIndexExtension>(session);
    can = index != nullptr;
    return can && change(*index);
  });
  if (!can)
    throw_unsupported(state_->shared(), name_of(op), "has no index of tags", TagIndexExtension::id);
  return operation.ends(changed);
}

}  // namespace polycache
