// After a first call, a hit allocates nothing but the value itself, across the boundary of a
// loaded plugin: operator new is the program's, in libpolycache and in the plugin too.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "polycache/polycache.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

void* allocate(std::size_t size, std::size_t alignment = alignof(std::max_align_t)) {
  if (counting.load(std::memory_order_relaxed)) ++allocations;
  // aligned_alloc wants a multiple of the alignment.
  void* const p =
      alignment <= alignof(std::max_align_t)
          ? std::malloc(size == 0 ? 1 : size)
          : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

template <class F>
long count(F f) {
  f();  // warm up
  allocations = 0;
  counting = true;
  f();
  counting = false;
  return allocations;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {

class Allocations : public ::testing::Test {
 protected:
  polycache::CacheRegistry registry{
      polycache::Config{.caches = {{"default", {.backend = "locmem", .location = {"allocations"}}}},
                        .plugin_path = {POLYCACHE_PLUGIN_FOLDER}}};
};

TEST_F(Allocations, TheCounterCounts) {
  // Kept for a moment: compilers may leave out an unused allocation.
  EXPECT_EQ(count([] {
              int* volatile const kept = new int(1);
              delete kept;
            }),
            1);
}

TEST_F(Allocations, AHitOfAnIntegerAllocatesNothing) {
  registry["default"].set("an-integer-under-a-key-of-some-length", 123456789);
  std::optional<int> value;
  EXPECT_EQ(
      count([&] { value = registry["default"].get<int>("an-integer-under-a-key-of-some-length"); }),
      0);
  EXPECT_EQ(value, 123456789);
}

TEST_F(Allocations, AHitOfAStringAllocatesTheString) {
  registry["default"].set("k", std::string(500, 'x'));
  EXPECT_EQ(count([&] { EXPECT_EQ(registry["default"].get("k")->size(), 500U); }), 1);
}

TEST_F(Allocations, AMissAndContainsAllocateNothing) {
  registry["default"].set("k", 1);
  EXPECT_EQ(count([&] { EXPECT_FALSE(registry["default"].get("absent")); }), 0);
  EXPECT_EQ(count([&] { EXPECT_TRUE(registry["default"].contains("k")); }), 0);
  EXPECT_EQ(count([&] { registry["default"].visit("k", [](std::string_view) {}); }), 0);
}

TEST_F(Allocations, AGetOrSetThatHitsAllocatesNothing) {
  registry["default"].set("k", 1);
  EXPECT_EQ(count([&] { EXPECT_EQ(registry["default"].get_or_set("k", [] { return 2; }), 1); }), 0);
}

}  // namespace
