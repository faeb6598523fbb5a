// How the bytes under a key are judged, and that the format stays what it was.

#include "front/entry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "polycache/testing/manual_clock.h"

namespace polycache {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t now = 1'700'000'000'000;  // milliseconds since 1970

class EntryTest : public ::testing::Test {
 protected:
  EntryTest() {
    clock_.set_wall_clock(std::chrono::system_clock::time_point(std::chrono::milliseconds(now)));
  }

  EntryState state_of(const EntryHead& head, std::string_view fields = {}) const {
    const std::string frame = make_frame(head, fields, "value");
    const JudgedEntry judged = judge_entry(frame, clock_);
    const auto by_head = judge_head(std::string_view(frame).substr(0, 64), clock_);
    EXPECT_TRUE(!by_head || *by_head == judged.state) << "the head says something else";
    EXPECT_EQ(judged.payload, judged.state == EntryState::unreadable ? "" : "value");
    return judged.state;
  }

  testing::ManualClock clock_;
};

TEST_F(EntryTest, APlainValueIsLive) {
  for (const std::string_view value : {"", "x", "\xC1", "\xC1p", "pc\xC1"}) {
    EXPECT_EQ(judge_entry(value, clock_).state, EntryState::live);
    EXPECT_EQ(judge_entry(value, clock_).payload, value);
    EXPECT_EQ(judge_head(value, clock_), EntryState::live);
  }
}

TEST_F(EntryTest, AValueThatBeginsLikeAFrameIsWrapped) {
  for (const std::string_view value : {"", "x", "\xC1pc", "\xC1pc\x01"}) {
    const std::string frame = make_frame({}, {}, value);
    EXPECT_TRUE(is_framed(frame));
    EXPECT_EQ(judge_entry(frame, clock_).state, EntryState::live);
    EXPECT_EQ(judge_entry(frame, clock_).payload, value);
    EXPECT_EQ(judge_head(frame, clock_), EntryState::live);
  }
}

TEST_F(EntryTest, StatesFollowFromFlagsAndTimes) {
  struct Row {
    const char* what;
    EntryHead head;
    EntryState state;
  };
  const std::vector<Row> rows{
      {"nothing said", {}, EntryState::live},
      {"fresh", {.created = now - 1, .fresh_until = now + 1}, EntryState::live},
      {"fresh for ever", {.created = now}, EntryState::live},
      {"over", {.created = now - 9, .fresh_until = now}, EntryState::dead},
      {"over, in the window", {.fresh_until = now, .stale_seconds = 1}, EntryState::stale},
      {"at the end of the window",
       {.fresh_until = now - 999, .stale_seconds = 1},
       EntryState::stale},
      {"beyond the window", {.fresh_until = now - 1000, .stale_seconds = 1}, EntryState::dead},
      {"the longest window", {.fresh_until = 1, .stale_seconds = UINT32_MAX}, EntryState::stale},
      {"before 1970", {.fresh_until = -1}, EntryState::dead},
      {"long before", {.fresh_until = INT64_MIN, .stale_seconds = 5}, EntryState::dead},
      {"long after", {.created = now, .fresh_until = INT64_MAX}, EntryState::live},
      {"marked stale", {.flags = flag_marked_stale}, EntryState::stale},
      {"written ten seconds ahead", {.created = now + 10'000}, EntryState::live},
      {"written further ahead", {.created = now + 10'001}, EntryState::stale},
      {"written at the end of time", {.created = INT64_MAX}, EntryState::stale},
      {"negative", {.flags = flag_negative}, EntryState::negative},
      {"negative, fresh", {.flags = flag_negative, .fresh_until = now + 1}, EntryState::negative},
      {"negative, over",
       {.flags = flag_negative, .fresh_until = now, .stale_seconds = 9},
       EntryState::dead},
      {"leased", {.flags = flag_leased}, EntryState::leased},
      {"leased, whatever else",
       {.flags = flag_leased | flag_negative, .fresh_until = 1},
       EntryState::leased},
      {"tagged, without tags", {.flags = flag_tagged}, EntryState::unreadable},
      {"transformed, neither", {.flags = flag_transformed}, EntryState::unreadable},
      {"a flag to come", {.flags = 32}, EntryState::unreadable},
      {"a flag to come", {.flags = 128}, EntryState::unreadable},
  };
  for (const Row& row : rows) EXPECT_EQ(state_of(row.head), row.state) << row.what;
}

TEST_F(EntryTest, FieldsAreSkippedUnlessTheyMustBeUnderstood) {
  using namespace std::string_view_literals;
  EXPECT_EQ(state_of({},
                     "\x01\x02"
                     "ab"sv),
            EntryState::live);
  EXPECT_EQ(state_of({}, "\x01\x00\x7f\x01x"sv), EntryState::live);
  EXPECT_EQ(state_of({}, "\x01\x81\x00x"sv), EntryState::live) << "a length in two bytes";
  EXPECT_EQ(state_of({}, "\x80\x00"sv), EntryState::unreadable);
  EXPECT_EQ(state_of({},
                     "\x01\x02"
                     "ab\xff\x01x"sv),
            EntryState::unreadable);
  for (const std::string_view cut :
       {"\x01"sv,
        "\x01\x05"
        "abcd"sv,
        "\x01\x80"sv, "\x01\xff\xff\xff\xff\xff\xff"sv, "\x01\xff\xff\xff\xff\x1f"sv}) {
    EXPECT_EQ(state_of({}, cut), EntryState::unreadable);
  }
}

TEST_F(EntryTest, APayloadThatWasTransformedNamesItsTransforms) {
  const std::string names = "shrink,seal";
  const std::string field = transforms_field(names);
  const std::string frame = make_frame({.flags = flag_transformed, .created = 5}, field, "payload");
  const JudgedEntry entry = judge_entry(frame, clock_);
  EXPECT_EQ(entry.state, EntryState::live);
  EXPECT_EQ(entry.transforms, names);
  EXPECT_EQ(entry.payload, "payload");
  EXPECT_EQ(head_of_frame(frame).created, 5);
  EXPECT_EQ(bound_head(head_of_frame(frame), {}), bound_head({.created = 5}, {}));
  EXPECT_EQ(bound_head({}, {}).size(), entry_head_size);

  const std::string longer(300, 'n');
  EXPECT_EQ(
      judge_entry(make_frame({.flags = flag_transformed}, transforms_field(longer), ""), clock_)
          .transforms,
      longer);
}

TEST_F(EntryTest, NamesOfTransformsAndTheirFlagComeTogether) {
  const std::string field = transforms_field("seal");
  EXPECT_EQ(state_of({.flags = flag_transformed}, ""), EntryState::unreadable);
  EXPECT_EQ(state_of({}, field), EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_transformed}, field), EntryState::live);
  EXPECT_EQ(state_of({.flags = flag_transformed}, field + field), EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_transformed}, transforms_field("")), EntryState::unreadable);
}

TEST_F(EntryTest, TagsAndTheirFlagComeTogether) {
  const std::string longer(200, 'u');
  const std::vector<EntryTag> tags{{"posts", 0x0102030405060708}, {longer, 7}};
  const std::string content = tags_content(tags);
  const std::string field = tags_field(content);
  const std::string frame = make_frame({.flags = flag_tagged}, field, "payload");
  const JudgedEntry entry = judge_entry(frame, clock_);
  EXPECT_EQ(entry.state, EntryState::live);
  EXPECT_EQ(entry.payload, "payload");
  EXPECT_EQ(entry.tags, content);
  const auto read = read_tags(entry.tags);
  ASSERT_TRUE(read && read->size() == 2);
  EXPECT_EQ((*read)[0].name, "posts");
  EXPECT_EQ((*read)[0].version, 0x0102030405060708U);
  EXPECT_EQ((*read)[1].name, longer);
  EXPECT_EQ((*read)[1].version, 7U);

  EXPECT_EQ(state_of({}, field), EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_tagged}, field + field), EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_tagged}, tags_field("")), EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_tagged}, tags_field("\x05posts1234567")),
            EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_tagged}, tags_field(std::string("\0"
                                                                    "12345678",
                                                                    9))),
            EntryState::unreadable);
  EXPECT_EQ(state_of({.flags = flag_tagged | flag_transformed}, field + transforms_field("seal")),
            EntryState::live);
}

