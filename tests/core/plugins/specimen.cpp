// The one source of all plugins that the loader's tests load, or must refuse. What is wrong
// with each is said by the definitions that tests/core/plugins/CMakeLists.txt gives it.

#include <memory>
#include <stdexcept>
#include <string>

#include "polycache/author/plugin.h"
#include "polycache/error.h"

#ifndef SPECIMEN_NAME
#define SPECIMEN_NAME "good"
#endif

#ifdef SPECIMEN_UNRESOLVED
extern "C" void polycache_specimen_without_definition();
#endif

namespace {

class Specimen final : public polycache::Backend {
 public:
  bool get(std::string_view /*key*/, polycache::ValueSink /*sink*/) override {
#ifdef SPECIMEN_GET_THROWS
    throw SPECIMEN_GET_THROWS;
#else
    return false;
#endif
  }
  bool put(std::string_view /*key*/, std::string_view /*value*/, polycache::Ttl /*ttl*/,
           polycache::PutMode /*mode*/) override {
    return true;
  }
  bool touch(std::string_view /*key*/, polycache::Ttl /*ttl*/,
             polycache::ValueSink /*head*/) override {
    return false;
  }
  bool erase(std::string_view /*key*/) override { return false; }
  void clear() override {}
};

class SpecimenFactory final : public polycache::BackendFactory {
 public:
  std::unique_ptr<polycache::Backend> connect() override { return std::make_unique<Specimen>(); }
};

#ifdef SPECIMEN_CONSTRUCTOR_THROWS
// Runs inside dlopen().
[[gnu::constructor]] void throw_while_loading() { throw SPECIMEN_CONSTRUCTOR_THROWS; }
#endif

// So that the file has thread-local storage, which can be damaged too. Of zeroes the file holds
// nothing.
#ifdef SPECIMEN_THREAD_ZEROES
thread_local char creations = 0;
#else
thread_local int creations = 7;
#endif

std::unique_ptr<polycache::BackendFactory> create(const polycache::OptionReader& /*options*/,
                                                  const polycache::BackendContext& /*context*/) {
#ifdef SPECIMEN_UNRESOLVED
  polycache_specimen_without_definition();
#endif
  ++creations;
#ifdef SPECIMEN_CREATE_THROWS
  throw SPECIMEN_CREATE_THROWS;
#elif defined(SPECIMEN_CREATES_NOTHING)
  return nullptr;
#else
  return std::make_unique<SpecimenFactory>();
#endif
}

constexpr polycache::PluginDescriptor describe() {
  auto descriptor = polycache::backend_plugin(SPECIMEN_NAME, "1.0", create);
#ifdef SPECIMEN_CHANGE
  SPECIMEN_CHANGE;
#endif
  return descriptor;
}

[[maybe_unused]] constexpr polycache::PluginDescriptor plugin = describe();

}  // namespace

#if defined(SPECIMEN_NO_DESCRIPTOR)
POLYCACHE_ABI_MARK;
// Code that uses create(), so that it is no warning.
extern "C" POLYCACHE_API const polycache::CreateFactory specimen_create;
const polycache::CreateFactory specimen_create = create;
#elif defined(SPECIMEN_NO_MARK)
extern "C" POLYCACHE_API const polycache::PluginDescriptor* const polycache_plugin;
const polycache::PluginDescriptor* const polycache_plugin = &plugin;
#elif defined(SPECIMEN_STRUCT_ITSELF)
POLYCACHE_ABI_MARK;
extern "C" POLYCACHE_API const polycache::PluginDescriptor polycache_plugin;
const polycache::PluginDescriptor polycache_plugin = plugin;
#elif defined(SPECIMEN_FUNCTION_INSTEAD)
POLYCACHE_ABI_MARK;
extern "C" POLYCACHE_API const polycache::PluginDescriptor* polycache_plugin() { return &plugin; }
#else
POLYCACHE_PLUGIN(plugin);
#endif

#ifdef SPECIMEN_SECOND_MARK
__asm__(".pushsection .polycache_abi_77_libstdcxx_1,\"aR\",%progbits\n\t.byte 0\n\t.popsection");
#endif
