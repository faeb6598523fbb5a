#include "polycache/backends/dummy.h"

#include <string>

#include "polycache/abi.h"
#include "polycache/author/extension.h"
#include "polycache/author/glob.h"
#include "polycache/error.h"

namespace polycache::dummy {
namespace {

class Session final : public Backend,
                      private CompareExtension,
                      private ScanExtension,
                      private ErasePatternExtension,
                      private RenewExtension,
                      private TagIndexExtension {
 public:
  bool get(std::string_view, ValueSink) override { return false; }
  // No entry ever exists, so only a put that requires one fails.
  bool put(std::string_view, std::string_view, Ttl, PutMode mode) override {
    return mode != PutMode::if_present;
  }
  bool touch(std::string_view, Ttl, ValueSink) override { return false; }
  bool erase(std::string_view) override { return false; }
  void clear() override {}

  bool contains(std::string_view, ValueSink) override { return false; }
  std::optional<std::int64_t> incr(std::string_view, std::int64_t) override { return std::nullopt; }
  void get_many(std::span<const std::string_view>, IndexedValueSink) override {}
  std::size_t erase_many(std::span<const std::string_view>) override { return 0; }

  void* extension(std::string_view id) noexcept override {
    if (id == CompareExtension::id) return static_cast<CompareExtension*>(this);
    if (id == ScanExtension::id) return static_cast<ScanExtension*>(this);
    if (id == ErasePatternExtension::id) return static_cast<ErasePatternExtension*>(this);
    if (id == RenewExtension::id) return static_cast<RenewExtension*>(this);
    if (id == TagIndexExtension::id) return static_cast<TagIndexExtension*>(this);
    return nullptr;
  }

 private:
  bool put_if_equal(std::string_view, std::string_view, std::string_view,
                    std::optional<Ttl>) override {
    return false;
  }
  bool erase_if_equal(std::string_view, std::string_view) override { return false; }
  bool get(std::string_view, Ttl, ValueSink) override { return false; }
  // Patterns are checked, so that a program behaves as with another store.
  std::string scan(std::string_view pattern, std::string_view cursor, std::size_t,
                   FunctionRef<void(const Listed&)>) override {
    static_cast<void>(Glob(pattern));
    if (!cursor.empty()) throw ValueError("a dummy store has no cursors");
    return {};
  }
  std::size_t erase_pattern(std::string_view pattern) override {
    static_cast<void>(Glob(pattern));
    return 0;
  }
  // An index of no entries is always complete.
  bool has_index() override { return true; }
  bool create_index() override { return false; }
  bool drop_index() override { return false; }
  std::size_t erase_tagged(std::span<const std::uint64_t>) override { return 0; }
};

std::unique_ptr<BackendFactory> create(const OptionReader& options, const BackendContext& context) {
  return std::make_unique<Factory>(options, context);
}

}  // namespace

const PluginDescriptor plugin = backend_plugin("dummy", POLYCACHE_VERSION, create);

namespace {

struct Maintenance final : MaintenanceExtension {
  std::size_t expire() override { return 0; }
  std::size_t cull() override { return 0; }
  std::optional<std::uint64_t> volume() override { return 0; }
  Counts counts() override { return {.total = 0, .expired = 0, .unexpired = 0, .forever = 0}; }
};
constinit Maintenance maintenance;

}  // namespace

void* Factory::extension(std::string_view id) noexcept {
  return id == MaintenanceExtension::id ? static_cast<MaintenanceExtension*>(&maintenance)
                                        : nullptr;
}

Factory::Factory(const OptionReader&, const BackendContext&, KeyRules rules) : rules_(rules) {}

Factory::~Factory() = default;

std::unique_ptr<Backend> Factory::connect() { return std::make_unique<Session>(); }

StoreTraits Factory::traits() const noexcept {
  return {.key_rules = rules_, .is_private = true, .reads_latest = true};
}

}  // namespace polycache::dummy
