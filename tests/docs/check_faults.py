"""Compares the tables of faults with the tests that exist.

Every number from 1 to LAST_FAULT has exactly one row: in docs/reliability.md, where the row names
at least one test (`Suite.Name`) of a source in tests/, backends/*/test, transforms/*/test or testing/,
or in docs/plans.md, where the row names the feature that the fault belongs to.
"""

import pathlib
import re
import sys

LAST_FAULT = 94
TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
TYPED_TEST = re.compile(r"\bTYPED_TEST(?:_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
CTEST = re.compile(r"add_test\(NAME\s+([\w.]+)")
ROW = re.compile(r"^\|\s*(\d+)\s*\|(.*)\|\s*$")
NAME = re.compile(r"`([A-Za-z]\w*\.\w+|\w+)`")


def tests_of(root: pathlib.Path) -> set[str]:
    names = set()
    folders = [root / "tests", *sorted(root.glob("backends/*/test")),
               *sorted(root.glob("transforms/*/test"))]
    sources = [source for folder in folders for source in sorted(folder.rglob("*.cpp"))]
    for source in [*sources, *sorted((root / "testing").rglob("*.h"))]:
        text = source.read_text(encoding="utf-8")
        for pattern in (TEST, TYPED_TEST):
            names.update(".".join(match) for match in pattern.findall(text))
    for lists in [lists for folder in folders for lists in sorted(folder.rglob("CMakeLists.txt"))]:
        names.update(CTEST.findall(lists.read_text(encoding="utf-8")))
    return names


class Table:
    """The rows of a document, by the number of their fault."""

    def __init__(self, document: pathlib.Path):
        self.rows = []  # place, fault, cells
        for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
            if row := ROW.match(line):
                cells = [cell.strip() for cell in row.group(2).split("|")]
                self.rows.append((f"{document.name}:{number}", int(row.group(1)), cells))


def problems_of(proven: Table, planned: Table, known: set[str]) -> list[str]:
    problems = []
    seen = {}
    for place, fault, _ in proven.rows + planned.rows:
        if fault in seen:
            problems.append(f"{place}: fault {fault} stands in {seen[fault]} already")
        seen[fault] = place
        if not 1 <= fault <= LAST_FAULT:
            problems.append(f"{place}: there is no fault {fault}")
    problems += [f"fault {fault} has no row" for fault in range(1, LAST_FAULT + 1) if fault not in seen]
    for place, fault, cells in proven.rows:
        names = NAME.findall(cells[-1])
        if not names:
            problems.append(f"{place}: fault {fault} names no test")
        problems += [f"{place}: fault {fault} names the test {name}, which does not exist"
                     for name in names if name not in known]
    problems += [f"{place}: fault {fault} names no feature"
                 for place, fault, cells in planned.rows if len(cells) < 2 or not cells[1]]
    return problems


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    known = tests_of(root)
    proven = Table(root / "docs" / "reliability.md")
    planned = Table(root / "docs" / "plans.md")
    problems = problems_of(proven, planned, known)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{len(proven.rows)} faults with their tests, {len(planned.rows)} with the feature they "
              f"belong to; {len(known)} tests known")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
