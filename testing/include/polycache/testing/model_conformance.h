// This part of the conformance suite tests a store against a model of it.

#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, BehavesLikeAMap) {
  struct Entry {
    std::string value;
    std::optional<std::chrono::milliseconds> deadline;
  };
  std::map<std::string, Entry> model;
  std::chrono::milliseconds now{0};
  std::mt19937 random(20'240'607);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const bool timed = !quirks().own_clock;
  // Steps of time and lifetimes never come within the store's lateness of each other.
  const auto unit = std::max(std::chrono::milliseconds(10'000), quirks().lateness * 5);
  const auto live = [&](const std::string& key) -> Entry* {
    const auto it = model.find(key);
    if (it == model.end()) return nullptr;
    if (it->second.deadline && *it->second.deadline <= now) return nullptr;
    return &it->second;
  };
  for (int step = 0; step < 1500; ++step) {
    const std::string key = "key" + std::to_string(below(12));
    const std::string value = below(2) == 0 ? std::to_string(static_cast<int>(below(50)) - 25)
                                            : std::string(below(40), static_cast<char>(below(256)));
    std::optional<std::chrono::milliseconds> life;
    if (timed && below(2) == 0) life = unit * static_cast<int>(1 + below(6));
    const Timeout timeout = life ? Timeout(*life) : never;
    const auto deadline = life ? std::optional(now + *life) : std::nullopt;
    SCOPED_TRACE("step " + std::to_string(step) + " on " + key);
    switch (below(11)) {
      case 0:
      case 1:
        ASSERT_TRUE(store().set(key, value, timeout));
        model[key] = {value, deadline};
        break;
      case 2: {
        const bool free = live(key) == nullptr;
        ASSERT_EQ(store().add(key, value, timeout), free);
        if (free) model[key] = {value, deadline};
        break;
      }
      case 3: {
        const Entry* const entry = live(key);
        ASSERT_EQ(store().get(key), entry ? std::optional(entry->value) : std::nullopt);
        ASSERT_EQ(store().contains(key), entry != nullptr);
        break;
      }
      case 4:
        ASSERT_EQ(store().erase(key), live(key) != nullptr);
        model.erase(key);
        break;
      case 5: {
        Entry* const entry = live(key);
        ASSERT_EQ(store().touch(key, timeout), entry != nullptr);
        if (entry != nullptr) entry->deadline = deadline;
        break;
      }
      case 6: {
        Entry* const entry = live(key);
        ASSERT_EQ(store().pop(key), entry ? std::optional(entry->value) : std::nullopt);
        model.erase(key);
        break;
      }
      case 7: {
        if (!quirks().has_counters) break;
        Entry* const entry = live(key);
        const auto delta = static_cast<std::int64_t>(below(100)) - 50;
        try {
          const std::int64_t sum = store().incr(key, delta);
          ASSERT_NE(entry, nullptr);
          ASSERT_EQ(std::to_string(sum - delta), entry->value);
          entry->value = std::to_string(sum);
        } catch (const KeyNotFound&) {
          ASSERT_EQ(entry, nullptr);
        } catch (const ValueError&) {
          ASSERT_NE(entry, nullptr);
        }
        break;
      }
      case 8: {
        std::vector<std::string> keys;
        for (int i = 0; i < 12; ++i) keys.push_back("key" + std::to_string(i));
        const auto values = store().get_many(keys);
        for (std::size_t i = 0; i < keys.size(); ++i) {
          const Entry* const entry = live(keys[i]);
          ASSERT_EQ(values[i], entry ? std::optional(entry->value) : std::nullopt) << keys[i];
        }
        break;
      }
      case 9: {
        const std::map<std::string, std::string> items{{key, value}, {"key3", "three"}};
        ASSERT_TRUE(store().set_many(items, timeout).empty());
        for (const auto& [k, v] : items) model[k] = {v, deadline};
        break;
      }
      default:
        if (timed) {
          const auto step_of_time =
              unit * static_cast<int>(1 + below(3)) + quirks().lateness + quirks().granularity;
          pass(step_of_time);
          // In the model an entry expires late by as much as the store may, but the time is
          // always farther than that from a deadline, before or after it.
          now += step_of_time;
          for (auto& [k, entry] : model) {
            if (entry.deadline && *entry.deadline > now - unit / 4 &&
                *entry.deadline < now + unit / 4) {
              store().erase(k);
              entry.deadline = std::chrono::milliseconds(0);
            }
          }
        }
    }
  }
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
