// What most test programs include, parsed once for all of them (a precompiled header). Sources
// include what they use nevertheless: the preset "release" builds them without it. Nothing of
// polycache/testing/: where its namespace is known, "testing" inside polycache is no longer
// gtest's.

#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "polycache/polycache.h"
