// The time during which a thread is inside a store. What a store reports meanwhile is kept
// and delivered when it is done, so that a warning handler never runs under a store's lock.

#pragma once

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
    std::string key;
    std::string message;
  };

  void keep(const Warning& warning) {
    if (!kept_) kept_ = std::make_unique<std::vector<Kept>>();
    kept_->push_back({warning.kind, std::string(warning.key), std::string(warning.message)});
  }
  bool quiet() const noexcept { return !kept_; }

  // What was kept; afterwards it is quiet again.
  std::vector<Kept> take() {
    const std::unique_ptr<std::vector<Kept>> kept = std::move(kept_);
    return kept ? std::move(*kept) : std::vector<Kept>();
  }

 private:
  static constinit thread_local BackendCall* current_;

  BackendCall* outer_;
  std::unique_ptr<std::vector<Kept>> kept_;  // null as long as nothing is: nearly always
};

}  // namespace polycache
