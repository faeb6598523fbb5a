#include "front/reading.h"

#include "polycache/author/text.h"

namespace polycache {

std::string_view digits_before_blanks(std::string_view bytes) noexcept {
  const std::size_t size = bytes.find_last_not_of(' ') + 1;  // 0 if there are only blanks
  const std::string_view digits = bytes.substr(0, size);
  const bool is_padded =
      size < bytes.size() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  return is_padded ? digits : std::string_view();
}

void warn_unreadable(const CacheState& state, std::string_view final_key, const Reading& reading) {
  if (reading.outcome == Outcome::damaged) {
    state.warn(
        Warning::Kind::entry_damaged, final_key,
        "the entry " + quote(final_key) + " is damaged or of a newer format; it counts as a miss");
  } else if (reading.outcome == Outcome::undecodable) {
    std::string message =
        "the entry " + quote(final_key) + " is not of the type that was asked for";
    if (reading.thrown) message += " (its codec threw: " + *reading.thrown + ")";
    state.warn(Warning::Kind::undecodable_value, final_key, message + "; it counts as a miss");
  }
}

}  // namespace polycache
