"""`python -m tests.certification.modules`: which certification modules are mirrored by which tests.

Enters: the tables of `docs/certification.md`, and the markers `@pytest.mark.certification("oidcc-server")` in
the tests' sources.
Leaves: each module with its test, the counts, and exit code 1 where they do not fit together. `--write` puts
the places of the tests into the document. The reading and comparing is that of `tests/threats.py`.
"""

import argparse
import re
import sys
from collections import Counter

from tests.threats import PROJECT, Marker, all_markers, find_problems, read_entries, report, with_places

DOCUMENT = PROJECT / "docs" / "certification.md"
MARKER = "pytest.mark.certification"
ROW = re.compile(r"\| *oidcc-")
PLAN = re.compile(r"### .* \(`(?P<name>oidcc-[a-z-]+-certification-test-plan)`\)")
COMMAND = re.compile(r"^\.venv/bin/flask .*?(?<!\\)$", re.MULTILINE | re.DOTALL)


def read_markers() -> list[Marker]:
    return all_markers(mark=MARKER)


def find_all_problems(text: str, markers: list[Marker]) -> list[str]:
    """Besides what can be wrong with any such list: each module has one test, in its own name."""
    counts = Counter(marker.identifier for marker in markers)
    problems = [f"{module} has {count} tests" for module, count in counts.items() if count > 1]
    problems += [
        f"{marker} is not named after {marker.identifier}"
        for marker in markers
        if marker.function != name_of_test(marker)
    ]
    return find_problems(text, markers, ROW) + problems


def name_of_test(marker: Marker) -> str:
    return "test_" + marker.identifier.replace("-", "_")


def modules_by_plan(text: str) -> dict[str, list[str]]:
    """The modules that stand below the heading of each plan, in order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := PLAN.fullmatch(line):
            modules = found.setdefault(match["name"], [])
        if ROW.match(line):
            modules.append(line.split("|")[1].strip())
    return found


def commands_in(text: str) -> list[str]:
    """The commands that prepare a server, with their continued lines joined."""
    return [command.replace("\\\n", " ") for command in COMMAND.findall(text)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.certification.modules")
    parser.add_argument("--write", action="store_true", help="put the places of the tests into the document")
    markers = read_markers()
    if parser.parse_args(arguments).write:
        DOCUMENT.write_text(with_places(DOCUMENT.read_text(), markers, ROW))
    text = DOCUMENT.read_text()
    print(report(text, markers, ROW))
    problems = find_all_problems(text, markers)
    for problem in problems:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if problems or not read_entries(text, ROW) else 0


if __name__ == "__main__":
    sys.exit(main())
