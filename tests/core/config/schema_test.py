#!/usr/bin/python3
"""Compares the shipped JSON Schema with the parser.

    schema_test.py CONFIG_CHECK SOURCE_FOLDER

Every good sample and every example must please both, every bad sample must be refused by
the parser, with the messages that its "// expect:" lines name, and by the schema too,
unless it is listed below. Then members of the good samples are changed, one at a time, and
the two must still agree. What docs/configuration.md shows must be good, or, where it is
marked as bad, have exactly the message that follows.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema

# What a schema cannot see, and why.
SCHEMA_CANNOT_SEE = {
    "duplicate.json": "members that are given twice are gone before a schema is asked",
    "unset_variable.json": "the environment and the text of ${...} are not the schema's",
    "version_real.json": "to a schema, 1.0 is an integer",
    "zero_in_string.json": "an editor would warn of no string because of this",
    "byte_order_mark.json": "encoding",
    "deep.json": "depth",
}


class NotJson(Exception):
    pass


def without_comments(text):
    """The text with comments blanked, as the parser skips them."""
    out = []
    i = 0
    while i < len(text):
        if text[i] == '"':
            end = i + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            out.append(text[i : end + 1])
            i = end + 1
        elif text.startswith("//", i):
            end = text.find("\n", i)
            i = len(text) if end < 0 else end
        elif text.startswith("/*", i):
            end = text.find("*/", i)
            if end < 0:
                raise NotJson("a comment that does not end")
            out.append(" ")
            i = end + 2
        else:
            out.append(text[i])
            i += 1
    return "".join(out)


def no_constants(word):
    raise NotJson(word)


def read(file):
    try:
        text = file.read_text(encoding="utf-8-sig")
        document = json.loads(without_comments(text), parse_constant=no_constants)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotJson(str(error)) from error
    if "e999" in text:  # Python reads it as infinity, which JSON does not have
        raise NotJson("a number that is too large")
    return document


class Checker:
    def __init__(self, program, schema):
        self.program = program
        jsonschema.Draft7Validator.check_schema(schema)
        self.validator = jsonschema.Draft7Validator(schema)
        self.failures = []

    def expect(self, ok, message):
        if not ok:
            self.failures.append(message)
            print("FAILED:", message)

    def parser_verdicts(self, files):
        """For each file whether the parser takes it, and its message."""
        unset = ("SAMPLE_", "SESSION_STORE", "REDIS_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(unset)}
        environment["SAMPLE_HOST"] = "127.0.0.1"
        run = subprocess.run(
            [self.program, *map(str, files)],
            env=environment,
            stdout=subprocess.PIPE,
            timeout=100,
            check=False,
        )
        self.expect(run.returncode in (0, 1), f"{self.program} ended with {run.returncode}")
        verdicts = []
        for line in run.stdout.decode("utf-8").split("\n"):
            if line.startswith("\t"):
                verdicts[-1][1].append(line[1:])
            elif line:
                verdicts.append((line.split(" ", 1)[0] == "good", []))
        self.expect(len(verdicts) == len(files), "not every file was answered")
        return [(good, "\n".join(message)) for good, message in verdicts]

    def schema_error(self, document):
        error = jsonschema.exceptions.best_match(self.validator.iter_errors(document))
        return "" if error is None else error.message

    def check_good(self, files):
        for file, (good, message) in zip(files, self.parser_verdicts(files)):
            self.expect(good, f"the parser refuses {file}: {message}")
            error = self.schema_error(read(file))
            self.expect(not error, f"the schema refuses {file}: {error}")

    def check_bad(self, files):
        for file, (good, message) in zip(files, self.parser_verdicts(files)):
            self.expect(not good, f"the parser takes {file}")
            self.expect("hunter2" not in message, f"a password is shown for {file}: {message}")
            for line in file.read_bytes().decode("utf-8", "replace").split("\n"):
                if line.startswith("// expect: "):
                    wanted = line[len("// expect: ") :]
                    self.expect(wanted in message, f"{file}: no {wanted!r} in:\n{message}")
            try:
                refused = bool(self.schema_error(read(file)))
            except NotJson:
                refused = True
            listed = file.name in SCHEMA_CANNOT_SEE
            self.expect(refused != listed, f"{file}: refused by the schema: {refused}, listed: {listed}")

    def check_guide(self, guide, folder):
        """The JSON in the guide; a part of a file is a member of an alias."""
        blocks = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", guide.read_text(encoding="utf-8"), re.M)
        good, bad = [], []
        for i, (kind, text) in enumerate(blocks):
            if kind.startswith("json"):
                (folder / str(i)).mkdir()
                file = folder / str(i) / "shop.json"
                whole = text.startswith("{")
                file.write_text(
                    text if whole else f'{{"caches": {{"a": {{"backend": "locmem", {text}}}}}}}',
                    encoding="utf-8",
                )
                if kind == "json bad":
                    bad.append((file, blocks[i + 1][1].rstrip("\n")))
                elif "${file:/" not in text:  # not on this machine
                    good.append(file)
        self.expect(len(good) > 2 and len(bad) > 2, f"{guide} shows too little")
        self.check_good(good)
        for (file, wanted), (_, message) in zip(bad, self.parser_verdicts([f for f, _ in bad])):
            message = message.replace(str(file.parent) + "/", "")
            self.expect(message == wanted, f"{guide} says\n{wanted}\nbut it is\n{message}")

    def check_variants(self, samples, folder):
        """Changes every member of every sample to values of all kinds."""
        documents = []
        for sample in samples:
            documents += variants(read(sample))
        files = []
        for i, document in enumerate(documents):
            file = folder / f"{i}.json"
            file.write_text(json.dumps(document), encoding="utf-8")
            files.append(file)
        accepted = 0
        for file, document, (good, message) in zip(files, documents, self.parser_verdicts(files)):
            error = self.schema_error(document)
            accepted += good
            self.expect(
                good != bool(error),
                f"parser {'takes' if good else 'refuses'}, schema says {error!r}:\n"
                f"{json.dumps(document)}\n{message}",
            )
        print(f"{len(files)} variants, {accepted} of them good")
        self.expect(0 < accepted < len(files), "the variants were all good or all bad")


VALUES = [
    None, True, 0, 1, -1, 0.5, 2**31, -(2**31), 2**63 - 1, 2**63, "", "5m", "-5m", "60", "miss",
    "throw", "store", "prefix", "default", "a.LocMemCache", [], ["a"], [1], [["a"]], [""], {},
    {"name": "a"}, {"backend": "a"}, {"a": {"backend": "a"}}, {"a": 1}, {"MAX_ENTRIES": 1},
    {"": 1}, {"read": "throw"}, {"read": 1},
]  # fmt: skip


def places(node, path=()):
    """The paths of all members and items below `node`."""
    if isinstance(node, (dict, list)):
        for name in node if isinstance(node, dict) else range(len(node)):
            yield path + (name,)
            yield from places(node[name], path + (name,))


def changed(document, path, change):
    document = copy.deepcopy(document)
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    change(parent, path[-1])
    return document


def variants(document):
    result = list(VALUES)
    for path in places(document):
        for value in VALUES:
            result.append(changed(document, path, lambda p, n, v=value: p.__setitem__(n, v)))
        result.append(changed(document, path, lambda p, n: p.__delitem__(n)))
        if isinstance(path[-1], str):
            result.append(changed(document, path, lambda p, n: p.__setitem__(n + "_x", p.pop(n))))
    return result


def main():
    program, source = sys.argv[1], pathlib.Path(sys.argv[2])
    schema = json.loads((source / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    samples = source / "tests" / "core" / "config" / "config_samples"
    good = sorted((samples / "good").glob("*.json"))
    bad = sorted((samples / "bad").glob("*.json"))
    examples = sorted(f for f in (source / "examples").rglob("*.json") if not f.name.startswith("CMake"))

    checker = Checker(program, schema)
    checker.expect(good and bad, "there are no samples")
    for name in SCHEMA_CANNOT_SEE:
        checker.expect(samples / "bad" / name in bad, f"{name} is listed but not there")
    checker.check_good(good + examples)
    checker.check_bad(bad)
    with tempfile.TemporaryDirectory() as folder:
        # Without the sample of substitutions: the schema knows nothing of what they yield.
        plain = [file for file in good if "${" not in file.read_text(encoding="utf-8")]
        checker.check_variants(plain, pathlib.Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        checker.check_guide(source / "docs" / "configuration.md", pathlib.Path(folder))
    print(f"{len(good)} good, {len(examples)} examples, {len(bad)} bad, {len(checker.failures)} failures")
    return 1 if checker.failures else 0


if __name__ == "__main__":
    sys.exit(main())
