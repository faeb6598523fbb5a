#!/usr/bin/env python3
"""Holds README.md and docs/ to what they show.

  check_docs.py ROOT WORK snippets COMPILER FLAG...   compiles every block marked cpp
  check_docs.py ROOT WORK configurations CHECKER ...  makes caches of every block marked json
  check_docs.py ROOT WORK links                       follows every link to a file or heading
  check_docs.py ROOT WORK width                       looks for lines of more than 100 columns

A cpp block that begins with #include is a whole file: it compiles as it is printed. Another one
may mix what stands in a file (types, functions) and what stands in a function; both are put
where they belong, behind prelude.h. A json block is a whole file, one
or more aliases, or members of an alias; "json bad" must be refused. WORK is emptied.
"""

import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import sys
import unicodedata

# How a piece of code begins that stands in a file and not in a function.
FILE_SCOPE = re.compile(
    r"(#|struct\b|class\b|enum\b|template\b|namespace\b|extern\b|static\b|constexpr\b|constinit\b|"
    r"POLYCACHE_|NLOHMANN_|INSTANTIATE_|TEST|using namespace\b|int main\b)")
FUNCTION = re.compile(r"(?!(?:if|for|while|switch|try|do|return|else)\b)[\w:<>&*, ]+ [\w:]+\([^;=]*\)"
                      r"\s*(?:const)?\s*\{")


class Block:
    def __init__(self, place, words, text):
        self.place = place  # "docs/guide.md:12"
        self.words = words  # behind the fence
        self.text = text


def documents(root):
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def blocks(root, language):
    found = []
    for document in documents(root):
        lines = document.read_text(encoding="utf-8").splitlines()
        opened = None
        for number, line in enumerate(lines, 1):
            fence = re.match(r"\s*```(.*)$", line)
            if not fence:
                continue
            if opened is None:
                opened = (number, fence.group(1).split())
                continue
            begin, words = opened
            opened = None
            if words and words[0] == language:
                place = f"{document.relative_to(root)}:{begin + 1}"
                found.append(Block(place, words, "\n".join(lines[begin:number - 1]) + "\n"))
        if opened is not None:
            raise SystemExit(f"{document}:{opened[0]}: a code block that does not end")
    if not found:
        raise SystemExit(f"no block marked {language}: looked in the wrong place")
    return found


# --- C++ ---

LEXEME = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|.', re.S)
MACRO_CALL = re.compile(r"\s*(?:NLOHMANN|INSTANTIATE)_[A-Z_]+\(.*\)", re.S)
CONTINUES = re.compile(r"\s*(else\b|catch\b|while\b)|[ \t]*\S")


def pieces(text):
    """The declarations and statements of a block, each with the comments in front of it."""
    depth = 0
    begin = 0
    at_line_start = True
    position = 0
    while position < len(text):
        lexeme = LEXEME.match(text, position).group()
        if depth == 0 and at_line_start and lexeme == "#":
            end = position
            while end < len(text) and (text[end] != "\n" or text[end - 1] == "\\"):
                end += 1
            yield text[begin:end + 1]
            begin = position = end + 1
            continue
        position += len(lexeme)
        if not lexeme.isspace():
            at_line_start = False
        elif lexeme == "\n":
            at_line_start = True
        if lexeme in "([{":
            depth += 1
        elif lexeme in ")]}":
            depth -= 1
        ends = (lexeme == ";" or (lexeme == "}" and not CONTINUES.match(text, position)) or
                (lexeme == ")" and text[position:position + 1] != ";" and
                 MACRO_CALL.match(text, begin, position)))
        if depth == 0 and ends:
            yield text[begin:position]
            begin = position
    if text[begin:].strip():
        yield text[begin:]


def is_whole_file(block):
    return block.text.startswith("#include")


def parts(block):
    """What of a block stands in a file, and what in a function."""
    outside = []
    inside = []
    for piece in pieces(block.text):
        bare = re.sub(r"//[^\n]*|/\*.*?\*/", "", piece, flags=re.S).strip()
        scope = outside if FILE_SCOPE.match(bare) or FUNCTION.match(bare) else inside
        scope.append(piece)
    return "".join(outside), "".join(inside)


def function(number, block, text):
    return (f'\n#line 1 "{block.place} (in a function)"\n'
            f"void snippet{number}(SURROUNDINGS) {{ {{{text}\n}} }}\n")


def programs(snippets):
    """Where each program is from, its text, and whether prelude.h comes first. Blocks that have
    nothing but statements share a program, since the compiler takes longer for the prelude."""
    together = ""
    for number, block in enumerate(snippets):
        if is_whole_file(block):
            yield block.place, f'#line 1 "{block.place}"\n' + block.text, False
            continue
        outside, inside = parts(block)
        if outside:
            yield (block.place, f'#line 1 "{block.place} (file scope)"\n' + outside +
                   function(number, block, inside), True)
        else:
            together += function(number, block, inside)
    yield "blocks of statements", together, True


