#!/usr/bin/env bash
# rejected.sh COMPILER CASE: of rejected/CASE.cpp the compiler rejects each line that is
# marked WRONG, and no other one. For types without a codec, what it calls an error is one line
# for each of them, which names the remedy.
set -euo pipefail
compiler=$1
case=$2
rm -rf "$WORK"
mkdir -p "$WORK"
all_errors=-fmax-errors=0
if [[ $compiler == *clang* ]]; then all_errors=-ferror-limit=0; fi
file=$SOURCE/tests/package/rejected/$case.cpp

if "$compiler" -std=c++20 -I "$PREFIX/include" -fsyntax-only "$all_errors" "$file" 2>"$WORK/log"; then
  echo "$file compiles" >&2
  exit 1
fi

wrong=$(grep -n '// WRONG' "$file" | cut -d: -f1)
grep 'error:' "$WORK/log" >"$WORK/errors"
if [ "$case" = codec ]; then
  cat "$WORK/errors"
  [ "$(wc -l <"$WORK/errors")" = "$(wc -l <<<"$wrong")" ]
  if grep -v 'Codec.*codec_json\.h' "$WORK/errors"; then exit 1; fi
else
  rejected=$(grep -F "$file:" "$WORK/errors" | sed 's/.*\.cpp:\([0-9]*\):.*/\1/' | sort -nu)
  diff <(echo "$wrong") <(echo "$rejected")
fi
