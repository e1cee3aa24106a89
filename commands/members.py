"""`--set MEMBER=JSON`: registration members of clients, claims of people.

Enters: the texts of the option. Leaves: the members, and what is wrong with how they are written. What their
values may be is in `protocol/client_metadata.py` and `protocol/person_claims.py`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click

VISIBLE = re.compile(r"[\x21-\x7E]+")


def several(option: str, name: str, metavar: str, text: str) -> Callable[..., Any]:
    """A repeatable option."""
    return click.option(
        option, name, multiple=True, metavar=metavar, help=f"{text} May be given several times."
    )


def read_members(texts: Iterable[str], reserved: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """The members, and what is wrong with the texts. reserved: names that are not given in this way, and what
    to do instead.
    """
    members: dict[str, Any] = {}
    problems = []
    for text in texts:
        name, _equals, value = text.partition("=")
        if problem := problem_of_name(name, members, reserved):
            problems.append(f"--set {name!r}: {problem}")
            continue
        try:
            members[name] = strict_json(value)
        except (ValueError, RecursionError):
            problems.append(f"--set {name!r}: write NAME=JSON, with text in double quotes")
    return members, problems


def problem_of_name(name: str, others: Iterable[str], reserved: Mapping[str, str]) -> str | None:
    if not VISIBLE.fullmatch(name):
        return "write NAME=JSON"
    if name in reserved:
        return reserved[name]
    return "give it once" if name in others else None


def strict_json(text: str) -> Any:
    """Raises ValueError, also for NaN, Infinity and 1e999: Python reads them, and JSON has no such values
    (RFC 8259 §6).
    """
    value = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value


def without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    """A member that is null is the same as one that is left out (RFC 7591 §2, RFC 7592 §2.2)."""
    return {name: value for name, value in members.items() if value is not None}