// Only the store knows whether the tags are current, so no part of an entry says that it is live.
// There is a direct path for frames that have tags and nothing else.
TEST_F(EntryTest, TagsOfASimpleFrameAreThoseOfTheFrame) {
  const std::string field = tags_field(tags_content(std::vector<EntryTag>{{"a", 1}, {"bc", 2}}));
  const std::string frame = make_frame({.flags = flag_tagged, .created = 5}, field, "payload");
  const std::string_view tags = tags_of_simple_frame(frame);
  ASSERT_FALSE(tags.empty());
  EXPECT_EQ(tags, judge_entry(frame, clock_).tags);
  EXPECT_EQ(std::string_view(tags.data() + tags.size()), "payload");
  for (std::size_t size = 0; size < frame.size(); ++size) {
    const std::string cut = frame.substr(0, size);
    const std::string_view found = tags_of_simple_frame(cut);
    if (!found.empty()) {
      EXPECT_EQ(found, judge_entry(cut, clock_).tags) << size;
    }
  }
  for (std::size_t at = 0; at < frame.size(); ++at) {
    std::string damaged = frame;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x15);
    const std::string_view found = tags_of_simple_frame(damaged);
    const JudgedEntry judged = judge_entry(damaged, clock_);
    if (!found.empty()) {
      EXPECT_EQ(are_tags(found) ? found : "", judged.tags) << at;
    }
  }
  const std::string long_field =
      tags_field(tags_content(std::vector<EntryTag>{{std::string(200, 'l'), 1}}));
  const std::vector<std::string> others{
      "",
      "plain",
      make_frame({}, {}, "value"),
      make_frame({.flags = flag_tagged}, long_field, "v"),
      make_frame({.flags = flag_tagged | flag_negative}, field, ""),
      make_frame({.flags = flag_tagged}, std::string("\x01\x01x") + field, "v"),
      make_frame({.flags = flag_tagged}, field + "\x01\x01x", "v")};
  for (const std::string& other : others) EXPECT_EQ(tags_of_simple_frame(other), "") << other;
}

