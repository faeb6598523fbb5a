#!/usr/bin/env bash
# headers.sh COMPILER STANDARD: each installed header compiles alone, without a warning.
set -euo pipefail
compiler=$1
standard=$2
rm -rf "$WORK"
mkdir -p "$WORK"

spelling=c++$standard
if [ "$standard" = 23 ]; then spelling=c++2b; fi  # as both compilers know it

failed=0
count=0
cd "$WORK"
while read -r header; do
  printf '#include <%s>\n' "$header" >one.cpp
  count=$((count + 1))
  if ! "$compiler" "-std=$spelling" -Wall -Wextra -Wconversion -Wshadow -Werror \
      -I "$PREFIX/include" -fsyntax-only one.cpp; then
    echo "does not compile alone: $header" >&2
    failed=1
  fi
done < <(cd "$PREFIX/include" && find polycache -name '*.h' | sort)
echo "$count headers"
if [ "$count" -lt 20 ]; then exit 1; fi
exit $failed
