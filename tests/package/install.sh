#!/usr/bin/env bash
# Installs, moves what was installed, and looks whether all is there.
set -euo pipefail
libdir=$1
includedir=$2

rm -rf "$PREFIX" "$WORK"
"$CMAKE" --install "$BUILD" --prefix "$WORK/made-here" >/dev/null
mv "$WORK/made-here" "$PREFIX"

for file in \
  "$libdir/libpolycache.so" \
  "$libdir/polycache/polycache_dummy.so" \
  "$libdir/polycache/polycache_locmem.so" \
  "$libdir/libpolycache_locmem.a" \
  "$libdir/cmake/polycache/polycacheConfig.cmake" \
  "$libdir/cmake/polycache/polycacheConfigVersion.cmake" \
  "$libdir/pkgconfig/polycache.pc" \
  "$includedir/polycache/polycache.h" \
  "$includedir/polycache/backends/locmem.h" \
  "$includedir/polycache/testing/manual_clock.h" \
  share/polycache/config.schema.json; do
  if [ ! -e "$PREFIX/$file" ]; then
    echo "not installed: $file" >&2
    exit 1
  fi
done
if grep -rIl -e "$BUILD/core" -e "$SOURCE/core" "$PREFIX"; then
  echo "these installed files name the folders they were made in" >&2
  exit 1
fi
