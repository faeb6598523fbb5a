#include "polycache/detail/collection.h"

#include <cstdint>

#include "polycache/author/text.h"
#include "polycache/detail/stored_value.h"
#include "polycache/detail/type_mark.h"
#include "polycache/error.h"

namespace polycache::detail {
namespace {

// Shorter than the first byte of a frame is large, and so is a type that a program names.
constexpr std::size_t longest_mark = 64;

std::string checked_mark(std::string mark, const std::string& chosen) {
  if (chosen.empty()) return mark;
  return chosen.size() <= longest_mark ? chosen : short_mark(chosen);
}

}  // namespace

// FNV-1a, which is the same on all machines.
std::string short_mark(std::string_view type_name) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : type_name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  auto folded = static_cast<std::uint32_t>(hash ^ (hash >> 32U));
  std::string mark = "#";
  for (int i = 0; i < 8; ++i, folded <<= 4U) mark += "0123456789abcdef"[folded >> 28U];
  return mark;
}

Collection::Collection(Cache* cache, Kind kind, KeyView name, std::string mark,
                       CollectionOptions options)
    : kind_(kind),
      name_(name.text()),
      stored_as_(std::string(kind.head) + name_),
      mark_(checked_mark(std::move(mark), options.type)),
      options_(std::move(options)),
      cache_(cache != nullptr ? CacheHandle(*cache)
                              : CacheHandle(options_.cache, options_.registry)) {
  if (name_.empty()) {
    throw ValueError(std::string(kind_.what) + ": the name is empty; give it one");
  }
}

std::string Collection::pack(std::string_view bytes) const {
  std::string value(1, static_cast<char>(mark_.size()));
  value.append(mark_).append(bytes);
  std::string scratch;
  const std::string_view stored = stored_from_value(*cache().state(), stored_as_, value, scratch);
  return stored.data() == value.data() ? std::move(value) : std::string(stored);
}

std::string Collection::unpack(std::string_view stored) const {
  std::string scratch;
  std::string_view value;
  try {
    value = value_from_stored(*cache().state(), stored_as_, stored, scratch);
  } catch (const ValueError& error) {
    throw_value_error(error.what());
  }
  const std::size_t size = value.empty() ? 0 : static_cast<unsigned char>(value.front());
  if (size == 0 || size > longest_mark || value.size() < 1 + size) {
    throw_value_error("the store has a value there that is none of a collection");
  }
  const std::string_view mark = value.substr(1, size);
  if (mark != mark_) {
    throw_value_error("a value has the type " + quote(mark) + ", not " + quote(mark_) +
                      "; use it with the type that its values were stored with");
  }
  return std::string(value.substr(1 + size));
}

void Collection::throw_value_error(const std::string& problem) const {
  throw ValueError(std::string(kind_.what) + ' ' + quote(name_) + ": " + problem);
}

void Collection::throw_undecodable() const {
  throw_value_error("the codec of its type cannot read a value");
}

void Collection::throw_evicts() const {
  throw ConfigError(std::string(kind_.what) + ' ' + quote(name_) +
                    ": the store may evict it; use locmem, sqlite, or a redis whose "
                    "maxmemory-policy is none of allkeys-*, or set evicting_store to accept");
}

}  // namespace polycache::detail
