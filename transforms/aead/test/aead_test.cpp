#include "polycache/transforms/aead.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "polycache/backends/locmem.h"
#include "polycache/error.h"
#include "polycache/polycache.h"
#include "polycache/testing/manual_clock.h"
#include "polycache/testing/test_context.h"

namespace polycache::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string key(const std::string& id, char digit) { return id + ':' + std::string(64, digit); }
const std::string key_a = key("2026a", 'a');
const std::string key_b = key("2026b", 'b');

// Aliases on one store. Each has the keys that its name says, in this order.
class Aead : public ::testing::Test {
 protected:
  static CacheConfig alias(std::vector<std::string> keys, OptionMap more = {}) {
    CacheConfig cache{.backend = "locmem", .location = {"aead"}};
    more["keys"] = std::move(keys);
    cache.transform = {{"aead", std::move(more)}};
    return cache;
  }
  Environment environment() {
    return {.clock = &clock_,
            .on_warning = [this](const Warning& w) { warnings_.emplace_back(w.message); },
            .linked_plugins = {&locmem::plugin, &aead::plugin}};
  }
  std::string stored(std::string_view name) {
    std::string bytes;
    Cache& plain = registry_["plain"];
    plain.backend().get(plain.final_key(name), [&](std::string_view b) { bytes = b; });
    return bytes;
  }
  void store(std::string_view name, const std::string& bytes) {
    Cache& plain = registry_["plain"];
    plain.backend().put(plain.final_key(name), bytes, Ttl::forever(), PutMode::always);
  }

  ManualClock clock_;
  std::vector<std::string> warnings_;
  CacheRegistry registry_{{.caches = {{"plain", {.backend = "locmem", .location = {"aead"}}},
                                      {"a", alias({key_a})},
                                      {"ab", alias({key_a, key_b})},
                                      {"ba", alias({key_b, key_a})},
                                      {"b", alias({key_b})},
                                      {"impostor", alias({key("2026a", 'f')})},
                                      {"strict", alias({key_a}, {{"require", true}})}}},
                          environment()};
};

// --- What the store sees ---

TEST_F(Aead, TheStoreSeesNeitherTheValueNorTheKey) {
  registry_["a"].set("k", "a secret of the program");
  EXPECT_THAT(stored("k"), AllOf(Not(HasSubstr("secret")), HasSubstr("2026a"),
                                 Not(HasSubstr("\xaa\xaa\xaa")), Not(HasSubstr("aaaa"))));
}

TEST_F(Aead, OneValueIsNeverEncryptedInTheSameWayTwice) {
  std::set<std::string> forms;
  for (int i = 0; i < 100; ++i) {
    registry_["a"].set("k", "v");
    forms.insert(stored("k"));
  }
  EXPECT_EQ(forms.size(), 100U);
}

TEST_F(Aead, AnEmptyValueIsEncrypted) {
  registry_["a"].set("k", "");
  EXPECT_THAT(stored("k"), HasSubstr("aead"));
  EXPECT_EQ(registry_["a"].get("k"), "");
}

// --- What an attacker changes ---

TEST_F(Aead, AValueThatIsMovedToAnotherKeyIsAMiss) {
  registry_["a"].set("admin", "no");
  registry_["a"].set("guest", "yes");
  store("admin", stored("guest"));
  EXPECT_EQ(registry_["a"].get("admin"), std::nullopt);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr(
                             "the entry \":1:admin\" was refused by the transform \"aead\": it was "
                             "changed, moved from another key, or encrypted with another key that "
                             "is called \"2026a\"; it counts as a miss")));
  EXPECT_EQ(registry_["a"].get("guest"), "yes");
}

// Every byte of the entry: magic, flags, times, names, key id, nonce, text, tag.
TEST_F(Aead, AnEntryThatIsChangedAnywhereIsAMissOrAbsent) {
  Cache& cache = registry_["strict"];
  cache.set("k", "a value");
  const std::string good = stored("k");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bytes = good;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    store("k", bytes);
    ASSERT_EQ(cache.get("k"), std::nullopt) << "bit " << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size) {
    store("k", good.substr(0, size));
    ASSERT_EQ(cache.get("k"), std::nullopt) << "cut to " << size;
  }
  store("k", good);
  EXPECT_EQ(cache.get("k"), "a value");
}

TEST_F(Aead, AnotherHeadOfTheEntryIsAMiss) {
  registry_["a"].set("k", "v");
  std::string bytes = stored("k");
  bytes[8] = 1;  // "created" becomes 1 ms after 1970
  store("k", bytes);
  EXPECT_EQ(registry_["a"].get("k"), std::nullopt);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("it was changed")));
}

// The end of the key and the beginning of the head cannot be exchanged.
TEST(AeadContext, KeyAndHeadAreBoundEachByItself) {
  TestContext context;
  const auto transform = context.make_transform(aead::plugin, {{"keys", key_a}});
  std::string stored;
  ASSERT_TRUE(transform->apply("v", {.final_key = "key", .head = "head"}, stored));
  std::string value;
  EXPECT_TRUE(transform->revert(stored, {.final_key = "key", .head = "head"}, value));
  EXPECT_EQ(value, "v");
  for (const TransformContext& other :
       {TransformContext{"keyh", "ead"}, TransformContext{"ke", "yhead"},
        TransformContext{"", "keyhead"}, TransformContext{"key", "Head"}}) {
    value.clear();
    EXPECT_THROW(transform->revert(stored, other, value), std::exception);
  }
}

