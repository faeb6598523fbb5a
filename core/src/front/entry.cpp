#include "front/entry.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <ctime>

#include "polycache/author/entry_tags.h"

namespace polycache {
namespace {

constexpr char entry_format = 1;
constexpr std::size_t shown_bytes = 64;  // bytes of an entry that Backend::contains shows
constexpr std::uint8_t understood_flags =
    flag_negative | flag_marked_stale | flag_tagged | flag_transformed | flag_leased;
constexpr unsigned char transforms_field_id = 0x80;
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
  if (!bytes.empty() && static_cast<unsigned char>(bytes.front()) < 0x80) [[likely]] {
    const auto value = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    return value;
  }
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

std::optional<EntryTag> take_long_tag(std::string_view& content) noexcept {
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

struct Fields {
  std::string_view transforms = {};
  std::string_view tags = {};
};

// False if they are damaged, or one must be understood and is not.
bool read_fields(std::string_view bytes, Fields& fields) noexcept {
  while (!bytes.empty()) {
    const auto id = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    const auto size = take_varint(bytes);
    if (!size || *size > bytes.size()) return false;
    const std::string_view content = bytes.substr(0, *size);
    if (id == tags_field_id && fields.tags.empty() && !content.empty() && are_tags(content)) {
      fields.tags = content;
    } else if (id == transforms_field_id && fields.transforms.empty() && !content.empty()) {
      fields.transforms = content;
    } else if (id >= 0x80) {
      return false;
    }
    bytes.remove_prefix(*size);
  }
  return true;
}

// REQUIRES: `stored` has at least the fixed part
void read_fixed(std::string_view stored, EntryHead& head) noexcept {
  head.flags = read_number<std::uint8_t>(stored, 4);
  head.created = read_number<std::int64_t>(stored, 8);
  head.fresh_until = read_number<std::int64_t>(stored, 16);
  head.compute_microseconds = read_number<std::uint32_t>(stored, 24);
  head.stale_seconds = read_number<std::uint32_t>(stored, 28);
}

// Reads the fixed part of the head, and returns the length of the whole head; 0 if it is damaged or
// of an unknown format.
std::size_t read_head(std::string_view stored, EntryHead& head) noexcept {
  if (stored.size() < entry_head_size || stored[3] != entry_format) return 0;
  read_fixed(stored, head);
  const auto length = read_number<std::size_t>(stored, 5, 3);
  const bool is_known = length >= entry_head_size && (head.flags & ~understood_flags) == 0;
  return is_known ? length : 0;
}

// Reads head and fields of a whole entry, and returns the length of the head; 0 if it is
// unreadable.
std::size_t read_frame(std::string_view stored, EntryHead& head, Fields& fields) noexcept {
  const std::size_t length = read_head(stored, head);
  if (length == 0 || length > stored.size()) return 0;
  if (!read_fields(stored.substr(entry_head_size, length - entry_head_size), fields)) return 0;
  const bool is_transformed = (head.flags & flag_transformed) != 0;
  const bool is_tagged = (head.flags & flag_tagged) != 0;
  const bool fits = is_transformed != fields.transforms.empty() && is_tagged != fields.tags.empty();
  return fits ? length : 0;
}

}  // namespace

std::int64_t entry_time(const Clock& clock) noexcept {
  return std::chrono::floor<std::chrono::milliseconds>(clock.system_now())
      .time_since_epoch()
      .count();
}

namespace {

// The same, at most one tick of the kernel old: the exact time costs as much as all the rest.
std::int64_t recent_time(const Clock& clock) noexcept {
  timespec now{};
  if (&clock != &Clock::real() || clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) {
    return entry_time(clock);
  }
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Whether a tick may matter: the entry ends to be fresh, or stale, at about that time.
bool needs_exact_time(const EntryHead& head, std::int64_t recent) noexcept {
  // Milliseconds. A tick has at most 10; the host of a virtual machine may leave some out.
  constexpr std::uint64_t ticks = 50;
  // Unsigned, because a damaged head may contain any number.
  const auto since =
      static_cast<std::uint64_t>(recent) - static_cast<std::uint64_t>(head.fresh_until);
  const std::uint64_t window = std::uint64_t{head.stale_seconds} * 1000;
  return since + ticks <= 2 * ticks || since - window + ticks <= 2 * ticks;
}

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

namespace {

EntryState state_now(const EntryHead& head, const Clock& clock, std::int64_t& now) noexcept {
  const bool has_times = head.created != 0 || head.fresh_until != 0;
  now = has_times ? recent_time(clock) : 0;
  if (has_times && needs_exact_time(head, now)) [[unlikely]]
    now = entry_time(clock);
  return state_of(head, has_times, now);
}

}  // namespace

EntryState judge_simple_frame(std::string_view stored, const Clock& clock, EntryHead& head,
                              std::int64_t& now) noexcept {
  read_fixed(stored, head);
  return state_now(head, clock, now);
}

JudgedEntry judge_frame(std::string_view stored, const Clock& clock) noexcept {
  EntryHead head;
  Fields fields;
  const std::size_t length = read_frame(stored, head, fields);
  if (length == 0) return {EntryState::unreadable};
  std::int64_t now = 0;
  const EntryState state = state_now(head, clock, now);
  return {
      state, {stored.data() + length, stored.size() - length}, fields.transforms, fields.tags, now,
      head};
}

std::optional<EntryState> judge_frame_head(std::string_view head, const Clock& clock) noexcept {
  EntryHead fixed;
  if (read_head(head, fixed) > head.size() && head.size() >= shown_bytes) return std::nullopt;
  const JudgedEntry entry = judge_frame(head, clock);
  if (!entry.tags.empty() && entry.state != EntryState::dead) return std::nullopt;
  return entry.state;
}

void visit_tag_versions(std::string_view stored, FunctionRef<void(std::uint64_t version)> each) {
  if (!is_framed(stored)) return;
  EntryHead head;
  Fields fields;
  if (read_frame(stored, head, fields) == 0) return;
  for (std::string_view rest = fields.tags; const auto tag = take_tag(rest);) each(tag->version);
}

EntryHead head_of_frame(std::string_view stored) noexcept {
  EntryHead head;
  return read_head(stored, head) != 0 ? head : EntryHead();
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
