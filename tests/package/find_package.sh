#!/usr/bin/env bash
# A user's program by find_package: finds library and stores at run time, and has no client
# library in it. One that links a store gets what that needs. One that asks for a component that is not there, or for another version, is
# told so.
set -euo pipefail
rm -rf "$WORK"

"$CMAKE" -S "$SOURCE/examples/hello" -B "$WORK/hello" -DCMAKE_PREFIX_PATH="$PREFIX"
"$CMAKE" --build "$WORK/hello"
said=$("$WORK/hello/hello")
if [ "$said" != "hello, world" ]; then
  echo "hello said: $said" >&2
  exit 1
fi

libraries=$(ldd "$WORK/hello/hello")
echo "$libraries"
if grep -E 'sqlite|memcached|hiredis|crypto|boost|zstd|lz4|libz|sodium' <<<"$libraries"; then
  echo "a client library in a user's program" >&2
  exit 1
fi
grep -q "libpolycache.so.0 => $PREFIX/" <<<"$libraries"

# A store or a transform that is linked in brings what it needs: core/net, and OpenSSL if that was
# built with it; a library that compresses or encrypts.
mkdir -p "$WORK/linked"
for part in backends/redis backends/memcached transforms/zstd transforms/aead; do
  store=${part#*/}
  if [ ! -e "$(find "$PREFIX" -name "polycache-$store-targets.cmake")" ]; then continue; fi
  printf '%s\n' 'cmake_minimum_required(VERSION 3.22)' 'project(linked LANGUAGES CXX)' \
    "find_package(polycache REQUIRED COMPONENTS $store)" 'add_executable(linked main.cpp)' \
    "target_link_libraries(linked PRIVATE polycache::$store)" >"$WORK/linked/CMakeLists.txt"
  printf '%s\n' "#include <polycache/$part.h>" \
    "int main() { return polycache::$store::plugin.name == nullptr ? 1 : 0; }" >"$WORK/linked/main.cpp"
  "$CMAKE" -S "$WORK/linked" -B "$WORK/linked/build-$store" -DCMAKE_PREFIX_PATH="$PREFIX"
  "$CMAKE" --build "$WORK/linked/build-$store"
  "$WORK/linked/build-$store/linked"
done

mkdir -p "$WORK/wrong"
expect_failure() {  # expect_failure "what cmake says" "arguments of find_package"
  printf '%s\n' 'cmake_minimum_required(VERSION 3.22)' 'project(wrong LANGUAGES CXX)' \
    "find_package(polycache $2)" >"$WORK/wrong/CMakeLists.txt"
  if "$CMAKE" -S "$WORK/wrong" -B "$WORK/wrong/build" -DCMAKE_PREFIX_PATH="$PREFIX" \
      >"$WORK/wrong/log" 2>&1; then
    echo "find_package(polycache $2) was taken" >&2
    exit 1
  fi
  tr -s '[:space:]' ' ' <"$WORK/wrong/log" | grep -qF -- "$1"
}
expect_failure 'without the component "no_such_store"' 'REQUIRED COMPONENTS no_such_store'
expect_failure 'compatible with requested version "99"' '99 REQUIRED'
