"""The file of settings, in the format of systemd's `EnvironmentFile=`.

Enters: `os.environ`, and the file that OSTIARY_ENV_FILE names, else `/etc/ostiary.env` where it exists.
Leaves: `os.environ` with the variables of the file added, and problems in words, which never quote a value.
Lines that systemd might read differently are refused, so that a command and its server have the same
settings.
"""

import os
import re
from pathlib import Path

import click

PREFIX = "OSTIARY_"
NAMED_FILE = "OSTIARY_ENV_FILE"
USUAL_FILE = Path("/etc/ostiary.env")
IN_FILES = ("secret_key", "old_secret_keys", "database_url")  # settings that may be in a file of their own
WITHOUT_DEFAULT = ("ISSUER", "DATABASE_URL", "SECRET_KEY")  # in production
LARGEST_FILE = 64 * 1024
DOTENV_FILES = (".flaskenv", ".env")  # Flask looks for them in this folder and all above

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SINGLE_QUOTED = re.compile(r"'(?P<text>[^']*)'")
DOUBLE_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\["\\$`])*)"')
ESCAPED = re.compile(r'\\(["\\$`])')


def load() -> list[str]:
    """Add the variables of the file of settings to `os.environ`, and return problems in words.

    A variable that is set already wins.
    """
    remove_dotenv()
    named = os.environ.get(NAMED_FILE)
    path = Path(named) if named else USUAL_FILE
    if not named and not os.path.lexists(path):
        return []
    words = f"the file that {NAMED_FILE} names" if named else str(path)
    try:
        text = read(path)
    except OSError as error:
        if not named and isinstance(error, PermissionError) and is_complete():
            return []  # systemd has read the file for this process, and an ordinary user cannot
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
    """Return the text of a small file. Raises OSError, or ValueError where it cannot be such a file."""
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
    """Return the variables of a file of settings, and the lines with a problem, by number.

    Where a name comes twice, the last value wins.
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
    """Return a value without the quotes around it.

    Raises ValueError where systemd might read it differently.
    """
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
    """Add variables to `os.environ`, except those of settings that are set there.

    They may be set directly, or by a file of their own.
    """
    known = {name.upper() for name in os.environ}
    for setting in IN_FILES:
        both = {variable_of(setting), file_variable_of(setting)}
        if both & known:
            known |= both
    for name, value in variables.items():
        if name.upper() not in known:
            os.environ[name] = value


def is_complete() -> bool:
    """Return whether this environment has all settings that production needs."""
    known = {name.upper() for name in os.environ}
    return all(known & {PREFIX + name, f"{PREFIX}{name}_FILE"} for name in WITHOUT_DEFAULT)


def remove_dotenv() -> None:
    """Remove the variables that Flask has read from a `.env` file before this code ran.

    Variables that this process was started with stay. `make .venv/installed` tells Flask not to look for such
    a file; this is for environments that were made in another way.
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
    """Return the names of the variables that this process was started with; none where that is unknown."""
    try:
        block = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {os.fsdecode(entry.partition(b"=")[0]) for entry in block.split(b"\0")}


def variable_of(setting: str) -> str:
    """Return the name of the variable of a setting."""
    return PREFIX + setting.upper()


def file_variable_of(setting: str) -> str:
    """Return the name of the variable that names the file of a setting."""
    return f"{variable_of(setting)}_FILE"
