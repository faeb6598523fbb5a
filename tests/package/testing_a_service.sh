#!/usr/bin/env bash
# A user's tests with polycache's parts for them, out of tree against the installed package.
set -euo pipefail
rm -rf "$WORK"
"$CMAKE" -S "$SOURCE/examples/testing_a_service" -B "$WORK" -DCMAKE_PREFIX_PATH="$PREFIX"
"$CMAKE" --build "$WORK"
unset POLYCACHE_CONFIG POLYCACHE_PLUGIN_PATH
"$WORK/prices_test" --gtest_brief=1
