#!/usr/bin/env python3
"""Checks what scripts/tidy passes to clang-tidy; runs no clang-tidy.

  tidy_test.py ROOT
"""

import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("tidy", f"{sys.argv.pop()}/scripts/tidy")
tidy = importlib.util.module_from_spec(importlib.util.spec_from_loader("tidy", loader))
loader.exec_module(tidy)


class Flags(unittest.TestCase):
    def test_drops_the_precompiled_headers_of_gcc_and_clang(self):
        kept = ["c++", "-Iinclude", "-include", "config.h", "-std=c++20", "-c", "a.cpp"]
        gcc = [*kept, "-Werror", "-Winvalid-pch", "-fpch-preprocess", "-include",
               "/b/cmake_pch.hxx"]
        clang = [*kept, "-Winvalid-pch", "-Xclang", "-include-pch", "-Xclang",
                 "/b/cmake_pch.hxx.pch", "-Xclang", "-include", "-Xclang", "/b/cmake_pch.hxx"]
        for arguments in (kept, gcc, clang):
            self.assertEqual(tidy.without_precompiled_header(arguments),
                             [*kept, "-Wno-unknown-warning-option"])


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        tidy.ROOT = pathlib.Path(folder.name)
        tidy.DATABASE = tidy.ROOT / "compile_commands.json"

    def write(self, name, text=""):
        (tidy.ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (tidy.ROOT / name).write_text(text, encoding="utf-8")

    def test_a_source_is_checked_once_and_without_precompiled_header(self):
        commands = ["c++ -DTEST -include b/cmake_pch.hxx -c a.cpp", "c++ -DLIBRARY -c a.cpp",
                    "c++ -DTEST2 -c a.cpp"]
        entries = [{"directory": str(tidy.ROOT), "command": command, "file": "core/src/a.cpp"}
                   for command in commands]
        entries.append({"directory": "/", "command": "c++ -c b.cpp", "file": "/elsewhere/b.cpp"})
        self.write("compile_commands.json", json.dumps(entries))
        database = tidy.read_database()
        self.assertEqual(list(database), ["core/src/a.cpp"])
        self.assertIn("-DLIBRARY", database["core/src/a.cpp"]["arguments"])

    def test_a_changed_header_is_checked_through_one_source(self):
        self.write("core/src/front/cache.cpp", '#include "polycache/cache.h"\n#include "front/x.h"\n')
        self.write("backends/redis/src/session.cpp", '#include "session.h"\n#include "wire.h"\n')
        self.write("backends/sqlite/src/session.cpp", '#include "wire.h"\n')
        self.write("core/src/front/x.h", '#include "y.h"\n')
        self.write("core/src/front/y.h", '#include "z.h"\n')
        headers = ["core/src/front/unused.h", "core/src/front/x.h", "core/src/front/y.h",
                   "core/src/front/z.h"]
        for header in ("unused.h", "z.h"):
            self.write(f"core/src/front/{header}")
        tidy.output_of = lambda *_: "\n".join(headers)
        sources = ["backends/redis/src/session.cpp", "backends/sqlite/src/session.cpp",
                   "core/src/front/cache.cpp"]
        database = dict.fromkeys([*sources, "tests/a_test.cpp"])
        for header, source in {
                "core/include/polycache/cache.h": "core/src/front/cache.cpp",
                "core/src/front/x.h": "core/src/front/cache.cpp",
                "core/src/front/cache.h": "core/src/front/cache.cpp",
                "core/src/front/z.h": "core/src/front/cache.cpp",
                "backends/sqlite/src/wire.h": "backends/sqlite/src/session.cpp",
                "backends/redis/src/wire.h": "backends/redis/src/session.cpp"}.items():
            with self.subTest(header):
                self.assertEqual(tidy.sources_of([header], database), [source])
        self.assertEqual(tidy.sources_of(["core/src/front/x.h", "core/src/front/cache.cpp"], database),
                         ["core/src/front/cache.cpp"])
        self.assertEqual(tidy.sources_of(["core/src/front/unused.h"], database), [])


if __name__ == "__main__":
    unittest.main()
