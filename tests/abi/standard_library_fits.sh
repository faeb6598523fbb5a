#!/usr/bin/env bash
# standard_library_fits.sh COMPILER INCLUDE LIBRARY: a program links with libpolycache if its
# standard library has the classes of the same layout; otherwise the linker names the reason.
set -euo pipefail
compiler=$1
include=$2
library=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

printf '%s\n' '#include <polycache/config.h>' \
  'int main() { return polycache::Config::from_json("{\"caches\": {\"a\": {\"backend\": \"b\"}}}").caches.size() == 1 ? 0 : 1; }' \
  >"$folder/uses.cpp"
printf '%s\n' '#include <polycache/options.h>' 'int main() {}' >"$folder/includes.cpp"

link() {  # link PROGRAM FLAGS...
  local program=$1
  shift
  "$compiler" -std=c++20 -I "$include" "$@" "$folder/$program.cpp" -o "$folder/$program" \
    "$library" "-Wl,-rpath,$(dirname "$library")" >"$folder/log" 2>&1
}

refused() {  # refused WORD PROGRAM FLAGS...
  local word=$1
  shift
  if link "$@"; then
    echo "this links: $*" >&2
    exit 1
  fi
  if ! grep -q "program_and_libpolycache_must_both_be::built_with_$word" "$folder/log"; then
    cat "$folder/log" >&2
    echo "the linker does not say built_with_$word: $*" >&2
    exit 1
  fi
}

link uses || { cat "$folder/log" >&2; exit 1; }
"$folder/uses"
link uses -O2 -D_GLIBCXX_ASSERTIONS -fno-pie -no-pie || { cat "$folder/log" >&2; exit 1; }
"$folder/uses"

refused libstdcxx_debug_1 uses -D_GLIBCXX_DEBUG
refused libstdcxx_debug_1 includes -D_GLIBCXX_DEBUG
refused libstdcxx_debug_1 includes -D_GLIBCXX_DEBUG -O2 -ffunction-sections -fdata-sections -Wl,--gc-sections
refused libstdcxx_0 includes -D_GLIBCXX_USE_CXX11_ABI=0
