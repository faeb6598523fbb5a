// The key function plugin "hashed", loaded as users load it.

#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <string>
#include <thread>

#include "specimens.h"

namespace polycache {
namespace {

const PluginDescriptor& hashed() {
  static const PluginDescriptor* const descriptor =
      find_plugin(PluginKind::key_function, "hashed", {},
                  std::array{std::filesystem::path(STOCK_PLUGIN_DIR)}, {})
          .descriptor;
  return *descriptor;
}

std::string final_key(std::string_view key, std::string_view prefix = "shop", int version = 2) {
  std::string out;
  hashed().payload.key_function(out, key, prefix, version);
  return out;
}

TEST(Hashed, KeepsTheHeadOfItsKeys) { EXPECT_EQ(hashed().flags, keeps_head); }

TEST(Hashed, APortableKeyStaysPlain) {
  EXPECT_EQ(final_key("user:1"), "shop:2:user:1");
  EXPECT_EQ(final_key("", "", -1), ":-1:");
  EXPECT_EQ(final_key("\xe6\xb8\x85"), "shop:2:\xe6\xb8\x85");
  EXPECT_EQ(final_key("#"), "shop:2:#");
}

TEST(Hashed, AppendsToWhatIsThere) {
  std::string out(300, 'x');
  hashed().payload.key_function(out, "k", "p", 1);
  EXPECT_EQ(out, std::string(300, 'x') + "p:1:k");
}

TEST(Hashed, TheWholeFinalKeyMayHave250Bytes) {
  const std::string longest(250 - std::string_view("shop:2:").size(), 'k');
  EXPECT_EQ(final_key(longest), "shop:2:" + longest);
  EXPECT_EQ(final_key(longest + "k").size(), std::string_view("shop:2:#").size() + 32);
}

// Expected values: sha256sum of the key.
TEST(Hashed, AnyOtherKeyBecomesTheBeginningOfItsSha256) {
  EXPECT_EQ(final_key("two words"), "shop:2:#a03f1d611645eb53ad16c1af546ca079");
  EXPECT_EQ(final_key(std::string("\0", 1)), "shop:2:#6e340b9cffb37a989ca544e6bb780a2c");
  EXPECT_EQ(final_key("\x7f", "", 1), ":1:#620bfdaa346b088fb49998d92f19a7ea");
}

TEST(Hashed, EveryByteThatMemcachedRefusesIsHashed) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string key = std::string("a") + static_cast<char>(byte) + "b";
    const bool plain = byte > 0x20 && byte != 0x7f;
    EXPECT_EQ(final_key(key) == "shop:2:" + key, plain) << byte;
  }
}

TEST(Hashed, AKeyThatLooksHashedIsHashedItself) {
  const std::string hash = final_key("two words").substr(std::string_view("shop:2:").size());
  EXPECT_NE(final_key(hash), final_key("two words"));
  EXPECT_EQ(final_key(hash).size(), final_key("two words").size());
  // What no hash looks like stays as it is.
  EXPECT_EQ(final_key(hash + "0"), "shop:2:" + hash + "0");
  EXPECT_EQ(final_key("#A03F1D611645EB53AD16C1AF546CA079"),
            "shop:2:#A03F1D611645EB53AD16C1AF546CA079");
}

TEST(Hashed, NoTwoKeysMeet) {
  std::set<std::string> seen;
  std::string key;
  for (int i = 0; i < 600; ++i) {
    EXPECT_TRUE(seen.insert(final_key(key)).second) << i;
    EXPECT_LE(final_key(key).size(), 250U);
    key += i % 2 == 0 ? "k" : " ";
  }
}

TEST(Hashed, AThreadMayHashWhileTheProcessEnds) {
  for (int round = 0; round < 10; ++round) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      hashed();
      for (int i = 0; i < 3; ++i) {
        std::thread([] {
          for (;;) final_key("two words");
        }).detach();
      }
      final_key("three more words");
      std::exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
  }
}

}  // namespace
}  // namespace polycache
