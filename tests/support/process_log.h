// A log to which several processes append records, and which is read when they have ended.
//
// A process may be killed while it appends. A kernel that is told so stops writing at the end of a
// page, so that a record that lies in two pages would be cut in the middle. All records are of one
// length that divides a page; so each is in the log whole or not at all.

#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace polycache::testing {

inline std::int64_t number_from_environment(const char* name, std::int64_t fallback) {
  const char* const text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoll(text, nullptr, 10);
}

class ProcessLog {
 public:
  // Of a record, with the line feed at its end.
  static constexpr std::size_t record_bytes = 128;

  explicit ProcessLog(const std::string& path)
      : file_(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (file_ < 0) throw std::runtime_error("no log");
  }
  ProcessLog(const ProcessLog&) = delete;
  ProcessLog& operator=(const ProcessLog&) = delete;
  ~ProcessLog() { ::close(file_); }

  // `text`: without a line feed.
  void append(std::string text) const {
    if (text.size() >= record_bytes) ::_exit(8);
    text.resize(record_bytes - 1, ' ');
    text += '\n';
    if (::write(file_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) ::_exit(9);
  }

 private:
  int file_;
};

// The records of a log. `Line` is read by operator>>. Throws std::runtime_error for a record that
// is none: a log that is read in part would hide what the model looks for.
template <class Line>
std::vector<Line> read_process_log(const std::string& path) {
  std::vector<Line> lines;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("there is no log " + path);
  for (std::string text; std::getline(file, text);) {
    std::istringstream record(text);
    Line line;
    if (text.size() != ProcessLog::record_bytes - 1 || !(record >> line)) {
      throw std::runtime_error("record " + std::to_string(lines.size() + 1) + " of " + path +
                               " cannot be read: " + text);
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

}  // namespace polycache::testing
