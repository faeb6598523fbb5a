// A connection by bare hiredis, for benchmarks against it. Ends the program if it fails.

#pragma once

#include <hiredis/hiredis.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "duel.h"

namespace duel {

struct FreeReply {
  void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
};
using Reply = std::unique_ptr<redisReply, FreeReply>;

inline std::string hiredis_version() {
  return std::to_string(HIREDIS_MAJOR) + "." + std::to_string(HIREDIS_MINOR) + "." +
         std::to_string(HIREDIS_PATCH);
}

class Hiredis {
 public:
  explicit Hiredis(redisContext* context) : context_(context) {
    if (context_ == nullptr || context_->err != 0) give_up("hiredis cannot connect");
  }
  Hiredis(const Hiredis&) = delete;
  Hiredis& operator=(const Hiredis&) = delete;
  ~Hiredis() { redisFree(context_); }

  // `words` is a range of texts.
  template <class Words>
  Reply command(const Words& words) {
    split(words);
    return checked(redisCommandArgv(context_, static_cast<int>(texts_.size()), texts_.data(),
                                    lengths_.data()));
  }
  template <class Words>
  void append(const Words& words) {
    split(words);
    redisAppendCommandArgv(context_, static_cast<int>(texts_.size()), texts_.data(),
                           lengths_.data());
  }
  Reply next_reply() {
    void* reply = nullptr;
    redisGetReply(context_, &reply);
    return checked(reply);
  }

 private:
  template <class Words>
  void split(const Words& words) {
    texts_.clear();
    lengths_.clear();
    for (const std::string_view word : words) {
      texts_.push_back(word.data());
      lengths_.push_back(word.size());
    }
  }
  Reply checked(void* reply) const {
    if (reply == nullptr) give_up(std::string("hiredis: ") + context_->errstr);
    return Reply(static_cast<redisReply*>(reply));
  }

  redisContext* const context_;
  std::vector<const char*> texts_;
  std::vector<std::size_t> lengths_;
};

}  // namespace duel
