#!/usr/bin/env python3
"""Runs scripts/changes in small git repositories.

  changes_test.py ROOT
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop())
HEADER = "core/include/polycache/cache.h"
FRAGMENT = "docs/changes/added-statistics.md"
CHANGELOG = """# Changelog

What it is.

## [Unreleased]

### Added

- Stores.

### Fixed

- A leak.

## [0.1.0] - 2026-01-01

### Added

- Everything.
"""


class Repository(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "tree"
        self.environment = {key: value for key, value in os.environ.items()
                            if key != "CI" and not key.startswith(("GIT_", "POLYCACHE_"))}
        self.environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
        for script in ("changes", "find-base"):
            (self.root / "scripts").mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "scripts" / script, self.root / "scripts" / script)
        shutil.copytree(ROOT / "docs" / "changes", self.root / "docs" / "changes",
                        ignore=lambda _, names: set(names) - {"README.md"})
        self.write("CHANGELOG.md", CHANGELOG)
        self.write(HEADER, "int get();\n")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("Begin")
        self.git("checkout", "--quiet", "-b", "work")

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text, encoding="utf-8")

    def read(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def git(self, *arguments):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments],
                       cwd=self.root, env=self.environment, check=True, capture_output=True)

    def commit(self, message):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def run_changes(self, *arguments, root=None, **variables):
        return subprocess.run([(root or self.root) / "scripts" / "changes", *arguments],
                              env=self.environment | variables, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def assert_passes(self, done):
        self.assertEqual(done.returncode, 0, done.stdout)

    def assert_fails(self, done, *words):
        self.assertEqual(done.returncode, 1, done.stdout)
        for word in words:
            self.assertIn(word, done.stdout)


class Check(Repository):
    def test_a_changed_header_needs_a_fragment(self):
        self.assert_passes(self.run_changes("check"))
        self.write(HEADER, "int get();\nint set();\n")
        self.assert_fails(self.run_changes("check"), HEADER, "KIND-SLUG")
        self.commit("Add set")
        self.assert_fails(self.run_changes("check"), HEADER)
        self.write(FRAGMENT, "`set` stores a value.\n")
        self.assert_passes(self.run_changes("check"))
        self.commit("Say so")
        self.assert_passes(self.run_changes("check"))

    def test_other_public_headers_count_too_and_sources_do_not(self):
        self.write("core/src/front/cache.cpp", "int main();\n")
        self.write("core/src/front/cache.h", "int main();\n")
        self.assert_passes(self.run_changes("check"))
        for name in ("testing/include/a.h", "backends/redis/include/polycache/redis.h",
                     "recipes/memoize/include/b.h", "core/net/include/polycache/net/socket.h"):
            with self.subTest(name):
                self.write(name, "")
                self.assert_fails(self.run_changes("check"), name)
                (self.root / name).unlink()

    def test_a_trailer_exempts_the_headers_of_its_commit_only(self):
        self.write(HEADER, "int get();  // reworded\n")
        self.commit("Reword\n\nMore words.\n\nChangelog: none")
        self.assert_passes(self.run_changes("check"))
        self.write(HEADER, "int get();  // reworded\nint set();\n")
        self.commit("Add set")
        self.assert_fails(self.run_changes("check"), HEADER)

    def test_the_trailer_of_a_merged_commit_counts(self):
        self.write(HEADER, "int get();  // reworded\n")
        self.commit("Reword\n\nChangelog: none")
        self.git("checkout", "--quiet", "main")
        self.git("merge", "--quiet", "--no-ff", "--message", "Merge", "work")
        self.assert_passes(self.run_changes("check", CI="true"))

    def test_ci_compares_main_with_the_commit_before(self):
        self.git("checkout", "--quiet", "main")
        self.write(HEADER, "int set();\n")
        self.commit("Add set")
        self.assert_passes(self.run_changes("check"))
        self.assert_fails(self.run_changes("check", CI="true"), HEADER)
        self.assert_fails(self.run_changes("check", POLYCACHE_BASE="HEAD~1"), HEADER)

    def test_a_bad_fragment_fails(self):
        for name, text in {"docs/changes/new-thing.md": "New.\n", "docs/changes/added-it.txt": "It.\n",
                           "docs/changes/added-no-text.md": "\n",
                           "docs/changes/added-list.md": "- One.\n",
                           "docs/changes/added-two.md": "One.\n\nTwo.\n"}.items():
            with self.subTest(name):
                self.write(name, text)
                self.assert_fails(self.run_changes("check"), name)
                (self.root / name).unlink()

    def test_a_checkout_without_history_passes(self):
        self.git("checkout", "--quiet", "main")
        self.write(HEADER, "int set();\n")
        self.commit("Add set")
        for depth in (1, 2):
            shallow = self.root.parent / f"shallow{depth}"
            self.git("clone", "--quiet", f"--depth={depth}", f"file://{self.root}", str(shallow))
            self.assert_passes(self.run_changes("check", root=shallow, CI="true"))
        shutil.rmtree(self.root / ".git")
        self.assert_passes(self.run_changes("check"))


class Release(Repository):
    def test_folds_the_fragments_and_removes_them(self):
        self.write("docs/changes/removed-old.md", "The old\nthing.\n")
        self.write("docs/changes/added-statistics.md", "word " * 30 + "\n")
        self.write("docs/changes/added-another.md", "Another.\n")
        self.assert_passes(self.run_changes("release", "0.2.0"))
        text = self.read("CHANGELOG.md")
        self.assertRegex(text, r"\A# Changelog\n\nWhat it is.\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n")
        self.assertNotIn("[Unreleased]", text)
        self.assertIn("### Added\n\n- Stores.\n- Another.\n- word word", text)
        self.assertIn(" word\n  word", text)
        self.assertIn("### Removed\n\n- The old thing.\n\n### Fixed\n\n- A leak.\n\n## [0.1.0]", text)
        self.assertTrue(text.endswith("- Everything.\n"))
        self.assertLessEqual(max(map(len, text.splitlines())), 100)
        self.assertEqual([file.name for file in (self.root / "docs/changes").iterdir()], ["README.md"])
        self.commit("Release")
        self.write(FRAGMENT, "More.\n")
        self.assert_passes(self.run_changes("release", "0.3.0"))
        self.assertIn("### Added\n\n- More.\n\n## [0.2.0]", self.read("CHANGELOG.md"))

    def test_a_release_tells_of_the_headers_changed_since_the_base(self):
        self.write(HEADER, "int set();\n")
        self.write(FRAGMENT, "`set`.\n")
        self.commit("Add set")
        self.assert_passes(self.run_changes("release", "0.2.0"))
        self.commit("Release 0.2.0")
        self.assert_passes(self.run_changes("check"))

    def test_refuses_what_makes_no_release(self):
        self.assert_fails(self.run_changes("release", "0.1.0"), "already")
        self.assert_fails(self.run_changes("release", "next"), "0.2.0")
        self.write("docs/changes/new-thing.md", "New.\n")
        self.assert_fails(self.run_changes("release", "0.2.0"), "new-thing")
        self.assertEqual(self.read("CHANGELOG.md"), CHANGELOG)


if __name__ == "__main__":
    unittest.main()
