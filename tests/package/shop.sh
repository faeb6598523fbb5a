#!/usr/bin/env bash
# The shop, out of tree against the installed package, with its own configurations.
set -euo pipefail
rm -rf "$WORK"
"$CMAKE" -S "$SOURCE/examples/shop" -B "$WORK" -DCMAKE_PREFIX_PATH="$PREFIX"
"$CMAKE" --build "$WORK" --parallel 2
unset POLYCACHE_CONFIG POLYCACHE_PLUGIN_PATH
python3 -B "$SOURCE/tests/recipes/shop_example_test.py" "$WORK/shop" "$SOURCE/examples/shop" \
  OnLocmem.test_the_last_item_is_sold_once OnRedis.test_a_session_survives_a_restart
