// Ends the program, with a message, when a test exceeds its time limit: a test that hangs
// prints nothing by itself.
//
//   polycache::testing::Watchdog watchdog(60s, "the test Folder.Locks");
//
// It uses the timer and the signal of alarm(), so it starts no thread and detects every kind of
// waiting. A child of fork() starts without it. Use only one at a time.

#pragma once

#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>

namespace polycache::testing {

class Watchdog {
 public:
  // A limit of zero means none. `what` names the limited code in the message.
  Watchdog(std::chrono::milliseconds limit, std::string_view what) {
    const std::string text = "\nwatchdog: " + std::string(what) + " did not end within " +
                             std::to_string(limit.count()) +
                             " ms; the program ends here.\n"
                             "Does the store call a sink, or wait for another session, while it "
                             "holds a lock?\nA sink may use another session of the same store. A "
                             "debugger or a core dump shows where\neach thread waits. On a slow "
                             "machine, raise time_limit.\n";
    size_ = text.copy(message_.data(), message_.size());
    struct sigaction action = {};
    action.sa_handler = end_program;
    sigaction(SIGALRM, &action, &before_);
    start(limit);
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    start(std::chrono::milliseconds(0));
    sigaction(SIGALRM, &before_, nullptr);
  }

  // Restarts the timer, in a child of fork() too; zero stops it.
  static void start(std::chrono::milliseconds limit) noexcept {
    itimerval timer = {};
    timer.it_value.tv_sec = limit.count() / 1000;
    timer.it_value.tv_usec = limit.count() % 1000 * 1000;
    setitimer(ITIMER_REAL, &timer, nullptr);
  }

 private:
  // Runs in a signal handler.
  static void end_program(int) {
    if (write(STDERR_FILENO, message_.data(), size_) < 0) _exit(EXIT_FAILURE);
    std::abort();
  }

  static inline std::array<char, 1024> message_{};
  static inline std::size_t size_ = 0;
  struct sigaction before_ = {};
};

}  // namespace polycache::testing