TEST_F(EntryTest, AHeadWithTagsSaysNothingUnlessTheEntryIsDeadAnyway) {
  const std::vector<EntryTag> tags{{"t", 1}};
  const std::string field = tags_field(tags_content(tags));
  EXPECT_EQ(judge_head(make_frame({.flags = flag_tagged}, field, ""), clock_), std::nullopt);
  EXPECT_EQ(judge_head(make_frame({.flags = flag_tagged, .fresh_until = 1}, field, ""), clock_),
            EntryState::dead);
}

// What the first 64 bytes do not show is decided when the entry is read.
TEST_F(EntryTest, AHeadThatIsLongerThanWhatIsShownSaysNothing) {
  const std::string fields = std::string("\x01\x50", 2) + std::string(80, 'a') + "\x80" + '\0';
  const std::string frame = make_frame({}, fields, "value");
  EXPECT_EQ(judge_head(std::string_view(frame).substr(0, 64), clock_), std::nullopt);
  EXPECT_EQ(judge_head(std::string_view(frame).substr(0, 63), clock_), EntryState::unreadable)
      << "there is no more of it";
  EXPECT_EQ(judge_entry(frame, clock_).state, EntryState::unreadable);
}

TEST_F(EntryTest, OneThatIsCutIsUnreadable) {
  const std::string frame = make_frame({.created = 5},
                                       std::string("\x01\x02"
                                                   "ab",
                                                   4),
                                       "value");
  for (std::size_t size = 3; size < frame.size(); ++size) {
    const JudgedEntry judged = judge_entry(frame.substr(0, size), clock_);
    EXPECT_EQ(judged.state, size >= 36 ? EntryState::live : EntryState::unreadable) << size;
  }
}

