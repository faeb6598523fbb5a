// The binary interface between libpolycache and plugins, in numbers: what a plugin that was
// built yesterday relies on. A number that no longer holds is no test to be mended: raise
// POLYCACHE_ABI_VERSION (abi.h), say so in docs/changes, then write the new number here.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <type_traits>

#include "polycache/author/around_layer.h"
#include "polycache/author/backend.h"
#include "polycache/author/compressor.h"
#include "polycache/author/deque_extension.h"
#include "polycache/author/extension.h"
#include "polycache/author/index_extension.h"
#include "polycache/author/layer.h"
#include "polycache/author/plugin.h"
#include "polycache/error.h"

namespace polycache {
namespace {

static_assert(POLYCACHE_ABI_VERSION == 3, "write the numbers of the new version below");
static_assert(sizeof(void*) == 8, "the numbers are those of 64-bit machines");

// The descriptor is read before anything else is known of a plugin: these numbers hold in
// every version, and new fields come after them.
static_assert(std::is_standard_layout_v<PluginDescriptor> &&
              std::is_trivially_destructible_v<PluginDescriptor>);
static_assert(offsetof(PluginDescriptor, magic) == 0);
static_assert(offsetof(PluginDescriptor, size) == 8);
static_assert(offsetof(PluginDescriptor, abi_version) == 12);
static_assert(offsetof(PluginDescriptor, kind) == 16);
static_assert(offsetof(PluginDescriptor, flags) == 20);
static_assert(offsetof(PluginDescriptor, abi) == 24);
static_assert(offsetof(PluginDescriptor, library_version) == 32);
static_assert(offsetof(PluginDescriptor, compiler) == 40);
static_assert(offsetof(PluginDescriptor, name) == 48);
static_assert(offsetof(PluginDescriptor, plugin_version) == 56);
static_assert(offsetof(PluginDescriptor, payload) == 64);
static_assert(sizeof(PluginPayload) == 8);
static_assert(sizeof(PluginDescriptor) == 72);
static_assert(static_cast<unsigned>(PluginKind::backend) == 1);
static_assert(static_cast<unsigned>(PluginKind::layer) == 2);
static_assert(static_cast<unsigned>(PluginKind::key_function) == 3);
static_assert(static_cast<unsigned>(PluginKind::transform) == 4);
static_assert(static_cast<unsigned>(PluginKind::functions) == 5);
static_assert(keeps_head == 1);

// What is passed by value through virtual functions.
static_assert(sizeof(Ttl) == 8 && std::is_trivially_copyable_v<Ttl>);
static_assert(sizeof(PutMode) == 1);
static_assert(static_cast<int>(PutMode::always) == 0);
static_assert(static_cast<int>(PutMode::if_absent) == 1);
static_assert(static_cast<int>(PutMode::if_present) == 2);
static_assert(sizeof(ValueSink) == 16 && std::is_trivially_copyable_v<ValueSink>);
static_assert(sizeof(IndexSink) == sizeof(ValueSink));
static_assert(sizeof(IndexedValueSink) == sizeof(ValueSink));
static_assert(sizeof(StoreTraits) == 128 && offsetof(StoreTraits, key_rules) == 0);
static_assert(offsetof(StoreTraits, breaks_circuits) == 1);
static_assert(offsetof(StoreTraits, breaker) == 8);
static_assert(static_cast<int>(KeyRules::portable) == 0);
static_assert(static_cast<int>(KeyRules::strict) == 1);
static_assert(static_cast<int>(KeyRules::custom) == 2);

static_assert(sizeof(TransformEffect) == 1);
static_assert(static_cast<int>(TransformEffect::other) == 0);
static_assert(static_cast<int>(TransformEffect::compresses) == 1);
static_assert(static_cast<int>(TransformEffect::encrypts) == 2);

// What is passed by address, and read by inline code on the other side.
static_assert(sizeof(Item) == 40);
static_assert(offsetof(Item, key) == 0);
static_assert(offsetof(Item, value) == 16);
static_assert(offsetof(Item, ttl) == 32);
static_assert(sizeof(Backend) == 8);
static_assert(sizeof(Layer) == 16);
static_assert(sizeof(BackendFactory) == 8);
static_assert(sizeof(LayerFactory) == 24);
static_assert(sizeof(AroundLayer) == 32);
static_assert(sizeof(AroundLayerFactory) == 32);
static_assert(sizeof(TransformContext) == 32);
static_assert(offsetof(TransformContext, final_key) == 0);
static_assert(offsetof(TransformContext, head) == 16);
static_assert(sizeof(Transform) == 8);
static_assert(sizeof(Compressor) == 32);
static_assert(sizeof(Clock) == 16);
static_assert(sizeof(Warning) == 64);
static_assert(offsetof(Warning, count) == 56);
static_assert(sizeof(HealthExtension::Server) == 56);
static_assert(sizeof(ScanExtension::Listed) == 40);
static_assert(offsetof(ScanExtension::Listed, key) == 0);
static_assert(offsetof(ScanExtension::Listed, size) == 16);
static_assert(offsetof(ScanExtension::Listed, left) == 24);
static_assert(sizeof(IndexExtension::Place) == 40);
static_assert(sizeof(IndexExtension::Entry) == 40);
static_assert(offsetof(IndexExtension::Entry, position) == 32);
static_assert(sizeof(IndexExtension::Put) == 2);
static_assert(sizeof(IndexExtension::Range) == 72);
static_assert(offsetof(IndexExtension::Range, after) == 40);
static_assert(offsetof(IndexExtension::Range, at_most) == 64);
static_assert(sizeof(MaintenanceExtension::Counts) == 64);
static_assert(offsetof(MaintenanceExtension::Counts, forever) == 48);
static_assert(sizeof(SharedOption) == 48);
static_assert(sizeof(BackendContext) == 160);

// What passes through the hook of a layer. StoreItem and StoreAnswer are made on both sides;
// StoreCall is made by the core, which appends fields.
static_assert(sizeof(Transparency) == 2);
static_assert(offsetof(Transparency, unknown_extensions) == 0);
static_assert(offsetof(Transparency, early_refusals) == 1);
static_assert(sizeof(StoreItemSink) == sizeof(ValueSink) && sizeof(StoreGo) == sizeof(ValueSink));
static_assert(sizeof(StoreItem) == 48);
static_assert(offsetof(StoreItem, index) == 0);
static_assert(offsetof(StoreItem, value) == 8);
static_assert(offsetof(StoreItem, left) == 32);
static_assert(sizeof(StoreAnswer) == 24);
static_assert(offsetof(StoreAnswer, done) == 0);
static_assert(offsetof(StoreAnswer, number) == 8);
static_assert(offsetof(StoreCall, op) == 0);
static_assert(offsetof(StoreCall, access) == 1);
static_assert(offsetof(StoreCall, name) == 8);
static_assert(offsetof(StoreCall, keys) == 24);
static_assert(offsetof(StoreCall, items) == 40);
static_assert(offsetof(StoreCall, mode) == 56);
static_assert(offsetof(StoreCall, new_value) == 64);
static_assert(offsetof(StoreCall, expected) == 88);
static_assert(offsetof(StoreCall, new_ttl) == 112);
static_assert(offsetof(StoreCall, delta) == 128);
static_assert(offsetof(StoreCall, deliver) == 136);
static_assert(static_cast<int>(StoreOp::get) == 0);
static_assert(static_cast<int>(StoreOp::put) == 3);
static_assert(static_cast<int>(StoreOp::incr) == 9);
static_assert(static_cast<int>(StoreOp::get_with_ttl) == 10);
static_assert(static_cast<int>(StoreOp::pop) == 14);
static_assert(static_cast<int>(StoreOp::check_health) == 16);
static_assert(static_cast<int>(StoreOp::erase_pattern) == 18);
static_assert(static_cast<int>(StoreOp::get_and_renew) == 19);
static_assert(static_cast<int>(StoreOp::erase_tagged) == 22);
static_assert(static_cast<int>(StoreOp::take_lock) == 23);
static_assert(static_cast<int>(StoreOp::wait_for_lock) == 26);
static_assert(static_cast<int>(StoreOp::use_limit) == 27);
static_assert(static_cast<int>(StoreOp::forget_limit) == 28);
static_assert(static_cast<int>(StoreOp::push_deque) == 29);
static_assert(static_cast<int>(StoreOp::erase_deque) == 35);
static_assert(static_cast<int>(StoreOp::find_in_index) == 36);
static_assert(static_cast<int>(StoreOp::clear_index) == 42);

// Of LimitExtension.
static_assert(sizeof(rates::Rate) == 24);
static_assert(offsetof(LimitExtension::Use, cost) == 40);
static_assert(offsetof(LimitExtension::Used, before) == 16);

// What is thrown on one side and caught on the other.
static_assert(sizeof(CacheError) == 16);
static_assert(sizeof(InvalidKey) == 80);
static_assert(sizeof(ValueError) == 24);
static_assert(sizeof(KeyNotFound) == sizeof(ValueError));

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"  // it has a reference; the compilers can
static_assert(offsetof(BackendContext, size) == 0);
static_assert(offsetof(BackendContext, alias) == 8);
static_assert(offsetof(BackendContext, key_head) == 32);
static_assert(offsetof(BackendContext, inner) == 48);
static_assert(offsetof(BackendContext, sibling) == 64);
static_assert(offsetof(BackendContext, report) == 80);
static_assert(offsetof(BackendContext, process_wide) == 112);
static_assert(offsetof(BackendContext, agree) == 128);
static_assert(offsetof(BackendContext, find_service) == 144);
#pragma GCC diagnostic pop

// The place of a virtual function in its table, as the Itanium C++ ABI writes it into a
// pointer to member: in `adjustment` on arm64, in `pointer` elsewhere, a bit says that it is
// virtual.
template <class Member>
std::ptrdiff_t slot(Member member) {
  struct {
    std::ptrdiff_t pointer;
    std::ptrdiff_t adjustment;
  } raw{};
  static_assert(sizeof(raw) == sizeof(member));
  std::memcpy(&raw, &member, sizeof(raw));
#if defined(__aarch64__)
  return (raw.adjustment & 1) == 0 ? -1 : raw.pointer / 8;
#else
  return (raw.pointer & 1) == 0 ? -1 : (raw.pointer - 1) / 8;
#endif
}

// 0 and 1 are the two destructors.
TEST(VirtualTables, Backend) {
  EXPECT_EQ(slot(&Backend::get), 2);
  EXPECT_EQ(slot(&Backend::put), 3);
  EXPECT_EQ(slot<bool (Backend::*)(std::string_view, Ttl, ValueSink)>(&Backend::touch), 4);
  EXPECT_EQ(slot(&Backend::erase), 5);
  EXPECT_EQ(slot(&Backend::clear), 6);
  EXPECT_EQ(slot(&Backend::contains), 7);
  EXPECT_EQ(slot(&Backend::incr), 8);
  EXPECT_EQ(slot(&Backend::get_many), 9);
  EXPECT_EQ(slot(&Backend::put_many), 10);
  EXPECT_EQ(slot(&Backend::erase_many), 11);
  EXPECT_EQ(slot(&Backend::extension), 12);
}

struct OpenLayerFactory : LayerFactory {
  static auto wrap_member() { return &OpenLayerFactory::wrap; }
};

TEST(VirtualTables, Layers) {
  EXPECT_EQ(slot(&Layer::extension), 12);
  EXPECT_EQ(slot(&AroundLayer::extension), 12);
  EXPECT_EQ(slot(&AroundLayer::around), 13);
}

TEST(VirtualTables, Factories) {
  EXPECT_EQ(slot(&BackendFactory::connect), 2);
  EXPECT_EQ(slot(&BackendFactory::traits), 3);
  EXPECT_EQ(slot(&BackendFactory::validate_key), 4);
  EXPECT_EQ(slot(&BackendFactory::extension), 5);
  EXPECT_EQ(slot(OpenLayerFactory::wrap_member()), 6);
}

TEST(VirtualTables, Transforms) {
  EXPECT_EQ(slot(&Transform::apply), 2);
  EXPECT_EQ(slot(&Transform::revert), 3);
  EXPECT_EQ(slot(&Transform::reads_plain), 4);
  EXPECT_EQ(slot(&Transform::effect), 5);
}

TEST(VirtualTables, Clock) {
  EXPECT_EQ(slot(&Clock::steady_now), 2);
  EXPECT_EQ(slot(&Clock::system_now), 3);
}

TEST(VirtualTables, Extensions) {
  EXPECT_EQ(slot(&TtlExtension::get), 0);
  EXPECT_EQ(slot(&TtlExtension::get_many), 1);
  EXPECT_EQ(slot(&CompareExtension::put_if_equal), 0);
  EXPECT_EQ(slot(&CompareExtension::erase_if_equal), 1);
  EXPECT_EQ(slot(&PopExtension::pop), 0);
  EXPECT_EQ(slot(&ErasePrefixExtension::erase_prefix), 0);
  EXPECT_EQ(slot(&IdleExtension::close_idle), 0);
  EXPECT_EQ(slot(&ScanExtension::scan), 0);
  EXPECT_EQ(slot(&ErasePatternExtension::erase_pattern), 0);
  EXPECT_EQ(slot(&RenewExtension::get), 0);
  EXPECT_EQ(slot(&TagIndexExtension::has_index), 0);
  EXPECT_EQ(slot(&TagIndexExtension::create_index), 1);
  EXPECT_EQ(slot(&TagIndexExtension::drop_index), 2);
  EXPECT_EQ(slot(&TagIndexExtension::erase_tagged), 3);
  EXPECT_EQ(slot(&TagStampExtension::tag_stamp), 0);
  EXPECT_EQ(slot(&LockExtension::take), 0);
  EXPECT_EQ(slot(&LockExtension::renew), 1);
  EXPECT_EQ(slot(&LockExtension::release), 2);
  EXPECT_EQ(slot(&LockExtension::wait), 3);
  EXPECT_EQ(slot(&LockExtension::keeping), 4);
  EXPECT_EQ(slot(&LimitExtension::use), 0);
  EXPECT_EQ(slot(&LimitExtension::forget), 1);
  EXPECT_EQ(slot(&DequeExtension::push), 0);
  EXPECT_EQ(slot(&DequeExtension::pop), 1);
  EXPECT_EQ(slot(&DequeExtension::at), 2);
  EXPECT_EQ(slot(&DequeExtension::list), 3);
  EXPECT_EQ(slot(&DequeExtension::size), 4);
  EXPECT_EQ(slot(&DequeExtension::rotate), 5);
  EXPECT_EQ(slot(&DequeExtension::erase_deque), 6);
  EXPECT_EQ(slot(&DequeExtension::keeping), 7);
  EXPECT_EQ(slot(&IndexExtension::find), 0);
  EXPECT_EQ(slot(&IndexExtension::put), 1);
  EXPECT_EQ(slot(&IndexExtension::erase), 2);
  EXPECT_EQ(slot(&IndexExtension::take), 3);
  EXPECT_EQ(slot(&IndexExtension::list), 4);
  EXPECT_EQ(slot(&IndexExtension::count), 5);
  EXPECT_EQ(slot(&IndexExtension::clear), 6);
  EXPECT_EQ(slot(&IndexExtension::keeping), 7);
  EXPECT_EQ(slot(&MaintenanceExtension::expire), 0);
  EXPECT_EQ(slot(&MaintenanceExtension::cull), 1);
  EXPECT_EQ(slot(&MaintenanceExtension::volume), 2);
  EXPECT_EQ(slot(&MaintenanceExtension::counts), 3);
  EXPECT_EQ(slot(&DumpExtension::save), 0);
  EXPECT_EQ(slot(&CheckExtension::check), 0);
  EXPECT_EQ(slot(&VacuumExtension::vacuum), 0);
}

// The names are part of the interface too: a number at the end is raised when one changes.
TEST(Extensions, AreCalledAsEver) {
  EXPECT_EQ(TtlExtension::id, "polycache.ttl/1");
  EXPECT_EQ(CompareExtension::id, "polycache.compare/1");
  EXPECT_EQ(PopExtension::id, "polycache.pop/1");
  EXPECT_EQ(ErasePrefixExtension::id, "polycache.erase_prefix/1");
  EXPECT_EQ(IdleExtension::id, "polycache.idle/1");
  EXPECT_EQ(ScanExtension::id, "polycache.scan/1");
  EXPECT_EQ(ErasePatternExtension::id, "polycache.erase_pattern/1");
  EXPECT_EQ(RenewExtension::id, "polycache.renew/1");
  EXPECT_EQ(TagIndexExtension::id, "polycache.tag_index/1");
  EXPECT_EQ(TagStampExtension::id, "polycache.tag_stamp/1");
  EXPECT_EQ(LockExtension::id, "polycache.lock/1");
  EXPECT_EQ(LimitExtension::id, "polycache.limit/1");
  EXPECT_EQ(DequeExtension::id, "polycache.deque/1");
  EXPECT_EQ(IndexExtension::id, "polycache.index/1");
  EXPECT_EQ(MaintenanceExtension::id, "polycache.maintenance/1");
  EXPECT_EQ(DumpExtension::id, "polycache.dump/1");
  EXPECT_EQ(CheckExtension::id, "polycache.check/1");
  EXPECT_EQ(VacuumExtension::id, "polycache.vacuum/1");
}

}  // namespace
}  // namespace polycache
