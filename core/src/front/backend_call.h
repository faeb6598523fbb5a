// The time during which a thread is inside a store. Warnings that a store reports meanwhile are
// kept and delivered afterwards, so that a warning handler never runs under a store's lock.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/warning.h"

namespace polycache {

class BackendCall {
 public:
  BackendCall() noexcept : outer_(current_) { current_ = this; }
  BackendCall(const BackendCall&) = delete;
  BackendCall& operator=(const BackendCall&) = delete;
  ~BackendCall() { current_ = outer_; }

  // The calling thread's innermost call, or null.
  static BackendCall* current() noexcept { return current_; }

  struct Kept {
    Warning::Kind kind;
    std::string alias;  // of the reporting store: parts of a composite have their own
    std::string key;
    std::string message;
    std::uint64_t count;

    Warning warning() const noexcept {
      return {.kind = kind, .alias = alias, .key = key, .message = message, .count = count};
    }
  };

  void keep(const Warning& warning, std::string_view alias) {
    if (!kept_) kept_ = std::make_unique<std::vector<Kept>>();
    kept_->push_back({warning.kind, std::string(alias), std::string(warning.key),
                      std::string(warning.message), warning.count});
  }
  bool quiet() const noexcept { return !kept_; }

  // Returns the kept warnings and forgets them.
  std::vector<Kept> take() {
    const std::unique_ptr<std::vector<Kept>> kept = std::move(kept_);
    return kept ? std::move(*kept) : std::vector<Kept>();
  }

 private:
  static constinit thread_local BackendCall* current_;

  BackendCall* outer_;
  std::unique_ptr<std::vector<Kept>> kept_;  // null while empty, which is nearly always
};

}  // namespace polycache
