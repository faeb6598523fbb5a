#!/usr/bin/env bash
# The main job on a small package database: what it finds, what it counts, what it says when
# something is wrong. Built out of tree.
set -euo pipefail
rm -rf "$WORK"
"$CMAKE" -S "$SOURCE/examples/package_facts" -B "$WORK" -DCMAKE_PREFIX_PATH="$PREFIX"
"$CMAKE" --build "$WORK" --parallel 2
cd "$WORK"
export XDG_RUNTIME_DIR=$WORK
unset POLYCACHE_CONFIG
# No server listens on port 1.
export POLYCACHE_MEMCACHED=127.0.0.1:1 POLYCACHE_REDIS=redis://127.0.0.1:1
sample=$SOURCE/examples/package_facts/sample.status

run() { ./package_facts --database "$sample" --cache-config "$SOURCE/examples/caches.json" "$@"; }
fail() {
  echo "$1" >&2
  exit 1
}
expect() {  # expect "words" "text": blanks do not matter
  tr -s ' ' <<<"$2" | grep -qE -- "$1" || fail "expected: $1
$2"
}

for alias in locmem dummy; do
  diff - <(run --show shop "$alias") <<'END'
shop: 207 KiB with all it needs
needs (5): base letters libtill:amd64 postman tiny-httpd
needed by (0):
asked for in vain (1): printer (>= 5)
END
done
diff - <(run --show libtill:i386 locmem) <<'END'
libtill:i386: 6 KiB with all it needs
needs (0):
needed by (1): old-game
END

table=$(run locmem sqlite dummy)
expect '^facts of 8 installed packages' "$table"
expect '^locmem .* 8 8$' "$table"
expect '^sqlite .* 8 8$' "$table"
expect '^dummy .* 0 16$' "$table"

# All aliases: those whose server is not there are named, and are no failure.
table=$(run --all 2>errors)
expect '^locmem .* 8 8$' "$table"
for alias in memcached redis; do
  if ! grep -q "\"$alias\"" "$SOURCE/examples/caches.json"; then fail "no alias $alias"; fi
  grep -q "^$alias: " errors || fail "nothing about $alias: $(cat errors)"
  if grep -q "^$alias " <<<"$table"; then fail "a row for $alias"; fi
done

# One that was named is.
if table=$(run redis locmem 2>errors); then fail "redis is not there, and that is no failure"; fi
expect '^locmem .* 8 8$' "$table"
expect '^redis: ' "$(cat errors)"

expect_error() {
  local words=$1
  shift
  if "$@" >out 2>&1; then fail "this went well: $*"; fi
  expect "$words" "$(cat out)"
}
expect_error 'no alias "nix" in the configuration; it has: dummy, locmem' run nix
expect_error 'no package "nix" is installed' run --show nix locmem
expect_error 'unrecognised option' run --nix
expect_error 'cannot read the package database "nowhere"' ./package_facts --database nowhere
expect_error 'no installed package is described there' ./package_facts --database /dev/null
expect_error 'expected "Field: value"' ./package_facts --database "$SOURCE/LICENSE"
