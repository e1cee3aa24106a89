"""How commands write rows, members, instants and numbers as text."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from protocol import typed_text

INSTANTS = ("_at", "_from", "_until")  # how the names of members end that are epoch seconds


def table(rows: Iterable[Mapping[str, object]], columns: Iterable[str]) -> str:
    """Return one line for each row, under a line of headings, aligned."""
    names = list(columns)
    lines = [
        [name.upper() for name in names],
        *([value_text(name, row.get(name)) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def details(row: Mapping[str, object]) -> str:
    """Return one line for each member, aligned."""
    width = max(map(len, row))
    return "\n".join(f"{name.ljust(width)}  {value_text(name, value)}" for name, value in row.items())


def value_text(name: str, value: object) -> str:
    """Return a value as people read it. What would move a terminal's cursor becomes a question mark."""
    if value is None or value == "" or value == []:
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int) and value and name.endswith(INSTANTS):
        text = iso(value)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        text = " ".join(value)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return typed_text.replace_forbidden(text)


def iso(instant: int) -> str:
    """Return epoch seconds as `2026-01-31T12:00:00Z`."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(number: int, thing: str) -> str:
    """Return `1 token`, `2 tokens`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
