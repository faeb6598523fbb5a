// Sessions of a web application over any cache: data of one visitor, found by a secret id that the
// visitor keeps in a cookie.
//
//   const polycache::Sessions sessions({.cache = "sessions", .lifetime = 30min});
//   polycache::Session session = sessions.load_or_create(cookie);
//   session.data()["cart"].push_back(17);
//   sessions.save(session);                    // only if something changed
//   set_cookie(session.id());
//
//   session.data()["user"] = "ada";            // after a login:
//   sessions.rotate(session);                  // a new id, so that an older one is worth nothing
//   sessions.erase(session);                   // a logout
//
// - An id is 128 bits of getrandom(2), as 32 hex digits. The store's key is its SHA-256, so that
//   a list of its keys is no list of ids. An id that is not known, or has another form, is never
//   adopted: load_or_create() makes a new one (OWASP, "Session Management").
// - A session ends `lifetime` after it was last loaded or saved. A load lengthens it only when a
//   tenth of the lifetime is over, so that most loads are one request.
// - Two programs that change one session at once: the second save() is told, and stores nothing.
// - Works on every store. Where the store evicts the entry, or a program clears it, the visitor
//   begins anew; on a store that keeps nothing (dummy) each time. Take an alias of its own, on a
//   store that does not evict.
// - A store that fails: load(), save(), rotate() and erase() throw BackendError, whatever
//   "on_error" is, so that an outage does not end every session.
// - A null pointer as an id or as the name of a member throws InvalidKey.
//
// An object that is made with an alias may be used by all threads at once; one that is made with a
// Cache belongs to that cache's thread. Neither must be used after its registry has ended. A
// Session is not thread-safe.

#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "polycache/cache_handle.h"
#include "polycache/key.h"

namespace polycache {

struct SessionsOptions {
  std::string name = "session";       // begins the keys
  std::string cache = "default";      // the alias
  CacheRegistry* registry = nullptr;  // [that of polycache::caches]
  std::chrono::milliseconds lifetime = std::chrono::minutes(30);
  // How long after its beginning a session ends in any case, also if it is used; 0: never.
  std::chrono::milliseconds longest_lifetime{};
};

class Session {
 public:
  // Secret, since it gives access to the session. For the cookie: HttpOnly and Secure.
  const std::string& id() const noexcept { return id_; }
  // Not saved yet.
  bool is_new() const noexcept { return revision_ == 0; }
  // Whether save() has something to store.
  bool is_changed() const { return is_new() ? !data_.empty() : data_ != saved_; }

  // An object; whatever JSON it holds is stored. It is empty at first.
  nlohmann::json& data() noexcept { return data_; }
  const nlohmann::json& data() const noexcept { return data_; }
  // A member of it; empty if there is none, or if it is not a T.
  template <class T>
  std::optional<T> get(KeyView name) const;

  // When it began.
  std::chrono::system_clock::time_point created() const noexcept { return created_; }

 private:
  friend class Sessions;
  Session() = default;

  std::string id_;
  nlohmann::json data_ = nlohmann::json::object();
  nlohmann::json saved_ = nlohmann::json::object();  // what the store has
  std::int64_t revision_ = 0;
  std::chrono::system_clock::time_point created_;
};

enum class SaveResult : std::uint8_t {
  saved,
  unchanged,          // there was nothing to store
  changed_elsewhere,  // another program was faster: load it again
  gone,               // it has ended, or was erased
  refused,            // the store does not take it, as it is too large; a warning says more
};

// "changed_elsewhere".
std::string_view name_of(SaveResult result) noexcept;

class Sessions {
 public:
  // Does not look at the store. Throws ValueError for an empty name and a lifetime of zero or less.
  explicit Sessions(const SessionsOptions& options = {});
  // With one thread's cache; `cache` and `registry` of the options are not used.
  explicit Sessions(Cache& cache, SessionsOptions options = {});

  // A new one, which the store does not have until it is saved. Throws std::system_error if the
  // system gives no random numbers.
  Session create() const;

  // The session with that id; empty if there is none, and for a text that is no id. Throws
  // BackendError if the store fails.
  std::optional<Session> load(KeyView id) const;

  // The same, or a new one with an id of its own.
  Session load_or_create(KeyView id) const;

  // Stores what changed since the session was loaded or saved, and lengthens its life. A new one
  // without data is not stored. Never stores over a session that was changed elsewhere, nor one
  // that is gone. Throws BackendError if the store fails; and what nlohmann::json throws for data
  // that is no JSON, such as a text that is not UTF-8.
  SaveResult save(Session& session) const;

  // Gives the session a new id, with its data, saved or not; the older id is worth nothing from
  // then on. To be called whenever rights change, as with a login. If the session was changed
  // elsewhere or is gone, it keeps its id. Throws as save(): it then keeps its id, too, which may
  // have ended.
  SaveResult rotate(Session& session) const;

  // Ends the session. Returns whether the store had it. Throws BackendError if the store fails.
  bool erase(const Session& session) const { return erase(session.id()); }
  bool erase(KeyView id) const;

 private:
  Sessions(CacheHandle cache, SessionsOptions options);

  std::string key_of(std::string_view id) const;
  std::chrono::milliseconds life_of(const Session& session) const;
  SaveResult store_new(const Session& session, const std::string& id) const;

  CacheHandle cache_;
  SessionsOptions options_;
};

template <class T>
std::optional<T> Session::get(KeyView name) const {
  if (!data_.is_object()) return std::nullopt;
  const auto member = data_.find(std::string(name.text()));
  if (member == data_.end()) return std::nullopt;
  try {
    return member->get<T>();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace polycache
