#include "polycache/backends/dummy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "polycache/author/extension.h"
#include "polycache/error.h"
#include "polycache/testing/test_context.h"

using namespace std::chrono_literals;

namespace polycache {
namespace {

void fail_on_value(std::string_view) { ADD_FAILURE() << "dummy gave a value"; }

class Dummy : public ::testing::Test {
 protected:
  testing::TestContext context_;
  std::unique_ptr<BackendFactory> factory_ = testing::make_factory(dummy::plugin, context_);
  std::unique_ptr<Backend> session_ = factory_->connect();
};

TEST_F(Dummy, TakesEverythingAndKeepsNothing) {
  EXPECT_TRUE(session_->put("k", "v", Ttl(1s), PutMode::always));
  EXPECT_TRUE(session_->put("k", "v", Ttl::forever(), PutMode::if_absent));
  EXPECT_TRUE(session_->put("k", "v", Ttl(1s), PutMode::if_absent));
  EXPECT_FALSE(session_->put("k", "v", Ttl(1s), PutMode::if_present));
  EXPECT_FALSE(session_->get("k", fail_on_value));
  EXPECT_FALSE(session_->contains("k", fail_on_value));
  EXPECT_FALSE(session_->touch("k", Ttl(1s)));
  EXPECT_FALSE(session_->erase("k"));
  session_->clear();
}

TEST_F(Dummy, CountsNothing) { EXPECT_EQ(session_->incr("k", 1), std::nullopt); }

TEST_F(Dummy, BulkOperationsKeepNothingEither) {
  const std::array items = {Item{"a", "1", Ttl(1s)}, Item{"b", "2", Ttl(1s)}};
  session_->put_many(items, PutMode::always, [](std::size_t) { ADD_FAILURE(); });
  const std::array<std::string_view, 2> keys = {"a", "b"};
  session_->get_many(keys, [](std::size_t, std::string_view) { ADD_FAILURE(); });
  EXPECT_EQ(session_->erase_many(keys), 0u);
}

TEST_F(Dummy, HasNoExtensionsThatNeedEntries) {
  for (const std::string_view id :
       {TtlExtension::id, PopExtension::id, ErasePrefixExtension::id, LockExtension::id}) {
    EXPECT_EQ(session_->extension(id), nullptr) << id;
  }
}

TEST_F(Dummy, NoEntryIsEqualToAnything) {
  auto* const compare = static_cast<CompareExtension*>(session_->extension(CompareExtension::id));
  ASSERT_NE(compare, nullptr);
  session_->put("k", "v", Ttl::forever(), PutMode::always);
  EXPECT_FALSE(compare->put_if_equal("k", "v", "w", Ttl::forever()));
  EXPECT_FALSE(compare->erase_if_equal("k", "v"));
}

TEST_F(Dummy, KeyRulesAreTheAuthorsChoice) {
  class Picky final : public dummy::Factory {
   public:
    Picky(const OptionReader& options, const BackendContext& context)
        : dummy::Factory(options, context, KeyRules::custom) {}
  };
  const auto create = [](const OptionReader& options,
                         const BackendContext& context) -> std::unique_ptr<BackendFactory> {
    return std::make_unique<Picky>(options, context);
  };
  const PluginDescriptor picky = backend_plugin("picky", "1", create);
  EXPECT_EQ(testing::make_factory(picky, context_)->traits().key_rules, KeyRules::custom);
  EXPECT_EQ(factory_->traits().key_rules, KeyRules::portable);
}

TEST_F(Dummy, IgnoresALocationAndRefusesOptions) {
  EXPECT_NE(testing::make_factory(dummy::plugin, context_, {.location = {"here"}}), nullptr);
  EXPECT_THROW(testing::make_factory(dummy::plugin, context_,
                                     {.options = {{"max_entries", OptionValue(std::int64_t{1})}}}),
               ConfigError);
}

}  // namespace
}  // namespace polycache
