#!/usr/bin/env bash
# headers.sh COMPILER STANDARD [alone]: the installed headers compile without a warning: all in one
# file, and with "alone" each in a file of its own.
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

failed=0
for header in "${headers[@]}"; do
  printf '#include <%s>\n' "$header" >one.cpp
  if ! compiles one.cpp; then
    echo "does not compile alone: $header" >&2
    failed=1
  fi
done
exit $failed
