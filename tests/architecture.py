"""The floors of the house: which room may import which.

The test of imports and the drawing in the docs read this one list. `python -m tests.architecture --write`
puts the floors, and the first sentence of each room, into `docs/architecture.md`.
"""

import argparse
import ast
import re
from pathlib import Path

# Ground floor first. A file imports what lies on the floors below its own, and from its own room.
FLOORS = [
    "errors",
    "crypto environment",
    "protocol database",
    "config models",
    "store unit_of_work",
    "outbound",
    "services",
    "middleware",
    "client_auth tokens pages testing",
    "grants authorization commands",
    "endpoints authorization_server migrations",
    "my_oauth",
    "app",
    "gunicorn.conf",
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENT = PROJECT / "docs" / "architecture.md"
BLOCK = re.compile(r"(?<=<!-- from tests/architecture\.py -->\n).*?(?=<!-- end -->)", re.DOTALL)
WITHOUT_PYTHON = {"migrations": "Every change of the tables, a revision each."}


def path_of(room: str) -> Path:
    """Return the file whose docstring says what belongs into a room: its `__init__.py`, or itself."""
    folder = PROJECT / room
    return folder / "__init__.py" if folder.is_dir() else PROJECT / f"{room}.py"


def name_of(room: str) -> str:
    """Return a room as a path that people can open."""
    return f"{room}/" if (PROJECT / room).is_dir() else f"{room}.py"


def sentence_of(room: str) -> str:
    """Return the first sentence of a room's docstring, "" where it has none."""
    if room in WITHOUT_PYTHON:
        return WITHOUT_PYTHON[room]
    text = " ".join((ast.get_docstring(ast.parse(path_of(room).read_text())) or "").split())
    first = re.match(r".*?[.!?](?=\s|$)", text)
    return first[0] if first else text


def draw() -> str:
    """Return what stands in the document: the floors as a picture, top floor first, and a table of rooms."""
    floors = [(number, rooms.split()) for number, rooms in enumerate(FLOORS, 1)][::-1]
    picture = [f"{number:>2}   {'   '.join(map(name_of, rooms))}" for number, rooms in floors]
    table = [f"| `{name_of(room)}` | {sentence_of(room)} |" for _number, rooms in floors for room in rooms]
    head = ["| room | what belongs there |", "| --- | --- |"]
    return "\n".join(["```", *picture, "```", "", *head, *table]) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.architecture")
    parser.add_argument("--write", action="store_true", help="put them into docs/architecture.md")
    if parser.parse_args(arguments).write:
        DOCUMENT.write_text(BLOCK.sub(lambda _: draw(), DOCUMENT.read_text()))
    print(draw(), end="")


if __name__ == "__main__":
    main()
