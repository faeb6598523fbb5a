"""Holds docs/names.md to the tests that exist.

Every row says what a name of another library is here, and which test proves it (`Suite.Name`, as
check_faults.py finds them), or names a document in docs that describes it instead.
"""

import pathlib
import re
import sys

from check_faults import NAME, tests_of

DOCUMENT = re.compile(r"`docs/(\w+\.md)`")
# Of libraries of which each name must have a row.
SECTIONS = ("django-cache", "diskcache")


def rows_of(text: str):
    """Line number, section and cells of each row, without the head of a table."""
    section = None
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if heading := re.match(r"## (.*)", line):
            section = heading.group(1)
        is_head = number < len(lines) and lines[number].startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not is_head:
            yield number, section, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def problems_of(text: str, known: set[str]) -> list[str]:
    problems = []
    counts = dict.fromkeys(SECTIONS, 0)
    for number, section, cells in rows_of(text):
        place = f"names.md:{number}"
        if len(cells) != 3 or not all(cells):
            problems.append(f"{place}: a row has the name, what it is here, and its test")
            continue
        counts[section] = counts.get(section, 0) + 1
        if "not offered" in cells[1] and not re.search(r"not offered[^:,]*[:,] \S", cells[1]):
            problems.append(f"{place}: does not say why it is not offered")
        names = [name for name in NAME.findall(cells[2]) if "." in name]
        if not names and not DOCUMENT.fullmatch(cells[2]):
            problems.append(f"{place}: names no test")
        problems += [f"{place}: the test {name} does not exist" for name in names if name not in known]
    problems += [f"names.md: there is no table {section}" for section, count in counts.items() if not count]
    return problems


def main() -> int:
    root = pathlib.Path(sys.argv[1])
    text = (root / "docs" / "names.md").read_text(encoding="utf-8")
    problems = problems_of(text, tests_of(root))
    for problem in problems:
        print(problem)
    if not problems:
        print(f"{sum(1 for _ in rows_of(text))} names with their tests")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
