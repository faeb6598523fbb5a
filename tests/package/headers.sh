#!/usr/bin/env bash
# headers.sh COMPILER STANDARD: the installed headers compile without a warning, all in one file.
set -euo pipefail
compiler=$1
standard=$2
rm -rf "$WORK"
mkdir -p "$WORK"

spelling=c++$standard
if [ "$standard" = 23 ]; then spelling=c++2b; fi  # as both compilers know it

cd "$WORK"
mapfile -t headers < <(cd "$PREFIX/include" && find polycache -name '*.h' | sort)
echo "${#headers[@]} headers"
if [ "${#headers[@]}" -lt 20 ]; then exit 1; fi

printf '#include <%s>\n' "${headers[@]}" >all.cpp
"$compiler" "-std=$spelling" -Wall -Wextra -Wconversion -Wshadow -Werror \
  -I "$PREFIX/include" -fsyntax-only all.cpp
