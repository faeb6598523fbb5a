#!/usr/bin/env python3
"""Checks that every extension with an id under "polycache." is on a list of extension_list.h.

  check_extension_list.py ROOT   ROOT: the sources

Prints each extension; fails if one is on no list.
"""

import pathlib
import re
import sys

LIST = "core/include/polycache/author/extension_list.h"
FOLDERS = ("core/include", "core/net/include", "testing", "backends", "layers", "recipes")
EXTENSION = re.compile(
    r'struct (\w+Extension)[^{;]*\{\s*static constexpr std::string_view id = "(polycache\.[^"]*)"')


def main():
    root = pathlib.Path(sys.argv[1])
    listed = set(re.findall(r"\w+Extension\b", (root / LIST).read_text(encoding="utf-8")))
    found = {}
    for folder in FOLDERS:
        for header in sorted((root / folder).rglob("*.h")):
            for name, identifier in EXTENSION.findall(header.read_text(encoding="utf-8")):
                found[name] = (identifier, header.relative_to(root))
    for name, (identifier, header) in found.items():
        print(f"{identifier}: {name} in {header}{'' if name in listed else ' IS ON NO LIST'}")
    missing = found.keys() - listed
    if missing:
        print(f"add to {LIST}: {', '.join(sorted(missing))}")
    return 1 if missing or not found else 0


if __name__ == "__main__":
    sys.exit(main())
