// A store that is saved in a file, as a series of processes has it one after the other.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/author/extension.h"
#include "polycache/backends/locmem.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"
#include "support/server.h"

namespace polycache::testing {

// What a process has of the store. Its end is the end of the registry.
class PersistProcess {
 public:
  PersistProcess(const Clock& clock, OptionMap options) : context_(clock) {
    factory_ = make_factory(locmem::plugin, context_, {.options = std::move(options)});
    session_ = factory_->connect();
  }

  Backend& session() { return *session_; }
  BackendFactory& factory() { return *factory_; }
  TestContext& context() { return context_; }
  std::vector<std::string> warnings() const { return context_.warnings(); }

  void put(const std::string& key, std::string_view value, Ttl ttl = Ttl::forever()) {
    ASSERT_TRUE(session_->put(key, value, ttl, PutMode::always));
  }
  std::optional<std::string> get(const std::string& key) {
    std::optional<std::string> result;
    session_->get(key, [&](std::string_view value) { result = value; });
    return result;
  }
  Ttl left(const std::string& key) {
    Ttl result(std::chrono::milliseconds(1));
    of<TtlExtension>().get(key, [&](std::string_view, Ttl left) { result = left; });
    return result;
  }
  template <class Extension>
  Extension& of() {
    return *static_cast<Extension*>(session_->extension(Extension::id));
  }
  std::uint64_t entries() {
    auto& store =
        *static_cast<MaintenanceExtension*>(factory_->extension(MaintenanceExtension::id));
    return store.counts().total.value_or(0);
  }
  std::uint64_t save() {
    return static_cast<DumpExtension*>(factory_->extension(DumpExtension::id))->save();
  }

 private:
  TestContext context_;
  std::unique_ptr<BackendFactory> factory_;
  std::unique_ptr<Backend> session_;
};

class PersistTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name = "dump") const {
    return (folder_.path() / name).string();
  }
  // Without saves at intervals.
  OptionMap options(OptionMap more = {}) const {
    more.try_emplace("persist", path());
    more.try_emplace("persist_interval", std::int64_t{0});
    return more;
  }
  std::unique_ptr<PersistProcess> start(OptionMap more = {}) const {
    return std::make_unique<PersistProcess>(clock_, options(std::move(more)));
  }

  static std::string read(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void write(const std::string& file, std::string_view bytes) {
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream << bytes;
    stream.close();
    std::filesystem::permissions(file, std::filesystem::perms(0600));
  }

  TemporaryFolder folder_;
  ManualClock clock_;
};

}  // namespace polycache::testing
