#!/usr/bin/env python3
"""Each installed header compiles alone, without a warning.

  headers_alone.py COMPILER PREFIX/include SOURCE FOLDER

Left out are headers that a source of the product includes first: the preset "release" compiles that
source without a precompiled header. So are the parts of backend_conformance.h, which includes them.

Most of the time would go into the same standard headers, again and again. So a few headers that many
others include are precompiled, each alone, and a header that includes one of them, directly or not,
is compiled after it. What it declares is known to that header anyway, so nothing that the header
forgets is hidden by it.
"""

import pathlib
import re
import shutil
import subprocess
import sys

# From the one that includes most to the one that includes least.
PRECOMPILED = ["polycache/polycache.h", "polycache/author/plugin.h", "polycache/author/backend.h",
               "polycache/error.h"]
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"](polycache/[^">]+)[">]', re.M)
FIRST = re.compile(r'^#include\s*"([^"]+)"|^#include\s*<', re.M)
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]

compiler = sys.argv[1]
include, source, folder = (pathlib.Path(name).resolve() for name in sys.argv[2:])


def included_by(name, includes):
    """What a header includes, directly or not; itself only if it is in a circle."""
    found, todo = set(), [name]
    while todo:
        for other in includes[todo.pop()]:
            if other not in found:
                found.add(other)
                todo.append(other)
    return found


def first_in_a_source():
    sources = [path for part in ("core", "backends", "transforms", "plugins", "recipes")
               for path in (source / part).rglob("*.cpp") if "test" not in path.parts]
    assert len(sources) >= 50, sources
    found = (FIRST.search(path.read_text(encoding="utf-8")) for path in sources)
    return {match[1] for match in found if match}


def compiles(arguments):
    done = subprocess.run([compiler, *FLAGS, "-I", str(include), *arguments], cwd=folder,
                          capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def precompile(name):
    copy = folder / name.replace("/", "-")
    copy.write_text(f"#include <{name}>\n", encoding="utf-8")
    suffix = ".pch" if "clang" in compiler else ".gch"
    return compiles(["-x", "c++-header", copy.name, "-o", copy.name + suffix])


def compile_alone(name, includes, closures):
    base = next((one for one in PRECOMPILED
                 if one in closures[name] and name not in closures[one]), None)
    main = folder / (name.replace("/", "-") + ".cpp")
    main.write_text(f"#include <{name}>\n", encoding="utf-8")
    before = ["-Winvalid-pch", "-include", base.replace("/", "-")] if base else []
    return compiles([*before, "-fsyntax-only", main.name])


def main():
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    headers = sorted(str(path.relative_to(include)) for path in include.glob("polycache/**/*.h"))
    includes = {name: [other for other in INCLUDE.findall((include / name).read_text("utf-8"))
                       if (include / other).is_file()] for name in headers}
    closures = {name: included_by(name, includes) for name in headers}
    missing = [name for name in PRECOMPILED if name not in includes]
    if len(headers) < 20 or missing:
        sys.exit(f"{len(headers)} headers in {include}, without {missing}")
    elsewhere = first_in_a_source()
    rest = [name for name in headers if name not in elsewhere and name not in PRECOMPILED
            and (not name.endswith("_conformance.h") or name.endswith("/backend_conformance.h"))]
    print(f"{len(headers)} headers, {len(rest) + len(PRECOMPILED)} to compile alone")

    failed = 0
    for name in [*PRECOMPILED, *rest]:
        good, said = (precompile(name) if name in PRECOMPILED else
                      compile_alone(name, includes, closures))
        if not good:
            failed += 1
            print(f"does not compile alone: {name}\n{said}")
    shutil.rmtree(folder)  # a precompiled header may take 100 MB
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
