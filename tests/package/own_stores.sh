#!/usr/bin/env bash
# The examples of own stores, out of tree against the installed package.
set -euo pipefail
rm -rf "$WORK"
"$CMAKE" -S "$SOURCE/tests/package/own_stores" -B "$WORK" -DCMAKE_PREFIX_PATH="$PREFIX" \
  -DEXAMPLES="$SOURCE/examples"
"$CMAKE" --build "$WORK" --parallel 2
cd "$WORK"
./own_stores_test --gtest_brief=1

lines=$(wc -l <"$SOURCE/examples/custom_backend/folder.cpp")
if [ "$lines" -gt 80 ]; then
  echo "custom_backend has grown to $lines lines; it promises at most 80" >&2
  exit 1
fi
