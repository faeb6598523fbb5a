// A visitor comes, logs in and goes; the cookie is a variable.

#include <polycache/polycache.h>
#include <polycache/sessions.h>

#include <iostream>

int main() {
  polycache::configure({.caches = {{"sessions", {.backend = "locmem"}}}});
  const polycache::Sessions sessions({.cache = "sessions"});

  std::string cookie = "an id that this program never gave";
  polycache::Session visitor = sessions.load_or_create(cookie);
  visitor.data()["cart"] = {17, 18};
  sessions.save(visitor);
  cookie = visitor.id();

  polycache::Session again = sessions.load_or_create(cookie);
  again.data()["user"] = "ada";
  sessions.rotate(again);  // rights have changed: a new id
  std::cout << "the older id " << (sessions.load(cookie) ? "still works" : "is worth nothing")
            << '\n';
  cookie = again.id();

  std::cout << sessions.load(cookie)->data().dump() << '\n';
  std::cout << (sessions.erase(cookie) ? "logged out" : "was not there") << '\n';
}
