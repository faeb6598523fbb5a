#include "front/entry.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>

#include "polycache/author/entry_tags.h"

namespace polycache {
namespace {

constexpr char entry_format = 1;
constexpr std::size_t shown_bytes = 64;  // bytes of an entry that Backend::contains shows
constexpr std::uint8_t understood_flags =
    flag_negative | flag_marked_stale | flag_tagged | flag_transformed | flag_leased;
constexpr unsigned char transforms_field_id = 0x80;
constexpr unsigned char tags_field_id = 0x81;
constexpr std::int64_t clock_skew = 10'000;  // milliseconds that two machines' clocks may differ

template <class Number>
Number read_number(std::string_view bytes, std::size_t at, std::size_t size = sizeof(Number)) {
  std::uint64_t value = 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, bytes.data() + at, size);
  } else {
    for (std::size_t i = size; i-- > 0;) {
      value = (value << 8U) | static_cast<unsigned char>(bytes[at + i]);
    }
  }
  return static_cast<Number>(value);
}

template <class Number>
void write_number(std::string& out, Number number, std::size_t size = sizeof(Number)) {
  auto rest = static_cast<std::uint64_t>(number);
  for (std::size_t i = 0; i < size; ++i, rest >>= 8U)
    out.push_back(static_cast<char>(rest & 0xffU));
}

// Takes a varint from the front. Empty if it does not end or exceeds 32 bits.
std::optional<std::uint32_t> take_varint(std::string_view& bytes) noexcept {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift <= 28 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if ((byte & 0x80U) != 0) continue;
    if (value > UINT32_MAX) return std::nullopt;
    return static_cast<std::uint32_t>(value);
  }
  return std::nullopt;
}

void append_varint(std::string& out, std::size_t value) {
  for (; value >= 0x80; value >>= 7U) out.push_back(static_cast<char>((value & 0x7fU) | 0x80U));
  out.push_back(static_cast<char>(value));
}

}  // namespace

std::optional<EntryTag> take_tag(std::string_view& content) noexcept {
  const auto size = take_varint(content);
  if (!size || *size == 0 || content.size() < sizeof(std::uint64_t) ||
      content.size() - sizeof(std::uint64_t) < *size) {
    return std::nullopt;
  }
  const EntryTag tag{content.substr(0, *size), read_number<std::uint64_t>(content, *size)};
  content.remove_prefix(*size + sizeof(std::uint64_t));
  return tag;
}

namespace {

bool are_tags(std::string_view content) noexcept {
  while (!content.empty()) {
    if (!take_tag(content)) return false;
  }
  return true;
}

struct Fields {
  std::optional<std::string_view> transforms;
  std::optional<std::string_view> tags;
};

// Empty if they are damaged, or one must be understood and is not.
std::optional<Fields> read_fields(std::string_view bytes) noexcept {
  Fields fields;
  while (!bytes.empty()) {
    const auto id = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    const auto size = take_varint(bytes);
    if (!size || *size > bytes.size()) return std::nullopt;
    if (id == transforms_field_id && !fields.transforms && *size > 0) {
      fields.transforms = bytes.substr(0, *size);
    } else if (id == tags_field_id && !fields.tags && *size > 0 &&
               are_tags(bytes.substr(0, *size))) {
      fields.tags = bytes.substr(0, *size);
    } else if (id >= 0x80) {
      return std::nullopt;
    }
    bytes.remove_prefix(*size);
  }
  return fields;
}

// The fixed part and the length of the head. parse(): empty if damaged or of an unknown format.
struct Parsed {
  EntryHead head = {};
  std::size_t length = 0;
};

std::optional<Parsed> parse(std::string_view stored) noexcept {
  if (stored.size() < entry_head_size || stored[3] != entry_format) return std::nullopt;
  const Parsed parsed{{.flags = read_number<std::uint8_t>(stored, 4),
                       .created = read_number<std::int64_t>(stored, 8),
                       .fresh_until = read_number<std::int64_t>(stored, 16),
                       .compute_microseconds = read_number<std::uint32_t>(stored, 24),
                       .stale_seconds = read_number<std::uint32_t>(stored, 28)},
                      read_number<std::size_t>(stored, 5, 3)};
  if (parsed.length < entry_head_size || (parsed.head.flags & ~understood_flags) != 0) {
    return std::nullopt;
  }
  return parsed;
}

}  // namespace

std::int64_t entry_time(const Clock& clock) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(clock.system_now())
      .time_since_epoch()
      .count();
}

