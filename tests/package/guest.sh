#!/usr/bin/env bash
# polycache as a guest in a host's build, of which only the host's own target is built: the
# stores come along, and the host's flags, tests and install rules are the host's alone.
# "add_subdirectory" has a folder for each configuration, if the generator can do that, and builds
# and runs the host. "fetch_content" leads to the same targets: it configures, and compiles the host's
# source against them.
#
#   guest.sh WAY COMPILER
set -euo pipefail
way=$1
export CXX=$2
rm -rf "$WORK"

fail() {
  echo "$1" >&2
  exit 1
}

program=$WORK/build/host
if [ "$way" = add_subdirectory ] && [ "${CMAKE_GENERATOR:-}" = Ninja ]; then
  export CMAKE_GENERATOR="Ninja Multi-Config" CMAKE_CONFIGURATION_TYPES=Debug
  program=$WORK/build/Debug/host
fi
"$CMAKE" -S "$SOURCE/tests/package/guest" -B "$WORK/build" -DHOST_WAY="$way" \
  -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-g0 -DPOLYCACHE_PRECOMPILE=ON \
  -DPOLYCACHE_SOURCE="$SOURCE" -DPOLYCACHE_WITH_SQLITE=OFF \
  -DPOLYCACHE_WITH_MEMCACHED=OFF -DPOLYCACHE_WITH_REDIS=OFF \
  -DPOLYCACHE_WITH_ZSTD=OFF -DPOLYCACHE_WITH_LZ4=OFF -DPOLYCACHE_WITH_ZLIB=OFF -DPOLYCACHE_WITH_AEAD=OFF
if [ "$way" = add_subdirectory ]; then
  "$CMAKE" --build "$WORK/build" --target host --parallel 2
  unset POLYCACHE_CONFIG POLYCACHE_PLUGIN_PATH
  said=$("$program")
  [ "$said" = "hello, world" ] || fail "the host said: $said"
else
  "$CMAKE" --build "$WORK/build" --target host_sources
fi

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

if [ "$way" != add_subdirectory ]; then exit; fi
"$CMAKE" --install "$WORK/build" --config Debug --prefix "$WORK/prefix" >/dev/null
installed=$(cd "$WORK/prefix" && find . -type f)
[ "$installed" = ./bin/host ] || fail "the host installs other files than its own: $installed"
