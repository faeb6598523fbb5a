#include "dump_format.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <system_error>

#include "polycache/author/crc32c.h"
#include "polycache/author/text.h"
#include "polycache/error.h"

namespace polycache::locmem {
namespace {

constexpr std::string_view magic("\xC1pcdump\n", 8);
constexpr std::uint32_t version = 1;
constexpr std::size_t head_bytes = 64;
constexpr std::size_t policy_at = 24;
constexpr std::size_t policy_bytes = 16;
constexpr std::size_t chunk_head_bytes = 32;
constexpr std::size_t crc_bytes = 4;
constexpr std::size_t record_head_bytes = 16;
constexpr std::uint32_t last_section = 0xffffffff;
// Small enough that sections can be mixed while they are loaded, large enough for the disk.
constexpr std::size_t chunk_target = std::size_t{64} << 10U;
constexpr std::size_t written_at_once = std::size_t{4} << 20U;
constexpr int standing_shift = 24;
constexpr std::uint32_t key_size_mask = (std::uint32_t{1} << standing_shift) - 1;

template <class Number>
void append(std::string& bytes, Number number) {
  for (std::size_t i = 0; i < sizeof(number); ++i) {
    bytes += static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xff);
  }
}

template <class Number>
void write_at(std::string& bytes, std::size_t at, Number number) {
  for (std::size_t i = 0; i < sizeof(number); ++i) {
    bytes[at + i] = static_cast<char>(static_cast<std::uint64_t>(number) >> (8 * i) & 0xff);
  }
}

template <class Number>
Number number_at(std::string_view bytes, std::size_t at) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    number |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  }
  return static_cast<Number>(number);
}

// Of the head of a chunk without its CRC, and of its records.
std::uint32_t chunk_crc(std::string_view chunk) {
  return crc32c(chunk.substr(chunk_head_bytes),
                crc32c(chunk.substr(0, chunk_head_bytes - crc_bytes)));
}

[[noreturn]] void cut_off() { throw UnusableDump("it is cut off"); }
[[noreturn]] void damaged(std::uint64_t at) {
  throw UnusableDump("it is damaged near its byte " + std::to_string(at));
}

// The record at that place. Moves the place to the next one; empty views at the end or if the
// bytes are no record.
bool next_record(std::string_view records, std::size_t& at, DumpRecord& record) {
  if (records.size() - at < record_head_bytes) return false;
  const auto first = number_at<std::uint32_t>(records, at);
  const std::size_t key_size = first & key_size_mask;
  const std::size_t value_size = number_at<std::uint32_t>(records, at + 4);
  record.standing = static_cast<std::uint8_t>(first >> standing_shift);
  record.end = number_at<std::int64_t>(records, at + 8);
  at += record_head_bytes;
  if (records.size() - at < key_size || records.size() - at - key_size < value_size) return false;
  record.key = records.substr(at, key_size);
  record.value = records.substr(at + key_size, value_size);
  at += key_size + value_size;
  return true;
}

}  // namespace

bool is_dump(std::string_view beginning) noexcept { return beginning.starts_with(magic); }

// --- writing ---

DumpWriter::DumpWriter(int descriptor, std::string name, const DumpHead& head)
    : descriptor_(descriptor), name_(std::move(name)) {
  buffer_.reserve(written_at_once + 2 * chunk_target);
  buffer_ += magic;
  append(buffer_, version);
  append(buffer_, std::uint32_t{0});
  append(buffer_, head.saved);
  buffer_.append(head.policy, 0, policy_bytes);
  buffer_.resize(head_bytes - crc_bytes, '\0');
  append(buffer_, crc32c(buffer_));
  begin_chunk();
}

void DumpWriter::begin_chunk() {
  chunk_ = buffer_.size();
  entries_ = 0;
  buffer_.append(chunk_head_bytes, '\0');
}

void DumpWriter::end_chunk() {
  write_at(buffer_, chunk_, std::uint64_t{buffer_.size() - chunk_ - chunk_head_bytes});
  write_at(buffer_, chunk_ + 8, section_);
  write_at(buffer_, chunk_ + 12, entries_);
  write_at(buffer_, chunk_ + 16, chunks_++);
  write_at(buffer_, chunk_ + chunk_head_bytes - crc_bytes,
           chunk_crc(std::string_view(buffer_).substr(chunk_)));
  total_ += entries_;
}

void DumpWriter::add(std::uint32_t section, const DumpRecord& record) {
  const bool is_full = buffer_.size() - chunk_ >= chunk_target;
  if (entries_ > 0 && (section != section_ || is_full)) {
    end_chunk();
    if (buffer_.size() >= written_at_once) flush();
    begin_chunk();
  }
  section_ = section;
  ++entries_;
  char head[record_head_bytes];
  const std::uint64_t sizes = record.key.size() | std::uint64_t{record.standing} << standing_shift |
                              std::uint64_t{record.value.size()} << 32U;
  for (std::size_t i = 0; i < 8; ++i) {
    head[i] = static_cast<char>(sizes >> (8 * i) & 0xff);
    head[8 + i] = static_cast<char>(static_cast<std::uint64_t>(record.end) >> (8 * i) & 0xff);
  }
  buffer_.append(head, record_head_bytes);
  buffer_ += record.key;
  buffer_ += record.value;
}

