// Tags that a Cache has found to be current, and the stamp (TagStampExtension) at which they were:
// while the store returns the same stamp, no version is read again (docs/adr/0043).

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "polycache/author/backend.h"
#include "polycache/author/extension.h"

namespace polycache {

// Owned by one Cache, and used by its thread. A bounded number of places; the contents of fields of
// tags (entry.h) share them, and the latest stays.
class CurrentTags {
 public:
  // Whether these tags were current at that stamp. Also false after most_confirmations, so that the
  // versions are read once in a while: a store that evicts what is not used must see that they are.
  bool has(std::string_view content, std::uint64_t stamp) noexcept {
    if (!places_) return false;
    Place& place = (*places_)[index_of(content)];
    if (place.stamp != stamp || place.left == 0 || !are_equal(place.content, content)) return false;
    --place.left;
    return true;
  }
  // `stamp`: taken before their versions were read. Remembers nothing of a long content.
  void remember(std::string_view content, std::uint64_t stamp) noexcept;
  // Of another store.
  void forget() noexcept {
    places_.reset();
    session_ = nullptr;
  }

  // The stamps of a session of the Cache, if it has any. They are the same as long as it lives.
  TagStampExtension* stamps_of(Backend& session) noexcept {
    if (&session != session_) [[unlikely]] {
      session_ = &session;
      stamps_ = static_cast<TagStampExtension*>(session.extension(TagStampExtension::id));
    }
    return stamps_;
  }
  // A session was opened, which may have the address of an older one.
  void forget_session() noexcept { session_ = nullptr; }

  static constexpr std::size_t place_count = 64;
  static constexpr std::size_t longest_content = 256;
  static constexpr std::uint32_t most_confirmations = 32;

 private:
  struct Place {
    std::uint64_t stamp = 0;
    std::uint32_t left = 0;  // confirmations
    std::string content;     // empty: none
  };

  // As ==, without a call: contents are short, and nearly always equal.
  static bool are_equal(std::string_view a, std::string_view b) noexcept {
    constexpr std::size_t word = sizeof(std::uint64_t);
    if (a.size() != b.size() || a.size() < word) return false;
    const auto differ = [&](std::size_t at) {
      std::uint64_t of_a = 0;
      std::uint64_t of_b = 0;
      std::memcpy(&of_a, a.data() + at, word);
      std::memcpy(&of_b, b.data() + at, word);
      return of_a ^ of_b;
    };
    std::uint64_t difference = differ(a.size() - word);
    for (std::size_t at = 0; at + word < a.size(); at += word) difference |= differ(at);
    return difference == 0;
  }

  // A content ends with the version of its last tag, which is random.
  static std::size_t index_of(std::string_view content) noexcept {
    std::uint64_t version = 0;
    if (content.size() < sizeof version) return 0;
    std::memcpy(&version, content.data() + content.size() - sizeof version, sizeof version);
    return static_cast<std::size_t>(version >> 58U);
  }
  static_assert(place_count == std::size_t{1} << (64U - 58U));

  std::unique_ptr<std::array<Place, place_count>> places_;
  const Backend* session_ = nullptr;  // that stamps_ belongs to
  TagStampExtension* stamps_ = nullptr;
};

}  // namespace polycache
