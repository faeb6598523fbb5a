#!/usr/bin/env bash
# headers.sh COMPILER STANDARD [alone]: the installed headers compile without a warning: all in one
# file, and with "alone" each in a file of its own. Those that a source of the product includes first
# are left out there: the preset "release" compiles that source without a precompiled header. So are
# the parts of backend_conformance.h, which includes them.
set -euo pipefail
compiler=$1
standard=$2
alone=${3:-}
rm -rf "$WORK"
mkdir -p "$WORK"

spelling=c++$standard
if [ "$standard" = 23 ]; then spelling=c++2b; fi  # as both compilers know it

compiles() {
  "$compiler" "-std=$spelling" -Wall -Wextra -Wconversion -Wshadow -Werror \
    -I "$PREFIX/include" -fsyntax-only "$1"
}

cd "$WORK"
mapfile -t headers < <(cd "$PREFIX/include" && find polycache -name '*.h' | sort)
echo "${#headers[@]} headers"
if [ "${#headers[@]}" -lt 20 ]; then exit 1; fi

printf '#include <%s>\n' "${headers[@]}" >all.cpp
compiles all.cpp
if [ "$alone" != alone ]; then exit; fi

mapfile -t sources < <(find "$SOURCE"/{core,backends,transforms,plugins} -name '*.cpp')
if [ "${#sources[@]}" -lt 50 ]; then exit 1; fi
first=$(awk '/^#include/ { print $2; nextfile }' "${sources[@]}")

failed=0
for header in "${headers[@]}"; do
  if grep -qF "\"$header\"" <<<"$first"; then continue; fi
  case "$header" in *_conformance.h) [[ "$header" == */backend_conformance.h ]] || continue ;; esac
  printf '#include <%s>\n' "$header" >one.cpp
  if ! compiles one.cpp; then
    echo "does not compile alone: $header" >&2
    failed=1
  fi
done
exit $failed
