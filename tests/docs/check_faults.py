"""Compares docs/reliability.md's table of faults with the tests that there are.

Every number from 1 to 80 has one row; a row names at least one test (`Suite.Name`) that stands in
a source below tests/ or in core/testing/, or the feature that it waits for ("waits for ...").
"""

import pathlib
import re
import sys

LAST_FAULT = 80
TEST = re.compile(r"\bTEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
TYPED_TEST = re.compile(r"\bTYPED_TEST(?:_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)")
CTEST = re.compile(r"add_test\(NAME\s+([\w.]+)")
ROW = re.compile(r"^\|\s*(\d+)\s*\|(.*)\|\s*$")
NAME = re.compile(r"`([A-Za-z]\w*\.\w+|\w+)`")


def tests_of(root: pathlib.Path) -> set[str]:
    names = set()
    folder = root / "tests"
    for source in [*sorted(folder.rglob("*.cpp")), *sorted((root / "core/testing").glob("*.h"))]:
        text = source.read_text(encoding="utf-8")
        for pattern in (TEST, TYPED_TEST):
            names.update(".".join(match) for match in pattern.findall(text))
    for lists in sorted(folder.rglob("CMakeLists.txt")):
        names.update(CTEST.findall(lists.read_text(encoding="utf-8")))
    return names


def problems_of(document: pathlib.Path, known: set[str]) -> list[str]:
    problems = []
    seen = {}
    for line_number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        row = ROW.match(line)
        if not row:
            continue
        fault = int(row.group(1))
        place = f"{document.name}:{line_number}: fault {fault}"
        if fault in seen:
            problems.append(f"{place} stands in line {seen[fault]} already")
        seen[fault] = line_number
        proof = row.group(2).split("|")[-1]
        names = NAME.findall(proof)
        if not names and "waits for" not in proof:
            problems.append(f"{place} names neither a test nor what it waits for")
        for name in names:
            if name not in known:
                problems.append(f"{place} names the test {name}, which there is not")
    for fault in range(1, LAST_FAULT + 1):
        if fault not in seen:
            problems.append(f"{document.name}: fault {fault} has no row")
    for fault in seen:
        if not 1 <= fault <= LAST_FAULT:
            problems.append(f"{document.name}: there is no fault {fault}")
    return problems


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    known = tests_of(root)
    problems = problems_of(root / "docs" / "reliability.md", known)
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{LAST_FAULT} faults, each with its tests or what it waits for; {len(known)} tests known")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