def check_snippets(root, work, arguments):
    compiler, *flags = arguments
    command = [compiler, "-std=c++20", *flags]
    prelude = work / "prelude.h"
    shutil.copy(pathlib.Path(__file__).parent / "prelude.h", prelude)
    # For whole files that include polycache.h; what it declares is known to them anyway.
    interface = work / "interface.h"
    interface.write_text("#include <polycache/polycache.h>\n", encoding="utf-8")
    # Parsed once for all snippets.
    for header in (prelude, interface):
        subprocess.run([*command, "-x", "c++-header", str(header), "-o", f"{header}.gch"], check=True)

    def compile_one(numbered):
        number, (place, text, needs_prelude) = numbered
        source = work / f"program{number}.cpp"
        source.write_text(text, encoding="utf-8")
        header = (prelude if needs_prelude else
                  interface if "#include <polycache/polycache.h>" in text else None)
        before = ["-include", str(header)] if header else []
        done = subprocess.run([*command, *before, "-fsyntax-only", str(source)],
                              capture_output=True, text=True)
        return place, done.returncode, done.stderr

    problems = []
    snippets = blocks(root, "cpp")
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for place, code, said in pool.map(compile_one, enumerate(programs(snippets))):
            if code != 0:
                problems.append(f"{place}: does not compile\n{said}")
    print(f"{len(snippets)} snippets")
    return problems


# --- JSON ---

def whole_configuration(text):
    """A block as a file: as it is, or put where its members belong."""
    bare = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S).strip()
    if bare.startswith("{"):
        return text
    if re.match(r'"[^"]*"\s*:\s*\{\s*"backend"', bare):
        return '{"caches": {' + text + "}}"
    if bare.startswith('"plugin_path"'):
        return '{"caches": {"default": {"backend": "locmem"}},' + text + "}"
    backend = "" if '"backend"' in bare else '"backend": "redis", "location": "127.0.0.1",'
    if '"max_bytes"' in bare or '"policy"' in bare:
        backend = '"backend": "locmem",'
    return '{"caches": {"default": {' + backend + text + "}}}"


def check_configurations(root, work, arguments):
    problems = []
    found = blocks(root, "json")
    secret = work / "secret"
    secret.write_text("secret\n", encoding="utf-8")
    key = work / "key"
    key.write_text("0123456789abcdef" * 4 + "\n", encoding="utf-8")
    keys = work / "keys"
    keys.write_text(f"documented:{'0' * 64}\n", encoding="utf-8")
    for number, block in enumerate(found):
        file = work / f"configuration{number}.json"
        text = whole_configuration(block.text)
        text = re.sub(r"/run/secrets/cache_keys\b", str(keys), text)
        text = re.sub(r"/run/secrets/cache_key_\w+", str(key), text)
        text = re.sub(r"/run/secrets/\w+", str(secret), text)
        file.write_text(text, encoding="utf-8")
        done = subprocess.run([*arguments, str(file)], capture_output=True, text=True)
        should_be = 1 if "bad" in block.words else 0
        if done.returncode != should_be:
            problems.append(f"{block.place}: {done.stdout}{done.stderr}")
    print(f"{len(found)} configurations")
    return problems


# --- Links ---

def without_code(text):
    return re.sub(r"^\s*```.*?^\s*```", "", text, flags=re.S | re.M)


def anchors(file):
    """The names of a file's headings, as they are made of their text."""
    names = set()
    for heading in re.findall(r"^#+ +(.*?) *$", without_code(file.read_text(encoding="utf-8")), re.M):
        kept = [c for c in heading.lower().replace("`", "")
                if c in "-_ " or unicodedata.category(c)[0] in "LN"]
        names.add("".join(kept).replace(" ", "-"))
    return names


def check_links(root, _work, _arguments):
    problems = []
    count = 0
    for document in documents(root):
        text = without_code(document.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"[a-z]+://", target):
                continue
            count += 1
            path, _, anchor = target.partition("#")
            file = (document.parent / path) if path else document
            place = document.relative_to(root)
            if not file.exists():
                problems.append(f"{place}: there is no {target}")
            elif anchor and anchor not in anchors(file):
                problems.append(f"{place}: there is no heading {target}")
    if count == 0:
        problems.append("no links: looked in the wrong place")
    print(f"{count} links")
    return problems


# --- Width ---

COLUMNS = 100
GENERATED = {"docs/benchmarks.md"}
# Documents that are not wrapped yet; may become set().
NOT_WRAPPED = set()


def too_wide(text):
    """The numbers of lines that are too wide and could be broken: not rows of tables, not one long
    word such as a link, not output of a program (blocks marked text)."""
    fence = None
    for number, line in enumerate(text.splitlines(), 1):
        if marker := re.match(r"\s*```(.*)$", line):
            fence = marker.group(1).strip() or "code" if fence is None else None
        is_row = fence is None and re.match(r"\s*\|", line)
        is_word = " " not in line.strip().removeprefix("- ")
        if len(line) > COLUMNS and fence != "text" and not is_row and not is_word:
            yield number


def check_width(root, _work, _arguments):
    problems = []
    count = 0
    for document in sorted({*root.glob("*.md"), *documents(root)}):
        place = str(document.relative_to(root))
        if place not in GENERATED | NOT_WRAPPED:
            count += 1
            problems += [f"{place}:{number}: is wider than {COLUMNS} columns"
                         for number in too_wide(document.read_text(encoding="utf-8"))]
    print(f"{count} documents of at most {COLUMNS} columns")
    return problems


def main():
    root, work, what, *arguments = sys.argv[1:]
    work = pathlib.Path(work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    check = {"snippets": check_snippets, "configurations": check_configurations,
             "links": check_links, "width": check_width}[what]
    problems = check(pathlib.Path(root), work, arguments)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
