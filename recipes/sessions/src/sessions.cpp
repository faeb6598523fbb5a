#include "polycache/sessions.h"

#include <algorithm>
#include <utility>

#include "polycache/author/clock.h"
#include "polycache/author/random_id.h"
#include "polycache/codec_json.h"
#include "polycache/detail/digest.h"
#include "polycache/error.h"

namespace polycache {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using SystemClock = std::chrono::system_clock;

constexpr std::size_t id_digits = 32;

bool is_id(std::string_view text) noexcept {
  return text.size() == id_digits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::int64_t in_milliseconds(SystemClock::time_point moment) {
  return std::chrono::floor<milliseconds>(moment).time_since_epoch().count();
}

// What the store has: data, the number of the save, and when the session began.
json record_of(const Session& session, const json& data, std::int64_t revision) {
  return {{"created", in_milliseconds(session.created())}, {"data", data}, {"revision", revision}};
}

struct Record {
  const json* data;
  std::int64_t revision;
  std::int64_t created;
};

// Empty if it is something else.
std::optional<Record> read(const json& stored) {
  if (!stored.is_object() || !stored.contains("data")) return std::nullopt;
  const auto revision = stored.find("revision");
  const auto created = stored.find("created");
  if (revision == stored.end() || !revision->is_number_integer()) return std::nullopt;
  if (created == stored.end() || !created->is_number_integer()) return std::nullopt;
  return Record{&stored["data"], revision->get<std::int64_t>(), created->get<std::int64_t>()};
}

ValueError refused(const std::string& problem) { return ValueError("Sessions: " + problem); }

}  // namespace

std::string_view name_of(SaveResult result) noexcept {
  switch (result) {
    case SaveResult::saved:
      return "saved";
    case SaveResult::unchanged:
      return "unchanged";
    case SaveResult::changed_elsewhere:
      return "changed_elsewhere";
    case SaveResult::gone:
      return "gone";
    case SaveResult::refused:
      return "refused";
  }
  return "unknown";
}

Sessions::Sessions(const SessionsOptions& options)
    : Sessions(CacheHandle(options.cache, options.registry), options) {}

Sessions::Sessions(Cache& cache, SessionsOptions options)
    : Sessions(CacheHandle(cache), std::move(options)) {}

Sessions::Sessions(CacheHandle cache, SessionsOptions options)
    : cache_(std::move(cache)), options_(std::move(options)) {
  if (options_.name.empty()) {
    throw refused("the name is empty; it begins the keys, so give one such as \"session\"");
  }
  if (options_.lifetime.count() <= 0) {
    throw refused("a lifetime of " + std::to_string(options_.lifetime.count()) +
                  " ms; give how long a session lives without use, such as 30min");
  }
  if (options_.longest_lifetime.count() < 0) {
    throw refused("a longest_lifetime of " + std::to_string(options_.longest_lifetime.count()) +
                  " ms; give 0 for none");
  }
}

std::string Sessions::key_of(std::string_view id) const {
  return options_.name + ':' + detail::sha256(id);
}

milliseconds Sessions::life_of(const Session& session) const {
  if (options_.longest_lifetime.count() == 0) return options_.lifetime;
  const auto now = cache_.get().clock().system_now();
  const auto left =
      std::chrono::ceil<milliseconds>(session.created() + options_.longest_lifetime - now);
  return std::min(options_.lifetime, left);
}

Session Sessions::create() const {
  Session session;
  session.id_ = random_id();
  session.created_ = std::chrono::floor<milliseconds>(cache_.get().clock().system_now());
  return session;
}

std::optional<Session> Sessions::load(KeyView id) const {
  if (!is_id(id.text())) return std::nullopt;
  Cache& cache = cache_.get();
  const std::string key = key_of(id.text());
  Entry<json> entry = cache.get_entry<json>(key);
  if (entry.status == EntryStatus::error) {
    throw BackendError(BackendError::Kind::unreachable, "", entry.error);
  }
  if (entry.status != EntryStatus::hit) return std::nullopt;
  const std::optional<Record> record = read(*entry.value);
  if (!record) return std::nullopt;
  Session session;
  session.id_ = id.text();
  session.created_ = SystemClock::time_point(milliseconds(record->created));
  session.revision_ = record->revision;
  session.data_ = *record->data;
  session.saved_ = session.data_;
  const milliseconds life = life_of(session);
  if (life.count() <= 0) {
    cache.erase(key);
    return std::nullopt;
  }
  constexpr int tenth = 10;
  if (!entry.left || *entry.left < life - life / tenth) cache.touch(key, life);
  return session;
}

Session Sessions::load_or_create(KeyView id) const {
  if (auto session = load(id)) return *std::move(session);
  return create();
}

// Stores it under that id, which nothing has yet.
SaveResult Sessions::store_new(const Session& session, const std::string& id) const {
  const milliseconds life = life_of(session);
  if (life.count() <= 0) return SaveResult::gone;
  const bool stored = cache_.get().update<json>(
      key_of(id), [&](const std::optional<json>&) { return record_of(session, session.data_, 1); },
      life);
  return stored ? SaveResult::saved : SaveResult::refused;
}

SaveResult Sessions::save(Session& session) const {
  if (!session.is_changed()) return SaveResult::unchanged;
  SaveResult result = SaveResult::refused;
  if (session.is_new()) {
    result = store_new(session, session.id_);
  } else {
    const milliseconds life = life_of(session);
    if (life.count() <= 0) return SaveResult::gone;
    const bool stored = cache_.get().update<json>(
        key_of(session.id_),
        [&](const std::optional<json>& old) -> std::optional<json> {
          const auto record = old ? read(*old) : std::nullopt;
          result = SaveResult::refused;
          if (!record) result = SaveResult::gone;
          if (record && record->revision != session.revision_) {
            result = SaveResult::changed_elsewhere;
          }
          if (result != SaveResult::refused) return std::nullopt;
          return record_of(session, session.data_, session.revision_ + 1);
        },
        life);
    if (stored) result = SaveResult::saved;
  }
  if (result == SaveResult::saved) {
    ++session.revision_;
    session.saved_ = session.data_;
  }
  return result;
}

SaveResult Sessions::rotate(Session& session) const {
  const std::string id = random_id();
  if (session.is_new()) {
    session.id_ = id;
    return save(session);
  }
  const SaveResult stored = store_new(session, id);
  if (stored != SaveResult::saved) return stored;
  // Of several that rotate or save, one ends the older id.
  SaveResult result = SaveResult::saved;
  Cache& cache = cache_.get();
  try {
    cache.update<json>(
        key_of(session.id_),
        [&](const std::optional<json>& old) -> std::optional<json> {
          const auto record = old ? read(*old) : std::nullopt;
          result = !record                                 ? SaveResult::gone
                   : record->revision != session.revision_ ? SaveResult::changed_elsewhere
                                                           : SaveResult::saved;
          if (result != SaveResult::saved) return std::nullopt;
          return old;
        },
        milliseconds(0));
    if (result != SaveResult::saved) erase(id);
  } catch (...) {
    // The store may have ended the older id or not; the new one is not known to the visitor.
    try {
      erase(id);
    } catch (const CacheError&) {  // it ends with its lifetime
    }
    throw;
  }
  if (result != SaveResult::saved) return result;
  session.id_ = id;
  session.revision_ = 1;
  session.saved_ = session.data_;
  return result;
}

bool Sessions::erase(KeyView id) const {
  return is_id(id.text()) && cache_.get().erase(key_of(id.text()));
}

}  // namespace polycache
