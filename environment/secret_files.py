"""Settings that stand in a file of their own, one secret in a file (`OSTIARY_SECRET_KEY_FILE` and others)."""

import os
import secrets
from collections.abc import Collection
from pathlib import Path

from environment.env_file import IN_FILES, file_variable_of, read, variable_of


def read_secret_files(exclude: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Return the settings that have files of their own, without those of `exclude`; and problems in words.

    A setting whose file has a problem gets a placeholder, so that it does not count as missing. It is never
    used, because the problem ends the start.
    """
    values, problems = {}, []
    names = {name.upper(): name for name in os.environ}
    for setting in IN_FILES:
        name = file_variable_of(setting)
        if name not in names or setting in exclude:
            continue
        if variable_of(setting) in names:
            problems.append(f"{variable_of(setting)} and {name} are both set: take one of them")
            continue
        try:
            values[setting] = read_secret(Path(os.environ[names[name]]), several=setting == "old_secret_keys")
        except OSError as error:
            problems.append(f"{name} names a file that cannot be read ({error.strerror})")
        except ValueError as error:
            problems.append(f"{name} names a file that {error}")
        values.setdefault(setting, "sqlite://" if setting == "database_url" else "?" * 64)
    return values, problems


def read_secret(path: Path, *, several: bool) -> str:
    """Return the one line of a file; where there may be several, all lines joined by commas.

    Raises OSError, or ValueError.
    """
    lines = [line for line in map(str.strip, read(path).splitlines()) if line]
    if not lines:
        raise ValueError("is empty")
    if len(lines) > 1 and not several:
        raise ValueError("has more than one line")
    return ",".join(lines)


def development_secret_key(path: Path, may_create: bool = True) -> str | None:
    """Return the secret key in a file; None where there is no file. Raises ValueError.

    may_create: a missing file is created. Two processes that start at the same time get the same key.
    """
    if may_create and not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # atomic; fails where another process was first
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ValueError(
            f"instance/{path.name} cannot be read ({error.strerror}): run this as its owner"
        ) from None
