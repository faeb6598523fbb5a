// A shop: a program to start from. docs/shop.md says what it shows.
//
//   ./shop --config shop.json --database /var/lib/shop/goods.sqlite3 --port 8080

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigset_t and sigwait() are POSIX
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "shop.h"

using namespace std::chrono_literals;

namespace {

struct Arguments {
  std::string config = "shop.json";
  std::string database = "shop.sqlite3";
  int port = 8080;  // 0: a free one
};

int port_of(std::string_view text) {
  int port = -1;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, port);
  if (error != std::errc() || rest != end || port < 0 || port > 65535) {
    throw std::runtime_error("--port: expected a number from 0 to 65535, got \"" +
                             std::string(text) + '"');
  }
  return port;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view name = argv[i];
    if (i + 1 == argc) throw std::runtime_error(std::string(name) + ": expected a value");
    if (name == "--config") {
      arguments.config = argv[i + 1];
    } else if (name == "--database") {
      arguments.database = argv[i + 1];
    } else if (name == "--port") {
      arguments.port = port_of(argv[i + 1]);
    } else {
      throw std::runtime_error(std::string(name) +
                               ": unknown; there are --config, --database and --port");
    }
  }
  return arguments;
}

int bind(httplib::Server& server, int port) {
  // Not the library's SO_REUSEPORT, with which two programs can have one port and share its
  // requests.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  const int bound = port == 0                                ? server.bind_to_any_port("127.0.0.1")
                    : server.bind_to_port("127.0.0.1", port) ? port
                                                             : -1;
  if (bound < 0) {
    throw std::runtime_error("cannot listen on 127.0.0.1:" + std::to_string(port) +
                             "; does another program?");
  }
  return bound;
}

// Serves until SIGINT or SIGTERM, and then completes the requests that are under way.
void serve(httplib::Server& server, const sigset_t& signals) {
  std::atomic<bool> has_ended = false;
  std::thread stopper([&] {
    int signal = 0;
    ::sigwait(&signals, &signal);
    while (!server.is_running() && !has_ended) std::this_thread::sleep_for(10ms);
    if (!has_ended) server.stop();
  });
  const bool was_stopped = server.listen_after_bind();
  has_ended = true;
  ::kill(::getpid(), SIGTERM);  // if nothing else has: the stopper waits for it
  stopper.join();
  if (!was_stopped) throw std::runtime_error("the socket failed");
}

void run(const Arguments& arguments, const sigset_t& signals) {
  polycache::configure(polycache::Config::from_file(arguments.config),
                       {.sections = {{"shop", read_settings}}});
  polycache::SectionReader section = polycache::global_registry().section("shop");
  Goods goods(arguments.database);
  Shop shop(goods, read_settings(section));
  httplib::Server server;
  shop.add_routes(server);
  const int port = bind(server, arguments.port);
  std::cout << "http://127.0.0.1:" << port << '/' << std::endl;
  serve(server, signals);
  polycache::global_registry().shutdown(5s);
}

}  // namespace

int main(int argc, char** argv) {
  // Blocked in all threads, so that only sigwait() receives them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  try {
    run(parse(argc, argv), signals);
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "shop: " << error.what() << '\n';
    return 1;
  }
}