TEST_F(EntryTest, ADamagedOneIsReadWithinItsBounds) {
  const std::string frame = make_frame({.created = 5, .fresh_until = 7, .stale_seconds = 3},
                                       std::string("\x01\x02"
                                                   "ab",
                                                   4),
                                       "value");
  for (std::size_t bit = 24; bit < frame.size() * 8; ++bit) {
    std::string damaged = frame;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    judge_entry(damaged, clock_);
    judge_head(damaged, clock_);
  }
}

// Until it was decided how entries carry their times, a frame began with eight bytes.
TEST_F(EntryTest, AFrameOfTheFirstDraftIsUnreadable) {
  EXPECT_EQ(judge_entry(std::string("\xC1pc\x01\0\0\0\0v", 9), clock_).state,
            EntryState::unreadable);
  EXPECT_EQ(judge_entry(std::string("\xC1pc\x01\0\0\0\0", 8) + std::string(100, 'v'), clock_).state,
            EntryState::unreadable);
}

// --- Golden bytes: entries that programs have stored ---

std::string from_hex(std::string_view hex) {
  std::string bytes;
  int digits = 0;
  int value = 0;
  for (const char c : hex) {
    if (c == ' ') continue;
    value = value * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    if (++digits % 2 == 0) bytes.push_back(static_cast<char>(std::exchange(value, 0)));
  }
  return bytes;
}

struct Golden {
  const char* hex;
  EntryHead head;
  EntryState state;
};

const Golden golden_frames[] = {
    {"c1 70 63 01 00 200000 0000000000000000 0000000000000000 00000000 00000000 76",
     {},
     EntryState::live},
    {"c1 70 63 01 00 200000 0068e5cf8b010000 0a68e5cf8b010000 40e20100 3c000000 76",
     {.created = now, .fresh_until = now + 10, .compute_microseconds = 123456, .stale_seconds = 60},
     EntryState::live},
    {"c1 70 63 01 02 200000 0000000000000000 0000000000000000 00000000 00000000 76",
     {.flags = flag_marked_stale},
     EntryState::stale},
    {"c1 70 63 01 01 200000 0068e5cf8b010000 0000000000000000 00000000 00000000 76",
     {.flags = flag_negative, .created = now},
     EntryState::negative},
    {"c1 70 63 01 00 200000 0000000000000000 0100000000000000 00000000 00000000 76",
     {.fresh_until = 1},
     EntryState::dead},
    {"c1 70 63 01 10 200000 0000000000000000 0000000000000000 00000000 00000000 76",
     {.flags = flag_leased},
     EntryState::leased},
};

TEST_F(EntryTest, GoldenBytesOfTagsStayWhatTheyAre) {
  const std::vector<EntryTag> tags{{"a", 1}, {"posts", 0x8877665544332211}};
  EXPECT_EQ(make_frame({.flags = flag_tagged}, tags_field(tags_content(tags)), "v"),
            from_hex("c1 70 63 01 04 3a0000 0000000000000000 0000000000000000 00000000 00000000"
                     "81 18 01 61 0100000000000000 05 706f737473 1122334455667788 76"));
}

TEST_F(EntryTest, GoldenBytesStayWhatTheyAre) {
  for (const Golden& golden : golden_frames) {
    const std::string bytes = from_hex(golden.hex);
    EXPECT_EQ(make_frame(golden.head, {}, "v"), bytes) << golden.hex;
    EXPECT_EQ(judge_entry(bytes, clock_).state, golden.state) << golden.hex;
  }
}

}  // namespace
}  // namespace polycache
