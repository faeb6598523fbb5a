// The time during which a thread is inside a store. What a store reports meanwhile is kept
// and delivered when it is done, so that a warning handler never runs under a store's lock.

#pragma once

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

  void keep(const Warning& warning) {
    kept_.push_back({warning.kind, std::string(warning.key), std::string(warning.message)});
  }
  bool quiet() const noexcept { return kept_.empty(); }

  struct Kept {
    Warning::Kind kind;
    std::string key;
    std::string message;
  };
  std::vector<Kept> take() noexcept { return std::move(kept_); }

 private:
  static constinit thread_local BackendCall* current_;

  BackendCall* outer_;
  std::vector<Kept> kept_;
};

}  // namespace polycache
