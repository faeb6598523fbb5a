// A news server, whose pages stay in a cache until there is news:
//
//   ./pages 8080      (without a number: any free port)
//   curl -i localhost:8080/ ; curl -i localhost:8080/ ; curl -i -d 'It rains.' localhost:8080/

#include <httplib.h>
#include <polycache/page_cache.h>
#include <polycache/polycache.h>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <string>
#include <utility>

using polycache::PageAnswer;
using polycache::PageTags;

polycache::PageRequest request_of(const httplib::Request& from) {
  const std::size_t end = from.target.find('?');
  polycache::PageRequest request{.method = from.method,
                                 .host = from.get_header_value("Host"),
                                 .path = from.target.substr(0, end)};
  if (end != std::string::npos) request.query = from.target.substr(end + 1);
  for (const auto& [name, value] : from.headers) request.headers.add(name, value);
  return request;
}

void send(PageAnswer answer, httplib::Response& to) {
  to.status = answer.status;
  for (const auto& [name, value] : answer.headers) to.headers.emplace(name, value);
  to.body = std::move(answer.body);
}

int main(int argc, char** argv) {
  polycache::configure({.caches = {{"default", {.backend = "locmem"}}}});
  const polycache::PageCache pages({.timeout = std::chrono::minutes(5)});
  std::mutex mutex;
  std::string news = "No news.\n";  // guarded by the mutex

  httplib::Server server;
  server.Get("/", [&](const httplib::Request& from, httplib::Response& to) {
    const auto page = [&](PageTags& tags) {
      tags.add("news");  // before they are read
      const std::lock_guard lock(mutex);
      return PageAnswer{.headers = {{"Content-Type", "text/plain"}}, .body = news};
    };
    send(pages.answer(request_of(from), page), to);
  });
  server.Post("/", [&](const httplib::Request& from, httplib::Response& to) {
    std::unique_lock lock(mutex);
    news += from.body + '\n';
    lock.unlock();
    polycache::cache().erase_tag("news");
    to.set_redirect("/", 303);
  });

  const int wanted = argc > 1 ? std::atoi(argv[1]) : 0;
  const int port = wanted == 0                                ? server.bind_to_any_port("127.0.0.1")
                   : server.bind_to_port("127.0.0.1", wanted) ? wanted
                                                              : -1;
  if (port < 0) return 1;
  std::cout << "http://127.0.0.1:" << port << '/' << std::endl;
  return server.listen_after_bind() ? 0 : 1;
}
