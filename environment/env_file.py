"""Where a process has its variables from: its own environment, below it a file of settings, and files that
hold one secret each.

Enters: `os.environ`, and the file that OSTIARY_ENV_FILE names, else `/etc/ostiary.env` where there is one.
Leaves: `os.environ` with what the file adds, and problems in words; a value is in none of them. The file is
one for systemd's `EnvironmentFile=`. What systemd might read in another way is refused, so that a command and
its server mean the same.
"""

import os
import re
from pathlib import Path

import click

PREFIX = "OSTIARY_"
NAMED_FILE = "OSTIARY_ENV_FILE"
USUAL_FILE = Path("/etc/ostiary.env")
IN_FILES = ("secret_key", "old_secret_keys", "database_url")  # settings that may stand in a file of their own
WITHOUT_DEFAULT = ("ISSUER", "DATABASE_URL", "SECRET_KEY")  # outside of development
LARGEST_FILE = 64 * 1024
DOTENV_FILES = (".flaskenv", ".env")  # what Flask looks for, in this folder and all above

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SINGLE_QUOTED = re.compile(r"'(?P<text>[^']*)'")
DOUBLE_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\["\\$`])*)"')
ESCAPED = re.compile(r'\\(["\\$`])')


def load() -> list[str]:
    """Fill `os.environ` with what the file of settings adds: a variable that is set wins.

    Returns problems, in words.
    """
    forget_dotenv()
    named = os.environ.get(NAMED_FILE)
    path = Path(named) if named else USUAL_FILE
    if not named and not os.path.lexists(path):
        return []
    words = f"the file that {NAMED_FILE} names" if named else str(path)
    try:
        text = read(path)
    except OSError as error:
        if not named and isinstance(error, PermissionError) and is_complete():
            return []  # whoever started this process has read the file for it, as systemd does
        return [
            f"{words} cannot be read ({error.strerror}): run this as its owner, or name another in"
            f" {NAMED_FILE}"
        ]
    except ValueError as error:
        return [f"{words} {error}"]
    variables, wrong = parse(text)
    add(variables)
    return [f"{words}, line {number}: {problem}" for number, problem in wrong]


def read(path: Path) -> str:
    """Raises OSError; or ValueError for what cannot be meant."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"is larger than {LARGEST_FILE // 1024} KiB")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if "\0" in text:
        raise ValueError("holds a zero byte")
    return text


def parse(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """The variables of a file of settings, and the lines that are none, by number.

    A name that comes twice has its last value.
    """
    variables, wrong = {}, []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip(" \t\r")
        if not line or line[0] in "#;":
            continue
        name, equals, value = line.partition("=")
        name = name.rstrip(" \t")
        if not equals or not NAME.fullmatch(name):
            wrong.append((number, "is no NAME=value"))
            continue
        try:
            variables[name] = unquoted(value.strip(" \t"))
        except ValueError as error:
            wrong.append((number, str(error)))
    return variables, wrong


def unquoted(value: str) -> str:
    """As it stands; or in quotes from its first to its last character. Raises ValueError."""
    if single := SINGLE_QUOTED.fullmatch(value):
        return single["text"]
    if double := DOUBLE_QUOTED.fullmatch(value):
        return ESCAPED.sub(r"\1", double["text"])
    if value[:1] in ("'", '"'):
        raise ValueError("its quotes do not go from the first character of the value to the last")
    if "\\" in value:
        raise ValueError("a backslash has to stand in single quotes")
    return value


def add(variables: dict[str, str]) -> None:
    """What is set already stays, whether as itself or as a file."""
    known = {name.upper() for name in os.environ}
    for setting in IN_FILES:
        both = {variable_of(setting), file_variable_of(setting)}
        if both & known:
            known |= both
    for name, value in variables.items():
        if name.upper() not in known:
            os.environ[name] = value


def is_complete() -> bool:
    """Whether this environment has all that production needs, so that nothing is left to guess."""
    known = {name.upper() for name in os.environ}
    return all(known & {PREFIX + name, f"{PREFIX}{name}_FILE"} for name in WITHOUT_DEFAULT)


def forget_dotenv() -> None:
    """What Flask has read from a `.env` before anybody of us was asked. A variable that this process was
    started with stays.

    `make .venv/installed` tells Flask not to look for one at all; this is for an environment that was made in
    another way.
    """
    context = click.get_current_context(silent=True)
    if context is None or not getattr(context.find_root().obj, "load_dotenv_defaults", False):
        return
    try:
        import dotenv
    except ImportError:
        return
    at_start = names_at_start()
    for file in DOTENV_FILES:
        path = dotenv.find_dotenv(file, usecwd=True)
        for name in os.environ.keys() & (dotenv.dotenv_values(path).keys() if path else set()):
            if name not in at_start:
                del os.environ[name]


def names_at_start() -> set[str]:
    """The variables that this process was started with; none where the system does not tell."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {os.fsdecode(entry.partition(b"=")[0]) for entry in block.split(b"\0")}


def variable_of(setting: str) -> str:
    return PREFIX + setting.upper()


def file_variable_of(setting: str) -> str:
    return f"{variable_of(setting)}_FILE"