std::uint64_t DumpWriter::finish() {
  if (entries_ > 0) {
    end_chunk();
    begin_chunk();
  }
  section_ = last_section;
  append(buffer_, total_);
  end_chunk();
  flush();
  return total_;
}

void DumpWriter::flush() {
  std::string_view rest = buffer_;
  while (!rest.empty()) {
    const ssize_t written = ::write(descriptor_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      throw BackendError(BackendError::Kind::storage, "",
                         "cannot write the dump " + quote_path(name_) + " (" +
                             std::generic_category().message(errno) + "); the older one stays");
    }
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  // The disk begins now, so that the fsync() at the end waits less. It may be unable to.
  const auto size = static_cast<off_t>(buffer_.size());
  static_cast<void>(::sync_file_range(descriptor_, written_, size, SYNC_FILE_RANGE_WRITE) < 0);
  written_ += size;
  buffer_.clear();
}

// --- reading ---

DumpReader::DumpReader(int descriptor) : descriptor_(descriptor) {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    throw UnusableDump("it cannot be read: " + std::generic_category().message(errno));
  }
  file_size_ = static_cast<std::uint64_t>(status.st_size);
  read_head();
  std::uint64_t at = head_bytes;
  while (read_chunk(at)) at = chunks_.back().at + chunk_head_bytes + chunks_.back().size;
}

void DumpReader::read_at(std::uint64_t at, std::size_t size, std::string& bytes) const {
  if (at > file_size_ || size > file_size_ - at) cut_off();
  bytes.resize(size);
  for (std::size_t done = 0; done < size;) {
    const ssize_t got =
        ::pread(descriptor_, bytes.data() + done, size - done, static_cast<off_t>(at + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw UnusableDump("it cannot be read: " + std::generic_category().message(errno));
    if (got == 0) cut_off();
    done += static_cast<std::size_t>(got);
  }
}

void DumpReader::read_head() {
  read_at(0, std::min<std::uint64_t>(file_size_, head_bytes), buffer_);
  if (!is_dump(buffer_)) throw UnusableDump("it is no dump of polycache");
  if (buffer_.size() < head_bytes) cut_off();
  const auto crc = number_at<std::uint32_t>(buffer_, head_bytes - crc_bytes);
  if (crc != crc32c(std::string_view(buffer_).substr(0, head_bytes - crc_bytes))) damaged(0);
  if (const auto its = number_at<std::uint32_t>(buffer_, magic.size()); its != version) {
    throw UnusableDump("it has version " + std::to_string(its) + " of the format, this library " +
                       std::to_string(version));
  }
  head_.saved = number_at<std::int64_t>(buffer_, magic.size() + 8);
  head_.policy = buffer_.substr(policy_at, policy_bytes);
  head_.policy.erase(std::min(head_.policy.find('\0'), head_.policy.size()));
}

// Returns false for the last one.
bool DumpReader::read_chunk(std::uint64_t at) {
  read_at(at, chunk_head_bytes, buffer_);
  const Chunk chunk{.at = at,
                    .size = number_at<std::uint64_t>(buffer_, 0),
                    .section = number_at<std::uint32_t>(buffer_, 8),
                    .number = number_at<std::uint64_t>(buffer_, 16)};
  const auto entries = number_at<std::uint32_t>(buffer_, 12);
  const auto crc = number_at<std::uint32_t>(buffer_, chunk_head_bytes - crc_bytes);
  if (chunk.size > file_size_ - at - chunk_head_bytes) cut_off();
  read_at(at, chunk_head_bytes + chunk.size, buffer_);
  if (crc != chunk_crc(buffer_) || chunk.number != chunks_.size()) damaged(at);
  if (chunk.section != last_section) {
    check_records(entries);
    entries_ += entries;
    chunks_.push_back(chunk);
    return true;
  }
  const std::uint64_t end = at + chunk_head_bytes + chunk.size;
  if (chunk.size != 8 || number_at<std::uint64_t>(buffer_, chunk_head_bytes) != entries_) {
    damaged(at);
  }
  if (end != file_size_) damaged(end);
  return false;
}

// A checksum says nothing about a program that wrote it over wrong bytes.
void DumpReader::check_records(std::uint32_t entries) const {
  const std::string_view records = std::string_view(buffer_).substr(chunk_head_bytes);
  DumpRecord record;
  std::size_t at = 0;
  for (; entries > 0; --entries) {
    if (!next_record(records, at, record)) throw UnusableDump("its records have wrong sizes");
  }
  if (at != records.size()) throw UnusableDump("its records have wrong sizes");
}

void DumpReader::read(const Chunk& chunk, FunctionRef<void(const DumpRecord&)> sink) {
  read_at(chunk.at, chunk_head_bytes + chunk.size, buffer_);
  if (number_at<std::uint32_t>(buffer_, chunk_head_bytes - crc_bytes) != chunk_crc(buffer_)) {
    damaged(chunk.at);
  }
  const std::string_view records = std::string_view(buffer_).substr(chunk_head_bytes);
  DumpRecord record;
  for (std::size_t at = 0; at < records.size();) {
    if (!next_record(records, at, record)) damaged(chunk.at);
    sink(record);
  }
}

}  // namespace polycache::locmem
