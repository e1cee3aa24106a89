"""`--set MEMBER=JSON`: registration members of clients, claims of people.

Enters: the texts of the option. Leaves: the members, and what is wrong with how they are written. What their
values may be is in `protocol/client_metadata.py` and `protocol/user_claims.py`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import click

VISIBLE = re.compile(r"[\x21-\x7E]+")
# A shell takes quotes away: what was typed with double quotes alone arrives without any.
NO_JSON = """write NAME=JSON, with text in double quotes, and all of it in single quotes: 'NAME="text"'"""

Command = TypeVar("Command", bound=Callable[..., object])


def repeatable(option: str, name: str, metavar: str, text: str) -> Callable[[Command], Command]:
    """Return an option that may be given several times."""
    return click.option(
        option, name, multiple=True, metavar=metavar, help=f"{text} May be given several times."
    )


def read_members(
    texts: Iterable[str], reserved: Mapping[str, str], before: str = "--set "
) -> tuple[dict[str, object], list[str]]:
    """Return the members, and what is wrong with the texts.

    reserved: names with an option of their own. before: what stands before each text in the command.
    """
    members: dict[str, object] = {}
    problems = []
    for text in texts:
        name, _equals, value = text.partition("=")
        if problem := find_name_problem(name, members, reserved):
            problems.append(f"{before}{name!r}: {problem}")
            continue
        try:
            members[name] = strict_json(value)
        except (ValueError, RecursionError):
            problems.append(f"{before}{name!r}: {NO_JSON}")
    return members, problems


def find_name_problem(name: str, others: Iterable[str], reserved: Mapping[str, str]) -> str | None:
    """Return why a member of this name cannot be given, or None. others: those that were given before."""
    if not VISIBLE.fullmatch(name):
        return "write NAME=JSON"
    if name in reserved:
        return reserved[name]
    return "give it once" if name in others else None


def strict_json(text: str) -> object:
    """Return the value of a JSON text, or raise ValueError.

    NaN, Infinity and 1e999 are refused: Python reads them, and JSON has no such values (RFC 8259 §6).
    """
    value: object = json.loads(text)
    json.dumps(value, allow_nan=False)
    return value