// --- Several keys ---

TEST_F(Aead, TheFirstKeyEncryptsAndAllDecrypt) {
  registry_["a"].set("old", "v");
  registry_["ba"].set("new", "v");
  EXPECT_THAT(stored("new"), HasSubstr("2026b"));
  EXPECT_EQ(registry_["ba"].get("old"), "v");
  EXPECT_EQ(registry_["ab"].get("new"), "v");
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(Aead, ARotatedOutKeyIsAMissWithAWarningThatNamesItsId) {
  registry_["a"].set("k", "v");
  EXPECT_EQ(registry_["b"].get("k"), std::nullopt);
  EXPECT_THAT(warnings_,
              ElementsAre(AllOf(HasSubstr("the entry \":1:k\" was refused by the transform "
                                          "\"aead\": its key \"2026a\" is not in the option keys"),
                                HasSubstr("it counts as a miss"), Not(HasSubstr("aaaa")))));
  EXPECT_THAT(registry_["b"].get_many({"k", "none"}), ElementsAre(std::nullopt, std::nullopt));
  EXPECT_EQ(registry_["b"].get_or_set("k", [] { return std::string("new"); }), "new");
  EXPECT_EQ(registry_["b"].get("k"), "new");
}

// As docs/values.md describes it, with two programs that change their configuration one by one.
TEST_F(Aead, ARotationStepByStepLosesNothing) {
  const std::vector<std::pair<const char*, const char*>> steps{
      {"a", "a"}, {"ab", "a"}, {"ab", "ab"}, {"ba", "ab"}, {"ba", "ba"}};
  for (const auto& [one, other] : steps) {
    SCOPED_TRACE(std::string(one) + " and " + other);
    registry_[one].set("k", "from one");
    EXPECT_EQ(registry_[other].get("k"), "from one");
    registry_[other].set("k", "from the other");
    EXPECT_EQ(registry_[one].get("k"), "from the other");
  }
  EXPECT_EQ(registry_["b"].get("k"), "from the other");  // written when both were at "ba"
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(Aead, AnotherKeyWithTheSameIdIsAMiss) {
  registry_["a"].set("k", "v");
  EXPECT_EQ(registry_["impostor"].get("k"), std::nullopt);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("another key that is called \"2026a\"")));
}

// --- Values in plain ---

TEST_F(Aead, PlainValuesAreReadUnlessEncryptionIsRequired) {
  registry_["plain"].set("k", "planted");
  EXPECT_EQ(registry_["a"].get("k"), "planted");
  Cache& strict = registry_["strict"];
  EXPECT_EQ(strict.get("k"), std::nullopt);
  EXPECT_THAT(warnings_, ElementsAre(HasSubstr("was stored without the transform \"aead\", which "
                                               "this alias requires")));
  EXPECT_EQ(strict.get_or_set("k", [] { return std::string("made"); }), "made");
  EXPECT_EQ(strict.get("k"), "made");
}

TEST_F(Aead, CountersWorkWhereEncryptionIsRequired) {
  Cache& strict = registry_["strict"];
  EXPECT_EQ(strict.incr("n", 1, {.initial = 4}), 5);
  EXPECT_EQ(stored("n"), "5");
  EXPECT_EQ(strict.get<int>("n"), 5);
}

// --- Configuration ---

TEST_F(Aead, WrongKeysAreOneConfigErrorThatShowsNone) {
  try {
    CacheRegistry wrong({.caches = {{"shop", alias({"a:" + std::string(63, 'e')})}}},
                        environment());
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("caches.shop.transform[0].options.keys: key 1, "
                                              "\"a\", has 63 characters after the colon"),
                                    Not(HasSubstr("eee")), Not(HasSubstr("did not create")),
                                    Not(HasSubstr("problems"))));
  }
}

TEST_F(Aead, WithoutKeysIsAConfigError) {
  CacheConfig cache{.backend = "locmem"};
  cache.transform = {{"aead", {}}};
  try {
    CacheRegistry wrong({.caches = {{"shop", cache}}}, environment());
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("caches.shop.transform[0].options.keys: is missing"));
  }
}

TEST_F(Aead, KeysComeFromFiles) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("polycache-keys-" + std::to_string(::getpid()));
  std::ofstream(file) << key_b << '\n' << key_a << '\n';
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  CacheRegistry read(Config::from_json(R"({"caches": {"shop": {"backend": "locmem",
      "location": "aead", "transform": [{"name": "aead", "options": {
      "keys": "${file:)" + file.string() +
                                       R"(}"}}]}}})"),
                     environment());
  std::filesystem::remove(file);
  registry_["a"].set("k", "v");
  EXPECT_EQ(read["shop"].get("k"), "v");
  read["shop"].set("k", "w");
  EXPECT_EQ(registry_["b"].get("k"), "w");
}

}  // namespace
}  // namespace polycache::testing
