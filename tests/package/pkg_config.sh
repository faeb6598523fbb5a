#!/usr/bin/env bash
# A user's program without CMake.
set -euo pipefail
rm -rf "$WORK"
mkdir -p "$WORK"
export PKG_CONFIG_PATH=$PREFIX/$1/pkgconfig

read -ra flags <<<"$(pkg-config --cflags --libs polycache)"
"$CXX" -std=c++20 "$SOURCE/examples/hello/main.cpp" -o "$WORK/hello" "${flags[@]}" \
  "-Wl,-rpath,$(pkg-config --variable=libdir polycache)"
said=$("$WORK/hello")
if [ "$said" != "hello, world" ]; then
  echo "hello said: $said" >&2
  exit 1
fi
test -e "$(pkg-config --variable=plugindir polycache)/polycache_locmem.so"
