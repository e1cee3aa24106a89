"""`make threats`: which entries of `docs/threat-model.md` are proven by a test, and by which.

Enters: the tables of the document, and the markers `@pytest.mark.threat("T001")` in the tests' sources, which
are read and not run.
Leaves: each entry with its sentence and its tests, the counts, and exit code 1 where document and tests do
not fit together. `--write` puts the places of the tests into the document.
"""

import argparse
import ast
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent
DOCUMENT = PROJECT / "docs" / "threat-model.md"
MARKER = "pytest.mark.threat"
ROW = re.compile(r"\| *T\d")


@dataclass(frozen=True)
class Entry:
    """A row of the document: what is sent, what must happen, the section that says so, and the tests that
    prove it.
    """

    identifier: str
    sent: str
    must: str
    sections: str
    places: str


@dataclass(frozen=True)
class Marker:
    identifier: str
    file: str  # below tests/
    function: str  # "" where the marker is on something that is no test

    def __str__(self) -> str:
        return f"tests/{self.file}::{self.function}"


# ---- the document ------------------------------------------------------------------------------------------


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def read_rows(text: str, row: re.Pattern[str] = ROW) -> Iterator[list[str]]:
    """The cells of each row that begins with an identifier."""
    return (cells_of(line) for line in text.splitlines() if row.match(line))


def read_entries(text: str, row: re.Pattern[str] = ROW) -> list[Entry]:
    """The rows of five cells: what is promised now."""
    return [Entry(*cells) for cells in read_rows(text, row) if len(cells) == 5]


def read_waiting(text: str, row: re.Pattern[str] = ROW) -> list[str]:
    """The identifiers of all other rows, of ranges each one: what waits for a part that is not there yet."""
    return [
        identifier
        for cells in read_rows(text, row)
        if len(cells) != 5
        for identifier in identifiers_in(cells[0])
    ]


def identifiers_in(text: str) -> Iterator[str]:
    """`T001, T003–T005` as T001, T003, T004, T005."""
    for part in text.split(","):
        first, _dash, last = part.strip().partition("–")
        for number in range(int(first[1:]), int((last or first)[1:]) + 1):
            yield f"T{number:03}"


def describe(markers: Iterable[Marker]) -> str:
    """The last cell of a row: the functions by file."""
    functions = defaultdict(list)
    for marker in markers:
        functions[marker.file].append(f"`{marker.function}`")
    return "<br>".join(f"{file}: {', '.join(sorted(names))}" for file, names in sorted(functions.items()))


def with_places(text: str, markers: list[Marker], row: re.Pattern[str] = ROW) -> str:
    """The document with the places of its tests as they are."""
    lines = []
    for line in text.splitlines():
        cells = cells_of(line)
        if row.match(line) and len(cells) == 5:
            cells[4] = describe(marker for marker in markers if marker.identifier == cells[0])
            line = f"| {' | '.join(cells)} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


# ---- the tests ---------------------------------------------------------------------------------------------


def read_markers(source: str, file: str, mark: str = MARKER) -> list[Marker]:
    """The markers in a file, those on functions with the functions' names."""
    tree = ast.parse(source)
    found = []
    on_tests = set()
    for function, name in test_functions(tree):
        for decorator in function.decorator_list:
            for call in calls_of(mark, decorator):
                on_tests.add(call)
                found += [Marker(identifier, file, name) for identifier in arguments_of(call)]
    strays = [call for call in calls_of(mark, tree) if call not in on_tests]
    return found + [Marker(identifier, file, "") for call in strays for identifier in arguments_of(call)]


def test_functions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, str]]:
    """What pytest takes for a test: functions of the module and of its `Test…` classes, as it names them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node, node.name
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            for member in node.body:
                if isinstance(member, ast.FunctionDef) and member.name.startswith("test"):
                    yield member, f"{node.name}::{member.name}"


def calls_of(mark: str, node: ast.AST) -> list[ast.Call]:
    return [each for each in ast.walk(node) if isinstance(each, ast.Call) and ast.unparse(each.func) == mark]


def arguments_of(call: ast.Call) -> list[str]:
    return [str(ast.literal_eval(argument)) for argument in call.args]


def all_markers(tests: Path = TESTS, mark: str = MARKER) -> list[Marker]:
    return [
        marker
        for path in sorted(tests.rglob("test_*.py"))
        if mark in (source := path.read_text())
        for marker in read_markers(source, path.relative_to(tests).as_posix(), mark)
    ]


# ---- both --------------------------------------------------------------------------------------------------


def find_problems(text: str, markers: list[Marker], row: re.Pattern[str] = ROW) -> list[str]:
    """Where the document and the tests do not fit together, in words."""
    entries, waiting = read_entries(text, row), read_waiting(text, row)
    listed = Counter([*(entry.identifier for entry in entries), *waiting])
    by_identifier = defaultdict(list)
    for marker in markers:
        by_identifier[marker.identifier].append(marker)
    problems = [f"{identifier} is listed {count} times" for identifier, count in listed.items() if count > 1]
    for identifier, marked in by_identifier.items():
        if identifier not in listed:
            problems.append(f"{identifier} is not listed, and {marked[0]} is marked with it")
        if identifier in waiting:
            problems.append(f"{identifier} is listed as waiting, and {marked[0]} is marked with it")
    problems += [
        f"{marker.identifier} in tests/{marker.file} is not on a test"
        for marker in markers
        if not marker.function
    ]
    for entry in entries:
        if entry.identifier not in by_identifier:
            problems.append(f"{entry.identifier} has no test")
        elif entry.places != describe(by_identifier[entry.identifier]):
            problems.append(
                f"{entry.identifier} names other places than its tests are in: run this with --write"
            )
    return problems


def report(text: str, markers: list[Marker], row: re.Pattern[str] = ROW) -> str:
    """Every entry with its sentence and its tests, and the counts."""
    lines = []
    entries, waiting = read_entries(text, row), read_waiting(text, row)
    covered = 0
    for entry in entries:
        tests = sorted(str(marker) for marker in markers if marker.identifier == entry.identifier)
        covered += bool(tests)
        lines.append(f"{entry.identifier}  {entry.sent}: {entry.must} ({entry.sections})".replace("`", ""))
        lines += [f"      {test}" for test in tests or ["NO TEST"]]
    lines.append(
        f"\n{len(entries)} due, {covered} with a test, {len(entries) - covered} without; {len(waiting)} wait."
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.threats", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--write", action="store_true", help="put the places of the tests into the document")
    markers = all_markers()
    if parser.parse_args(arguments).write:
        DOCUMENT.write_text(with_places(DOCUMENT.read_text(), markers))
    text = DOCUMENT.read_text()
    print(report(text, markers))
    problems = find_problems(text, markers)
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
