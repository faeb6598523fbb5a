#include "entry.h"

#include <new>

namespace polycache::locmem {
namespace {

// An entry's part of the table at worst (when it has just grown) and of the eviction history.
constexpr std::uint64_t table_share = 28;

void copy(char* to, std::string_view from) noexcept {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

constexpr std::size_t inline_size(std::size_t value_size) noexcept {
  return value_size > Entry::most_inline_value ? sizeof(SharedValue*) : value_size;
}

}  // namespace

SharedValue* SharedValue::make(std::string_view bytes) {
  void* const memory = ::operator new(allocation(bytes.size()));
  auto* const made = ::new (memory) SharedValue(bytes.size());
  copy(reinterpret_cast<char*>(made + 1), bytes);
  return made;
}

void SharedValue::release() noexcept {
  // Release: this owner's reads are complete before the last one frees; acquire: the last one sees
  // that.
  if (owners_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  this->~SharedValue();
  ::operator delete(this);
}

NewValue::NewValue(std::string_view value) : bytes(value) {
  if (value.size() > Entry::most_inline_value) large = ValueOwner(SharedValue::make(value));
}

std::size_t Entry::allocation(std::size_t key_size, std::size_t value_size) noexcept {
  return sizeof(Entry) + key_size + inline_size(value_size);
}

std::uint64_t Entry::charge(std::size_t key_size, std::size_t value_size) noexcept {
  const std::uint64_t own = Heap::block(allocation(key_size, value_size)) + table_share;
  return value_size > most_inline_value ? own + Heap::block(SharedValue::allocation(value_size))
                                        : own;
}

Entry* Entry::make(std::string_view key, NewValue& value, std::int64_t deadline, Heap& heap) {
  const std::size_t size = allocation(key.size(), value.bytes.size());
  void* memory = value.large.get() == nullptr ? heap.allocate(size) : nullptr;
  const bool from_heap = memory != nullptr;
  // The whole block, so that overwrite() may use it up to its end.
  if (!from_heap) memory = ::operator new(Heap::block(size) - Heap::header_bytes);
  auto* const entry = ::new (memory) Entry(key.size(), value.bytes.size(), deadline);
  entry->from_heap_ = from_heap ? 1 : 0;
  char* const at = entry->payload() + entry->key_offset();
  copy(at, key);
  if (entry->is_large()) {
    SharedValue* const large = value.large.give_away();
    std::memcpy(entry->payload(), &large, sizeof(large));
  } else {
    copy(at + key.size(), value.bytes);
  }
  return entry;
}

Entry* Entry::copy_of(const Entry& entry, Heap& heap) noexcept {
  const std::size_t size = allocation(entry.key_size_, entry.value_size_);
  void* const memory = heap.allocate(size);
  if (memory == nullptr) return nullptr;
  auto* const made = ::new (memory) Entry(entry);
  std::memcpy(made->payload(), entry.payload(), size - sizeof(Entry));
  return made;
}

void Entry::destroy(Entry* entry) noexcept {
  if (entry->is_from_heap()) {
    Heap::of(entry).free(entry);
    return;
  }
  if (entry->is_large()) entry->large()->release();
  ::operator delete(entry);
}

SharedValue* Entry::large() const noexcept {
  SharedValue* value;
  std::memcpy(&value, payload(), sizeof(value));
  return value;
}

bool Entry::overwrite(std::string_view value) noexcept {
  if (is_large() || value.size() > most_inline_value) return false;
  // An equal charge means an equal block, which has room up to its end.
  if (charge(key_size_, value.size()) != charge()) return false;
  copy(payload() + key_size_, value);
  value_size_ = static_cast<std::uint32_t>(value.size());
  return true;
}

}  // namespace polycache::locmem