namespace {

EntryState state_of(const EntryHead& head, bool has_times, std::int64_t now) noexcept {
  if ((head.flags & flag_leased) != 0) return EntryState::leased;
  const bool has_end = head.fresh_until != 0;
  const bool is_over = has_end && now >= head.fresh_until;
  if ((head.flags & flag_negative) != 0) return is_over ? EntryState::dead : EntryState::negative;
  // Unsigned, because a damaged head may contain any number.
  const auto over = static_cast<std::uint64_t>(now) - static_cast<std::uint64_t>(head.fresh_until);
  if (is_over && over >= std::uint64_t{head.stale_seconds} * 1000) return EntryState::dead;
  const bool is_ahead = has_times && head.created > now && head.created - now > clock_skew;
  const bool is_stale = is_over || is_ahead || (head.flags & flag_marked_stale) != 0;
  return is_stale ? EntryState::stale : EntryState::live;
}

}  // namespace

JudgedEntry judge_frame(std::string_view stored, const Clock& clock) noexcept {
  const auto parsed = parse(stored);
  if (!parsed || parsed->length > stored.size()) return {EntryState::unreadable};
  const auto fields = read_fields(stored.substr(entry_head_size, parsed->length - entry_head_size));
  const bool is_transformed = (parsed->head.flags & flag_transformed) != 0;
  const bool is_tagged = (parsed->head.flags & flag_tagged) != 0;
  if (!fields || is_transformed != fields->transforms.has_value() ||
      is_tagged != fields->tags.has_value()) {
    return {EntryState::unreadable};
  }
  const bool has_times = parsed->head.created != 0 || parsed->head.fresh_until != 0;
  const std::int64_t now = has_times ? entry_time(clock) : 0;
  return {state_of(parsed->head, has_times, now), stored.substr(parsed->length),
          fields->transforms.value_or(""), fields->tags.value_or(""), now};
}

std::optional<EntryState> judge_frame_head(std::string_view head, const Clock& clock) noexcept {
  const auto parsed = parse(head);
  if (parsed && parsed->length > head.size() && head.size() >= shown_bytes) return std::nullopt;
  const JudgedEntry entry = judge_frame(head, clock);
  if (!entry.tags.empty() && entry.state != EntryState::dead) return std::nullopt;
  return entry.state;
}

void visit_tag_versions(std::string_view stored, FunctionRef<void(std::uint64_t version)> each) {
  if (!is_framed(stored)) return;
  const auto parsed = parse(stored);
  if (!parsed || parsed->length > stored.size() || (parsed->head.flags & flag_tagged) == 0) return;
  const auto fields = read_fields(stored.substr(entry_head_size, parsed->length - entry_head_size));
  if (!fields || !fields->tags) return;
  for (std::string_view rest = *fields->tags; const auto tag = take_tag(rest);) each(tag->version);
}

EntryHead head_of_frame(std::string_view stored) noexcept {
  return parse(stored).value_or(Parsed()).head;
}

bool has_fresh_until(std::string_view stored) noexcept {
  return is_framed(stored) && head_of_frame(stored).fresh_until != 0;
}

std::string with_head(std::string_view stored, const EntryHead& head) {
  const std::string fixed = make_frame(head, {}, {});
  std::string frame(stored);
  // The length in bytes 5 to 7 stays.
  frame.replace(4, 1, fixed, 4, 1);
  frame.replace(8, entry_head_size - 8, fixed, 8, entry_head_size - 8);
  return frame;
}

std::string bound_head(EntryHead head, std::string_view tags) {
  head.flags |= flag_transformed;
  head.flags &= static_cast<std::uint8_t>(~flag_marked_stale);
  std::string bytes = make_frame(head, {}, tags);
  std::fill_n(bytes.begin() + 5, 3, '\0');
  return bytes;
}

std::string transforms_field(std::string_view names) {
  std::string field(1, static_cast<char>(transforms_field_id));
  append_varint(field, names.size());
  return field.append(names);
}

std::string tags_content(std::span<const EntryTag> tags) {
  std::string content;
  for (const EntryTag& tag : tags) {
    append_varint(content, tag.name.size());
    content.append(tag.name);
    write_number(content, tag.version);
  }
  return content;
}

std::string tags_field(std::string_view content) {
  std::string field(1, static_cast<char>(tags_field_id));
  append_varint(field, content.size());
  return field.append(content);
}

std::optional<std::vector<EntryTag>> read_tags(std::string_view content) {
  std::vector<EntryTag> tags;
  while (!content.empty()) {
    const auto tag = take_tag(content);
    if (!tag) return std::nullopt;
    tags.push_back(*tag);
  }
  return tags;
}

std::string make_frame(const EntryHead& head, std::string_view fields, std::string_view value) {
  std::string frame;
  frame.reserve(entry_head_size + fields.size() + value.size());
  frame.append(entry_magic).push_back(entry_format);
  write_number(frame, head.flags);
  write_number(frame, entry_head_size + fields.size(), 3);
  write_number(frame, head.created);
  write_number(frame, head.fresh_until);
  write_number(frame, head.compute_microseconds);
  write_number(frame, head.stale_seconds);
  return frame.append(fields).append(value);
}

}  // namespace polycache
