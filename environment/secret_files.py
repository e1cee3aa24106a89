"""Read the settings that stand in a file of their own, one secret a file (`OSTIARY_SECRET_KEY_FILE` and
others).
"""

import os
from collections.abc import Collection
from pathlib import Path

from environment.env_file import IN_FILES, file_variable_of, read, variable_of


def secrets_in_files(taken: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """The settings that stand in files of their own, without those that are `taken`; and problems in words.

    A problem has a value too, which nobody gets to use: the setting is not missing, and gets no default.
    """
    given, problems = {}, []
    names = {name.upper(): name for name in os.environ}
    for setting in IN_FILES:
        name = file_variable_of(setting)
        if name not in names or setting in taken:
            continue
        if variable_of(setting) in names:
            problems.append(f"{variable_of(setting)} and {name} are both set: take one of them")
            continue
        try:
            given[setting] = secret_in(Path(os.environ[names[name]]), several=setting == "old_secret_keys")
        except OSError as error:
            problems.append(f"{name} names a file that cannot be read ({error.strerror})")
        except ValueError as error:
            problems.append(f"{name} names a file that {error}")
        given.setdefault(setting, "sqlite://" if setting == "database_url" else "?" * 64)
    return given, problems


def secret_in(path: Path, *, several: bool) -> str:
    """What stands on the one line of a file; or on several, joined by commas.

    Raises OSError or ValueError.
    """
    lines = [line for line in map(str.strip, read(path).splitlines()) if line]
    if not lines:
        raise ValueError("is empty")
    if len(lines) > 1 and not several:
        raise ValueError("has more than one line")
    return ",".join(lines)
