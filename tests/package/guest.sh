#!/usr/bin/env bash
# polycache as a guest in somebody's build: it works, and the host's flags, tests and install
# rules are the host's alone.
set -euo pipefail
way=$1
rm -rf "$WORK"

fail() {
  echo "$1" >&2
  exit 1
}

"$CMAKE" -S "$SOURCE/tests/package/guest" -B "$WORK/build" -DHOST_WAY="$way" \
  -DPOLYCACHE_SOURCE="$SOURCE" -DPOLYCACHE_WITH_SQLITE=OFF
"$CMAKE" --build "$WORK/build" --target host polycache_plugin_locmem --parallel 2
said=$("$WORK/build/host")
[ "$said" = "hello, world" ] || fail "the host said: $said"

commands=$WORK/build/compile_commands.json
grep -q 'examples/hello/main.cpp' "$commands" || fail "no compile command of the host's"
if grep -E -- '-W(error|all|conversion|shadow)|-fsanitize|-fvisibility' "$commands" |
    grep 'examples/hello/main.cpp'; then
  fail "the guest's flags in the host's target"
fi
if grep -- '-Werror' "$commands"; then fail "the host's compiler warnings are errors here"; fi
if grep 'sqlite' "$commands"; then fail "POLYCACHE_WITH_SQLITE=OFF builds the store sqlite"; fi

tests=$(cd "$WORK/build" && ctest -N)
grep -q 'Total Tests: 1$' <<<"$tests" || fail "the host has other tests than its own: $tests"

"$CMAKE" --install "$WORK/build" --prefix "$WORK/prefix" >/dev/null
installed=$(cd "$WORK/prefix" && find . -type f)
[ "$installed" = ./bin/host ] || fail "the host installs other files than its own: $installed"
