// A contender in a Python process of its own, which measures its own time.

#pragma once

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "duel.h"

namespace duel {

struct PythonScript {
  // Gets "cpu" or "wall" and the argument. It prints the version of its library, then for each line
  // "operation first count" how many seconds that took.
  const char* script;
  std::string argument;
  const char* name;     // of the benchmark, for messages
  const char* package;  // the Debian package of the library
};

class Python {
 public:
  Python(const char* python, const PythonScript& of, bool cpu) : name_(of.name) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      give_up("cannot make a pair of sockets");
    }
    child_ = ::fork();
    if (child_ < 0) give_up("cannot fork");
    if (child_ == 0) {
      ::dup2(ends[1], STDIN_FILENO);
      ::dup2(ends[1], STDOUT_FILENO);
      ::execlp(python, python, "-c", of.script, cpu ? "cpu" : "wall", of.argument.c_str(), nullptr);
      ::_exit(77);
    }
    ::close(ends[1]);
    to_ = ::fdopen(ends[0], "w");
    from_ = ::fdopen(::dup(ends[0]), "r");
    if (to_ == nullptr || from_ == nullptr) give_up("cannot open a socket as a file");
    version_ = answer();
  }
  Python(const Python&) = delete;
  Python& operator=(const Python&) = delete;
  ~Python() {
    std::fclose(to_);
    std::fclose(from_);
    ::waitpid(child_, nullptr, 0);
  }

  // Empty: this Python does not have the library.
  const std::string& version() const noexcept { return version_; }

  Contender contender(const char* operation) {
    return [this, operation](const Stopwatch&, std::size_t first, std::size_t operations) {
      std::fprintf(to_, "%s %zu %zu\n", operation, first, operations);
      std::fflush(to_);
      const std::string took = answer();
      if (took.empty()) give_up(name_ + ": the Python process has ended");
      return std::stod(took);
    };
  }

 private:
  std::string answer() {
    char line[100];
    if (std::fgets(line, sizeof line, from_) == nullptr) return {};
    std::string text = line;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

  const std::string name_;
  pid_t child_ = -1;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
  std::string version_;
};

// Debian installs libraries for its own Python, which need not be the first one in PATH. Ends the
// program with status 77 if none has the library.
inline std::unique_ptr<Python> find_python(const PythonScript& of, const Options& options) {
  for (const char* const python : {"python3", "/usr/bin/python3"}) {
    auto found = std::make_unique<Python>(python, of, options.cpu);
    if (!found->version().empty()) return found;
  }
  std::printf("%s: %s is not installed; left out\n", of.name, of.package);
  std::exit(77);
}

}  // namespace duel
