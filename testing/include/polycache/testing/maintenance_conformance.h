// The part of the conformance suite about the care of a whole store: Cache::maintenance(), and the
// extension maintenance/1 of its factory below it. backend_conformance.h includes it.

#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "polycache/testing/store_fixture.h"

namespace polycache::testing {

#ifndef POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

TEST_P(BackendConformance, AStoreWithoutMaintenanceSaysWhichStoresHaveIt) {
  if (quirks().has_maintenance) {
    EXPECT_NO_THROW(store().maintenance());
    return;
  }
  try {
    static_cast<void>(store().maintenance());
    ADD_FAILURE() << "did not throw";
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported);
    EXPECT_NE(std::string(error.what()).find("redis, sqlite"), std::string::npos) << error.what();
  }
}

// Of a new store, which is whole.
TEST_P(BackendConformance, AStoreChecksItselfOrSaysWhichStoresCan) {
  if (!quirks().has_maintenance) return;
  const Maintenance maintenance = store().maintenance();
  store().set("k", "v");
  try {
    for (const StoreProblem& problem : maintenance.check(Fix::yes)) ADD_FAILURE() << problem.text;
    maintenance.vacuum();
    maintenance.vacuum(Vacuum::full);
  } catch (const BackendError& error) {
    EXPECT_EQ(error.kind(), BackendError::Kind::unsupported) << error.what();
    EXPECT_NE(std::string(error.what()).find("these can: sqlite"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(store().get<std::string>("k"), "v");
}

// A store may be unable to tell a number, but tells no wrong one.
TEST_P(BackendConformance, MaintenanceCountsEntriesAndRemovesExpiredOnes) {
  if (!quirks().has_maintenance) return;
  const Maintenance maintenance = store().maintenance();
  for (const char* const key : {"forever:1", "forever:2", "forever:3"}) {
    store().set(key, std::string(3000, 'v'), never);
  }
  for (const char* const key : {"long:1", "long:2"}) store().set(key, 1, 1h);
  for (const char* const key : {"short:1", "short:2"}) store().set(key, 1, short_life());
  const StoreCounts before = maintenance.counts();
  EXPECT_GE(before.total.value_or(7), 7U);
  EXPECT_EQ(before.unexpired.value_or(7), 7U);
  EXPECT_EQ(before.forever.value_or(3), 3U);
  EXPECT_EQ(before.expired.value_or(0), 0U);
  EXPECT_GT(maintenance.volume().value_or(1), 0U);
  EXPECT_EQ(maintenance.expire(), 0U);
  outlive();
  const StoreCounts after = maintenance.counts();
  EXPECT_EQ(after.unexpired.value_or(5), 5U);
  EXPECT_EQ(after.forever.value_or(3), 3U);
  if (after.expired) {
    EXPECT_EQ(after.total, *after.expired + *after.unexpired);
    EXPECT_EQ(maintenance.expire(), *after.expired);
  }
  EXPECT_EQ(maintenance.expire(), 0U);
  EXPECT_EQ(maintenance.counts().expired.value_or(0), 0U);
  EXPECT_EQ(maintenance.cull(), 0U) << "the store has room for them";
  for (const char* const key : {"forever:1", "forever:3", "long:1", "long:2"}) {
    EXPECT_TRUE(store().contains(key)) << key;
  }
}

TEST_P(BackendConformance, MaintenanceRunsWhileThreadsUseTheStore) {
  if (!quirks().has_maintenance) return;
  const Maintenance maintenance = store().maintenance();
  on_threads(4, [&](int thread) {
    const std::string mine = "mine:" + std::to_string(thread);
    for (int step = 0; step < 20; ++step) {
      ASSERT_TRUE(store().set(mine, step, 1h));
      store().set("other", step, short_life());
      maintenance.expire();
      maintenance.counts();
      ASSERT_EQ(store().get<int>(mine), step);
    }
  });
}

TEST_P(KeepsNothingConformance, MaintenanceFindsNothing) {
  if (!quirks().has_maintenance) return;
  store().set("k", "v");
  const Maintenance maintenance = store().maintenance();
  EXPECT_EQ(maintenance.expire(), 0U);
  EXPECT_EQ(maintenance.cull(), 0U);
  EXPECT_EQ(maintenance.counts().total.value_or(0), 0U);
}

#endif  // POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE

}  // namespace polycache::testing
