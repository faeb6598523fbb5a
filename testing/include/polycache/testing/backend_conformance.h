// The requirements for every store, as a GoogleTest suite for authors of backends. Include it in
// one source file of a test program (in others too, if they define
// POLYCACHE_CONFORMANCE_IN_ANOTHER_FILE before) and name the store to test:
//
//   #include "polycache/testing/backend_conformance.h"
//
//   using namespace polycache::testing;
//   INSTANTIATE_TEST_SUITE_P(
//       Files, BackendConformance,
//       ::testing::ValuesIn(conformance_cases({.name = "files",
//                                              .backend = "files",
//                                              .location = [] { return fresh_folder(); },
//                                              .plugin_path = {"build"}})),
//       case_name);
//
// Each case runs the whole suite through a registry: plainly, with a prefix, with another
// version, and with a key function. Quirks declare missing abilities of a store; the suite then
// asserts that the store reports them. A store that keeps nothing uses KeepsNothingConformance.
//
// An exception in a thread of a test fails the test. Threads first use the store in a child
// process; if that fails, tests that need threads fail without running. A test that hangs ends
// the program after StoreUnderTest::time_limit, with a message.

#pragma once

#include "polycache/testing/bulk_conformance.h"
#include "polycache/testing/computation_conformance.h"
#include "polycache/testing/conformance_case.h"
#include "polycache/testing/counter_conformance.h"
#include "polycache/testing/deque_conformance.h"
#include "polycache/testing/entry_conformance.h"
#include "polycache/testing/extension_conformance.h"
#include "polycache/testing/index_conformance.h"
#include "polycache/testing/keeps_nothing_conformance.h"
#include "polycache/testing/key_conformance.h"
#include "polycache/testing/lifetime_conformance.h"
#include "polycache/testing/limit_conformance.h"
#include "polycache/testing/load_conformance.h"
#include "polycache/testing/lock_conformance.h"
#include "polycache/testing/maintenance_conformance.h"
#include "polycache/testing/model_conformance.h"
#include "polycache/testing/scan_conformance.h"
#include "polycache/testing/store_fixture.h"
#include "polycache/testing/tag_conformance.h"
#include "polycache/testing/tag_index_conformance.h"
#include "polycache/testing/tag_stamp_conformance.h"
#include "polycache/testing/thread_conformance.h"
#include "polycache/testing/value_conformance.h"
